"""How a step changes the weights: optimisers and the learning rate over time."""

from collections.abc import Callable
from math import cos, pi, sqrt
from typing import Any, overload

import torch
from torch import Tensor

from auricle.models.network import Network
from auricle.pipelines.precision import multiplies_bf16
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
    learning = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    matrices = [weight for name, weight in learning.items() if "recurrent" in name and weight.dim() > 1]
    chosen = {id(weight) for weight in matrices}
    rest = [weight for weight in learning.values() if id(weight) not in chosen]
    muon = torch.optim.Muon if multiplies_bf16(matrices[0].device) else MuonFp32
    return [
        muon(matrices, lr=0.0, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=0.0, weight_decay=config.weight_decay),
    ]


class MuonFp32(torch.optim.Muon):
    """Muon for processors without bf16, in which torch's own works whatever it is given.

    Its state is the same, so a run may go on from one machine to the other.
    """

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Moves each matrix by its orthogonalised momentum, scaled as "match_rms_adamw" says."""
        assert closure is None
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for weight in (weight for weight in group["params"] if weight.grad is not None):
                mean = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - momentum)
                direction = orthogonal(
                    weight.grad.lerp(mean, momentum), group["ns_coefficients"], group["ns_steps"]
                )
                weight.mul_(1 - rate * group["weight_decay"])
                weight.sub_(direction, alpha=0.2 * sqrt(max(weight.shape)) * rate)
        return None


def orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """The matrix `(M, N)` with its singular values drawn near 1, by Newton and Schulz's iteration."""
    linear, cubic, quintic = coefficients
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    near = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = near @ near.T
        near = torch.addmm(near, torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic), near, beta=linear)
    answer: Tensor = near if wide is matrix else near.T
    return answer


def _groups(network: Network, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices, none for biases."""
    parameters = [weight for weight in network.parameters() if weight.requires_grad]
    return [
        {"params": [weight for weight in parameters if weight.dim() > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in parameters if weight.dim() <= 1], "weight_decay": 0.0},
    ]
