"""Cuts words out of sentences: an acoustic model tells when each phone of a sentence is said.

    python -m auricle.pipelines.mining acoustic-lstm --data DIR --work DIR

Keywords are taken wherever they are said clearly, other words a few times each, as examples of what is no
keyword. The list is kept beside the recipes, and keyword models learn from it.

Shape letters: J output frames.
"""

import argparse
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import torch
from rich.progress import track

from auricle.models.lexicon import Lexicon, normalise
from auricle.models.phones import BLANK_INDEX
from auricle.pipelines.acoustic_data import AcousticData, Utterance, list_utterances
from auricle.pipelines.alignment import (
    Aligner,
    FrameLabels,
    ctc_path,
    load_aligner,
    measure_delay,
    utterance_log_probs,
)
from auricle.pipelines.corpus import SAMPLE_RATE, Corpus
from auricle.pipelines.found_words import PATH, Found, write_found
from auricle.pipelines.sounds import read_clip, speech_at_reference
from auricle.pipelines.vocabulary import HOMOPHONES, KEYWORDS

SETS = (
    "librispeech",
    "libridevclean",
    "commonvoice",
    "speechocean762",
    "wuw2",
    "kathleen",
    "ljspeech",
    "vctk",
    "vctk4",
    "asterisk",
)
BATCH = 16
MEASURED = 200
"""Sentences from which the model's delay is measured."""
REACH_FRAMES = 2
"""A word reaches half of the way to the phones beside it, and no further than this."""
SHORTEST_S, LONGEST_S = 0.2, 1.0
"""Shorter words are unstressed ones, which nobody says alone."""
LEAST_SCORE = -1.5
"""Mean log-probability of a word's phones from which the text is believed."""
SHORTEST_LETTERS, OTHERS_EACH, OTHERS = 3, 2, 8000
"""Of words that are no keywords: letters, recordings of each, and of all of them."""


class Aligned(NamedTuple):
    """When the phones of a sentence are said."""

    utterance: Utterance
    path: FrameLabels
    """The label of each frame, `(J,)`, as late as the model answers."""
    scores: list[float]
    """Its log-probability."""


def mine(aligner: Aligner, corpus: Corpus, sets: Sequence[str] = SETS) -> list[Found]:
    """Finds every word in the sentences of the train split that is long and clear enough."""
    lexicon, frame = Lexicon.of_folder(corpus.data), aligner.spec.frame_samples
    every = list_utterances(
        corpus, sets, "train", data=AcousticData(), lexicon=lexicon, frame_s=frame / SAMPLE_RATE
    )
    sentences = sorted((one for one in every if len(one.clip.words) > 1), key=lambda one: one.clip.seconds)
    aligned = list(_align(aligner, corpus, sentences))
    some = aligned[:: max(1, len(aligned) // MEASURED)]
    delay = measure_delay(
        [one.path for one in some], [read_clip(corpus, one.utterance.clip) for one in some], frame
    )
    return [word for one in aligned for word in words_of(one, lexicon, delay, frame)]


def _align(aligner: Aligner, corpus: Corpus, sentences: Sequence[Utterance]) -> Iterator[Aligned]:
    blank_shift = AcousticData().aligner_blank_shift
    for start in track(range(0, len(sentences), BATCH), "aligning sentences"):
        batch = sentences[start : start + BATCH]
        recordings = [speech_at_reference(read_clip(corpus, one.clip)) for one in batch]
        log_probs, counts = utterance_log_probs(aligner.spec, aligner.network, aligner.frontend, recordings)
        for one, rows, count in zip(batch, log_probs, counts.tolist(), strict=True):
            path = ctc_path(rows[:count], one.labels, blank_shift)
            chosen = rows[:count].gather(1, torch.from_numpy(path).long()[:, None])[:, 0]
            yield Aligned(one, path, chosen.tolist())


def words_of(aligned: Aligned, lexicon: Lexicon, delay: int, frame_samples: int) -> Iterator[Found]:
    """The words of an aligned sentence that are long and clear enough.

    Args:
        aligned: the sentence.
        lexicon: how many phones a word has.
        delay: by how many frames the model answers late.
        frame_samples: samples for each frame.
    """
    runs, place = [], 0
    for label, group in groupby(aligned.path.tolist()):
        length = len(list(group))
        if label != BLANK_INDEX:
            runs.append((place, place + length))
        place += length
    clip, first = aligned.utterance.clip, 0
    for word in normalise(" ".join(clip.words)):
        own = runs[first : first + len(lexicon.spoken(word)[0])]
        before = runs[first - 1][1] if first else 0
        first += len(own)
        after = runs[first][0] if first < len(runs) else place
        start = own[0][0] - min(REACH_FRAMES, (own[0][0] - before) / 2)
        end = own[-1][1] + min(REACH_FRAMES, (after - own[-1][1]) / 2)
        begin, stop = (round((edge - delay) * frame_samples) for edge in (start, end))
        inside = begin >= 0 and stop <= clip.length_samples
        clear = [max(aligned.scores[slice(*run)]) for run in own]
        long_enough = SHORTEST_S <= (stop - begin) / SAMPLE_RATE <= LONGEST_S
        if inside and long_enough and sum(clear) / len(clear) >= LEAST_SCORE:
            yield Found(clip.set, clip.id, word, begin, stop)


def pick(found: Sequence[Found]) -> list[Found]:
    """All keywords, and of other words a few each, of as many words as there may be."""
    others: dict[str, list[Found]] = defaultdict(list)
    for one in found:
        if one.word not in KEYWORDS | HOMOPHONES and len(one.word) >= SHORTEST_LETTERS:
            others[one.word].append(one)
    few = [
        one
        for ones in others.values()
        for one in sorted(ones, key=lambda one: _chance(one.set, one.id))[:OTHERS_EACH]
    ]
    drawn = sorted(few, key=lambda one: _chance(one.word, one.set, one.id))[:OTHERS]
    return sorted([one for one in found if one.word in KEYWORDS] + drawn)


def _chance(*of: str) -> int:
    """A number that looks like chance, and is always the same."""
    return zlib.crc32(" ".join(of).encode())


def main() -> int:
    """Runs the module as a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="an acoustic model, by name or path")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=PATH)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = mine(load_aligner(args.model, torch.device("cpu")), Corpus(args.data, args.work))
    write_found(pick(found), args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
