"""DNS as a stub sees it: reading and writing messages, and asking many questions at once.  Nothing of mail."""
