"""Audio files: a pull iterator for offline use, and a source that plays them into a ring.

Read with libsndfile: wav, flac, ogg (Vorbis, Opus), mp3 and its other formats.
"""

import difflib
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from auricle.configs.errors import AuricleError, FormatError
from auricle.daemon.resample import PIPELINE_RATE, Resampler
from auricle.daemon.ring import NS_PER_SECOND, Doorbell, FloatArray
from auricle.daemon.sources.base import BLOCKS_PER_SECOND, BaseSource, Channel, mix_into

if TYPE_CHECKING:
    import soundfile

Pace = Literal["realtime", "full"]

_FULL_SPEED_BLOCKS_PER_SECOND = 10
_UNKNOWN_FRAMES = 2**63 - 1
"""What libsndfile says where a header tells no length: a flac that went through a pipe."""
_MALFORMED = 3
"""libsndfile's code for a file that begins as it should and goes on as none can."""
_LONGEST_WAV_HEADER = 4096
_CONVERT = 'convert it to wav or flac, or feed raw PCM through a stream with source = "stdin"'


class AudioInfo(NamedTuple):
    """What a file's header says: samples per second, channels, frames and format (e.g. "FLAC").

    `frames` is None where the header does not tell, and an estimate for mp3.
    """

    rate: int
    channels: int
    frames: int | None
    format: str


def probe(path: Path) -> AudioInfo:
    """Read the header of an audio file.

    Raises:
        FormatError: missing, empty, not to be read, or not audio; the message names the remedy.
    """
    with _opened(path) as sound:
        return AudioInfo(sound.samplerate, sound.channels, _frames(sound), sound.format)


def _frames(sound: "soundfile.SoundFile") -> int | None:
    return None if sound.frames == _UNKNOWN_FRAMES else int(sound.frames)


def read_blocks(path: Path, block_samples: int, channel: Channel = "mix") -> Iterator[FloatArray]:
    """Yield a file as mono blocks at its own rate.

    Args:
        path: the file.
        block_samples: samples per block (B); the last one may be shorter.
        channel: a channel counted from 0, or "mix" for the mean of all.

    Yields:
        (B,) float32 in [-1, 1], owned by the caller.

    Raises:
        FormatError: missing, empty, corrupt or not audio, NaN or infinite samples, no such channel.
    """
    with _opened(path) as sound:
        if channel != "mix" and not 0 <= channel < sound.channels:
            raise FormatError(
                f"{path}: expected a channel from 0 to {sound.channels - 1}, got {channel}; "
                'set channel = "mix" or one of these'
            )
        frames = np.empty((block_samples, sound.channels), dtype=np.float32)
        done = 0
        while True:
            got = _read(sound, path, frames)
            if len(got) == 0:
                break
            if not np.isfinite(got).all():
                bad = done + int(np.flatnonzero(~np.isfinite(got).all(axis=1))[0])
                raise FormatError(
                    f"{path}: expected finite samples, got NaN or infinity at frame {bad} "
                    f"({bad / sound.samplerate:.3f} s); repair or re-export the file"
                )
            mono = np.empty(len(got), dtype=np.float32)
            mix_into(got, channel, mono)
            done += len(got)
            yield mono
        estimates = sound.format in ("MP3", "MPEG")
        expected = None if estimates else _frames(sound)
        if expected is None and done == 0:
            raise _without_samples(path, sound.format)
        if expected is not None and done < expected:
            raise FormatError(
                f"{path}: expected {expected} frames as its header says, got {done}: the file is cut "
                "short or corrupt; copy it again"
            )


def _read(sound: "soundfile.SoundFile", path: Path, frames: FloatArray) -> FloatArray:
    import soundfile

    try:
        got: FloatArray = sound.read(out=frames)
    except soundfile.LibsndfileError as err:
        raise FormatError(
            f"{path}: the audio breaks off or is corrupt ({err.error_string}); copy it again, or repair it"
        ) from err
    return got


@contextmanager
def _opened(path: Path) -> "Iterator[soundfile.SoundFile]":
    import soundfile

    class Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
        """A file read from front to back: soundfile seeks after each read, which garbles mp3."""

        def seekable(self) -> bool:
            return False

    _check_readable(path)
    try:
        sound = Sequential(path)
    except (soundfile.LibsndfileError, TypeError) as err:  # TypeError: .raw wants a declared format
        reason = getattr(err, "error_string", "headerless audio")
        if getattr(err, "code", 0) == _MALFORMED:
            raise FormatError(
                f"{path}: the file is cut short before its audio, or corrupt ({reason}); copy it again"
            ) from err
        raise FormatError(
            f"{path}: expected audio (wav, flac, ogg, mp3), got something else ({reason}); {_CONVERT}"
        ) from err
    with sound:
        if sound.frames == 0:
            raise _without_samples(path, sound.format)
        yield sound


def _check_readable(path: Path) -> None:
    """Refuses what libsndfile would not tell from a file without audio.

    Raises:
        FormatError: it is missing, empty, no file, or may not be read.
    """
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError) as err:
        raise FormatError(f"{path}: no such file{_nearest_names(path)}") from err
    except PermissionError as err:
        raise FormatError(
            f"{path}: expected a file that may be read, got '{err.strerror}': check its owner and mode, and "
            "those of its folders"
        ) from err
    except (OSError, ValueError) as err:  # ValueError: a name with a null byte
        reason = getattr(err, "strerror", None) or str(err)
        raise FormatError(f"{path}: expected a file, got '{reason}'; check its name, and the disk") from err
    if stat.S_ISDIR(found.st_mode):
        raise FormatError(f"{path}: expected an audio file, got a folder; name the files in it")
    if not stat.S_ISREG(found.st_mode):
        raise FormatError(
            f"{path}: expected a file, got a pipe or device, which can be read only once; save it first, "
            'or feed raw PCM through a stream with source = "stdin"'
        )
    if found.st_size == 0:
        raise FormatError(f"{path}: expected audio, got an empty file; record or copy it again")


def _without_samples(path: Path, sound_format: str) -> FormatError:
    """What to say of a file whose header is sound, and nothing behind it."""
    got = f"expected audio, got a file ({sound_format}) without a single sample"
    if sound_format in ("WAV", "WAVEX") and path.stat().st_size > _LONGEST_WAV_HEADER:
        return FormatError(
            f"{path}: {got}, says its header, which was not finished when recording broke off; "
            f"`sox --ignore-length {path.name} whole.wav` takes what is there"
        )
    return FormatError(f"{path}: {got}: nothing was recorded, or it was cut short; record or copy it again")


def _nearest_names(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"; the folder {path.parent} does not exist either"
    near = difflib.get_close_matches(path.name, names, n=3)
    return f"; did you mean {', '.join(str(path.parent / name) for name in near)}?" if near else ""


class FileSource(BaseSource):
    """Plays one or several files, one after the other, into its ring.

    At pace "realtime" blocks of 10 ms arrive by the monotonic clock as from a microphone, and a full ring
    drops them; at "full" the source waits for room and nothing is lost. Files of different rates are
    resampled to 16 kHz on the way, so that one stream has one rate.

    Args:
        name: the stream's name.
        paths: at least one file; headers are read at once.
        pace: "realtime" or "full".
        loop: begin again after the last file, for ever.
        channel: a channel counted from 0, or "mix".
        rate: what the files must have (0: whatever they have).
        ring_seconds: how much audio the ring holds.
        doorbell: one to share with other sources.

    Raises:
        FormatError: see `probe`; or a rate that is not the declared one.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        *,
        pace: Pace = "realtime",
        loop: bool = False,
        channel: Channel = "mix",
        rate: int = 0,
        ring_seconds: float = 4.0,
        doorbell: Doorbell | None = None,
    ) -> None:
        """Read the headers; see the class for the arguments."""
        if not paths:
            raise FormatError(f'stream "{name}": expected at least one file, got none; set path')
        infos = [probe(path) for path in paths]
        for path, info in zip(paths, infos, strict=True):
            if rate and info.rate != rate:
                raise FormatError(
                    f"{path}: expected {rate} Hz as declared, got {info.rate} Hz; "
                    "set rate = 0 to take each file as it is"
                )
        rates = {info.rate for info in infos}
        native_rate = rates.pop() if len(rates) == 1 else PIPELINE_RATE
        super().__init__(
            name, native_rate, ring_seconds=ring_seconds, paced=pace == "realtime", doorbell=doorbell
        )
        self.paths = tuple(paths)
        self._infos = infos
        self._loop = loop
        self._channel = channel
        self._thread = threading.Thread(target=self._run, name=f"file-{name}", daemon=True)

    def start(self) -> None:
        """Begin to play."""
        self._thread.start()

    def stop(self) -> None:
        """Stop playing; samples already in the ring stay readable."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._close_doorbell()

    def _run(self) -> None:
        try:
            if self.paced:
                self._play_paced()
            else:
                self._play_full()
        except AuricleError as err:
            self.error = err
            self._notify_error(err, time.monotonic_ns())
        except Exception as err:  # a thread must not die unheard
            self.error = FormatError(f"reading failed: {err!r}")
            self._notify_error(self.error, time.monotonic_ns())
        self._notify_device("ended", time.monotonic_ns(), str(self.paths[-1]), 1)
        self._finish(time.monotonic_ns())

    def _play_full(self) -> None:
        for block in self._blocks(_FULL_SPEED_BLOCKS_PER_SECOND):
            if not self._write_all(block, time.monotonic_ns()):
                return

    def _play_paced(self) -> None:
        start_ns, sent = time.monotonic_ns(), 0
        for block in self._blocks(BLOCKS_PER_SECOND):
            sent += len(block)
            due_ns = start_ns + sent * NS_PER_SECOND // self.native_rate
            wait_ns = due_ns - time.monotonic_ns()
            if self._stopping.wait(max(wait_ns, 0) / NS_PER_SECOND):
                return
            self.ring.write(block, due_ns)
            self.doorbell.ring()

    def _blocks(self, per_second: int) -> Iterator[FloatArray]:
        """All files in a row at the stream's rate, each announced when it begins."""
        while True:
            for path, info in zip(self.paths, self._infos, strict=True):
                self._notify_device("opened", time.monotonic_ns(), str(path), info.channels)
                blocks = read_blocks(path, max(info.rate // per_second, 1), self._channel)
                if info.rate == self.native_rate:
                    yield from blocks
                    continue
                resampler = Resampler(info.rate)
                for block in blocks:
                    yield resampler.process(block)
                yield resampler.process(np.empty(0, np.float32), last=True)
            if not self._loop or self._stopping.is_set():
                return
