"""Gives memory back to the system: the C library keeps what loading a model needed for a moment."""

import ctypes
import gc


def release_free_memory() -> None:
    """Returns what is free to the system, where the C library can (glibc); some milliseconds."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
