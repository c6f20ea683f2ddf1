"""Text for the language model: books and other files to sentences of spoken words, held-out ones left out."""

import gzip
import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import DataError
from auricle.models.lexicon import LARGEST_NUMBER, ONES, number_words

START = re.compile(r"\*\*\* ?START OF.{0,200}?\*\*\*", re.S)
END = re.compile(r"\*\*\* ?END OF|\nEnd of (?:the )?Project Gutenberg")
TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "etc": "et cetera"}
Spoken = str | Callable[[re.Match[str]], str]
PATTERNS: tuple[tuple[re.Pattern[str], Spoken], ...] = (
    (re.compile(r"\[[^\]]*\]|[_*]"), ""),
    (re.compile(r"(?<=\d),(?=\d{3})"), ""),
    (re.compile(r"\b(mr|mrs|dr|st|etc)\."), lambda found: TITLES[found[1]]),
    (re.compile(r"\d+"), lambda found: f" {' '.join(spoken_number(found[0]))} "),
    (re.compile(r"&"), " and "),
    (re.compile(r"\n\s*\n"), "."),
)
LETTERS = b"abcdefghijklmnopqrstuvwxyz'"
TABLE = bytes(byte if byte in LETTERS else ord("\n") if byte in b".!?" else ord(" ") for byte in range(256))
QUOTES = re.compile(rb"(?<![a-z])'+|'+(?![a-z])")
YEARS = range(1100, 2000)
ENGLISH_SHARE = 0.03
"""Texts in which "the" and "and" are rarer than this are not English prose."""
SHARED_WORDS = 6
"""A sentence that has so many words in a row in common with a held-out text is left out."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""For hashes of runs of words."""

Ints = NDArray[np.int64]


def spoken_number(digits: str) -> list[str]:
    """Reads a number as people do: years in pairs, numbers with a leading zero digit by digit."""
    number = int(digits)
    if digits[0] == "0" or number > LARGEST_NUMBER:
        return [ONES[int(digit)] for digit in digits]
    if len(digits) == 4 and number in YEARS and number % 100 >= 10:
        return [*number_words(number // 100), *number_words(number % 100)]
    return number_words(number)


def sentences(text: str) -> list[str]:
    """Turns prose into sentences of lower-case words with single spaces, numbers spelt out.

    Args:
        text: as it was printed; the licence around a Project Gutenberg text is taken off.
    """
    start, end = START.search(text), END.search(text)
    text = text[start.end() if start else 0 : end.start() if end else None].lower()
    text = unicodedata.normalize("NFKD", text.replace("\u2019", "'").replace("\u2014", " "))
    for pattern, spoken in PATTERNS:
        text = pattern.sub(spoken, text)
    text = re.sub(r"[\u0300-\u036f\u201c\u201d\u2018]", "", text)
    plain = QUOTES.sub(b"", text.encode("ascii", "replace").translate(TABLE))
    return [" ".join(words) for line in plain.decode().split("\n") if (words := line.split())]


def read_text(path: Path) -> list[str]:
    """The sentences of a text file (.txt or .txt.gz); none if it is not English.

    Raises:
        DataError: it cannot be read.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read the text {path}: {error}") from error
    text = raw.decode("utf-8", "replace").replace("\r", "")
    words = text.lower().split()
    if not words or (words.count("the") + words.count("and")) / len(words) < ENGLISH_SHARE:
        return []
    return sentences(text)


def manifest_texts(manifests: Iterable[Path]) -> list[str]:
    """The different texts of some manifests, in order."""
    lines = [line for path in manifests for line in path.read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(text for line in lines if (text := json.loads(line).get("text"))))


def held_out_texts(data: Path) -> list[str]:
    """All texts of the `dev` and `eval` manifests: what a language model must not have read.

    Raises:
        DataError: there is none.
    """
    manifests = sorted([*data.glob("*/dev.jsonl"), *data.glob("*/eval.jsonl")])
    if not manifests:
        raise DataError(f"no manifests dev.jsonl or eval.jsonl below {data}; name the data folder")
    return manifest_texts(manifests)


def without_held_out(found: list[str], held_out: Iterable[str]) -> list[str]:
    """Leaves out sentences that are held out or share `SHARED_WORDS` words in a row with one that is."""
    texts = [" ".join(text.split()) for text in held_out]
    whole = set(texts)
    numbers = {
        word: number for number, word in enumerate(sorted({w for text in texts for w in text.split()}), 1)
    }
    runs = np.unique(_runs(texts, numbers)[0])
    hashes, owners = _runs(found, numbers)
    shared = set(owners[np.isin(hashes, runs)].tolist())
    return [text for number, text in enumerate(found) if number not in shared and text not in whole]


def _runs(texts: list[str], numbers: dict[str, int]) -> tuple[NDArray[np.uint64], Ints]:
    """A hash of every run of `SHARED_WORDS` known words, and the number of the text that holds it."""
    rows = [[numbers.get(word, 0) for word in text.split()] for text in texts]
    lengths = np.array([len(row) for row in rows])
    words = np.fromiter((number for row in rows for number in row), np.int64, int(lengths.sum()))
    owner = np.repeat(np.arange(len(rows)), lengths)
    count = max(0, len(words) - SHARED_WORDS + 1)
    total = np.zeros(count, np.uint64)
    known = np.ones(count, bool)
    for place in range(SHARED_WORDS):
        part = words[place : place + count]
        total = (total + part.astype(np.uint64)) * MULTIPLIER
        known &= part > 0
    known &= owner[:count] == owner[SHARED_WORDS - 1 : SHARED_WORDS - 1 + count]
    return total[known], owner[:count][known]
