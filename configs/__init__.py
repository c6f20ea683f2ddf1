"""Configuration files, their loader and the entry point of the command line."""
