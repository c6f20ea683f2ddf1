"""Fits the verifier of a wake phrase to its user's recordings, and says what it is worth.

Four networks, each fitted to half of the recordings and half of the background; every recording and every
piece of the background is unseen by two of them, whose mean judges it and sets the thresholds. What is
written are all four: what they agree on is judged better than by two.

Shape letters: B examples, T frames, V labels, H hidden.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from auricle.configs.errors import DataError
from auricle.models.decoding.background import Background, Codes, Tail, fit_tail
from auricle.models.decoding.phrases import Array, PhraseSearch, Way
from auricle.models.decoding.verifier import Verifier, VerifierInfo, Weights, inputs, scaled
from auricle.pipelines.verifier_data import Example, Take, examples, values_of
from auricle.pipelines.wake_streams import NEVER, scan

NETWORKS = 4
SEEN_BY = tuple(combinations(range(NETWORKS), NETWORKS // 2))
"""The networks that one recording or piece is fitted to, in turn."""
HIDDEN = 24
STEPS = 150
POSITIVE, NEGATIVE = 32, 48
"""Examples in a step."""
LEARNING_RATE = 5e-3
WEIGHT_DECAY = 1e-2
INPUT_DROPOUT, OUTPUT_DROPOUT = 0.2, 0.3
FEWEST = 8
"""Recordings of the phrase."""
CANDIDATE_RATE, FIT_RATE = 100.0, 300.0
"""Candidates per hour of background that are looked at again; and those that are fitted to."""
TAIL_EVENTS = 20
"""The tail of scores falls off faster than that of the search: fewer of the highest describe it."""
KEPT_SCORES = 400


class Fitted(NamedTuple):
    """A verifier, and what recordings and background score where held out."""

    verifier: Verifier
    plain: Tail
    """Of the search alone."""
    raw: list[Array]
    """Highest score in the search of each recording, for each take."""
    held_out: list[Array]
    """The same for the verifier; `NEVER` where there is no candidate."""

    def misses(self, take: int, rate: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which recordings are missed at a rate of false accepts, without and with the verifier."""
        alone = self.raw[take] < self.plain.threshold(rate)
        return alone, self.held_out[take] < self.verifier.tail.score_at(rate)


class Net(nn.Module):
    """One network of a verifier; `Weights` are what it learns."""

    def __init__(self, labels: int) -> None:
        """Begins with the search's score alone."""
        super().__init__()
        self.drop_inputs, self.drop_output = nn.Dropout(INPUT_DROPOUT), nn.Dropout(OUTPUT_DROPOUT)
        self.gru = nn.GRU(labels, HIDDEN, batch_first=True)
        self.output = nn.Linear(HIDDEN, 1, bias=False)
        self.raw = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, read: Tensor, counts: Tensor, raw: Tensor) -> Tensor:
        """Logits `(B,)` of segments `(B, T, V)` of so many frames, and their scores in the search."""
        states, _ = self.gru(self.drop_inputs(read))
        last = self.drop_output(states[torch.arange(len(read)), counts - 1])
        said: Tensor = self.output(last)[:, 0] + self.raw[0] * raw + self.raw[1]
        return said


def fit_verifier(
    info: VerifierInfo,
    background: Background,
    takes: Sequence[Take],
    talk: Sequence[Codes] = (),
    names: Sequence[str] = (),
) -> Fitted:
    """Fits a verifier; a minute or less.

    Args:
        info: what it is to belong to; `least_raw` is set here.
        background: of the acoustic model.
        takes: the recordings of the phrase, first as they are.
        talk: speech of the user's without the phrase, to fit to as well.
        names: of the recordings, for messages.

    Raises:
        DataError: there are too few recordings in which the phrase can be found.
    """
    count = len(takes[0].codes)
    check_count(info.phrase, count)
    search = PhraseSearch([info.ways], info.search)
    scores, _ = scan(values_of(background.codes), search)
    plain = fit_tail(scores[..., 0], background.info)
    least, lowest = plain.score_at(CANDIDATE_RATE), plain.score_at(FIT_RATE)
    wrong = examples(list(background.codes), search, lowest)
    right = [[_best(found) for found in examples(take.codes, search, lowest)] for take in takes]
    found = sum(example is not None for example in right[0])
    if found < FEWEST:
        missing = [name for name, example in zip(names, right[0], strict=False) if example is None]
        raise DataError(
            f"'{info.phrase}' was found in {found} of {count} recordings, {FEWEST} are needed: check that "
            f"each holds the phrase, and how it is spoken (`auricle say-it`); not found in: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}"
        )
    always = [example for part in examples(talk, search, lowest) for example in part] if talk else []
    nets = [
        _fit_one(
            [one for take in right for place, one in enumerate(take) if one and network in _seen_by(place)],
            [one for place, part in enumerate(wrong) if network in _seen_by(place) for one in part] + always,
            network,
        )
        for network in track(range(NETWORKS), "fitting")
    ]
    info = VerifierInfo(info.phrase, info.ways, info.model, info.search, least, info.record)
    verifier = Verifier(info, join(nets), plain)
    tail = _held_out_tail(verifier, wrong, background)
    raw, held_out = zip(*(_judge(verifier, take) for take in right), strict=True)
    return Fitted(Verifier(info, verifier.weights, tail), plain, list(raw), list(held_out))


def check_count(phrase: str, count: int) -> None:
    """Refuses too few recordings.

    Raises:
        DataError: there are fewer than `FEWEST`.
    """
    if count < FEWEST:
        raise DataError(
            f"too few recordings to fit a verifier for '{phrase}': expected {FEWEST} or more, found {count}; "
            "thirty, on different days and from different places, are a good start"
        )


def _seen_by(place: int) -> tuple[int, ...]:
    return SEEN_BY[place % len(SEEN_BY)]


def _best(found: Sequence[Example]) -> Example | None:
    return max(found, key=lambda example: example.candidate.raw, default=None)


def _fit_one(right: Sequence[Example], wrong: Sequence[Example], seed: int) -> Net:
    """Fits one network to as many right as wrong candidates."""
    torch.manual_seed(seed)
    net = Net(right[0].segment.shape[1])
    optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, STEPS, pct_start=0.1)
    both = [*right, *wrong]
    raws = torch.from_numpy(scaled(np.array([one.candidate.raw for one in both], np.float32)))
    truth = torch.cat([torch.ones(POSITIVE), torch.zeros(NEGATIVE)])
    rng = np.random.default_rng(seed)
    read = torch.from_numpy(inputs([one.segment for one in both]))
    counts = torch.tensor([len(one.segment) for one in both])
    for _ in range(STEPS):
        own, other = rng.integers(len(right), size=POSITIVE), rng.integers(len(wrong), size=NEGATIVE)
        drawn = torch.from_numpy(np.concatenate([own, len(right) + other]))
        longest = int(counts[drawn].max())
        logits = net(read[drawn, :longest], counts[drawn], raws[drawn])
        loss = nn.functional.binary_cross_entropy_with_logits(logits, truth)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return net.eval()


def join(nets: Sequence[Net]) -> Weights:
    """Puts networks side by side."""

    parts = [{name: value.detach().numpy() for name, value in net.named_parameters()} for net in nets]

    def stacked(name: str) -> Array:
        return np.stack([part[name] for part in parts]).astype(np.float32)

    return Weights(
        inputs=stacked("gru.weight_ih_l0").transpose(0, 2, 1),
        hidden=stacked("gru.weight_hh_l0").transpose(0, 2, 1),
        input_bias=stacked("gru.bias_ih_l0")[:, None],
        hidden_bias=stacked("gru.bias_hh_l0")[:, None],
        output=stacked("output.weight")[:, 0],
        raw=stacked("raw"),
    )


def _held_out(verifier: Verifier, places: Sequence[int], found: Sequence[Example]) -> Array:
    """The mean of the networks that were not fitted to each example; candidates only."""
    if not found:
        return np.zeros(0, np.float32)
    scores = verifier.scores([one.segment for one in found], [one.candidate.raw for one in found])
    unseen = np.array([[net not in _seen_by(place) for place in places] for net in range(NETWORKS)])
    means = (scores * unseen).sum(0) / unseen.sum(0)
    raws = np.array([one.candidate.raw for one in found])
    return np.where(raws >= verifier.info.least_raw, means, NEVER).astype(np.float32)


def _held_out_tail(verifier: Verifier, wrong: Sequence[Sequence[Example]], background: Background) -> Tail:
    """Fits the rate of false accepts to what the networks say of background that they do not know."""
    places = [place for place, part in enumerate(wrong) for _ in part]
    every = [one for part in wrong for one in part]
    scores = np.full(background.codes.shape[:2], NEVER, np.float32)
    for place, one, score in zip(places, every, _held_out(verifier, places, every), strict=True):
        scores[place, one.candidate.frame] = score
    events = min(TAIL_EVENTS, max(2, int((scores > NEVER).sum()) // 2))
    tail = fit_tail(scores, background.info, events)
    return tail._replace(scores=tail.scores[:KEPT_SCORES], best=np.inf)


def _judge(verifier: Verifier, take: Sequence[Example | None]) -> tuple[Array, Array]:
    """Scores of all recordings in the search and, held out, in the verifier; `NEVER` for those not found."""
    raw, held_out = (np.full(len(take), NEVER, np.float32) for _ in range(2))
    there = [place for place, one in enumerate(take) if one]
    raw[there] = [one.candidate.raw for one in take if one]
    held_out[there] = _held_out(verifier, there, [one for one in take if one])
    return raw, held_out


def new_info(phrase: str, ways: tuple[Way, ...], background: Background) -> VerifierInfo:
    """A verifier's description before it is fitted."""
    return VerifierInfo(phrase, ways, background.info.model, background.info.search, 0.0)
