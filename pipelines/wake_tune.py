"""How well a phrase works as a wake phrase: synthetic voices and own recordings against speech.

Shape letters: B streams, N samples, J output frames, V labels.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
import torch

from auricle.configs.errors import DataError
from auricle.models.decoding.background import Background, Tail
from auricle.models.decoding.listening import fires_at
from auricle.models.decoding.phrases import Array, PhraseSearch, Way
from auricle.models.decoding.second_look import path_ends, words_of
from auricle.models.phones import BLANK_INDEX
from auricle.pipelines.corpus import SAMPLE_RATE
from auricle.pipelines.dev import lay_out
from auricle.pipelines.sounds import coloured_noise, speech_at_reference
from auricle.pipelines.streams import Piece
from auricle.pipelines.synthesis import ENGINES, draw_utterance, speak
from auricle.pipelines.targets import Floats
from auricle.pipelines.wake_streams import GAP_SAMPLES, Ear, scan, scan_again

RATES = (5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05)
AUDIO = (".wav", ".flac", ".ogg", ".mp3", ".opus")
USUAL_RATE = 0.5
"""False accepts per hour, where nobody's recordings say what to choose."""
SNR_DB = 10.0
FEWEST_PHONES = 6
FEW_RECORDINGS = 15
OFTEN_MISSED = 0.2
"""A phrase of which more is missed annoys whoever says it."""
LATE_FRAMES = 10
CLIP_S = (2.0, 0.5)
"""A false hit is kept from so long before its decision to so long after it."""
CLEAR = np.log(0.9)


class Recording(NamedTuple):
    """Somebody says the phrase."""

    name: str
    samples: Floats  # 16 kHz


class Judged(NamedTuple):
    """What the recordings of a phrase scored."""

    recordings: list[Recording]
    clean: Array  # raw score of each
    noisy: Array  # the same with noise 10 dB below

    def missed(self, threshold: float) -> list[Recording]:
        """Those that score less as they are."""
        return [one for one, score in zip(self.recordings, self.clean, strict=True) if score < threshold]


def synthesise(phrase: str, count: int, seed: int = 0) -> list[Recording]:
    """Speaks the phrase in so many voices; fewer where an engine says nothing, none without engines."""
    engines = tuple(engine for engine in ENGINES if shutil.which(engine))
    if not engines:
        return []
    rng = np.random.default_rng(seed)
    spoken = [draw_utterance(phrase, rng, engines) for _ in range(count)]
    found = [(utterance, speak(utterance)) for utterance in spoken]
    return [
        Recording(f"synthetic-{number}-{utterance.voice}", samples)
        for number, (utterance, samples) in enumerate(found)
        if samples is not None
    ]


def read_folder(folder: Path) -> list[Recording]:
    """Reads all recordings in a folder, at 16 kHz.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: expected one with recordings ({', '.join(AUDIO)})")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO)
    if not paths:
        raise DataError(f"no recordings in {folder}: expected {', '.join(AUDIO)}")
    found = []
    for path in paths:
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise DataError(f"cannot read {path}: {error}") from error
        mono = samples.mean(1)
        mono = soxr.resample(mono, rate, SAMPLE_RATE) if rate != SAMPLE_RATE else mono
        found.append(Recording(str(path.relative_to(folder)), np.asarray(mono, np.float32)))
    return found


def hours(recordings: Sequence[Recording]) -> float:
    """How long they last together."""
    return sum(len(one.samples) for one in recordings) / SAMPLE_RATE / 3600


class Listener:
    """Scores one phrase as the daemon does: by its search, and by the second pass where there is one."""

    def __init__(
        self, ear: Ear, ways: Sequence[Way], background: Background, *, looks_again: bool = True
    ) -> None:
        """Searches the background for the phrase, and that of the second pass if it is wanted.

        Raises:
            ModelError: that of the second pass is damaged, or belongs elsewhere.
        """
        self._ear, self._ways = ear, ways
        self._look = ear.second_look() if looks_again else None
        self.frame_samples = ear.spec.frame_samples
        self._search = PhraseSearch([ways], background.info.search)
        self.background, self.tail = background, background.tails(self._search)[0]
        self._fires = fires_at(self.tail, RATES[0])
        if self._look:
            self.background = self._look.background
            self.tail = self.background.tails(PhraseSearch([ways], self.background.info.search))[0]

    def scores(self, samples: torch.Tensor) -> Array:
        """The score in each frame of a stream `(1, N)`, with shape `(J,)`."""
        heard = self._ear.hear_all(samples, hidden=self._look is not None)
        if self._look:
            settings = self._search.settings
            found = scan_again(heard, [self._ways], settings, self._look, [self._fires])
        else:
            found = scan(heard.log_probs, self._search)[0]
        scores: Array = found[0, :, 0]
        return scores


def judge(listener: Listener, recordings: Sequence[Recording]) -> Judged:
    """Scores recordings of one phrase, in a stream, as they are and in noise."""
    silence, nothing = np.zeros(GAP_SAMPLES, np.float32), np.zeros(0, np.int16)
    pieces = [
        Piece(np.concatenate([silence, speech_at_reference(recording.samples), silence]), nothing)
        for recording in recordings
    ]
    samples, placed = lay_out(pieces, 1)
    noise = torch.from_numpy(coloured_noise(np.random.default_rng(0), samples.shape[1]))[None]
    scores = []
    for heard in (samples, samples + noise * 10 ** (-SNR_DB / 20)):
        found, frame = listener.scores(heard), listener.frame_samples
        scores.append(
            [
                found[place.start_sample // frame : place.end_sample // frame + LATE_FRAMES].max()
                for place in placed
            ]
        )
    return Judged(list(recordings), *(np.array(values, np.float32) for values in scores))


def false_hits(listener: Listener, recordings: Sequence[Recording], threshold: float) -> list[Recording]:
    """Cuts out of recordings without the phrase what is taken for it."""
    hits = []
    before, after = (round(seconds * SAMPLE_RATE) for seconds in CLIP_S)
    for recording in recordings:
        samples, _ = lay_out([Piece(speech_at_reference(recording.samples), np.zeros(0, np.int16))], 1)
        scores, frame_samples = listener.scores(samples), listener.frame_samples
        last = -len(scores)
        for frame in np.flatnonzero(scores >= threshold).tolist():
            if frame - last > SAMPLE_RATE // frame_samples:
                end = (frame + 1) * frame_samples
                cut = recording.samples[max(0, end - before) : end + after]
                hits.append(Recording(f"{Path(recording.name).stem}-{end / SAMPLE_RATE:.2f}s", cut))
            last = frame
    return hits


def ideal(way: Way) -> Array:
    """Log-probabilities `(J, V)` of a way to say a phrase as clear as can be, after silence."""
    labels = [BLANK_INDEX] * 12
    for word in way:
        for label in word:
            labels += [BLANK_INDEX, label, label] if label == labels[-1] else [label, label]
    rows = np.full((len(labels), 40), np.log(0.1 / 39), np.float32)
    rows[np.arange(len(labels)), labels] = CLEAR
    return rows


def closeness(ways: Sequence[Way], other: Sequence[Way], background: Background) -> float:
    """The raw score of a phrase while another one is said clearly."""
    search, against = PhraseSearch([ways], background.info.search), words_of(background)
    scores = []
    for rows in map(ideal, other):
        words = against.hear(rows[None], background.info.search) if against else None
        scores += [end.score for end in path_ends(rows, search, background.info, words)]
    return max(scores)


def warnings(
    ways: Sequence[Way], tail: Tail, rate: float, others: Mapping[str, Sequence[Way]], background: Background
) -> list[str]:
    """Says in words why a phrase is weak; empty if it is not."""
    found = []
    phones = min(sum(map(len, way)) for way in ways)
    if phones < FEWEST_PHONES:
        found.append(f"short: {phones} phones; phrases of {FEWEST_PHONES} and more are mistaken less often")
    if (least := tail.least_rate) > rate:
        found.append(
            f"common: even if only what fits perfectly is heard, {least:.1f} false accepts an hour are to be "
            f"expected, and {rate:g} were asked for"
        )
    threshold = tail.threshold(rate)
    for name, other in others.items():
        if closeness(ways, other, background) >= threshold:
            found.append(f"close to '{name}': who says that wakes this one, too")
    return found


def misses(scores: Array, tail: Tail) -> list[float]:
    """The share of recordings missed at each of `RATES`."""
    return [float((scores < tail.threshold(rate)).mean()) for rate in RATES]


def table(judged: Judged, tail: Tail) -> list[str]:
    """Misses at each of `RATES`, and the thresholds that stand for them, as lines."""
    lines = ["false accepts per hour   missed   missed in noise   threshold"]
    for rate, quiet, loud in zip(RATES, misses(judged.clean, tail), misses(judged.noisy, tail), strict=True):
        lines.append(f"{rate:22g}   {100 * quiet:5.0f}%   {100 * loud:14.0f}%   {1 / (1 + rate):9.2f}")
    return lines


def doubts(people: Judged, tail: Tail, rate: float) -> list[str]:
    """Says in words why recordings of people tell little, or nothing good; empty if they do."""
    found = []
    if (count := len(people.recordings)) < FEW_RECORDINGS:
        found.append(f"few recordings: {count} tell little about how often you will be missed; give twenty")
    missed = float((people.clean < tail.threshold(rate)).mean())
    if missed > OFTEN_MISSED:
        found.append(
            f"often missed: {missed:.0%} of the recordings, as they are. Does each hold the phrase, once, "
            "spoken as `auricle say-it` shows? If so, choose another phrase"
        )
    return found


def recommend(missed: Sequence[float]) -> float:
    """The lowest rate of false accepts that costs hardly more misses than the highest.

    Where even that misses too many, what is usual: being strict would not make it better.
    """
    if missed[0] > OFTEN_MISSED:
        return USUAL_RATE
    return min(
        rate
        for rate, share in zip(RATES, missed, strict=True)
        if share <= missed[0] + 0.05 or rate == RATES[0]
    )


def draw(judged: Mapping[str, Judged], tail: Tail, phrase: str, path: Path) -> None:
    """Misses against false accepts per hour, for each kind of recordings by its name."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(6.5, 4.5), layout="constrained")
    axes = picture.add_subplot()
    rates = np.geomspace(0.02, RATES[0], 120)
    for number, (who, one) in enumerate(judged.items()):
        for scores, style, where in (
            (one.clean, "-", "as recorded"),
            (one.noisy, "--", f"noise at {SNR_DB:.0f} dB"),
        ):
            shares = [100 * float((scores < tail.threshold(rate)).mean()) for rate in rates]
            axes.plot(rates, shares, style, color=f"C{number}", label=f"{len(scores)} {who}, {where}")
    axes.set(xscale="log", ylim=(0, 100), xlabel="false accepts per hour of speech", ylabel="misses (%)")
    axes.set_title(phrase)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    picture.savefig(path, dpi=110)


def keep(folder: Path, recordings: Sequence[Recording]) -> None:
    """Writes recordings as wav files."""
    folder.mkdir(parents=True, exist_ok=True)
    for recording in recordings:
        name = "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in recording.name)
        name = Path(name).stem if name.lower().endswith(AUDIO) else name
        soundfile.write(folder / f"{name}.wav", recording.samples, SAMPLE_RATE)
