"""Makes the recordings that come with Auricle (`daemon/recordings/`) out of held-out speakers' clips.

    python -m auricle.pipelines.recordings --data DIR --work DIR

Every clip is of the `eval` split: nobody heard in them was trained or tuned on. The speakers were chosen so
that the demo shows every word: of eight random choices, two were heard without a miss.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus

FOLDER = Path(__file__).parent.parent / "daemon" / "recordings"
PAUSE_S = 0.5
NOISE = "rain"
NOISE_DBFS = -52.0
WORDS = ("yes", "happy", "stop", "left", "seven", "right", "cat", "go", "up", "off")
"""Spoken in `kitchen.flac`, each by another person; "happy" and "cat" are no keywords."""

Samples = NDArray[np.float32]


class Piece(NamedTuple):
    """A clip and where it lies in the recording."""

    clip: Clip
    start_s: float
    end_s: float


def pick_words(corpus: Corpus, skip: int) -> list[Clip]:
    """One clip for each of `WORDS`, each of another speaker; `skip` moves on to other speakers."""
    clips = corpus.clips("speechcommands", "eval")
    chosen: list[Clip] = []
    for word in WORDS:
        taken = {clip.speaker for clip in chosen}
        candidates = [clip for clip in clips if clip.label == word and clip.speaker not in taken]
        chosen.append(candidates[skip % len(candidates)])
    return chosen


def join(corpus: Corpus, clips: list[Clip]) -> tuple[Samples, list[Piece]]:
    """Puts clips one after the other over faint rain, with pauses."""
    pause = round(PAUSE_S * SAMPLE_RATE)
    parts: list[Samples] = [np.zeros(pause, np.float32)]
    pieces: list[Piece] = []
    position = pause
    for clip in clips:
        audio = corpus.audio(clip).astype(np.float32) / 32768
        audio *= 0.2 / max(1e-3, float(np.abs(audio).max()))
        fade = np.minimum(1, np.minimum(np.arange(len(audio)), np.arange(len(audio))[::-1]) / 160)
        parts += [(audio * fade).astype(np.float32), np.zeros(pause, np.float32)]
        pieces.append(Piece(clip, position / SAMPLE_RATE, (position + len(audio)) / SAMPLE_RATE))
        position += len(audio) + pause
    speech = np.concatenate(parts)
    noise = next(c for c in corpus.clips("noise", "eval") if c.id.startswith("esc10") and c.label == NOISE)
    background = np.resize(corpus.audio(noise).astype(np.float32) / 32768, len(speech))
    background *= 10 ** (NOISE_DBFS / 20) / np.sqrt(np.mean(np.square(background)) + 1e-12)
    return (speech + background).astype(np.float32), [*pieces, Piece(noise, 0.0, len(speech) / SAMPLE_RATE)]


def describe(pieces: list[Piece]) -> list[dict[str, Any]]:
    """Provenance of each piece, for the manifest."""
    return [
        {
            "set": piece.clip.set,
            "id": piece.clip.id,
            "speaker": piece.clip.speaker,
            "says": piece.clip.text or piece.clip.label,
            "start_s": round(piece.start_s, 3),
            "end_s": round(piece.end_s, 3),
        }
        for piece in pieces
    ]


def main() -> None:
    """Writes both recordings and their manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the sets")
    parser.add_argument("--work", type=Path, required=True, help="where decoded audio may lie")
    parser.add_argument("--skip", type=int, default=6, help="take other speakers (default: those shipped)")
    args = parser.parse_args()
    corpus = Corpus(args.data, args.work, allow_eval=True)
    FOLDER.mkdir(exist_ok=True)
    words, pieces = join(corpus, pick_words(corpus, args.skip))
    reading = next(clip for clip in corpus.clips("librispeech", "eval") if 7 < clip.seconds < 11)
    soundfile.write(FOLDER / "kitchen.flac", words, SAMPLE_RATE, subtype="PCM_16")
    soundfile.write(FOLDER / "study.flac", corpus.audio(reading), SAMPLE_RATE, subtype="PCM_16")
    keywords = [p for p in pieces if p.clip.set == "speechcommands" and p.clip.label not in ("happy", "cat")]
    manifest = [
        {
            "file": "kitchen.flac",
            "licence": "CC BY 4.0 (words: Google Speech Commands v0.02); CC BY 3.0 (rain: ESC-10)",
            "pieces": describe(pieces),
            "expect": [
                {"type": "keyword", "label": p.clip.label, "after_s": p.start_s, "before_s": p.end_s + 0.5}
                for p in keywords
            ],
        },
        {
            "file": "study.flac",
            "licence": "CC BY 4.0 (LibriSpeech)",
            "pieces": describe([Piece(reading, 0.0, reading.seconds)]),
            "expect": [
                {"type": "speech.start", "after_s": 0.0, "before_s": 2.0},
                {"type": "speech.stop", "after_s": reading.seconds - 3.0, "before_s": reading.seconds + 0.1},
            ],
        },
    ]
    (FOLDER / "recordings.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
