"""Common words, and phrases that are held against them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from babble import babble
from test_wake_search import ONE_TWO, SETTINGS, background, silence, spoken

from auricle.configs.errors import ModelError
from auricle.models.decoding import second_look
from auricle.models.decoding.background import (
    BEST_AGAINST_WORDS,
    BEST_SCORE,
    Background,
    load_background,
)
from auricle.models.decoding.ngram import assemble
from auricle.models.decoding.phrases import NEVER, Array, PhraseSearch
from auricle.models.decoding.rivals import (
    FRAME_STEP,
    WORD_STEP,
    CommonWords,
    RivalSearch,
    common_words,
    decode_rivals,
    load_common_words,
)
from auricle.models.decoding.second_look import FirstPass, SecondLook, path_ends
from auricle.models.decoding.ways import ways_of
from auricle.models.lexicon import Lexicon
from auricle.pipelines.common_words import tree_of
from auricle.pipelines.wake_tune import closeness, ideal

LEXICON = Lexicon()
Paths = dict[tuple[int, bool], float]
"""Scores of the best paths to a node, or to the blank behind it."""
TWO_WORDS = CommonWords(  # 5 6 7 (and its beginning, 5 6, a word of its own), and 8 8
    np.array([0, 0, 1, 2, 0, 4]),
    np.array([0, 5, 6, 7, 8, 8]),
    np.array([NEVER, NEVER, -4.0, -2.0, NEVER, -3.0], np.float32),
)


def said(text: str) -> Array:
    """Log-probabilities of words said clearly, after silence and before some more."""
    return np.concatenate([ideal(ways_of(text, LEXICON)[0]), silence(6)])


def lead(rows: Array, phrase: str, search: RivalSearch) -> float:
    """By how much words explain it better, at the frame where the phrase fits best."""
    phrases = PhraseSearch([ways_of(phrase, LEXICON)], SETTINGS)
    words, state, best = search.hear(rows[None], SETTINGS), phrases.initial_state(), (-np.inf, 0.0)
    for frame, row in enumerate(rows):
        found, state = phrases.step(row[None], state)
        best = max(best, (float(found.score[0, 0]), float(words.lead(frame, found)[0, 0])))
    return best[1]


def reach(after: Paths, place: tuple[int, bool], score: float) -> None:
    after[place] = max(after.get(place, -np.inf), score)


def by_hand(rows: Array) -> tuple[list[float], list[float]]:
    """`before` and `up_to` of `TWO_WORDS`, one path at a time."""
    words, count = TWO_WORDS, len(TWO_WORDS.parent)
    best = [0.0, -2.0, -2.0, -2.0, -3.0, -3.0]
    paths = {(0, False): 0.0}  # node, in the blank behind it
    before, up_to = [], []
    for row in rows:
        before.append(paths[0, False])
        shifted = row.copy()
        shifted[0] += SETTINGS.blank_shift
        heard = np.maximum(shifted - shifted.max(), -SETTINGS.most)
        after: Paths = {}
        for (node, blank), score in paths.items():
            reach(
                after,
                (node, node > 0),
                score + heard[0] - (SETTINGS.gap_cost if node else SETTINGS.pause_cost),
            )
            if node and not blank:
                reach(after, (node, False), score + heard[words.label[node]])
            for child in range(1, count):
                if words.parent[child] == node and (blank or words.label[child] != words.label[node]):
                    reach(after, (child, False), score + heard[words.label[child]])
        ended = [score + words.word[node] for (node, _), score in after.items() if node]
        up_to.append(max([after[0, False], *(score + best[node] for (node, _), score in after.items())]))
        after[0, False] = max([after[0, False], *ended])
        paths = after
    return before, up_to


def test_the_search_finds_what_all_paths_one_by_one_find() -> None:
    rows = np.concatenate([spoken(5, 6, 8, 8, 5, 6, 7, sure=0.7), babble(3, 40)])
    found = RivalSearch(TWO_WORDS).hear(np.stack([rows, rows[::-1]]), SETTINGS)
    for stream, own in enumerate((rows, rows[::-1])):
        before, up_to = by_hand(own)
        assert found.before[stream] == pytest.approx(before, abs=1e-3)
        assert found.up_to[stream] == pytest.approx(up_to, abs=1e-3)


def test_what_words_explain_survives_its_codes() -> None:
    rows = np.stack([babble(seed, 1500) for seed in range(2)])
    exact = RivalSearch(TWO_WORDS).hear(rows, SETTINGS)
    coarse = decode_rivals(exact.encode())
    assert np.abs(coarse.up_to - exact.up_to).max() <= FRAME_STEP  # it does not add up over a minute
    assert np.abs(coarse.before - exact.before).max() <= 2 * FRAME_STEP
    assert coarse.before[0, 0] == 0


def test_a_word_that_holds_a_phrase_explains_it_better() -> None:
    search = common_words()
    inside, meant, other = (lead(said(text), "alexa", search) for text in ("election", "alexa", "marigold"))
    assert inside > meant + 4 and other > meant + 4
    assert lead(said("think engine"), "think engine", search) < -4  # what is meant is not the likeliest talk


def test_words_before_a_phrase_count_for_nothing() -> None:
    search = common_words()
    alone = lead(said("marigold"), "marigold", search)
    after = lead(said("there was another marigold"), "marigold", search)
    assert alone == pytest.approx(after, abs=SETTINGS.onset_cost + 1)


def test_the_words_that_ship_are_common_and_small() -> None:
    search = common_words()
    assert len(search.words.parent) > 40_000 and len(search.digest) == 8
    assert (search.words.parent[1:] < np.arange(1, len(search.words.parent))).all()
    assert search.words.word[search.words.word > NEVER].max() < -2


def test_a_tree_has_the_likeliest_words_of_a_model(tmp_path: Path) -> None:
    words = ("<s>", "</s>", "<unk>", "cat", "cab", "rare", "it's")
    unigram = np.log(np.array([0.1, 0.1, 0.1, 0.3, 0.2, 0.01, 0.19], np.float32))
    model = assemble(words, unigram, np.zeros(len(words), np.float32), [])
    tree = tree_of(model, LEXICON, 3)
    assert len(tree.parent) > 6 and (tree.word > NEVER).sum() == 3 + len(LEXICON.spoken("it's")[:3]) - 1
    assert tree.word.max() == pytest.approx(np.log(0.3))
    path = tmp_path / "words.xz"
    tree.save(path)
    read = load_common_words(path).words
    assert (read.parent == tree.parent).all() and (read.label == tree.label).all()
    assert read.word == pytest.approx(tree.word, abs=WORD_STEP / 2 + 1e-5)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ModelError, match="install Auricle again"):
        load_common_words(path)


def against_words(made: Background, cost: float = 0.5) -> Background:
    """The same background, its phrases held against common words."""
    search = common_words()
    codes = search.hear(made.log_probs(), made.info.search).encode()
    info = replace(made.info, words=search.digest, word_cost=cost)
    return Background(np.concatenate([made.codes, codes], 2), info)


def test_a_background_keeps_what_words_explain(tmp_path: Path) -> None:
    made = against_words(background(3))
    path = tmp_path / "some.second.wake.xz"
    made.save(path)
    read = load_background(path, "cafe0123")
    assert read.info == made.info and (read.stored == made.stored).all()
    assert read.codes.shape[2] + 2 == read.stored.shape[2]
    free, plain = against_words(background(3), cost=0.0), background(3)
    search = PhraseSearch([ONE_TWO], SETTINGS)
    for tail, other in zip(free.tails(search), plain.tails(search), strict=True):
        assert (tail.scores == other.scores).all()
        assert (tail.best, other.best) == (BEST_AGAINST_WORDS, BEST_SCORE)
    assert (made.tails(search)[0].scores != plain.tails(search)[0].scores).any()


def test_a_threshold_is_never_beyond_what_can_be_reached() -> None:
    tail = background(3).tails(PhraseSearch([ONE_TWO], SETTINGS))[0]._replace(best=-40.0)
    assert tail.threshold(1e-6) == -40.0 < tail.score_at(1e-6)
    assert tail.least_rate == tail.rate(-40.0)
    assert tail.threshold(1e6) == tail.score_at(1e6)


def test_a_second_look_tells_a_phrase_from_a_word_that_holds_it() -> None:
    plain = background(3)
    held = against_words(plain)
    differences = {}
    for text in ("alexa", "election"):
        rows = said(text)
        heard = FirstPass(rows, np.arange(len(rows), dtype=np.float32)[:, None])
        scores = [
            SecondLook(made, lambda hidden, rows=rows: np.exp(rows[hidden[:, 0].astype(int)])).score(
                ways_of("alexa", LEXICON), heard, 12, 2
            )
            for made in (plain, held)
        ]
        differences[text] = scores[1] - scores[0]
    assert differences["alexa"] > differences["election"] + 2


def test_a_background_of_other_words_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = against_words(background(1))
    other = RivalSearch(TWO_WORDS, "00000000")
    monkeypatch.setattr(second_look, "common_words", lambda: other)
    with pytest.raises(ModelError, match=r"common words .*auricle calibrate"):
        SecondLook(made, lambda hidden: hidden)


def test_phrases_that_sound_alike_are_close_with_words_or_without() -> None:
    for made in (background(1), against_words(background(1))):
        own, alike, other = (
            closeness(ways_of("hey marigold", LEXICON), ways_of(text, LEXICON), made)
            for text in ("hey marigold", "hey mary gold", "butterfly wing")
        )
        assert own >= alike > other


def test_path_ends_without_words_are_those_of_the_search() -> None:
    rows = babble(1, 60)
    search = PhraseSearch([ONE_TWO], SETTINGS)
    state = search.initial_state()
    for row, end in zip(rows, path_ends(rows, search, background(1).info), strict=True):
        found, state = search.step(row[None], state)
        assert end.score == found.score[0, 0]
