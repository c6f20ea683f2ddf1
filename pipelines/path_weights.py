"""How paths of wake phrases are weighed, learnt from phrases that people said in passing.

    python -m auricle.pipelines.path_weights MODEL.safetensors --data DATA --work runs

draws phrases of one to three words from training sentences, mostly their beginnings, and listens for them
where they are said and where they are not, in the quiet and in noise. The weights are those by which a phrase
that was said stands out best from the best that is found elsewhere. Printed for `PhraseSearchSettings`, with
misses of phrases of `dev` beside those with the shipped weights, and by the labels' fit alone.

Shape letters: B streams, J output frames, P phrases, N paths, E kinds of evidence.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.configs.errors import DataError
from auricle.models.decoding.background import WINDOW_FRAMES
from auricle.models.decoding.phrases import Array, Evidence, PhraseSearch, PhraseSearchSettings
from auricle.models.decoding.ways import ways_of
from auricle.models.lexicon import Lexicon
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.streams import Placed
from auricle.pipelines.wake_streams import GAP_SAMPLES, Ear, in_noise, lay_clips, recorded_noise

HOURS = {
    "librispeech": 0.3,
    "libridevclean": 0.1,
    "commonvoice": 0.4,
    "speechocean762": 0.2,
    "wuw2": 0.2,
    "asterisk": 0.1,
    "kathleen": 0.05,
    "speechcommands": 0.1,
    "englishccc": 0.05,
}
"""Of each set; recordings of its wake phrases are left out: weights are for phrases that nobody knows yet."""
STREAMS, PHRASES = 8, 300
FEWEST_PHONES, MOST_PHONES, MOST_WORDS = 5, 14, 3
AT_BEGINNING = 0.7
"""Part of the phrases that are the first words of a recording: wake phrases come after a pause."""
SNRS_DB = (5.0, 8.0, 11.0, 14.0, 17.0)
OWN, OTHERS = 6, 40
"""Of each phrase and condition so many recordings, and so many of the best windows elsewhere."""
LATE_FRAMES = 10
RATE = 2.0
"""False accepts per hour at which misses are told: fewer cannot be counted in so little speech."""
SEED, STEPS = 63_000, 300
WEIGHTS = ("doubt_cost", "slow_cost", "faint_cost")
BY_FIT = PhraseSearchSettings(doubt_cost=0.0, unsure_cost=0.0, slow_cost=0.0, faint_cost=0.0)


class Paths(NamedTuple):
    """The best paths of phrases: where they are said, and elsewhere."""

    evidence: Evidence  # each (N,)
    group: NDArray[np.int64]  # (N,), phrase and condition
    said: NDArray[np.bool_]  # (N,)
    hours: float  # that each group's others are from


class Places(NamedTuple):
    """Frames of streams in which phrases end."""

    stream: NDArray[np.int64]
    frame: NDArray[np.int64]


def draw_phrases(clips: Sequence[Clip], count: int, rng: np.random.Generator) -> list[str]:
    """Chooses phrases of so many phones as a wake phrase has from what is said."""
    lexicon, found = Lexicon(), set()
    for clip in clips:
        words = clip.words
        length = int(rng.integers(1, MOST_WORDS + 1))
        latest = 0 if rng.random() < AT_BEGINNING else max(0, len(words) - length)
        begin = int(rng.integers(0, latest + 1))
        phrase = " ".join(words[begin : begin + length])
        try:
            phones = len(lexicon.labels(phrase))
        except DataError:  # what cannot be said
            continue
        if FEWEST_PHONES <= phones <= MOST_PHONES:
            found.add(phrase)
    return [str(phrase) for phrase in rng.permutation(sorted(found))[:count]]


def draw_clips(corpus: Corpus, split: str, part: float, rng: np.random.Generator) -> list[Clip]:
    """Clips of all sets, shuffled: so many hours of each."""
    drawn: list[Clip] = []
    for name, hours in HOURS.items():
        clips = corpus.clips(name, split) if (corpus.data / name).is_dir() else []
        seconds = 0.0
        for number in rng.permutation(len(clips)):
            clip = clips[number]
            if seconds >= hours * part * 3600:
                break
            if clip.words and not clip.details.get("wake"):
                drawn.append(clip)
                seconds += clip.seconds
    return [drawn[number] for number in rng.permutation(len(drawn))]


def gather(ear: Ear, corpus: Corpus, split: str, *, part: float = 1.0, phrases: int = PHRASES) -> Paths:
    """Listens for phrases of a split in the quiet and in noise; some minutes."""
    rng = np.random.default_rng(SEED)
    clips = draw_clips(corpus, split, part, rng)
    texts, lexicon = draw_phrases(clips, phrases, rng), Lexicon()
    laid = lay_clips(corpus, clips, STREAMS)
    search = PhraseSearch([ways_of(text, lexicon) for text in texts], BY_FIT)
    noise = recorded_noise(corpus, split, laid.samples.shape)
    noisy = in_noise(laid.samples, noise, rng.choice(SNRS_DB, len(laid.samples)).tolist())
    found, groups, said = [], [], []
    for condition, samples in enumerate((laid.samples, noisy)):
        evidence = scan(ear.hear(samples), search)
        for phrase, text in enumerate(texts):
            own = Evidence(*(np.asarray(leaf[..., phrase]) for leaf in evidence))
            holding = [place for place in laid.placed if f" {text} " in f" {' '.join(place.note.words)} "]
            right, wrong = best_places(own, holding, ear.spec.frame_samples, rng)
            for places in (right, wrong):
                found.append(Evidence(*(leaf[places.stream, places.frame] for leaf in own)))
                groups.append(np.full(len(places.frame), 2 * phrase + condition))
                said.append(np.full(len(places.frame), places is right))
    joined = Evidence(*(np.concatenate(leaves) for leaves in zip(*found, strict=True)))
    return Paths(joined, np.concatenate(groups), np.concatenate(said), laid.hours)


def scan(log_probs: Array, search: PhraseSearch) -> Evidence:
    """The evidence of phrases in every frame, each `(B, J, P)`, in half precision."""
    state, rows = search.initial_state(len(log_probs)), []
    for frame in range(log_probs.shape[1]):
        found, state = search.step(log_probs[:, frame], state)
        rows.append([np.maximum(leaf, -1e4).astype(np.float16) for leaf in found.evidence])
    return Evidence(*(np.stack(leaves, 1) for leaves in zip(*rows, strict=True)))


def best_places(
    own: Evidence, holding: Sequence[Placed], frame_samples: int, rng: np.random.Generator
) -> tuple[Places, Places]:
    """Where one phrase fits best: in some of the recordings that hold it, and in windows that do not.

    Args:
        own: of the phrase, each `(B, J)`.
        holding: the recordings that hold it.
        frame_samples: samples of an output frame.
        rng: draws the recordings.
    """
    scores = PhraseSearchSettings().score(Evidence(*(leaf.astype(np.float32) for leaf in own)))
    free = np.ones(scores.shape, bool)
    right: list[tuple[int, int]] = []
    for number in rng.permutation(len(holding)):
        place = holding[number]
        first = place.start_sample // frame_samples
        last = (place.end_sample - GAP_SAMPLES) // frame_samples + LATE_FRAMES + 1
        free[place.stream, first : place.end_sample // frame_samples + LATE_FRAMES + 1] = False
        if len(right) < OWN:
            right.append((place.stream, first + int(scores[place.stream, first:last].argmax())))
    windows = scores.shape[1] // WINDOW_FRAMES
    whole = np.where(free, scores, -np.inf)[:, : windows * WINDOW_FRAMES]
    cut = whole.reshape(len(scores), windows, WINDOW_FRAMES)
    highest = np.argsort(-cut.max(2), axis=None)[:OTHERS]
    stream, window = np.unravel_index(highest, cut.shape[:2])
    frame = window * WINDOW_FRAMES + cut[stream, window].argmax(1)
    return Places(*np.array(right, int).reshape(-1, 2).T), Places(stream, frame)


def fit(paths: Paths, clear_frames: float) -> PhraseSearchSettings:
    """The weights with which what was said stands out best from the best of all else.

    Minus log of the share of a path that was said among all paths of its phrase and condition that were not,
    as a softmax, is made smallest.
    """
    columns = _columns(paths.evidence, clear_frames)
    spread = columns.std(0)
    rows = torch.from_numpy((columns / spread).astype(np.float32))
    group, said = torch.from_numpy(paths.group), torch.from_numpy(paths.said)
    weights = torch.tensor([1.0, -1.0, -1.0, -1.0], requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=0.03)
    own = said.nonzero()[:, 0]
    rival = (group[own][:, None] == group[None, :]) & ~said[None, :]
    for _ in range(STEPS):
        score = rows @ weights
        best = torch.where(rival, score[None, :], -torch.inf).logsumexp(1)
        loss = torch.nn.functional.softplus(best - score[own]).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    label, doubt, frames, faint = (weights.detach().numpy() / spread).tolist()
    return PhraseSearchSettings(
        doubt_cost=-doubt / label,
        slow_cost=-frames / label,
        faint_cost=-faint / label,
        clear_frames=clear_frames,
    )


def _columns(evidence: Evidence, clear_frames: float) -> NDArray[np.float64]:
    """What is weighed, with shape `(N, E)`."""
    fit, doubt, frames, named = (leaf.astype(np.float64) for leaf in evidence)
    return np.column_stack([fit, doubt, frames, np.maximum(0, clear_frames - named)])


def missed(paths: Paths, settings: PhraseSearchSettings) -> list[float]:
    """The share of phrases missed at `RATE` false accepts an hour, quiet and in noise, mean over phrases."""
    scores = settings.score(Evidence(*(leaf.astype(np.float32) for leaf in paths.evidence)))
    allowed = int(RATE * paths.hours)
    shares: tuple[list[float], list[float]] = ([], [])
    for group in np.unique(paths.group[paths.said]).tolist():
        own = paths.group == group
        others = -np.sort(-scores[own & ~paths.said])
        shares[group % 2].append(float((scores[own & paths.said] <= others[allowed]).mean()))
    return [float(np.mean(share)) for share in shares]


def main() -> None:
    """Fits the weights and prints them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs"))
    parser.add_argument("--part", type=float, default=1.0, help="part of the speech to hear (default 1)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ear, corpus = Ear(args.model), Corpus(args.data, args.work)
    shipped = PhraseSearchSettings()
    fitted = fit(gather(ear, corpus, "train", part=args.part), shipped.clear_frames)
    judged = gather(ear, corpus, "dev", part=args.part)
    for name, settings in (("by fit alone", BY_FIT), ("as shipped", shipped), ("fitted", fitted)):
        quiet, noisy = missed(judged, settings)
        values = [f"{key}={getattr(settings, key):.1f}" for key in WEIGHTS]
        shares = f"{quiet:.1%} missed, {noisy:.1%} in noise, at {RATE:g} false accepts an hour"
        print(f"{name}: {', '.join(values)}: {shares}")  # noqa: T201


if __name__ == "__main__":
    main()
