"""Criteria, search and alignment against every path there is, written out."""

from itertools import groupby, product

import numpy as np
import pytest
import torch

from auricle.pipelines.alignment import ctc_path, measure_delay, spread
from auricle.pipelines.bigram import Bigram, count_bigram
from auricle.pipelines.criteria import PhoneTargets, cross_entropy, ctc, denominator, distillation, lfmmi
from auricle.pipelines.decode_phones import SearchSettings, edit_distance, greedy, search
from auricle.pipelines.targets import IGNORE
from auricle.pipelines.utterances import place_targets

FRAMES, PHONES = 5, 3


def made_up(seed: int = 0) -> tuple[torch.Tensor, Bigram]:
    torch.manual_seed(seed)
    log_probs = torch.randn(2, FRAMES, PHONES + 1).log_softmax(-1)
    return log_probs, count_bigram([[1, 2, 3], [3, 3, 1], [2]], PHONES)


def every_path(rows: torch.Tensor) -> dict[tuple[int, ...], list[float]]:
    """For each label sequence the log-probabilities of all its paths through the frames."""
    found: dict[tuple[int, ...], list[float]] = {}
    for path in product(range(PHONES + 1), repeat=len(rows)):
        labels = tuple(label for label, _ in groupby(path) if label)
        found.setdefault(labels, []).append(float(sum(rows[j, label] for j, label in enumerate(path))))
    return found


def targets(labels: list[list[int]], frames: list[int], bigram: Bigram) -> PhoneTargets:
    padded = torch.zeros(len(labels), max(map(len, labels)), dtype=torch.long)
    for row, sequence in enumerate(labels):
        padded[row, : len(sequence)] = torch.tensor(sequence)
    counts = torch.tensor([len(sequence) for sequence in labels])
    scores = torch.tensor([bigram.score(sequence) for sequence in labels])
    return PhoneTargets(
        padded, counts, torch.tensor(frames), torch.zeros(len(labels), 0, dtype=torch.long), scores
    )


def test_a_bigram_is_a_distribution() -> None:
    _, bigram = made_up()
    total = bigram.follows.exp().sum(1) + bigram.ends.exp()
    assert torch.allclose(total, torch.ones(PHONES + 1), atol=1e-6)
    assert bigram.score([1, 2]) == pytest.approx(
        float(bigram.follows[PHONES, 0] + bigram.follows[0, 1] + bigram.ends[1]), abs=1e-6
    )


def test_the_denominator_sums_over_every_path() -> None:
    log_probs, bigram = made_up()
    counts = torch.tensor([FRAMES, 3])
    found = denominator(log_probs, counts, bigram)
    for row in range(2):
        paths = every_path(log_probs[row, : counts[row]])
        expected = np.logaddexp.reduce(
            [bigram.score(labels) + value for labels, logs in paths.items() for value in logs]
        )
        assert float(found[row]) == pytest.approx(expected, abs=1e-4)


def test_ctc_and_lfmmi_are_the_shares_they_should_be() -> None:
    log_probs, bigram = made_up(1)
    given = targets([[1, 1], [2]], [FRAMES, 4], bigram)
    right, share = 0.0, 0.0
    for row, labels in enumerate(((1, 1), (2,))):
        paths = every_path(log_probs[row, : int(given.frame_counts[row])])
        own = np.logaddexp.reduce(paths[labels])
        every = np.logaddexp.reduce([bigram.score(other) + v for other, logs in paths.items() for v in logs])
        right += own
        share += every - own - bigram.score(labels)
    assert float(ctc(log_probs, given)) == pytest.approx(-right / 3, abs=1e-4)
    assert float(lfmmi(log_probs, given, bigram, 0.0)) == pytest.approx(share / 3, abs=1e-4)
    assert float(lfmmi(log_probs, given, bigram, 0.5)) == pytest.approx((share - 0.5 * right) / 3, abs=1e-4)


def test_lfmmi_has_finite_gradients() -> None:
    log_probs, bigram = made_up(2)
    logits = (30 * log_probs).requires_grad_()
    lfmmi(logits.log_softmax(-1), targets([[1, 2], [3]], [FRAMES, 2], bigram), bigram, 0.1).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    assert (logits.grad[1, 2:] == 0).all()  # padding


def test_cross_entropy_leaves_padding_out() -> None:
    log_probs, bigram = made_up()
    frames = torch.tensor([[0, 1, 1, 2, 0], [3, 0, IGNORE, IGNORE, IGNORE]])
    given = targets([[1, 2], [3]], [5, 2], bigram)._replace(frames=frames)
    chosen = [
        log_probs[row, j, int(frames[row, j])] for row in range(2) for j in range(5) if frames[row, j] >= 0
    ]
    assert float(cross_entropy(log_probs, given)) == pytest.approx(-float(sum(chosen)) / 7, abs=1e-5)


def test_greedy_joins_repeats_and_drops_blanks() -> None:
    log_probs = torch.eye(4)[torch.tensor([[0, 1, 1, 0, 1, 2, 3]])].log()
    assert greedy(log_probs, torch.tensor([6])) == [[1, 1, 2]]


@pytest.mark.parametrize("settings", [SearchSettings(0.0, 1.0, 0.0), SearchSettings(-1.0, 0.4, 0.3)])
def test_the_search_finds_the_best_of_every_path(settings: SearchSettings) -> None:
    log_probs, bigram = made_up(3)
    counts = torch.tensor([FRAMES, 4])
    found = search(log_probs, counts, bigram, settings)
    for row in range(2):
        rows = log_probs[row, : counts[row]].clone()
        rows[:, 0] += settings.blank_shift
        best = max(
            every_path(rows).items(),
            key=lambda item: (
                max(item[1])
                + settings.bigram_weight * bigram.score(item[0])
                - settings.phone_cost * len(item[0])
            ),
        )
        assert found[row] == list(best[0])


@pytest.mark.parametrize(
    ("found", "expected", "errors"),
    [
        ([], [], 0),
        ([1, 2], [], 2),
        ([], [1], 1),
        ([1, 2, 3], [1, 3], 1),
        ([3, 1, 2], [1, 2, 4], 2),
        ([1, 5, 3], [1, 2, 3], 1),
    ],
)
def test_phone_errors_are_counted(found: list[int], expected: list[int], errors: int) -> None:
    assert edit_distance(found, expected) == errors


def test_an_alignment_puts_labels_where_they_are() -> None:
    probabilities = torch.full((8, 4), 0.05)
    for frame, label in enumerate([0, 0, 1, 0, 0, 2, 2, 0]):
        probabilities[frame, label] = 0.85
    path = ctc_path(probabilities.log(), [1, 2], 0.0)
    assert path.tolist() == [0, 0, 1, 0, 0, 2, 2, 0]
    assert spread(path, 2).tolist() == [0, 1, 1, 1, 2, 2, 2, 2]
    assert spread(path, 1).tolist() == [0, 1, 1, 1, 2, 2, 2, 2]
    pause = np.array([3, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], np.int16)
    assert spread(pause, 5).tolist() == [3, 3, 0, 0, 0, 0, 1, 1, 1, 0, 0]


def test_the_delay_of_an_aligner_is_seen() -> None:
    rng = np.random.default_rng(0)
    levels = np.repeat(np.array([0, 1, 1, 0, 0, 1, 0, 0, 0, 1], float), 640)
    samples = (
        0.1 * levels * rng.standard_normal(len(levels)) + 1e-4 * rng.standard_normal(len(levels))
    ).astype(np.float32)
    late = np.concatenate([np.zeros(3, np.int16), levels[::640].astype(np.int16)])
    assert measure_delay([late], [samples], 640) == 3


def test_frame_targets_follow_speed_place_and_delay() -> None:
    clean = np.array([1, 1, 2, 2, 3, 3], np.int16)
    assert place_targets(clean, 9, 0.0, 1.0, 0).tolist() == [1, 1, 2, 2, 3, 3, 0, 0, 0]
    assert place_targets(clean, 9, 2.0, 1.0, 1).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert place_targets(clean, 4, 0.0, 2.0, 0).tolist() == [1, 2, 3, 0]


def test_distillation_asks_for_what_the_teacher_says() -> None:
    log_probs, bigram = made_up()
    taught = log_probs.flip(0)
    wanted = targets([[1, 2], [2]], [FRAMES, 3], bigram)._replace(taught=taught)
    assert float(distillation(log_probs, wanted._replace(taught=log_probs), 0.0)) == pytest.approx(
        0, abs=1e-6
    )
    away = float(distillation(log_probs, wanted, 0.0))
    by_hand = sum(
        float((taught[row, :count].exp() * (taught - log_probs)[row, :count]).sum())
        for row, count in enumerate((FRAMES, 3))
    )
    assert away == pytest.approx(by_hand / 3, rel=1e-5)
    with_labels = away + 0.5 * float(ctc(log_probs, wanted))
    assert float(distillation(log_probs, wanted, 0.5)) == pytest.approx(with_labels, rel=1e-5)
