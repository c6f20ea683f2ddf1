"""How long a cell remembers, measured without data: recall of a symbol, and how far gradients reach back.

Recall: three marked symbols are shown, d unmarked ones follow to distract, then a cue asks for one of the
three. Gradient: how much the last output changes with the input d steps before it; where that is nothing,
nothing is learnt.

Shape letters: B sequences, T steps, C channels, S slots (symbols to remember).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auricle.models import state as states
from auricle.models.network import ATTENTION, Network, NetworkConfig

SYMBOLS = 8
SLOTS = 3
"""Symbols to remember. One alone even a plain RNN can latch onto for ever; three tell the cells apart."""
CUE = SYMBOLS + SLOTS
CHANNELS = SYMBOLS + SLOTS + 1
"""The symbols, a mark for each slot (when it is filled and when it is asked for), and the cue."""
DELAYS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
RECALLED = 0.9
"""A delay counts as bridged at this accuracy."""
CHANCE = 1 / SYMBOLS
FIRST_DELAY = 4
GROWTH = 1.5
CONFIDENT = 0.95
"""Accuracy over the last updates at which longer delays are practised."""
RECENT = 8
BATCH = 32
TRIALS = 100
LEARNING_RATE = 3e-3
GRADIENT_STEPS = 1100
GRADIENT_DISTANCES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
CHUNK_STEPS = 500
FADED = 1e-3
"""A gradient has vanished where it is this small a part of what it is one step back."""


@dataclass(frozen=True)
class Budget:
    """How long each training may take: seconds, or else steps."""

    seconds: float | None = None
    steps: int | None = None

    def is_spent(self, seconds: float, steps: int) -> bool:
        """Whether a training that took so long must stop."""
        if self.steps is not None:
            return steps >= self.steps
        return seconds >= (self.seconds or 0.0)

    def part_done(self, seconds: float, steps: int) -> float:
        """How much of it is used, 0 to 1."""
        if self.steps is not None:
            return min(1.0, steps / max(1, self.steps))
        return min(1.0, seconds / self.seconds) if self.seconds else 1.0


def memory_config(cell: str, hidden: int = 64, layers: int = 2) -> NetworkConfig:
    """A network of `layers` layers in all that hears symbols instead of sound."""
    return NetworkConfig(
        labels=SYMBOLS,
        cell=cell,
        mels=CHANNELS,
        conv_channels=(),
        conv_kernels=(),
        conv_strides=(),
        hidden=hidden,
        layers=max(1, layers // len(cell.split("+"))),
        dropout=0.0,
    )


def distraction(batch: int, steps: int, random: torch.Generator) -> Tensor:
    """Random symbols without a mark, with shape `(B, T, C)`."""
    shown = torch.randint(SYMBOLS, (batch, steps), generator=random)
    return nn.functional.one_hot(shown, CHANNELS).float()


def marked(symbols: Tensor) -> Tensor:
    """The symbols to remember, `(B, S)`, each with the mark of its slot: `(B, S, C)`."""
    inputs = nn.functional.one_hot(symbols, CHANNELS).float()
    inputs[..., SYMBOLS:CUE] = torch.eye(SLOTS)
    return inputs


def cue(slots: Tensor) -> Tensor:
    """The step that asks for a slot, `(B,)`, with shape `(B, 1, C)`."""
    inputs = nn.functional.one_hot(SYMBOLS + slots, CHANNELS).float()
    inputs[:, CUE] = 1.0
    return inputs[:, None]


def draw(batch: int, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draws symbols `(B, S)`, the slot asked for `(B,)`, and the right answer `(B,)`."""
    symbols = torch.randint(SYMBOLS, (batch, SLOTS), generator=random)
    slots = torch.randint(SLOTS, (batch,), generator=random)
    return symbols, slots, symbols[torch.arange(batch), slots]


@dataclass
class Practice:
    """What a network reached within its budget."""

    network: Network
    longest_practised: int
    updates: int
    seconds: float


def practise(
    config: NetworkConfig,
    budget: Budget,
    seed: int,
    *,
    longest: int = DELAYS[-1],
    tick: Callable[[float], None] = lambda part: None,
) -> Practice:
    """Trains a network to recall over ever longer delays, until it can or the budget is spent.

    Args:
        config: from `memory_config`.
        budget: of this training.
        seed: decides weights and sequences.
        longest: no delay longer than this is practised, steps.
        tick: called after each update with the part of the budget that is used, at the end with 1.
    """
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    network = Network(config)
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    reach, updates, recent = min(FIRST_DELAY, longest), 0, list[float]()
    started = time.monotonic()
    while not budget.is_spent(time.monotonic() - started, updates):
        # Half of the practice at the full reach: what is learnt last must not be drowned by what is easy.
        is_full = bool(torch.rand((), generator=random) < 0.5)
        delay = reach if is_full else int(torch.randint(1, reach + 1, (), generator=random))
        right = _update(network, optimiser, delay, random)
        updates += 1
        if is_full:
            recent.append(right)
        if len(recent) >= RECENT and np.mean(recent[-RECENT:]) >= CONFIDENT:
            if reach == longest:
                break
            reach, recent = min(longest, max(reach + 1, int(reach * GROWTH))), []
        tick(budget.part_done(time.monotonic() - started, updates))
    tick(1.0)
    return Practice(network.eval(), reach, updates, time.monotonic() - started)


def _update(network: Network, optimiser: torch.optim.Optimizer, delay: int, random: torch.Generator) -> float:
    """Learns from one batch; returns the accuracy before that."""
    symbols, slots, answers = draw(BATCH, random)
    inputs = torch.cat([marked(symbols), distraction(BATCH, delay, random), cue(slots)], 1)
    logits, _ = network(inputs, network.initial_state(BATCH))
    loss = nn.functional.cross_entropy(logits[:, -1], answers)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return float((logits[:, -1].argmax(-1) == answers).float().mean())


@torch.inference_mode()
def recall(
    network: Network, delays: Sequence[int] | None = None, *, trials: int = TRIALS, seed: int = 1
) -> dict[int, float]:
    """Accuracy of recall after each delay, by default each of `DELAYS`.

    All delays are asked in one pass: a state is a value, so the cue is tried on it and the stream goes on.
    """
    random = torch.Generator().manual_seed(seed)
    symbols, slots, answers = draw(trials, random)
    _, state = network(marked(symbols), network.initial_state(trials))
    accuracy, passed = {}, 0
    for delay in sorted(DELAYS if delays is None else delays):
        while passed < delay:
            steps = min(CHUNK_STEPS, delay - passed)
            _, state = network(distraction(trials, steps, random), state)
            passed += steps
        logits, _ = network(cue(slots), state)
        accuracy[delay] = float((logits[:, -1].argmax(-1) == answers).float().mean())
    return accuracy


def longest_recalled(accuracy: dict[int, float]) -> int:
    """The longest delay up to which every delay is recalled, steps; 0 if none is."""
    longest = 0
    for delay in sorted(accuracy):
        if accuracy[delay] < RECALLED:
            break
        longest = delay
    return longest


def gradient_norms(network: Network, *, steps: int | None = None, seed: int = 1) -> dict[int, float]:
    """How much the last output depends on the input so many steps before it.

    In double precision: what vanishes falls far below the smallest single.

    Args:
        network: whose gradient.
        steps: length of the sequences, by default `GRADIENT_STEPS`.
        seed: decides the sequences.

    Returns:
        For each distance, the norm of the gradient of the last outputs by that input (geometric mean over
        eight sequences), as a part of the norm at distance 1.
    """
    double = Network(network.config).double()
    double.load_state_dict(network.state_dict())
    random, steps = torch.Generator().manual_seed(seed), steps or GRADIENT_STEPS
    inputs = distraction(8, steps, random).double().requires_grad_()
    outputs, _ = double(inputs, double.initial_state(8))
    weights = torch.randn(outputs[:, -1].shape, generator=random, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((outputs[:, -1] * weights).sum(), inputs)
    norms = gradient.norm(dim=-1).clamp(min=1e-300).log().mean(0).exp().flip(0)
    distances = [distance for distance in GRADIENT_DISTANCES if distance < steps]
    return {distance: float(norms[distance] / norms[1]) for distance in distances}


def vanishing_distance(norms: dict[int, float]) -> float | None:
    """Steps after which the gradient has vanished for good, interpolated; None if it has not."""
    distances = sorted(norms)
    if norms[distances[-1]] >= FADED:
        return None
    logs = np.log10([max(norms[distance], 1e-300) for distance in distances])
    last = int(np.flatnonzero(logs >= np.log10(FADED))[-1])
    part = (logs[last] - np.log10(FADED)) / (logs[last] - logs[last + 1])
    return float(distances[last] + part * (distances[last + 1] - distances[last]))


def measure_memory(
    cell: str,
    budget: Budget,
    seed: int,
    *,
    hidden: int = 64,
    tick: Callable[[float], None] = lambda part: None,
) -> dict[str, Any]:
    """All that is measured of the memory of one cell from one seed, as plain values for JSON."""
    config = memory_config(cell, hidden)
    torch.manual_seed(seed)
    untrained = gradient_norms(Network(config), seed=seed)
    practice = practise(config, budget, seed, tick=tick)
    accuracy, trained = recall(practice.network, seed=seed), gradient_norms(practice.network, seed=seed)
    return {
        "updates": practice.updates,
        "seconds": practice.seconds,
        "window_steps": config.attention_frames if cell == ATTENTION else None,
        "layers": config.layers,
        "longest_practised": practice.longest_practised,
        "state_bytes": sum(leaf.nbytes for leaf in states.leaves(practice.network.initial_state(1))),
        "recall": accuracy,
        "longest_recalled": longest_recalled(accuracy),
        "gradient_untrained": untrained,
        "gradient_trained": trained,
        "vanishes_untrained": vanishing_distance(untrained),
        "vanishes_trained": vanishing_distance(trained),
    }
