"""Where Auricle keeps what belongs to one user at run time, and between runs."""

import os
import tempfile
from pathlib import Path

EVENTS_SOCKET = "events.ipc"
LEXICON = "lexicon.txt"


def runtime_dir() -> Path:
    """Returns the user's run-time folder: `$XDG_RUNTIME_DIR/auricle`, else `auricle-UID` in /tmp.

    The folder isn't created here; whoever binds a socket in it creates it with mode 0700.
    """
    xdg_runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
    if Path(xdg_runtime_dir).is_absolute():
        return Path(xdg_runtime_dir) / "auricle"
    return Path(tempfile.gettempdir()) / f"auricle-{os.getuid()}"


def default_endpoint() -> str:
    """Returns the ZeroMQ endpoint that the daemon publishes on, and clients connect to, by default."""
    return f"ipc://{runtime_dir() / EVENTS_SOCKET}"


def cache_dir() -> Path:
    """Returns the user's folder for what can be made again, `$XDG_CACHE_HOME/auricle` or ~/.cache/auricle."""
    xdg_cache_home = os.environ.get("XDG_CACHE_HOME", "")
    if Path(xdg_cache_home).is_absolute():
        return Path(xdg_cache_home) / "auricle"
    return Path("~/.cache/auricle").expanduser()


def config_dir() -> Path:
    """Returns the folder of the user's own settings: `$XDG_CONFIG_HOME/auricle`, else in `~/.config`."""
    xdg_config_home = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (xdg_config_home if xdg_config_home.is_absolute() else Path.home() / ".config") / "auricle"


def user_lexicon(setting: str = "") -> Path:
    """Returns the file of the user's own pronunciations: what `acoustic.lexicon` says, or the usual place."""
    return Path(setting).expanduser() if setting else config_dir() / LEXICON
