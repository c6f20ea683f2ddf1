"""A microphone without a sound card: a private pulseaudio in a folder of its own.

Two sources stand ready:

- `vmic`, the default: the monitor of a null sink, so that what `play` plays is what the microphone hears;
- `pmic` (environment `PULSE_SOURCE=pmic`): s16le mono at 16 kHz written into `fifo` arrives bit for bit, and
  while nobody writes the device stalls.

The server, its socket and the ALSA configuration that leads to it live under `folder`; nothing is read or
written elsewhere. Set `env` for the process that records, before PortAudio starts in it. Also a command:
`python tests/virtual_mic.py FOLDER COMMAND...` runs a command with such a microphone.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

APT: Final = (
    "apt-get install -y --no-install-recommends pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins"
)
FIFO_RATE: Final = 16000

_SINK: Final = "vmic_speaker"
_START_SECONDS = 10.0
_ALSA_CONFIG = """</usr/share/alsa/alsa.conf>
pcm.!default { type pulse  hint { show on  description "Default (pulse)" } }
ctl.!default { type pulse }
"""
_DAEMON_CONFIG = """daemonize = no
exit-idle-time = -1
realtime-scheduling = no
flat-volumes = no
enable-shm = no
default-sample-rate = {rate}
"""


def missing_parts() -> list[str]:
    """What this machine lacks for a virtual microphone."""
    missing = [tool for tool in ("pulseaudio", "pactl", "paplay") if shutil.which(tool) is None]
    try:
        import sounddevice  # noqa: F401
    except OSError:
        missing.append("libportaudio2")
    libraries = Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")
    if not any(libraries):
        missing.append("libasound2-plugins")
    return missing


class VirtualMic:
    """The server and its two sources; a context manager that starts and stops it."""

    def __init__(self, folder: Path, rate: int = 48000) -> None:
        self.folder = folder
        self.rate = rate
        self.fifo = folder / "mic.fifo"
        self._socket = folder / "native"
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        """Variables that lead PortAudio and the pulse tools to this server."""
        return {
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "PULSE_RUNTIME_PATH": str(self.folder / "run" / "pulse"),
            "PULSE_STATE_PATH": str(self.folder / "state"),
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_COOKIE": str(self.folder / "cookie"),
            "ALSA_CONFIG_PATH": str(self.folder / "asound.conf"),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._write_configuration()
        command = ["pulseaudio", "-n", "-F", str(self.folder / "default.pa"), "--daemonize=no"]
        command += ["--use-pid-file=no", "--exit-idle-time=-1", "--disallow-exit=no"]
        command += [f"--log-target=file:{self.folder / 'pulse.log'}"]
        environment = {**os.environ, **self.env, "PULSE_CONFIG": str(self.folder / "daemon.conf")}
        with (self.folder / "out.log").open("wb") as log:
            self._server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        give_up = time.monotonic() + _START_SECONDS
        while self._control("info", check=False).returncode != 0:
            if self._server.poll() is not None or time.monotonic() > give_up:
                log_text = "".join(p.read_text() for p in self.folder.glob("*.log"))
                raise RuntimeError(f"pulseaudio did not start:\n{log_text}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let the server die in the middle of a stream."""
        self._end(signal.SIGKILL)

    def suspend(self, source: str, on: bool) -> None:
        """Suspend or resume a source."""
        self._control("suspend-source", source, "1" if on else "0")

    def play(self, path: Path) -> None:
        """Play a file into the speaker that `vmic` listens to; return when it is over."""
        subprocess.run(
            ["paplay", "--device", _SINK, str(path)], check=True, timeout=60, env={**os.environ, **self.env}
        )

    def _end(self, by: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(by)
            try:
                self._server.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait(timeout=5)
            self._server = None
        for left_over in (self._socket, self.fifo):
            left_over.unlink(missing_ok=True)

    def _control(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["pactl", *arguments],
            capture_output=True,
            check=check,
            timeout=10,
            env={**os.environ, **self.env},
        )

    def _write_configuration(self) -> None:
        for folder in (self.folder / "run" / "pulse", self.folder / "state"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "asound.conf").write_text(_ALSA_CONFIG)
        (self.folder / "daemon.conf").write_text(_DAEMON_CONFIG.format(rate=self.rate))
        # norewinds: else the null sink renders two seconds at once and the start of playback is lost
        (self.folder / "default.pa").write_text(
            f""".fail
load-module module-native-protocol-unix auth-anonymous=1 socket={self._socket}
load-module module-null-sink sink_name={_SINK} rate={self.rate} channels=1 norewinds=1 format=s16le
load-module module-remap-source source_name=vmic master={_SINK}.monitor
load-module module-pipe-source source_name=pmic file={self.fifo} format=s16le rate={FIFO_RATE} channels=1
set-default-sink {_SINK}
set-default-source vmic
"""
        )


def main() -> int:
    """Run a command with a virtual microphone."""
    with VirtualMic(Path(sys.argv[1])) as mic:
        return subprocess.run(sys.argv[2:], check=False, env={**os.environ, **mic.env}).returncode


if __name__ == "__main__":
    sys.exit(main())
