"""What is counted, and every figure with its words."""
