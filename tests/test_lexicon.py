"""Words to phones: dictionary, numbers, endings, guesses."""

from pathlib import Path

import pytest

from auricle.configs.errors import DataError
from auricle.models import g2p
from auricle.models.lexicon import Lexicon, lexicon_text, normalise, number_words, read_lexicon
from auricle.models.phones import INDEX, PHONES


def test_there_are_39_phones() -> None:
    assert len(set(PHONES)) == 39
    assert INDEX["AA"] == 1
    assert INDEX["ZH"] == 39


def test_words_have_all_their_pronunciations_without_stress() -> None:
    lexicon = Lexicon()
    assert lexicon.spoken("read") == (("R", "EH", "D"), ("R", "IY", "D"))
    assert lexicon.spoken("the")[0] == ("DH", "AH")
    assert lexicon.labels("go") == [INDEX["G"], INDEX["OW"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't go!", "don't go"),
        ("'tis 'quoted' talk", "'tis quoted talk"),
        ("well-known café", "well known cafe"),
        ("room 1207, 007", "room one thousand two hundred seven zero zero seven"),
        ("It\u2019s 40", "it's forty"),
        ("-5, (-2.05) or 19.5", "minus five minus two point zero five or nineteen point five"),
        ("1,250,000 of 3-5,17", "one million two hundred fifty thousand of three five seventeen"),
    ],
)
def test_text_becomes_words(text: str, words: str) -> None:
    assert normalise(text) == words.split()


@pytest.mark.parametrize(
    ("number", "words"), [(0, "zero"), (13, "thirteen"), (85, "eighty five"), (10**6, "one million")]
)
def test_numbers_are_spelt_out(number: int, words: str) -> None:
    assert " ".join(number_words(number)) == words


@pytest.mark.parametrize("text", ["r2d2", "50%", "a_b"])
def test_what_cannot_be_said_is_named(text: str) -> None:
    with pytest.raises(DataError, match=r"cannot say .* expected words"):
        normalise(text)


def test_endings_follow_the_word_before() -> None:
    lexicon = Lexicon({"blick": (("B", "L", "IH", "K"),), "blish": (("B", "L", "IH", "SH"),)})
    assert lexicon.spoken("blick's")[0][-1] == "S"
    assert lexicon.spoken("blish's")[0][-2:] == ("IH", "Z")
    assert lexicon.spoken("blick'll")[0][-2:] == ("AH", "L")


def test_unknown_words_are_guessed_from_their_letters() -> None:
    assert Lexicon().spoken("plinking") == (("P", "L", "IH", "NG", "K", "IH", "NG"),)
    assert Lexicon().spoken("snarp") == (("S", "N", "AA", "R", "P"),)
    with pytest.raises(DataError, match="letters a to z"):
        g2p.pronounce("")


def test_letters_are_learnt_from_examples() -> None:
    words = [
        ("cat", ("K", "AE", "T")),
        ("cit", ("S", "IH", "T")),
        ("tac", ("T", "AE", "K")),
        ("tic", ("T", "IH", "K")),
    ]
    tree = g2p.learn([*words, ("city", ("S", "IH", "T", "IY")), ("act", ("AE", "K", "T"))] * 4)
    assert g2p.pronounce("catcit", tree) == ("K", "AE", "T", "S", "IH", "T")


def test_a_data_folder_brings_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "lexicon.txt").write_text("# ours\nauricle AO R IH K AH L\nauricle AO R AH K AH L\n")
    lexicon = Lexicon.of_folder(tmp_path)
    assert len(lexicon.spoken("auricle")) == 2
    text = lexicon_text(lexicon, ["auricle go"])
    assert text.splitlines()[0] == "auricle AO R IH K AH L"
    (tmp_path / "lexicon.txt").write_text("go G OW1\n")
    with pytest.raises(DataError, match=r"line 1: unknown phones \['OW1'\]"):
        read_lexicon(tmp_path / "lexicon.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("café K AH F EY\n".encode("latin-1"), "expected UTF-8"),
        (
            b"go G OW\nAuricle AO R IH K AH L\n",
            "line 2: expected a word of letters a to z first, got 'Auricle'",
        ),
    ],
)
def test_a_lexicon_that_nobody_could_use_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_lexicon(path)


def test_a_word_that_nobody_can_say_is_refused() -> None:
    with pytest.raises(DataError, match="cannot guess how 'zz' is spoken"):
        Lexicon().spoken("zz")
