"""How a step changes the weights: optimisers and the learning rate over time."""

from math import cos, pi
from typing import Any

import torch

from auricle.models.network import Network
from auricle.pipelines.recipe import TrainingConfig


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + cos(pi * min(1.0, done)))


def make_optimisers(network: Network, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """AdamW for all weights, or Muon (Jordan and others, 2024) for the matrices of the recurrent part.

    Muon's step is scaled to the size of AdamW's, so that one learning rate serves both.
    """
    if config.optimiser != "muon":
        return [torch.optim.AdamW(_groups(network, config.weight_decay), lr=0.0)]
    matrices = [
        weight for name, weight in network.named_parameters() if "recurrent" in name and weight.dim() > 1
    ]
    chosen = {id(weight) for weight in matrices}
    rest = [weight for weight in network.parameters() if id(weight) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=0.0, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=0.0, weight_decay=config.weight_decay),
    ]


def _groups(network: Network, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices, none for biases."""
    parameters = list(network.parameters())
    return [
        {"params": [weight for weight in parameters if weight.dim() > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in parameters if weight.dim() <= 1], "weight_decay": 0.0},
    ]
