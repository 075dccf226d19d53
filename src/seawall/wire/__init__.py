"""Sans-I/O protocols: bytes in, events out, bytes out. No socket, no clock, no event loop."""
