"""Text for the language model: books and other files to sentences of spoken words, held-out ones left out."""

import gzip
import json
import logging
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import DataError
from auricle.models.lexicon import LARGEST_NUMBER, ONES, number_words

logger = logging.getLogger(__name__)

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
LEAST_TO_TELL = 2000
"""Texts of so many words and more in which "the" and "and" are rarer than this are not English prose."""
LIKE = str.maketrans(
    {"\u2019": "'", "\u2013": " ", "\u2014": " ", "\u2026": ".", "æ": "ae", "œ": "oe", "ß": "ss", "ø": "o"}
)
"""What letters and signs that are not ASCII become; accents are taken off, all else becomes a blank."""
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
    if len(digits) == 4 and number in YEARS:
        century, year = number_words(number // 100), number % 100
        if not year:
            return [*century, "hundred"]
        return [*century, *(["oh"] if year < 10 else []), *number_words(year)]
    return number_words(number)


def sentences(text: str) -> list[str]:
    """Turns prose into sentences of lower-case words with single spaces, numbers spelt out.

    Args:
        text: as it was printed; the licence around a Project Gutenberg text is taken off.
    """
    start, end = START.search(text), END.search(text)
    text = text[start.end() if start else 0 : end.start() if end else None].lower()
    text = unicodedata.normalize("NFKD", text.translate(LIKE))
    for pattern, spoken in PATTERNS:
        text = pattern.sub(spoken, text)
    text = re.sub(r"[\u0300-\u036f\u201c\u201d\u2018]", "", text)
    text = "".join(letter if letter.isascii() else " " for letter in text)
    plain = QUOTES.sub(b"", text.encode("ascii").translate(TABLE))
    return [" ".join(words) for line in plain.decode().split("\n") if (words := line.split())]


def read_text(path: Path) -> list[str]:
    """The sentences of a text file (.txt or .txt.gz); none, with a warning, of long ones not English.

    Raises:
        DataError: it cannot be read.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read the text {path}: {error}") from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    text = text.replace("\r", "")
    words = text.lower().split()
    if len(words) >= LEAST_TO_TELL and (words.count("the") + words.count("and")) / len(words) < ENGLISH_SHARE:
        logger.warning("%s is left out: it does not look like English prose", path)
        return []
    return sentences(text)


def manifest_texts(manifests: Iterable[Path]) -> list[str]:
    """The different texts of some manifests, in order.

    Raises:
        DataError: a line is no JSON object.
    """
    texts: dict[str, None] = {}
    for path in manifests:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                text = json.loads(line).get("text")
            except (json.JSONDecodeError, AttributeError) as error:
                raise DataError(f"{path}, line {number}: expected a JSON object, got: {line[:60]}") from error
            if text:
                texts[text] = None
    return list(texts)


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
    lengths = np.array([len(row) for row in rows], np.int64)
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
