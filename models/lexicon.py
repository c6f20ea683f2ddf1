"""How words are spoken: CMUdict first, then rules for numbers and endings, then a guess from the letters.

A data folder may bring `lexicon.txt` (a word and its phones per line, as `auricle data pack` writes it): its
entries come first.
"""

import lzma
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from auricle.configs.errors import ConfigError, DataError
from auricle.configs.paths import user_lexicon
from auricle.models.g2p import pronounce
from auricle.models.phones import INDEX, Pronunciation

FILE_NAME = "lexicon.txt"
DICTIONARY = Path(__file__).parent / "cmudict.txt.xz"
"""A word and its phones per line, a word's pronunciations on successive lines."""
WORD = re.compile(r"[a-z]+(?:'[a-z]+)*|'[a-z]+")
LARGEST_NUMBER = 10**12 - 1
MINUS = re.compile(r"(?<![^\s(\"'])[-\u2212](?=\d)")
"""A sign before a number, not a hyphen within a word or between two numbers."""
THOUSANDS = re.compile(r"(?<!\d)(\d{1,3}(?:,\d{3})+)(?!,?\d)")
DECIMALS = re.compile(r"(?<=\d)\.(\d+)")
ONES = (  # noqa: SIM905
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
POWERS = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
HISSING, VOICELESS = frozenset({"S", "Z", "SH", "ZH", "CH", "JH"}), frozenset({"P", "T", "K", "F", "TH"})
ENDINGS = {"'s": (), "'ll": ("AH", "L"), "'re": ("ER",), "'ve": ("AH", "V"), "'d": ("D",), "'m": ("M",)}

Entries = Mapping[str, tuple[Pronunciation, ...]]


@cache
def dictionary() -> Entries:
    """CMUdict 0.7b without stress, every word with its different pronunciations, most usual first."""
    found: dict[str, tuple[Pronunciation, ...]] = {}
    for line in lzma.decompress(DICTIONARY.read_bytes()).decode().splitlines():
        word, *phones = line.split()
        found[word] = (*found.get(word, ()), tuple(phones))
    return found


def number_words(number: int) -> list[str]:
    """Spells out a number: 1207 is "one thousand two hundred seven".

    Raises:
        DataError: it is negative or beyond a trillion.
    """
    if not 0 <= number <= LARGEST_NUMBER:
        raise DataError(f"cannot spell out {number}: expected 0 to {LARGEST_NUMBER}; write it as words")
    if number < 20:
        return [ONES[number]]
    if number < 100:
        return [TENS[number // 10], *([ONES[number % 10]] if number % 10 else [])]
    value, name = next((value, name) for value, name in POWERS if number >= value)
    rest = number_words(number % value) if number % value else []
    return [*number_words(number // value), name, *rest]


def normalise(text: str) -> list[str]:
    """Turns text into the words that are spoken: lower case, no accents, numbers spelt out ("minus 1.5" too).

    Raises:
        DataError: something in it cannot be spoken; it is named.
    """
    plain = unicodedata.normalize("NFKD", text.lower().replace("\u2019", "'"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = THOUSANDS.sub(lambda found: found[1].replace(",", ""), MINUS.sub("minus ", plain))
    plain = DECIMALS.sub(lambda found: f" point {' '.join(found[1])} ", plain)
    words: list[str] = []
    for part in re.sub(r"[\s\-,.;:!?\"()]+", " ", plain).split():
        if part.isdecimal():
            spelt = [ONES[int(digit)] for digit in part] if part[0] == "0" else number_words(int(part))
            words += spelt
        elif part.strip("'"):
            words.append(part if WORD.fullmatch(part) else _clean(part, text))
    return words


def _clean(part: str, text: str) -> str:
    """Takes quotation marks off a word."""
    word = part.strip("'")
    if not WORD.fullmatch(word):
        raise DataError(
            f"cannot say '{part}' in '{text[:80]}': expected words of letters and apostrophes, or numbers"
        )
    return word


class Lexicon:
    """Pronunciations of any word."""

    def __init__(self, entries: Entries | None = None) -> None:
        """Takes words that come before the dictionary's."""
        self.entries: dict[str, tuple[Pronunciation, ...]] = dict(entries or {})
        self._given = frozenset(self.entries)

    @classmethod
    def of_folder(cls, data: Path) -> "Lexicon":
        """A lexicon that begins with a data folder's `lexicon.txt`, if it has one."""
        path = data / FILE_NAME
        return cls(read_lexicon(path) if path.exists() else None)

    @classmethod
    def of_user(cls, setting: str = "") -> "Lexicon":
        """A lexicon that begins with the user's own pronunciations.

        Args:
            setting: what `acoustic.lexicon` says; "" = the usual place, where there may be none.

        Raises:
            ConfigError: the file that was asked for is missing, or a line is wrong.
        """
        path = user_lexicon(setting)
        if setting and not path.exists():
            raise ConfigError(f"no lexicon {path}: check acoustic.lexicon")
        try:
            return cls(read_lexicon(path) if path.exists() else None)
        except DataError as error:
            raise ConfigError(str(error)) from error

    def spoken(self, word: str) -> tuple[Pronunciation, ...]:
        """Returns how a normalised word may be spoken, most usual first; at least one.

        Raises:
            DataError: it has no letters, or none that are spoken.
        """
        if word not in self.entries:
            self.entries[word] = dictionary().get(word) or (self._derive(word),)
        return self.entries[word]

    def source(self, word: str) -> str:
        """Says where the pronunciations of a normalised word come from, in words for a user."""
        if word in self._given:
            return "your lexicon"
        if word in dictionary():
            return "dictionary"
        for ending in ENDINGS:
            if word.endswith(ending) and len(word) > len(ending):
                return f"{word[: -len(ending)]} ({self.source(word[: -len(ending)])}) and {ending}"
        return "guessed from the letters"

    def phones(self, text: str) -> list[str]:
        """Returns the phones of a text, each word in its most usual pronunciation."""
        return [phone for word in normalise(text) for phone in self.spoken(word)[0]]

    def labels(self, text: str) -> list[int]:
        """Returns the label numbers of a text (from 1; 0 is blank or silence)."""
        return [INDEX[phone] for phone in self.phones(text)]

    def _derive(self, word: str) -> Pronunciation:
        for ending, added in ENDINGS.items():
            if word.endswith(ending) and len(word) > len(ending):
                stem = self.spoken(word[: -len(ending)])[0]
                return (*stem, *(added or _plural(stem[-1])))
        guessed = pronounce(word.replace("'", ""))
        if not guessed:
            raise DataError(
                f"cannot guess how '{word}' is spoken; say it with auricle say-it --add '{word} PHONE PHONE'"
            )
        return guessed


def _plural(last: str) -> Pronunciation:
    if last in HISSING:
        return ("IH", "Z")
    return ("S",) if last in VOICELESS else ("Z",)


def read_lexicon(path: Path) -> Entries:
    """Reads a file of lines `word PHONE PHONE ...`; a word may have several lines.

    Raises:
        DataError: the file is not UTF-8, or a line has no word in lower case, no phones, or unknown ones.
    """
    entries: dict[str, tuple[Pronunciation, ...]] = {}
    for number, line in enumerate(_text_of(path).splitlines(), start=1):
        word, *phones = line.split() or [""]
        if not word or word.startswith("#"):
            continue
        if not WORD.fullmatch(word):
            raise DataError(f"{path}, line {number}: expected a word of letters a to z first, got '{word}'")
        if not phones or (unknown := [phone for phone in phones if phone not in INDEX]):
            problem = f"unknown phones {unknown}" if phones else "no phones"
            raise DataError(
                f"{path}, line {number}: {problem}; expected a word and ARPAbet phones without stress"
            )
        entries[word] = (*entries.get(word, ()), tuple(phones))
    return entries


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the pronunciations in {path}: {error}; expected UTF-8 text") from error


def add_pronunciation(path: Path, entry: str) -> str:
    """Adds a line `word PHONE PHONE ...` to a user's lexicon, which is made if there is none.

    Stress marks are taken off, and a line that is there already is not written again.

    Returns:
        The line.

    Raises:
        DataError: it is no word and phones.
    """
    word, *phones = entry.split() or [""]
    word, phones = word.lower(), [phone.upper().rstrip("012") for phone in phones]
    unknown = [phone for phone in phones if phone not in INDEX]
    if not WORD.fullmatch(word) or not phones or unknown:
        raise DataError(
            f"expected a word and ARPAbet phones, such as 'auricle AO R IH K AH L', got '{entry}'"
            + (f" with unknown {', '.join(unknown)}; the phones are {' '.join(INDEX)}" if unknown else "")
        )
    line = " ".join((word, *phones))
    text = _text_of(path) if path.exists() else ""
    if line not in text.splitlines():
        path.parent.mkdir(parents=True, exist_ok=True)
        separator = "" if not text or text.endswith("\n") else "\n"
        path.write_text(f"{text}{separator}{line}\n", encoding="utf-8")
    return line


def lexicon_text(lexicon: Lexicon, texts: Iterable[str]) -> str:
    """The pronunciations of all words in some texts, as `read_lexicon` reads them."""
    words = sorted({word for text in texts for word in normalise(text)})
    lines = [" ".join((word, *phones)) for word in words for phones in lexicon.spoken(word)]
    return "".join(f"{line}\n" for line in lines)
