"""What must hold on this machine before a scan."""
