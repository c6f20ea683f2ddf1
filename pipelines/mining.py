"""Finds scarce words inside sentences with a model that knows them a little already.

    python -m auricle.pipelines.mining MODEL --data DIR --work DIR

The texts say which words are in a sentence but not when; the moment at which a first keyword model is most
sure of such a word is a good guess. The list is kept beside the recipes, and the next model learns from it.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from auricle.models.checkpoint import load_model
from auricle.models.frontend import LogMel
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.decide import smooth
from auricle.pipelines.dev import posteriors, stream_features
from auricle.pipelines.found_words import PATH, Found
from auricle.pipelines.sounds import read_clip, speech_at_reference
from auricle.pipelines.vocabulary import DIGITS, LABELS

SETS = (
    "librispeech",
    "libridevclean",
    "commonvoice",
    "speechocean762",
    "wuw2",
    "kathleen",
    "ljspeech",
    "asterisk",
)
WANTED = frozenset({"no", *DIGITS})
LEAST = 0.35
"""Smoothed posterior from which a word counts as found."""
LONGEST_S = 17.0
LEAD_SAMPLES = 8000
BATCH = 16
APART_FRAMES = 10


def mine(model: Path, corpus: Corpus) -> Iterator[Found]:
    """Looks for the wanted words in all sentences of the train split that hold them."""
    spec, network, _ = load_model(model)
    frontend = LogMel(spec.frontend)
    clips = [
        clip
        for name in SETS
        for clip in corpus.clips(name, "train")
        if len(clip.words) > 1 and WANTED & set(clip.words) and clip.seconds < LONGEST_S
    ]
    clips.sort(key=lambda clip: clip.seconds)
    for start in track(range(0, len(clips), BATCH), "mining sentences"):
        batch = clips[start : start + BATCH]
        audio = _batch(corpus, batch, spec.frame_samples)
        posterior = smooth(posteriors(network, stream_features(frontend, audio), sigmoid=False))
        for clip, row in zip(batch, posterior, strict=True):
            yield from _peaks(clip, row, spec.frame_samples)


def _batch(corpus: Corpus, clips: Sequence[Clip], frame_samples: int) -> torch.Tensor:
    """Sentences `(B, N)` after half a second of silence."""
    length = (max(clip.length_samples for clip in clips) + 2 * LEAD_SAMPLES) // frame_samples * frame_samples
    audio = torch.zeros(len(clips), length)
    for row, clip in enumerate(clips):
        samples = speech_at_reference(read_clip(corpus, clip))
        audio[row, LEAD_SAMPLES : LEAD_SAMPLES + len(samples)] = torch.from_numpy(samples)
    return audio


def _peaks(clip: Clip, posterior: np.ndarray, frame_samples: int) -> Iterator[Found]:
    """The highest peaks of each wanted word, as many as the text holds."""
    for word in sorted(WANTED & set(clip.words)):
        scores = posterior[:, LABELS.index(word)].copy()
        for _ in range(clip.words.count(word)):
            frame = int(scores.argmax())
            sample = (frame + 1) * frame_samples - LEAD_SAMPLES
            if scores[frame] >= LEAST and 0 < sample < clip.length_samples:
                yield Found(clip.set, clip.id, word, sample, round(float(scores[frame]), 3))
            scores[max(0, frame - APART_FRAMES) : frame + APART_FRAMES] = 0


def main() -> int:
    """Runs the module as a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a keyword model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = sorted(mine(args.model, Corpus(args.data, args.work)))
    PATH.write_text("".join(json.dumps(entry._asdict()) + "\n" for entry in found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
