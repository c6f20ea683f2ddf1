"""What training begins with: the weights of a finished model, in a network of its shape or a deeper one.

Shape letters: H hidden units.
"""

import re
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from auricle.configs.errors import ConfigError
from auricle.models.checkpoint import load_model
from auricle.models.network import Network
from auricle.pipelines.recipe import Recipe
from auricle.pipelines.units import widened

GATED = ("gru", "lstm")
CANDIDATE_GATE = 2
"""Place of the gate that proposes new memories: i, f, g, o in an LSTM; r, z, n in a GRU."""
_LAYER = re.compile(r"(recurrent\.0\.)(blocks|norms)\.(\d+)(\..*)")


def start_from_model(network: Network, recipe: Recipe) -> None:
    """Gives a network the weights of the model in `training.start`.

    Where the recipe has more residual layers than the model, the new ones lie above the others and propose
    nothing yet, so that the network begins by giving out just what the model does (as in Net2Net: Chen and
    others, 2016). Outputs that the model lacks keep the weights that they have. Dropout may differ.

    Raises:
        ConfigError: the model has another shape, or other features.
    """
    spec, model, _ = load_model(Path(recipe.training.start))
    same_depth = replace(recipe.network, layers=spec.network.layers, dropout=spec.network.dropout)
    deeper = recipe.network.layers - spec.network.layers
    can_grow = deeper > 0 and recipe.network.residual and recipe.network.cell in GATED
    if spec.network != same_depth or spec.frontend != recipe.frontend or (deeper and not can_grow):
        raise ConfigError(
            f"training.start: {recipe.training.start} has {spec.network} on {spec.frontend}, the recipe "
            f"{recipe.network} on {recipe.frontend}: give the recipe the shape of the model, or more layers "
            "where they are residual ones of one cell, gru or lstm"
        )
    weights = model.state_dict()
    if deeper:
        weights = deepened(weights, network, spec.network.layers)
    network.load_state_dict(widened(weights, network))


def deepened(weights: dict[str, Tensor], network: Network, layers: int) -> dict[str, Tensor]:
    """Weights of a residual stack of so many layers, completed: the deeper network does the same."""
    deeper = network.config.layers
    found = {}
    for name, value in weights.items():
        last_norm = (match := _LAYER.fullmatch(name)) and match[2] == "norms" and int(match[3]) == layers
        found[f"{match[1]}norms.{deeper}{match[4]}" if match and last_norm else name] = value
    for name, value in network.state_dict().items():
        if name not in found:
            match = _LAYER.fullmatch(name)
            assert match is not None  # only layers of the stack may be missing
            block = match[2] == "blocks"
            found[name] = _proposing_nothing(value, network.config.hidden) if block else value
    return found


def _proposing_nothing(weight: Tensor, hidden: int) -> Tensor:
    """A layer's weight `(gates x H, ...)` whose candidate gate always says 0, and so does the layer."""
    silent = weight.clone()
    silent[CANDIDATE_GATE * hidden : (CANDIDATE_GATE + 1) * hidden] = 0.0
    return silent
