"""Endless streams of labelled audio, cut into consecutive segments for truncated back-propagation.

A *planner* makes pieces (a word, a pause, a sentence); an `EndlessStream` lays them one after another; a
`StreamBatcher` cuts B streams into segments that follow each other exactly, so that a model's state can be
carried from one segment to the next and is never reset.

Every piece is drawn from a generator seeded by (seed, stream, number of the piece): the whole position of a
stream is that number and what is left of the last pieces, and a run resumed from it goes on identically.

Shape letters: B streams, N samples, T hops of 160 samples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from auricle.pipelines.targets import HOP_SAMPLES, IGNORE, Floats, Targets

Planner = Callable[[np.random.Generator], "Piece"]

FADE_SAMPLES = 80
"""Both ends of every piece are faded over 5 ms, so that no seam clicks."""


@dataclass(frozen=True)
class Piece:
    """A stretch of audio and what it should be called."""

    samples: Floats
    """With shape `(N,)`."""
    targets: Targets
    """With shape `(N // 160,)`, or longer: what is beyond reaches over the pieces that follow."""
    note: Any = None
    """Anything that evaluation wants to find again at this place in the stream."""


@dataclass(frozen=True)
class Placed:
    """Where a piece came to lie in its stream."""

    stream: int
    start_sample: int
    end_sample: int
    note: Any


class Segment(NamedTuple):
    """The same stretch of time of B streams."""

    samples: Tensor  # (B, N) float32
    targets: Tensor  # (B, T) int64


@dataclass
class EndlessStream:
    """Pieces one after another, handed out in blocks of any whole number of hops."""

    planner: Planner
    seed: tuple[int, ...]
    delay_hops: int = 0
    """Targets come this much later than the audio they speak of."""
    placed: list[Placed] | None = None
    """Where given, every piece with a note is listed here."""
    pieces: int = 0
    written_samples: int = 0
    samples: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    targets: Targets = field(init=False)

    def __post_init__(self) -> None:
        """Starts with the delay."""
        self.targets = np.full(self.delay_hops, IGNORE, np.int16)

    def take(self, hops: int) -> tuple[Floats, Targets]:
        """Returns the next `(hops * 160,)` samples and `(hops,)` targets."""
        parts, have = [self.samples], len(self.samples)
        while have < hops * HOP_SAMPLES:
            piece = self.planner(np.random.default_rng((*self.seed, self.pieces)))
            samples = _whole_hops(piece.samples)
            self._append_targets(piece.targets, len(samples) // HOP_SAMPLES, have // HOP_SAMPLES)
            self._note(piece, len(samples))
            parts.append(samples)
            have += len(samples)
            self.pieces += 1
        joined = np.concatenate(parts)
        self.samples = joined[hops * HOP_SAMPLES :].copy()
        targets, self.targets = self.targets[:hops], self.targets[hops:].copy()
        return joined[: hops * HOP_SAMPLES], targets

    def _append_targets(self, targets: Targets, count: int, queued: int) -> None:
        """Queues a piece's targets; where an earlier piece reached over, the more specific one holds."""
        start = queued + self.delay_hops
        reach = np.full(max(0, start + len(targets) - len(self.targets)), IGNORE, np.int16)
        self.targets = np.concatenate([self.targets, reach])
        place = self.targets[start : start + len(targets)]
        earlier = place[:count].copy()
        place[:] = targets
        wins = (earlier > 0) & (targets[:count] <= 0)
        place[:count][wins] = earlier[wins]

    def _note(self, piece: Piece, length: int) -> None:
        start = self.written_samples
        self.written_samples += length
        if self.placed is not None and piece.note is not None:
            self.placed.append(Placed(self.seed[-1], start, self.written_samples, piece.note))

    def state_dict(self) -> dict[str, Any]:
        """The position in the stream, as `torch.save` can store it."""
        return {
            "pieces": self.pieces,
            "written_samples": self.written_samples,
            "samples": torch.from_numpy(self.samples.copy()),
            "targets": torch.from_numpy(self.targets.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Returns to a position."""
        self.pieces, self.written_samples = int(state["pieces"]), int(state["written_samples"])
        self.samples, self.targets = state["samples"].numpy().copy(), state["targets"].numpy().copy()


def _whole_hops(samples: Floats) -> Floats:
    """Cuts to whole hops and fades the ends."""
    result = samples[: len(samples) // HOP_SAMPLES * HOP_SAMPLES].astype(np.float32)
    if len(result) >= 2 * FADE_SAMPLES:
        ramp = np.linspace(0.0, 1.0, FADE_SAMPLES, dtype=np.float32)
        result[:FADE_SAMPLES] *= ramp
        result[-FADE_SAMPLES:] *= ramp[::-1]
    return result


class StreamBatcher:
    """B endless streams of the same kind, segment by segment."""

    def __init__(
        self,
        planner: Planner,
        *,
        streams: int,
        hops: int,
        seed: int,
        delay_hops: int = 0,
        note_places: bool = False,
    ) -> None:
        """Prepares the streams.

        Args:
            planner: makes the next piece from a random generator.
            streams: B.
            hops: T, length of a segment.
            seed: two batchers of one seed and planner give the same streams.
            delay_hops: by how much targets lag behind.
            note_places: whether to keep a list of where noted pieces lie (for evaluation).
        """
        self.placed: list[Placed] = []
        places = self.placed if note_places else None
        self.hops = hops
        self.streams = [
            EndlessStream(planner, (seed, stream), delay_hops, places) for stream in range(streams)
        ]

    def next(self) -> Segment:
        """Returns the next segment of every stream."""
        taken = [stream.take(self.hops) for stream in self.streams]
        samples = torch.from_numpy(np.stack([samples for samples, _ in taken]))
        targets = torch.from_numpy(np.stack([targets for _, targets in taken]).astype(np.int64))
        return Segment(samples, targets)

    def state_dict(self) -> list[dict[str, Any]]:
        """The position of every stream."""
        return [stream.state_dict() for stream in self.streams]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Returns to a position."""
        for stream, state in zip(self.streams, states, strict=True):
            stream.load_state_dict(state)
