"""What is recorded of an open transaction, and what is decided when its server is lost; no I/O."""
