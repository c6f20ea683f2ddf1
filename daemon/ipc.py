"""Files of ipc endpoints: who may bind them, and who takes them away.

ZeroMQ removes whatever lies at the path before it binds: a socket left by a killed daemon, but also the
socket of a living one, or a file that is no socket at all. And it leaves its own behind.
"""

import fcntl
import os
import stat
from pathlib import Path
from typing import IO, NamedTuple

from auricle.configs.errors import BusError
from auricle.configs.paths import runtime_dir


class IpcRefusedError(BusError):
    """The file may not be bound; `reason` is empty where a living daemon has it."""

    def __init__(self, reason: str = "") -> None:
        """Keeps the reason for the message of the caller, who knows what the endpoint is for."""
        super().__init__(reason or "in use")
        self.reason = reason


class IpcClaim(NamedTuple):
    """The right to the socket file of an ipc endpoint, held by a lock on a file beside it."""

    path: Path
    lock: IO[str]

    def release(self) -> None:
        """Removes the socket, so that nobody takes it for a living daemon's, and gives the right back."""
        if self.path.is_socket():
            self.path.unlink()
        self.lock.close()


def ipc_path(endpoint: str) -> Path | None:
    """Returns the file of an ipc endpoint, None for other transports and for sockets without a file."""
    transport, _, address = endpoint.partition("://")
    if transport != "ipc" or address[:1] in ("", "@", "*"):
        return None
    return Path(address)


def claim_ipc(endpoint: str) -> IpcClaim | None:
    """Makes sure that no living daemon serves an ipc endpoint, creating its folder with mode 0700.

    Returns:
        The claim, to be released when the socket is closed; None for endpoints without a file.

    Raises:
        IpcRefusedError: it is in use, the folder cannot be written, or a file of another kind is in the way.
    """
    path = ipc_path(endpoint)
    if path is None:
        return None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent == runtime_dir():
            _check_private(path.parent)
        lock = path.with_name(path.name + ".lock").open("w")
    except OSError as error:
        raise IpcRefusedError(
            f"{error.strerror}: {error.filename}; choose a folder that you may write to"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise IpcRefusedError from error
    if path.exists() and not path.is_socket():
        lock.close()
        raise IpcRefusedError(
            "expected no file or an old socket there, got a file of another kind; move it away or choose "
            "another path"
        )
    return IpcClaim(path, lock)


def _check_private(folder: Path) -> None:
    """Refuses a run-time folder that another user made: in /tmp anybody can make one under our name."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise IpcRefusedError(
            f"expected {folder} to be a folder of your own; remove it, or set XDG_RUNTIME_DIR or another "
            "endpoint"
        )
    folder.chmod(0o700)
