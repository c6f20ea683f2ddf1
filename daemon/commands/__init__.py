"""The commands of the running service, one module each."""
