"""Language models: estimation, files, and scores."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from auricle.configs.cli import main
from auricle.configs.errors import ModelError
from auricle.models.decoding.ngram import END, START, UNKNOWN, KnownScores, NGram
from auricle.models.decoding.ngram_file import (
    WEIGHTS,
    find_language_model,
    read_language_model,
    write_arpa,
    write_compact,
)
from auricle.pipelines.lm_text import read_text, sentences, spoken_number, without_held_out
from auricle.pipelines.ngram_counts import Size, count_grams, estimate, number_words, vocabulary_of

ARPA = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=1

\\1-grams:
-99\t<s>\t-0.5
-1.0\t</s>
-0.7\tone\t-0.3
-0.9\ttwo\t-0.2
-1.5\t<unk>

\\2-grams:
-0.2\t<s> one\t-0.1
-0.4\tone two\t-0.25
-0.6\ttwo </s>
-0.8\ttwo one

\\3-grams:
-0.05\t<s> one two

\\end\\
"""
TEXT = [
    line.split()
    for line in (
        "turn on the light",
        "turn off the light",
        "turn on the radio",
        "the light is on",
        "the radio is off",
    )
    * 3
]


@pytest.fixture(name="arpa")
def _arpa(tmp_path: Path) -> Path:
    path = tmp_path / "small.arpa"
    path.write_text(ARPA)
    return path


@pytest.fixture(name="learnt", scope="module")
def _learnt() -> NGram:
    words = vocabulary_of({word: 1 for line in TEXT for word in line}, 100)
    return estimate(number_words(TEXT, words), words, Size(100, 100, 1))


def decades(model: NGram, *words: str) -> float:
    """Base-10 logarithm of a sentence's probability."""
    return model.sentence(words)[0] / math.log(10)


def test_an_arpa_model_gives_the_probabilities_that_are_written_in_it(arpa: Path) -> None:
    model = read_language_model(arpa)
    assert model.orders == (5, 4, 1)
    # <s> one, <s> one two, then two </s> after backing off from "one two".
    assert decades(model, "one", "two") == pytest.approx(-0.2 - 0.05 + (-0.25 - 0.6), abs=1e-5)
    # <s> two: back-off of <s>, then the word alone; two two: that of two.
    assert decades(model, "two", "two") == pytest.approx((-0.5 - 0.9) + (-0.2 - 0.9) - 0.6, abs=1e-5)


def test_arpa_files_may_be_compressed(arpa: Path, tmp_path: Path) -> None:
    packed = tmp_path / "small.arpa.gz"
    packed.write_bytes(gzip.compress(arpa.read_bytes()))
    assert decades(read_language_model(packed), "one", "two") == decades(
        read_language_model(arpa), "one", "two"
    )


@pytest.mark.parametrize(
    ("find", "replacement", "message"),
    [
        ("\\data\\", "", "no line"),
        ("ngram 2=4", "ngram 2=5", "expected 5 2-grams, found 4"),
        ("\\end\\", "", "without"),
        ("<s> one two", "two two two", "history"),
        ("-0.6\ttwo", "xx\ttwo", "damaged"),
        ("two one", "two three", "'three' of 'two three' is not among the 1-grams"),
    ],
)
def test_a_damaged_arpa_file_is_refused(arpa: Path, find: str, replacement: str, message: str) -> None:
    arpa.write_text(ARPA.replace(find, replacement))
    with pytest.raises(ModelError, match=message):
        read_language_model(arpa)


def test_a_damaged_compressed_arpa_file_is_refused(arpa: Path, tmp_path: Path) -> None:
    content = bytearray(gzip.compress(arpa.read_bytes()))
    content[20] ^= 0xFF
    path = tmp_path / "bad.arpa.gz"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.arpa\.gz"):
        read_language_model(path)


def test_a_missing_model_is_named() -> None:
    with pytest.raises(ModelError, match=r"nothing\.arpa"):
        find_language_model("nothing.arpa")


def test_a_damaged_compact_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.lm.xz"
    path.write_bytes((WEIGHTS / "lm-small.lm.xz").read_bytes()[:1000])
    with pytest.raises(ModelError, match="again"):
        read_language_model(path)


def test_probabilities_after_any_words_add_up_to_one(learnt: NGram) -> None:
    everything = np.arange(len(learnt.words))
    everything = everything[everything != learnt.index[START]]
    for state in range(len(learnt.following)):
        if learnt.following[state] != state:
            continue
        scores, _ = learnt.score(np.full(len(everything), state), everything)
        assert np.exp(scores.astype(np.float64)).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("piece", [1, 5, 6, 40])
def test_counts_are_the_same_in_pieces(piece: int) -> None:
    words = vocabulary_of({word: 1 for line in TEXT for word in line}, 100)
    row = number_words(TEXT, words)
    for whole, joined in zip(count_grams(row), count_grams(row, piece), strict=True):
        np.testing.assert_array_equal(whole.keys, joined.keys)
        np.testing.assert_array_equal(whole.counts, joined.counts)


def test_pruning_keeps_probabilities_and_drops_n_grams() -> None:
    words = vocabulary_of({word: 1 for line in TEXT for word in line}, 100)
    model = estimate(number_words(TEXT, words), words, Size(8, 3, 1))
    assert model.orders[2] == 3
    everything = np.arange(1 + words.index(END), len(words))
    scores, _ = model.score(np.full(len(everything), model.start_state), everything)
    assert np.exp(scores).sum() < 1


def test_what_was_read_is_likelier(learnt: NGram) -> None:
    said, unknown = learnt.sentence(["turn", "on", "the", "light"])
    mixed, _ = learnt.sentence(["light", "the", "on", "turn"])
    assert said > mixed + 3 and unknown == 0
    assert learnt.sentence(["turn", "zebra"])[1] == 1


def test_files_keep_the_model(learnt: NGram, tmp_path: Path) -> None:
    write_arpa(learnt, tmp_path / "a.arpa.gz")
    write_compact(learnt, tmp_path / "a.lm.xz")
    for name, tolerance in (("a.arpa.gz", 1e-3), ("a.lm.xz", 0.4)):
        again = read_language_model(tmp_path / name)
        assert again.orders == learnt.orders and again.words == learnt.words
        np.testing.assert_array_equal(again.keys, learnt.keys)
        for line in TEXT[:5]:
            assert again.sentence(line)[0] == pytest.approx(learnt.sentence(line)[0], abs=tolerance)


def test_the_shipped_model_knows_everyday_words() -> None:
    model = read_language_model(find_language_model("lm-small"))
    assert {"kitchen", "television", "monday", UNKNOWN} <= set(model.index)
    assert (
        model.sentence(["turn", "on", "the", "kitchen", "light"])[0]
        > model.sentence(["turn", "on", "a", "kitten", "like"])[0]
    )


def test_prose_becomes_spoken_sentences() -> None:
    text = (
        "*** START OF THIS EBOOK ***\n"
        "Mr. O'Neil paid 12,500 dollars in 1897.\n\n\u201cDon\u2019t!\u201d he\ncried\u2014_twice_.\n"
    )
    assert sentences(text + "*** END OF THIS EBOOK ***\nSmall print.") == [
        "mister o'neil paid twelve thousand five hundred dollars in eighteen ninety seven",
        "don't",
        "he cried twice",
    ]
    assert spoken_number("007") == ["zero", "zero", "seven"]


def test_held_out_sentences_are_left_out() -> None:
    held_out = ["where do you live", "one two three four five six seven eight"]
    found = [
        "where do you live",
        "where do you live now",
        "he said two three four five six seven and left",
        "two three four five six other words",
    ]
    assert without_held_out(found, held_out) == [found[1], found[3]]


@pytest.mark.parametrize("places", [4, 1 << 14])
def test_what_was_asked_before_is_answered_alike(learnt: NGram, places: int) -> None:
    known, random = KnownScores(learnt, places), np.random.default_rng(1)
    for _ in range(20):
        states = random.integers(0, len(learnt.backoff), 60)
        words = random.integers(0, len(learnt.words), 60)
        for expected, found in zip(learnt.score(states, words), known.score(states, words), strict=True):
            assert np.array_equal(expected, found)


def test_no_word_is_likelier_than_its_bound(learnt: NGram) -> None:
    states, words = np.divmod(np.arange(len(learnt.backoff) * len(learnt.words)), len(learnt.words))
    log_probs, _ = learnt.score(states, words)
    assert (log_probs <= learnt.most_likely[words] + 1e-6).all()


def test_letters_and_signs_of_other_tables_do_not_end_sentences(tmp_path: Path) -> None:
    said = sentences("Julius C\u00e6sar saw the fa\u00e7ade \u2013 it cost \u00a35.")
    assert said == ["julius caesar saw the facade it cost five"]
    (tmp_path / "old.txt").write_bytes("I don\u2019t know the caf\u00e9.".encode("cp1252"))
    assert read_text(tmp_path / "old.txt") == ["i don't know the cafe"]


def test_years_are_read_in_pairs() -> None:
    for said in ("1897 eighteen ninety seven", "1905 nineteen oh five", "1900 nineteen hundred"):
        assert spoken_number(said[:4]) == said[5:].split()
    assert spoken_number("2005")[0] == "two"


def test_short_texts_of_any_kind_are_read_and_long_ones_only_if_english(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "orders.txt").write_text("turn on kitchen lights. open garage door.")
    assert len(read_text(tmp_path / "orders.txt")) == 2
    (tmp_path / "latin.txt").write_text("gallia est omnis divisa in partes tres. " * 400)
    assert read_text(tmp_path / "latin.txt") == []
    assert "latin.txt is left out" in caplog.text


def test_a_model_is_learnt_from_transcripts_alone(tmp_path: Path) -> None:
    (tmp_path / "data/toy").mkdir(parents=True)
    for split, text in {"train": "feed the cat", "dev": "feed the dog"}.items():
        (tmp_path / f"data/toy/{split}.jsonl").write_text(json.dumps({"text": text}) + "\n")
    out = tmp_path / "mine.lm.xz"
    command = ["train", "lm", "--data", str(tmp_path / "data"), "--out", str(out)]
    assert main([*command, "--set", "trigrams=0"]) == 0
    assert "kitchen" in read_language_model(out).index
    assert list(tmp_path.glob("*.partial")) == []
    (tmp_path / "data/toy/dev.jsonl").write_text("feed the dog\n")
    assert main(command) == 1
    assert "kitchen" in read_language_model(out).index  # as it was
