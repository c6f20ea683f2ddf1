"""The running service: capture, the path of a frame, the bus, the command line of live use."""
