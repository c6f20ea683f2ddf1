"""What an acoustic model may be trained by: CTC, frame cross-entropy, CTC against a phone bigram (LF-MMI), or
what another model says of each frame (distillation).

Label 0 is blank (or silence), the phones follow. Losses are sums over the batch, divided by its phones (or
frames), so that they do not depend on how a batch is cut.

Shape letters: B utterances, J output frames, V labels, L labels of the longest utterance, P = V - 1 phones.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from auricle.pipelines.bigram import Bigram
from auricle.pipelines.targets import IGNORE

NEVER = -1e4
"""Log-probability of what cannot be; finite, so that gradients are."""
TINY = 1e-30


class PhoneTargets(NamedTuple):
    """What is said in each utterance of a batch."""

    labels: Tensor  # (B, L), padded with 0
    label_counts: Tensor  # (B,)
    frame_counts: Tensor  # (B,), output frames that are not padding
    frames: Tensor  # (B, J) label of each frame, IGNORE in the padding; (B, 0) where there is no alignment
    scores: Tensor  # (B,), log-probability of the labels by the phone bigram
    taught: Tensor | None = None  # (B, J, V), log-probabilities of a teacher


def ctc(log_probs: Tensor, targets: PhoneTargets) -> Tensor:
    """Minus log-probability of the labels, for each phone (Graves and others, 2006).

    Args:
        log_probs: with shape `(B, J, V)`.
        targets: what is said.
    """
    return _ctc_sum(log_probs, targets).sum() / targets.label_counts.sum().clamp(min=1)


def _ctc_sum(log_probs: Tensor, targets: PhoneTargets) -> Tensor:
    """Minus log-probability of each utterance, `(B,)`."""
    return functional.ctc_loss(
        log_probs.transpose(0, 1),
        targets.labels,
        targets.frame_counts,
        targets.label_counts,
        reduction="none",
        zero_infinity=True,
    )


def cross_entropy(log_probs: Tensor, targets: PhoneTargets) -> Tensor:
    """Minus log-probability of the aligned label of each frame."""
    return functional.nll_loss(log_probs.flatten(0, 1), targets.frames.flatten(), ignore_index=IGNORE)


def lfmmi(log_probs: Tensor, targets: PhoneTargets, bigram: Bigram, ctc_weight: float) -> Tensor:
    """Minus log of the share that the right phones have in all phone sequences, for each phone.

    The topology of CTC with a phone bigram (CTC-CRF: Xiang and Ou, 2019; lattice-free MMI: Povey and others,
    2016); `ctc_weight` of plain CTC is added.
    """
    right = -_ctc_sum(log_probs, targets)
    wrong = denominator(log_probs, targets.frame_counts, bigram) - right - targets.scores
    phones = targets.label_counts.sum().clamp(min=1)
    return (wrong.sum() - ctc_weight * right.sum()) / phones


def distillation(log_probs: Tensor, targets: PhoneTargets, ctc_weight: float) -> Tensor:
    """How far frames are from what the teacher says of them (Kullback-Leibler divergence), for each phone.

    `ctc_weight` of plain CTC is added (Hinton and others, 2015: the teacher's answers beside the right ones).
    """
    assert targets.taught is not None  # the recipe names a teacher
    return _divergence(targets.taught, log_probs, targets) + ctc_weight * ctc(log_probs, targets)


def consistency(log_probs: Tensor, targets: PhoneTargets) -> Tensor:
    """How far what is said of two views of an utterance lies apart, for each phone.

    The rows come in pairs, an utterance heard twice; each is drawn to what is said of the other
    (Kullback-Leibler divergence in both directions; CR-CTC: Yao and others, 2024).
    """
    return _divergence(other_view(log_probs), log_probs, targets)


def other_view(rows: Tensor) -> Tensor:
    """For each row that of the other of its pair, `(B, ...)`, as it is: no gradient runs through it."""
    return torch.stack([rows[1::2], rows[::2]], 1).flatten(0, 1).detach()


def _divergence(wanted: Tensor, log_probs: Tensor, targets: PhoneTargets) -> Tensor:
    """Kullback-Leibler divergence of frames `(B, J, V)` from what is wanted of them, for each phone."""
    frames = torch.arange(log_probs.shape[1], device=log_probs.device)
    inside = frames < targets.frame_counts[:, None]
    away = (wanted.exp() * (wanted - log_probs)).sum(-1)
    return (away * inside).sum() / targets.label_counts.sum().clamp(min=1)


def lateness(log_probs: Tensor, targets: PhoneTargets) -> Tensor:
    """How far each frame is from saying what the next one says, for each phone.

    To lessen it draws peaks towards earlier frames: a model that may answer late need not (peak-first
    regularisation: Tian and others, 2022).
    """
    later = log_probs[:, 1:].detach()
    divergence = (later.exp() * (later - log_probs[:, :-1])).sum(2)
    frames = torch.arange(1, log_probs.shape[1], device=log_probs.device)
    inside = frames < targets.frame_counts[:, None]
    return (divergence * inside).sum() / targets.label_counts.sum().clamp(min=1)


def denominator(log_probs: Tensor, frame_counts: Tensor, bigram: Bigram) -> Tensor:
    """Log of the summed probability of all phone sequences, each weighted by the bigram.

    The states are "in phone p" and "in a blank after p" (or after nothing yet). One phone goes over to
    another directly or through blanks, to itself again only through a blank.

    Args:
        log_probs: with shape `(B, J, V)`.
        frame_counts: frames of each utterance, with shape `(B,)`.
        bigram: over P phones.

    Returns:
        With shape `(B,)`.
    """
    batch, phones = len(log_probs), log_probs.shape[2] - 1
    weights = bigram.follows.exp()
    direct = weights[:phones] * (1 - torch.eye(phones, device=weights.device))
    inside = log_probs.new_full((batch, phones), NEVER)
    blank = log_probs.new_full((batch, phones + 1), NEVER)
    blank[:, phones] = 0.0
    for frame in range(log_probs.shape[1]):
        heard = log_probs[:, frame]
        highest = torch.maximum(inside.amax(1), blank.amax(1))[:, None].detach()
        entered = (inside - highest).exp() @ direct + (blank - highest).exp() @ weights
        entered = (entered + TINY).log() + highest
        new_inside = heard[:, 1:] + torch.logaddexp(inside, entered)
        left = torch.cat([inside, inside.new_full((batch, 1), NEVER)], 1)
        new_blank = heard[:, :1] + torch.logaddexp(blank, left)
        goes_on = (frame < frame_counts)[:, None]
        inside, blank = torch.where(goes_on, new_inside, inside), torch.where(goes_on, new_blank, blank)
    return torch.logsumexp(torch.cat([inside + bigram.ends[:phones], blank + bigram.ends], 1), 1)
