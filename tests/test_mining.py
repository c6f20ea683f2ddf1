"""Words cut out of sentences that an acoustic model aligned."""

from pathlib import Path

import numpy as np
import pytest
from made_up import SMALL, make_data

from auricle.models.lexicon import Lexicon
from auricle.pipelines import keyword_data
from auricle.pipelines.acoustic_data import Utterance
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.found_words import Found, read_found, write_found
from auricle.pipelines.keyword_data import WordPlanner
from auricle.pipelines.mining import LEAST_SCORE, OTHERS_EACH, Aligned, pick, words_of
from auricle.pipelines.recipe import load_recipe
from auricle.pipelines.vocabulary import HOMOPHONES, KEYWORDS, LABELS, UNKNOWN

FRAME = 640
LEXICON = Lexicon()


def sentence(text: str, seconds: float = 2.0) -> Utterance:
    clip = Clip("1", "talk", "train", "talk.wav", 0, round(seconds * 16_000), text=text)
    return Utterance(clip, tuple(LEXICON.labels(text)))


def aligned(text: str, frames_each: int, *, lead: int = 0, score: float = -0.1) -> Aligned:
    """Each phone is said for one frame, blanks follow it; `lead` blanks come first."""
    one = sentence(text)
    path = [0] * lead + [label for phone in one.labels for label in (phone, *[0] * (frames_each - 1))]
    return Aligned(one, np.array(path, np.int16), [score] * len(path))


def test_a_word_reaches_from_its_first_phone_to_its_last() -> None:
    stop, here = words_of(aligned("stop here", 4, lead=3), LEXICON, 0, FRAME)
    assert (stop.word, here.word) == ("stop", "here")
    assert stop.start == round(1.5 * FRAME)  # half of the way back to the beginning
    assert stop.end == here.start == round(17.5 * FRAME)  # the middle between P and HH
    earlier = next(words_of(aligned("stop here", 4, lead=3), LEXICON, 1, FRAME))
    assert earlier.start == stop.start - FRAME


def test_words_that_are_short_or_doubtful_are_left_out() -> None:
    assert not list(words_of(aligned("stop here", 1), LEXICON, 0, FRAME))  # 0.16 s
    assert not list(words_of(aligned("stop here", 4, lead=3, score=LEAST_SCORE - 0.1), LEXICON, 0, FRAME))


def test_keywords_are_all_taken_and_of_other_words_a_few_each() -> None:
    found = [
        Found("talk", str(n), word, 0, 8000) for n in range(9) for word in ("stop", "know", "lamp", "at")
    ]
    words = [one.word for one in pick(found)]
    assert words.count("stop") == 9 and words.count("lamp") == OTHERS_EACH and len(words) == 9 + OTHERS_EACH


def test_the_list_comes_back_as_it_was_written(tmp_path: Path) -> None:
    found = [Found("talk", "train-1", "lamp", 1600, 8001)]
    write_found(found, tmp_path / "times.tsv")
    assert read_found(tmp_path / "times.tsv") == found
    assert found[0].place == (10, 51)


def test_the_list_that_ships_holds_words_of_both_kinds() -> None:
    found = read_found()
    words = {one.word for one in found}
    assert words >= KEYWORDS and not words & (HOMOPHONES - KEYWORDS) and len(words) > 4000
    assert all(0.2 <= (one.end - one.start) / 16_000 <= 1.0 for one in found)


def test_found_words_are_keywords_or_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Found("talk", "train-1", "said", 8000, 14_000), Found("talk", "train-2", "stop", 9000, 15_000)]
    monkeypatch.setattr(keyword_data, "read_found", lambda: found)
    sets = ['keyword.words=["words"]', 'keyword.dev_words=["words"]', 'keyword.sentences=["talk"]']
    settings = [*SMALL, *sets, "keyword.others=[]", "keyword.strings=[]", "keyword.synthetic=false"]
    data = load_recipe("keyword", [*settings, 'keyword.noise.sets=["hiss"]']).keyword
    planner = WordPlanner(Corpus(make_data(tmp_path / "data"), tmp_path), data, "train")
    cut = {
        word: [one.clip.id for one in planner.by_label[LABELS.index(word)] if one.place] for word in LABELS
    }
    assert cut[UNKNOWN] == ["train-1"] and cut["stop"] == ["train-2"]
    assert sum(map(len, cut.values())) == 2
