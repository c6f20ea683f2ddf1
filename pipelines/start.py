"""What training begins with: a finished model's weights, in a network of its shape or a near one.

Shape letters: H hidden units.
"""

import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from auricle.configs.errors import ConfigError
from auricle.models.checkpoint import load_model
from auricle.models.layers import GATED
from auricle.models.network import Network
from auricle.models.second_pass import SECOND_SUFFIX, SecondPass, TwoPasses, load_two_passes
from auricle.models.zoo import SUFFIX, find_model
from auricle.pipelines.recipe import Recipe
from auricle.pipelines.units import HEAD, widened

CANDIDATE_GATE = 2
"""Place of the gate that proposes new memories: i, f, g, o in an LSTM; r, z, n in a GRU."""
LSTM_GATES_OF_GRU = (3, 1, 2)
"""Which of an LSTM's gates i, f, g, o each of a GRU's r, z, n begins as: what shows, keeps, proposes."""
_LAYER = re.compile(r"(recurrent\.0\.)(blocks|norms)\.(\d+)(\..*)")
_GATES = re.compile(r"\.(weight|bias)_[ih]h_l\d+$")


def first_pass(recipe: Recipe) -> Path:
    """The file of the model in `training.start`, or of the one that a second pass in its place looks at.

    Raises:
        ModelError: there is no such model.
    """
    name = recipe.training.start
    if name.endswith(SECOND_SUFFIX):
        stem = name.removesuffix(SECOND_SUFFIX)
        name = f"{stem}{SUFFIX}" if "/" in name or Path(name).is_file() else stem
    return find_model(name, recipe.network.cell)


def start_from_model(network: Network, recipe: Recipe) -> None:
    """Gives a network the weights of the model in `training.start`.

    Where the recipe has more residual layers than the model, the new ones lie above the others and propose
    nothing yet, so that the network begins by giving out just what the model does (as in Net2Net: Chen and
    others, 2016). Outputs that the model lacks keep the weights that they have. Dropout may differ. A GRU may
    start from an LSTM: each gate from the one that does the most alike, everything around them as it is. A
    model of another task lends all but its outputs: what hears phones may learn to hear words. What a second
    pass is to look at is the model as it is, without any of these changes; with a second pass in
    `training.start`, it goes on from that one, with further layers above as well.

    Raises:
        ModelError: there is no such model, or no such second pass.
        ConfigError: the model has another shape, or other features.
    """
    path = first_pass(recipe)
    spec, model, _ = load_model(path)
    wanted = recipe.network
    to_gru = (spec.network.cell, wanted.cell) == ("lstm", "gru")
    cell = wanted.cell if to_gru else spec.network.cell
    same_task = spec.kind == recipe.task
    labels = spec.network.labels if same_task else wanted.labels
    alike = replace(spec.network, labels=labels, layers=wanted.layers, dropout=wanted.dropout, cell=cell)
    deeper = wanted.layers - spec.network.layers
    can_grow = deeper > 0 and wanted.residual and wanted.cell in GATED
    if wanted != alike or spec.frontend != recipe.frontend or (deeper and not can_grow):
        raise ConfigError(
            f"training.start: {recipe.training.start} has {spec.network} on {spec.frontend}, the recipe "
            f"{wanted} on {recipe.frontend}: give the recipe the shape of the model, or more layers where "
            "they are residual ones of one cell, gru or lstm, or a GRU where the model has an LSTM"
        )
    if isinstance(network, TwoPasses):
        if to_gru or deeper or not same_task:
            raise ConfigError(
                f"training.start: a second pass looks at {recipe.training.start} as it is, which has "
                f"{spec.network}; give the recipe its cell and its layers"
            )
        network.take_first(model)
        if recipe.training.start.endswith(SECOND_SUFFIX):
            _, trained, _ = load_two_passes(path.with_suffix(SECOND_SUFFIX))
            _go_on(network.second, trained.second)
        return
    weights = model.state_dict()
    if to_gru:
        weights = {name: _as_gru(name, value) for name, value in weights.items()}
    if deeper:
        weights = deepened(weights, network, spec.network.layers)
    if not same_task:
        weights |= {name: network.state_dict()[name] for name in HEAD}
    network.load_state_dict(widened(weights, network))


def _go_on(second: SecondPass, trained: SecondPass) -> None:
    """Gives a second pass the weights of a trained one; further layers propose nothing yet."""
    if (layers := trained.config.layers) > second.config.layers:
        raise ConfigError(
            f"acoustic.second_layers: the second pass in training.start has {layers} layers; give the recipe "
            "as many, or more"
        )
    for pair in second.recurrent[layers:]:
        for weight in (weight for block in pair for weight in block.parameters()):
            weight.data = _proposing_nothing(weight.data, second.config.inputs)
    second.load_state_dict(second.state_dict() | trained.state_dict())


def _as_gru(name: str, weight: Tensor) -> Tensor:
    """An LSTM's weight of this name `(4 H, ...)` as the GRU's `(3 H, ...)`; what is no layer's, as it is."""
    if not _GATES.search(name):
        return weight
    gates = weight.chunk(4)
    return torch.cat([gates[gate] for gate in LSTM_GATES_OF_GRU])


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
