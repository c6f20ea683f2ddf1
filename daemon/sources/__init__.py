"""Where audio comes from: microphones, files, standard input, senders on other machines."""

from auricle.daemon.sources.base import open_source

__all__ = ["open_source"]
