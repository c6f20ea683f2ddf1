"""The keyword search, and what is made of its scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from babble import LABELS, babble
from numpy.typing import NDArray

from auricle.configs.errors import ConfigError, ModelError
from auricle.models.decoding.background import (
    Background,
    BackgroundInfo,
    encode,
    fit_tail,
    load_background,
)
from auricle.models.decoding.listening import Wanted
from auricle.models.decoding.phrases import Array, PhraseSearch, PhraseSearchSettings, Way
from auricle.models.decoding.spotting import Hit, Spotter, SpotterState, rate_of
from auricle.models.decoding.ways import ways_of
from auricle.models.lexicon import Lexicon

SETTINGS = PhraseSearchSettings()
PLAIN = replace(SETTINGS, doubt_cost=0.0, unsure_cost=0.0, slow_cost=0.0, faint_cost=0.0)
"""Only what labels cost in their frames."""
FRAME = 640
ONE_TWO: tuple[Way, ...] = (((5, 6, 7), (8, 8)),)
OTHER: tuple[Way, ...] = (((9, 10, 11, 12),), ((9, 13, 11, 12),))


def spoken(*labels: int, gap: int = 1, sure: float = 0.95) -> Array:
    """Log-probabilities of labels, each in one frame, with blanks before each of them."""
    rows = []
    for label in labels:
        rows += [*[0] * gap, label]
    posterior = np.full((len(rows), LABELS), (1 - sure) / (LABELS - 1), np.float32)
    posterior[np.arange(len(rows)), rows] = sure
    return np.log(posterior)


def silence(frames: int) -> Array:
    """Log-probabilities of a model that hears nothing."""
    rows = np.log(np.full((frames, LABELS), 1e-4, np.float32))
    rows[:, 0] = 0.0
    return rows


def background(pieces: int = 40) -> Background:
    codes = np.concatenate([encode(babble(seed, 500), 500) for seed in range(pieces)])
    return Background(codes, BackgroundInfo("cafe0123", codes.size / LABELS * 0.04 / 3600, 0.04, SETTINGS))


def scores(search: PhraseSearch, log_probs: Array) -> NDArray[np.float32]:
    state, found = search.initial_state(), []
    for row in log_probs:
        best, state = search.step(row[None], state)
        found.append(best.score[0])
    return np.stack(found)


def hear(
    spotter: Spotter, log_probs: Array, state: SpotterState, first: int = 0
) -> tuple[list[Hit], SpotterState]:
    hits = []
    for number, row in enumerate(log_probs, start=first + 1):
        found, state = spotter.step(row, number * FRAME, state)
        hits += found
    return hits, state


def test_what_the_model_writes_down_costs_only_its_gaps() -> None:
    found = scores(PhraseSearch([ONE_TWO], PLAIN), spoken(5, 6, 7, 8, 8))
    cost = 3 * SETTINGS.gap_cost + SETTINGS.pause_cost  # blanks between five phones, one of them a pause
    assert found[-1, 0] == pytest.approx(-cost, abs=1e-4)
    assert (found[:-1, 0] < -SETTINGS.most / 2).all()


def test_a_double_phone_needs_a_blank_between() -> None:
    whole = scores(PhraseSearch([ONE_TWO], PLAIN), spoken(5, 6, 7, 8))[-1, 0]
    assert whole <= -SETTINGS.most + 1


def test_a_wrong_phone_costs_no_more_than_the_most() -> None:
    right = scores(PhraseSearch([ONE_TWO], PLAIN), spoken(5, 6, 7, 8, 8))[-1, 0]
    wrong = scores(PhraseSearch([ONE_TWO], PLAIN), spoken(5, 20, 7, 8, 8))[-1, 0]
    assert right - SETTINGS.most - 0.01 <= wrong < right - SETTINGS.most / 2


def test_beginning_in_the_middle_of_speech_costs_more() -> None:
    search = PhraseSearch([ONE_TWO], PLAIN)
    alone = scores(search, spoken(5, 6, 7, 8, 8))[-1, 0]
    after = scores(search, spoken(20, 21, 22, 5, 6, 7, 8, 8))[-1, 0]
    assert after == pytest.approx(alone - SETTINGS.onset_cost, abs=1e-4)
    pause = np.concatenate([spoken(20, 21, 22), spoken(5, 6, 7, 8, 8, gap=SETTINGS.onset_frames + 2)])
    much = replace(PLAIN, gap_cost=0.0, pause_cost=0.0)
    assert scores(PhraseSearch([ONE_TWO], much), pause)[-1, 0] == pytest.approx(0, abs=1e-4)


def test_a_phrase_costs_more_the_less_sure_the_model_was_of_it() -> None:
    clear, vague = spoken(5, 6, 7, 8, 8, sure=0.99), spoken(5, 6, 7, 8, 8, sure=0.3)
    only_doubt = replace(PLAIN, doubt_cost=10.0)
    free, dear = (
        [scores(PhraseSearch([ONE_TWO], one), rows)[-1, 0] for rows in (clear, vague)]
        for one in (PLAIN, only_doubt)
    )
    assert free[1] == pytest.approx(free[0], abs=0.2)  # the best labels are the same
    assert dear[0] - dear[1] > 5
    # A mean over frames: a longer path is not dearer for being longer.
    rows = spoken(*range(5, 15), sure=0.3)
    longer = scores(PhraseSearch([((tuple(range(5, 15)),),)], only_doubt), rows)[-1, 0]
    assert longer - dear[1] > -5
    # What was heard before the phrase, or how surely nothing was heard, does not count.
    rows = np.concatenate([babble(3, 80), silence(40), clear])
    assert scores(PhraseSearch([ONE_TWO], only_doubt), rows)[-1, 0] == pytest.approx(dear[0], abs=0.05)


def test_what_the_model_was_too_unsure_of_is_none() -> None:
    """As in noise alone, where each frame leaves room for any phone."""
    flat = np.full((40, LABELS), 1 / LABELS, np.float32)
    search, free = (PhraseSearch([ONE_TWO], replace(SETTINGS, unsure_cost=cost)) for cost in (100.0, 0.0))
    assert scores(search, np.log(flat)).max() < scores(free, np.log(flat)).max() - 50
    said = spoken(5, 6, 7, 8, 8, sure=0.8)
    assert np.array_equal(scores(search, said), scores(free, said))


def test_a_drawn_out_path_costs_more_and_so_do_phones_that_are_hardly_named() -> None:
    quick, slow = (spoken(5, 6, 7, 8, 8, gap=gap, sure=0.99) for gap in (1, 6))
    only_slow = replace(PLAIN, slow_cost=3.0, gap_cost=0.0)
    found = [scores(PhraseSearch([ONE_TWO], only_slow), rows)[-1, 0] for rows in (quick, slow)]
    frames = [len(quick) - 1, len(slow) - 6]  # from the first phone on
    assert found[0] - found[1] == pytest.approx(3.0 * (frames[1] - frames[0]) / 5, abs=0.1)
    only_faint = replace(PLAIN, faint_cost=10.0)
    held = np.repeat(quick, np.where(quick.argmax(1) > 0, 2, 1), axis=0)  # each phone for two frames
    found = [scores(PhraseSearch([ONE_TWO], only_faint), rows)[-1, 0] for rows in (quick, held)]
    assert found[1] - found[0] == pytest.approx(10.0, abs=1.0)
    long = np.repeat(quick, np.where(quick.argmax(1) > 0, 9, 1), axis=0)
    longest = scores(PhraseSearch([ONE_TWO], only_faint), long)[-1, 0]
    assert longest - found[0] <= 10.0 * SETTINGS.clear_frames  # a held sound does not make up for others


def test_any_way_to_say_it_will_do() -> None:
    search = PhraseSearch([OTHER], SETTINGS)
    first, second = (scores(search, spoken(9, label, 11, 12))[-1, 0] for label in (10, 13))
    assert first == pytest.approx(second)


def test_phrases_side_by_side_score_as_alone() -> None:
    heard = babble(1, 300)
    both = scores(PhraseSearch([ONE_TWO, OTHER], SETTINGS), heard)
    for number, ways in enumerate((ONE_TWO, OTHER)):
        assert np.array_equal(both[:, number], scores(PhraseSearch([ways], SETTINGS), heard)[:, 0])


def test_streams_side_by_side_score_as_alone_and_the_old_state_stays() -> None:
    search = PhraseSearch([ONE_TWO, OTHER], SETTINGS)
    heard = np.stack([babble(1, 60), babble(2, 60)])
    state, alone = search.initial_state(2), [scores(search, row) for row in heard]
    for frame in range(60):
        before = [leaf.copy() for leaf in state[:3]]
        found, after = search.step(heard[:, frame], state)
        assert all(np.array_equal(old, kept) for old, kept in zip(before, state[:3], strict=True))
        state = after
        for row in range(2):
            assert np.array_equal(found.score[row], alone[row][frame])


def test_the_rate_falls_with_the_score_and_back() -> None:
    rng = np.random.default_rng(3)
    info = BackgroundInfo("cafe0123", 1.0, 0.04, SETTINGS, correction=1.5)
    tail = fit_tail(rng.normal(-20, 3, (10, 9000)).astype(np.float32), info)
    for rate in (100.0, 20.0, 0.5, 0.1):
        assert tail.rate(tail.score_at(rate)) == pytest.approx(rate, rel=0.05)
    rates = [tail.rate(score) for score in np.linspace(-30, 0, 50)]
    assert rates == sorted(rates, reverse=True)


def test_tails_are_those_of_every_frame() -> None:
    own, search = background(5), PhraseSearch([ONE_TWO, OTHER], SETTINGS)
    every = np.stack([scores(search, piece) for piece in own.log_probs()])
    for phrase, tail in enumerate(own.tails(search)):
        expected = fit_tail(every[..., phrase], own.info)
        assert np.array_equal(tail.scores, expected.scores) and tail[1:] == expected[1:]


def test_nothing_begins_before_the_stream_does() -> None:
    early = Background(background().codes, replace(background().info, start_shift_samples=-3 * FRAME))
    spotter = Spotter([Wanted(ONE_TWO, 0.5, 0)], early, FRAME)
    said = np.concatenate([spoken(5, 6, 7, 8, 8), silence(5)])
    for first in (0, 100):
        hits, _ = hear(spotter, said, spotter.initial_state(first * FRAME), first)
        assert [hit.start_sample for hit in hits] == [first * FRAME]


def test_the_promised_rate_is_kept_in_unheard_babble() -> None:
    spotter = Spotter([Wanted(OTHER, 30.0, 16_000)], background(200), FRAME)
    count, frames = 0, 0
    state = spotter.initial_state()
    for seed in range(1000, 1100):
        hits, state = hear(spotter, babble(seed, 500), state, frames)
        count, frames = count + len(hits), frames + 500
    hours = frames * 0.04 / 3600
    assert 15 < count / hours < 60


def test_a_phrase_is_heard_once_each_time_it_is_said_and_not_within_its_refractory_time() -> None:
    spotter = Spotter([Wanted(ONE_TWO, 0.5, 50 * FRAME), Wanted(OTHER, 0.5, 0)], background(), FRAME)
    once, rest = spoken(5, 6, 7, 8, 8), silence(60)
    said = np.concatenate([rest, once, rest[:5], once, rest, once, rest, spoken(9, 13, 11, 12), rest])
    hits, _ = hear(spotter, said, spotter.initial_state())
    assert [hit.phrase for hit in hits] == [0, 0, 1]
    assert hits[0].end_sample == (60 + 10) * FRAME
    assert hits[0].start_sample == 61 * FRAME  # the first phone, after a blank
    assert all(0.66 < hit.score <= 1 for hit in hits)


def test_phrases_come_and_go_without_disturbing_the_others() -> None:
    spotter = Spotter([Wanted(ONE_TWO, 0.5, 0)], background(), FRAME)
    said = spoken(5, 6, 7, 8, 8)
    said = np.concatenate([said, silence(5)])
    _, state = hear(spotter, said[:6], spotter.initial_state())
    spotter.change([Wanted(OTHER, 0.5, 0), Wanted(ONE_TWO, 0.1, 0)])
    hits, state = hear(spotter, said[6:], state, 6)
    assert [(hit.phrase, hit.start_sample) for hit in hits] == [(1, FRAME)]
    spotter.change([])
    assert hear(spotter, said, state, 20)[0] == []


def test_what_was_half_heard_of_a_phrase_goes_with_it() -> None:
    spotter = Spotter([Wanted(ONE_TWO, 0.5, 0)], background(), FRAME)
    said = spoken(5, 6, 7, 8, 8)
    hits, state, frames = [], spotter.initial_state(), 0
    while not state.pending:
        hits, state = hear(spotter, said[frames : frames + 1], state, frames)
        frames += 1
    assert hits == []
    spotter.change([])
    _, state = hear(spotter, silence(5), state, frames)
    spotter.change([Wanted(ONE_TWO, 0.5, 0)])
    assert hear(spotter, silence(20), state, 1000)[0] == []


def test_a_background_is_read_as_it_was_written_and_only_for_its_model(tmp_path: Path) -> None:
    made = background(3)
    path = tmp_path / "some.wake.xz"
    made.save(path)
    read = load_background(path, "cafe0123")
    assert read.info == made.info and np.array_equal(read.codes, made.codes)
    with pytest.raises(ModelError, match="weights cafe0123"):
        load_background(path, "00000000")
    path.write_bytes(b"something else")
    with pytest.raises(ModelError, match="auricle calibrate"):
        load_background(path, "cafe0123")
    with pytest.raises(ModelError, match="not there"):
        load_background(tmp_path / "none.wake.xz", "cafe0123")


def test_codes_keep_what_matters_of_the_posteriors() -> None:
    heard = babble(7, 1000)
    search = PhraseSearch([ONE_TWO, OTHER], SETTINGS)
    info = BackgroundInfo("cafe0123", 1.0, 0.04, SETTINGS)
    coarse = scores(search, Background(encode(heard, 1000), info).log_probs()[0])
    exact = scores(search, heard)
    high = exact > np.quantile(exact, 0.98, axis=0)
    assert np.abs(coarse - exact)[high].max() < 10.0
    assert np.abs(coarse - exact)[high].mean() < 1.0


def test_ways_come_from_the_lexicon_or_the_user() -> None:
    lexicon = Lexicon({"auricle": (("AO", "R"), ("AA", "R"))})
    assert len(ways_of("Hey, Auricle!", lexicon)) == 2
    assert ways_of("x", lexicon, ["HH EY1 AO2", "hh ey ao"]) == (((16, 13, 4),),)
    for wrong in (["HH XX"], [""]):
        with pytest.raises(ConfigError, match="pronunciation"):
            ways_of("x", lexicon, wrong)
    with pytest.raises(ConfigError, match="cannot say"):
        ways_of("3.14 €", lexicon)


def test_a_score_stands_for_a_rate() -> None:
    assert rate_of(0.5) == pytest.approx(1.0)
    assert rate_of(2 / 3) == pytest.approx(0.5)
    assert rate_of(1.0) > 0
