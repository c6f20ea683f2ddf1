"""Utterances to learn phones from: which recordings, what is said in them, and in which order they come."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from auricle.configs.errors import ConfigError, DataError
from auricle.models.lexicon import Lexicon
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.sounds import NoiseConfig

logger = logging.getLogger(__name__)

CRITERIA = ("ctc", "ce", "lfmmi", "distil")
UNITS = ("phone", "biphone")
WITHOUT_WORDS = frozenset({("speechcommands", "silence")})
"""Labels that name no word."""


@dataclass(frozen=True)
class AcousticData:
    """What an acoustic model learns from, and by which criterion."""

    sets: Mapping[str, int] = field(
        default_factory=lambda: {
            "librispeech": 0,
            "libridevclean": 0,
            "commonvoice": 0,
            "speechocean762": 0,
            "wuw2": 0,
            "vctk": 0,
            "vctk4": 0,
            "ljspeech": 0,
            "kathleen": 0,
            "asterisk": 0,
            "englishccc": 0,
            "speechcommands": 3600,
        }
    )
    """Sets, and how many clips of each to draw for an epoch; 0 for all of them."""
    dev_sets: tuple[str, ...] = ("librispeech", "commonvoice", "speechocean762", "wuw2")
    dev_seconds: float = 240.0
    """Of each dev set this much is judged while training."""
    criterion: str = "ctc"
    """"ctc", "ce" (frame targets from an alignment), "lfmmi" (CTC topology against a phone bigram) or
    "distil" (what another model says of each frame)."""
    units: str = "phone"
    """"phone", or "biphone": a second head learns phones together with the one before, and is left out of the
    model file."""
    biphones: int = 400
    """The so many most frequent pairs are units of their own."""
    unit_weight: float = 0.3
    """Weight of the second head's loss, CTC whatever the criterion."""
    early_weight: float = 0.0
    """For "ctc" and "lfmmi": weight of the loss that draws phones towards earlier frames."""
    ctc_weight: float = 0.1
    """Share of plain CTC that is added to "lfmmi" and "distil"."""
    teacher: str = ""
    """For "distil": the model to learn from, by name or path."""
    second_layers: int = 0
    """Above 0: a second pass of so many layers is learnt above the network in `training.start`, which stays
    as it is, unless it learns, too (`first_weight`)."""
    first_weight: float = 0.0
    """Above 0: the network below a second pass learns as well, by what that wants of it and, with this
    weight, by its own outputs; both are written."""
    consistency_weight: float = 0.0
    """Above 0: a batch holds each utterance twice, in other rooms and other noise, and what is said of the
    two is drawn together with this weight."""
    aligner: str = ""
    """For "ce": the CTC model that aligns the recordings, by name or path."""
    aligner_blank_shift: float = -3.0
    """Added to the aligner's log-probability of blank."""
    pause_frames: int = 5
    """For "ce": longer gaps between phones are silence; shorter ones are divided between their neighbours."""
    batch_seconds: float = 300.0
    """Audio of a batch, padding included."""
    shortest_s: float = 0.25
    longest_s: float = 17.0
    pad_most_s: float = 0.4
    """Up to so much silence is put before and after each recording."""
    speed_low: float = 0.9
    speed_high: float = 1.1
    carry_part: float = 0.5
    """Part of the utterances that go on from the state in which another one ended, as in a stream."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    @property
    def only_second(self) -> bool:
        """Whether a second pass is all that is learnt."""
        return self.second_layers > 0 and not self.first_weight

    @property
    def views(self) -> int:
        """How often a batch holds each utterance."""
        return 2 if self.consistency_weight else 1

    def __post_init__(self) -> None:
        """Checks the choices."""
        if self.criterion not in CRITERIA:
            raise ConfigError(
                f"unknown acoustic.criterion '{self.criterion}': expected one of {', '.join(CRITERIA)}"
            )
        if self.units not in UNITS:
            raise ConfigError(f"unknown acoustic.units '{self.units}': expected one of {', '.join(UNITS)}")
        if self.early_weight and self.criterion not in ("ctc", "lfmmi"):
            raise ConfigError(
                "acoustic.early_weight is for 'ctc' and 'lfmmi': with 'ce' the delay is lookahead_frames, "
                "with 'distil' it is the teacher's"
            )
        if self.criterion == "ce" and not self.aligner:
            raise ConfigError(
                "acoustic.criterion 'ce' wants frame targets: name a model trained with 'ctc' in "
                "acoustic.aligner"
            )
        if self.first_weight and not self.second_layers:
            raise ConfigError(
                "acoustic.first_weight goes with acoustic.second_layers: alone, a model learns anyhow"
            )
        if min(self.first_weight, self.consistency_weight) < 0:
            raise ConfigError("acoustic.first_weight and acoustic.consistency_weight want 0 or more")
        if self.criterion == "distil" and not self.teacher:
            raise ConfigError(
                "acoustic.criterion 'distil' wants a model to learn from: name it in acoustic.teacher"
            )


class Utterance(NamedTuple):
    """A recording and the phones that are said in it."""

    clip: Clip
    labels: tuple[int, ...]


def list_utterances(
    corpus: Corpus, sets: Sequence[str], split: str, *, data: AcousticData, lexicon: Lexicon, frame_s: float
) -> list[Utterance]:
    """Lists the clips with known words that are neither too long, nor too short for their phones.

    Raises:
        DataError: a set has no such clips, or a text cannot be spoken.
    """
    found: list[Utterance] = []
    for name in sets:
        before = len(found)
        clips = corpus.clips(name, split)
        for clip in clips:
            if not clip.words or (name, clip.label) in WITHOUT_WORDS:
                continue
            labels = tuple(lexicon.labels(" ".join(clip.words)))
            room = clip.seconds / data.speed_high >= frames_needed(labels) * frame_s
            if room and data.shortest_s <= clip.seconds <= data.longest_s:
                found.append(Utterance(clip, labels))
        if len(found) == before:
            raise DataError(f"no {split} utterances with text in {name}: leave it out of acoustic.sets")
        logger.info("%s %s: %d of %d clips", name, split, len(found) - before, len(clips))
    return found


def frames_needed(labels: Sequence[int]) -> int:
    """Output frames that CTC needs: one for each label, and a blank between two equal ones."""
    return len(labels) + sum(one == other for one, other in pairwise(labels))


def plan_epoch(
    utterances: Sequence[Utterance], limits: Mapping[str, int], seconds: float, rng: np.random.Generator
) -> list[list[int]]:
    """Sorts an epoch's utterances into batches of about equal length, and shuffles the batches.

    Args:
        utterances: all of them.
        limits: sets, and how many of their utterances to draw; 0 for all.
        seconds: of each batch, padding to its longest utterance included.
        rng: decides the order.

    Returns:
        Numbers of utterances, batch by batch.
    """
    drawn: list[int] = []
    taken: dict[str, int] = dict.fromkeys(limits, 0)
    for number in rng.permutation(len(utterances)):
        name = utterances[number].clip.set
        if not limits[name] or taken[name] < limits[name]:
            taken[name] += 1
            drawn.append(int(number))
    lengths = {number: utterances[number].clip.seconds for number in drawn}
    fuzzy = {number: length * rng.uniform(0.9, 1.1) for number, length in lengths.items()}
    batches: list[list[int]] = [[]]
    longest = 0.0
    for number in sorted(drawn, key=lambda number: fuzzy[number]):
        longest = max(longest, lengths[number])
        if batches[-1] and longest * (len(batches[-1]) + 1) > seconds:
            batches.append([])
            longest = lengths[number]
        batches[-1].append(number)
    if len(batches) > 1 and 2 * len(batches[-1]) < len(batches[-2]):
        # What is left over may be a single utterance, which several processes could not share.
        both = batches[-2] + batches[-1]
        batches[-2:] = [both[: len(both) // 2], both[len(both) // 2 :]]
    return [batches[place] for place in rng.permutation(len(batches))]
