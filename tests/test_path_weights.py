"""How paths of wake phrases are weighed."""

import numpy as np
import pytest

from auricle.models.decoding.phrases import Evidence, PhraseSearchSettings
from auricle.pipelines.corpus import Clip
from auricle.pipelines.path_weights import (
    BY_FIT,
    FEWEST_PHONES,
    OTHERS,
    OWN,
    Paths,
    best_places,
    draw_phrases,
    fit,
    missed,
)
from auricle.pipelines.streams import Placed
from auricle.pipelines.wake_streams import GAP_SAMPLES

FRAME = 640


def clip(text: str) -> Clip:
    return Clip("1", "talk", "train", "a.wav", 0, 16_000, text=text)


def paths(groups: int, seed: int) -> Paths:
    """Phrases that were said fit better than others, with half the doubt; nothing else tells them apart."""
    rng = np.random.default_rng(seed)
    said = np.tile(np.arange(44) < 4, groups)
    size = len(said)
    doubt = rng.gamma(9.0, 0.1, size) * np.where(said, 0.5, 1.0)
    columns = [rng.normal(-9, 3, size) + 4 * said, doubt, rng.uniform(1.5, 3, size), rng.uniform(1, 2, size)]
    evidence = Evidence(*(column.astype(np.float32) for column in columns))
    return Paths(evidence, np.repeat(np.arange(groups), 44), said, hours=1.0)


def test_phrases_are_neither_short_nor_unsayable() -> None:
    texts = ["open the garden gate", "a", "€", "yes", "supercalifragilisticexpialidocious"]
    found = draw_phrases([clip(text) for text in texts for _ in range(20)], 100, np.random.default_rng(0))
    assert found and all(phrase in texts[0] for phrase in found)
    assert "open the" in found and "open" not in found and FEWEST_PHONES == 5


def test_a_phrase_is_sought_where_it_was_said_and_everywhere_else() -> None:
    rng = np.random.default_rng(0)
    own = Evidence(*(rng.uniform(-9, 0, (2, 4000)).astype(np.float16) for _ in range(4)))
    own.fit[0, 130] = own.fit[1, 2500] = 1000  # where it is said, and something better elsewhere
    length = 60 * FRAME + GAP_SAMPLES
    holding = [
        Placed(0, start * FRAME, start * FRAME + length, clip("hey")) for start in range(100, 2100, 200)
    ]
    right, wrong = best_places(own, holding, FRAME, rng)
    assert len(right.frame) == OWN and len(wrong.frame) == OTHERS
    for frame in right.frame:
        assert any(one.start_sample <= frame * FRAME <= one.end_sample for one in holding)
    outside = list(zip(wrong.stream.tolist(), wrong.frame.tolist(), strict=True))
    assert (1, 2500) in outside
    for stream, frame in outside:
        assert stream == 1 or not any(
            one.start_sample <= frame * FRAME <= one.end_sample for one in holding
        ), frame


def test_weights_are_learnt_from_what_tells_phrases_apart() -> None:
    fitted = fit(paths(40, 0), clear_frames=2.5)
    assert fitted.doubt_cost > 10
    assert abs(fitted.slow_cost) < 2 and abs(fitted.faint_cost) < 2
    other = paths(40, 1)
    for before, after in zip(missed(other, BY_FIT), missed(other, fitted), strict=True):
        assert after < 0.75 * before


def test_the_shipped_weights_are_costs() -> None:
    shipped = PhraseSearchSettings()
    assert min(shipped.doubt_cost, shipped.slow_cost, shipped.faint_cost) > 0
    one = np.ones(1, np.float32)
    assert shipped.score(Evidence(0 * one, 0 * one, one, 9 * one))[0] == pytest.approx(-shipped.slow_cost)
