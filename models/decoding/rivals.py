"""What else may have been said: how well common words explain speech, whatever phrase is listened for.

A phrase that is often heard wrongly sounds like words that people say: all of "alexa" is in "election". So
the best sequence of common words is searched for, each as likely as it is in talk, in the same frames and at
the same costs as a phrase (`phrases`). Two numbers a frame keep what came of that, and any phrase can be held
against it: by how much do words explain what was heard better than words up to the phrase, and the phrase?

Shape letters: B streams, J frames, V labels, N nodes, E nodes where words end, P phrases.
"""

import hashlib
import io
import lzma
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import ModelError
from auricle.configs.whole import written_whole
from auricle.models.decoding.phrases import NEVER, Array, Found, PhraseSearchSettings
from auricle.models.phones import BLANK_INDEX

SHIPPED = Path(__file__).parent.parent / "common_words.xz"
WORD_STEP = 0.1
"""Log-probabilities of words are stored in these steps."""
NO_WORD = 255
"""Code of a node where none ends."""
FRAME_STEP = 0.25
"""What is kept of each frame is stored in these steps."""
MOST_STEPS = 255
RIVAL_CODES = 2
"""Codes of each frame."""

Codes = NDArray[np.uint8]
Ints = NDArray[np.int64]


class Rivals(NamedTuple):
    """How well the best common words explain streams; nothing is above 0."""

    before: Array  # (B, J), of all frames before each one, where a word may begin
    up_to: Array  # (B, J), of all frames up to each one, which may lie within a word

    def lead(self, frame: int, found: Found) -> Array:
        """By how many nats words explain streams better than those with a phrase at their end, `(B, P)`.

        Args:
            frame: the newest one, up to which streams are explained.
            found: the best path of each phrase that ends there; frames count from the first one here.
        """
        before = np.take_along_axis(self.before, found.start, 1)
        return np.asarray(self.up_to[:, frame, None] - before - found.evidence.fit, np.float32)

    def since(self, frame: int) -> "Rivals":
        """The same of the frames from some one on."""
        return Rivals(self.before[:, frame:], self.up_to[:, frame:])

    def encode(self) -> Codes:
        """In coarse steps, `(B, J, 2)`: what each frame costs, and what a word behind it adds."""
        # Rounded as sums, so that what is lost in a frame comes back in the next.
        steps = np.round(self.up_to / -FRAME_STEP)
        cost = np.diff(steps, axis=1, prepend=0)
        following = np.concatenate([self.before[:, 1:], self.up_to[:, -1:]], 1)
        gap = np.round((self.up_to - following) / FRAME_STEP)
        codes: Codes = np.minimum(np.stack([cost, gap], -1), MOST_STEPS).astype(np.uint8)
        return codes


def decode_rivals(codes: Codes) -> Rivals:
    """What `Rivals.encode` made codes `(B, J, 2)` of."""
    cost, gap = (-np.float32(FRAME_STEP) * codes[..., kind] for kind in range(RIVAL_CODES))
    up_to = np.cumsum(cost, 1, dtype=np.float32)
    before = np.zeros_like(up_to)
    before[:, 1:] = (up_to + gap)[:, :-1]
    return Rivals(before, up_to)


class CommonWords(NamedTuple):
    """Words as a tree of their pronunciations; node 0 is its root, and parents come before their children."""

    parent: Ints  # (N,)
    label: Ints  # (N,), the phone of each node
    word: Array  # (N,), log-probability of the likeliest word that ends there, `NEVER` for none

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        arrays = {
            "parent": self.parent.astype(np.uint32),
            "label": self.label.astype(np.uint8),
            "word": np.minimum(np.round(self.word / -WORD_STEP), NO_WORD).astype(np.uint8),
        }
        stored = io.BytesIO()
        np.savez(stored, **arrays)  # type: ignore[arg-type]
        with written_whole(path) as partial:
            partial.write_bytes(lzma.compress(stored.getvalue(), preset=9 | lzma.PRESET_EXTREME))


class RivalSearch:
    """Searches streams for common words."""

    def __init__(self, words: CommonWords, digest: str = "") -> None:
        """Prepares the search.

        Args:
            words: what may be said.
            digest: hash of their file.
        """
        self.words, self.digest = words, digest
        self._ends = np.flatnonzero(words.word > NEVER)
        self._twice = np.flatnonzero(words.label == words.label[words.parent])

    @cached_property
    def _likeliest(self) -> Array:
        """Log-probability of the likeliest word at or below each node, `(N, 1)`."""
        best = self.words.word.copy()
        for node in range(len(best) - 1, 0, -1):
            parent = self.words.parent[node]
            best[parent] = max(best[parent], best[node])
        best[0] = 0
        return best[:, None]

    def hear(self, log_probs: Array, settings: PhraseSearchSettings) -> Rivals:
        """Searches streams `(B, J, V)`, each from its beginning, where a word begins, too.

        Args:
            log_probs: what a model made of them.
            settings: costs of the search for phrases.
        """
        words, streams, frames = self.words, *log_probs.shape[:2]
        phone = np.full((len(words.parent), streams), NEVER, np.float32)  # best path into each node ...
        blank = phone.copy()  # ... and into the blank behind it
        before, up_to = np.zeros((2, streams, frames), np.float32)
        root = np.zeros(streams, np.float32)
        for frame in range(frames):
            before[:, frame] = root
            shifted = log_probs[:, frame].copy()
            shifted[:, BLANK_INDEX] += np.float32(settings.blank_shift)
            shifted -= shifted.max(1, keepdims=True)
            heard = np.ascontiguousarray(np.maximum(shifted, np.float32(-settings.most)).T)  # (V, B)
            either = np.maximum(phone, blank)
            either[0] = blank[0] = root
            entered = either[words.parent]
            entered[self._twice] = blank[words.parent[self._twice]]  # two equal phones need the blank between
            blank = either + (heard[BLANK_INDEX] - np.float32(settings.gap_cost))
            phone = np.maximum(phone, entered, out=entered)
            phone += heard[words.label]
            phone[0] = blank[0] = NEVER
            either = np.maximum(phone, blank)
            silent = root + heard[BLANK_INDEX] - np.float32(settings.pause_cost)
            root = np.maximum(silent, (either[self._ends] + words.word[self._ends, None]).max(0))
            up_to[:, frame] = np.maximum(silent, (either + self._likeliest).max(0))
        return Rivals(before, up_to)


def load_common_words(path: Path = SHIPPED) -> RivalSearch:
    """Reads words that `CommonWords.save` wrote.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        content = path.read_bytes()
        with np.load(io.BytesIO(lzma.decompress(content)), allow_pickle=False) as arrays:
            parent, label = arrays["parent"].astype(np.int64), arrays["label"].astype(np.int64)
            word = np.where(arrays["word"] == NO_WORD, NEVER, arrays["word"] * np.float32(-WORD_STEP))
    except (OSError, lzma.LZMAError, ValueError, KeyError) as error:
        raise ModelError(f"cannot read the common words {path}: {error}; install Auricle again") from error
    words = CommonWords(parent, label, word.astype(np.float32))
    return RivalSearch(words, hashlib.sha256(content).hexdigest()[:8])


@cache
def common_words() -> RivalSearch:
    """The words that ship."""
    return load_common_words()
