"""Averages the weights of models that began as the same one: often better than each of them.

    python -m auricle.pipelines.average runs/one/one.safetensors runs/more/last.pt --out both.safetensors
    python -m auricle.pipelines.average one.second runs/more/last.pt --out both.second   # second passes

Second passes of different models, or a checkpoint in which the model below learnt as well, are averaged
together with these models: `--out STEM.second` writes STEM.safetensors, too.

After training went on with a fresh rate, its end and where it began lie in one valley, their mean lower in it
(Wortsman et al., "Model soups", 2022). Models that began apart have nothing in common to average.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auricle.configs.errors import AuricleError, ModelError
from auricle.models.checkpoint import load_model, save_model
from auricle.models.second_pass import (
    SECOND_SUFFIX,
    SecondPassInfo,
    load_two_passes,
    read_second_pass,
    save_second_pass,
)
from auricle.models.zoo import SUFFIX

Weights = dict[str, Tensor]
IN_BOTH = "second."
"""What the weights of a second pass begin with in a checkpoint of both passes (`TwoPasses`)."""


def read_weights(path: Path) -> Weights:
    """The weights in a model file, or the running average in a checkpoint of a run (`last.pt`).

    Raises:
        ModelError: the file is missing or neither of them.
    """
    if path.suffix != ".pt":
        return load_model(path)[1].state_dict()
    return dict(_checkpoint(path)["average"])


def _checkpoint(path: Path) -> dict[str, Any]:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=False)
        return {"average": stored["average"], "recipe": stored.get("recipe", {})}
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelError(f"cannot read the averaged weights of {path}: {error}") from error


def average(found: Sequence[Weights]) -> Weights:
    """The mean of every weight.

    Raises:
        ModelError: the models are not of one shape.
    """
    first = found[0]
    for other in found[1:]:
        shapes = {name: value.shape for name, value in other.items()}
        if shapes != {name: value.shape for name, value in first.items()}:
            raise ModelError("models of different shapes cannot be averaged; check their recipes")
    return {
        name: torch.stack([one[name].double() for one in found]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }


def main() -> None:
    """Averages and writes a model file, described as the first one is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, help="a model file first; then more, or last.pt")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        write = _average_second_passes if args.models[0].suffix == SECOND_SUFFIX else _average_models
        digest = write(args.models, args.out)
    except AuricleError as error:
        parser.exit(1, f"{error}\n")
    print(f"{args.out} ({digest}): the mean of {len(args.models)} models")  # noqa: T201


def _average_models(models: Sequence[Path], out: Path) -> str:
    """Writes the mean of models, described as the first one is; returns its hash."""
    spec, network, _ = load_model(models[0])
    network.load_state_dict(average([read_weights(path) for path in models]))
    return save_model(out, replace(spec, record=spec.record | _origin(models)), network)


def _average_second_passes(models: Sequence[Path], out: Path) -> str:
    """Writes the mean of second passes, described as the first one is, of their models, too, where these
    differ; returns its hash."""
    info, second, _ = read_second_pass(models[0])
    if any(_has_own_first(path, info.first) for path in models):
        return _average_both_passes(models, out, info)
    second.load_state_dict(average([_second_weights(path) for path in models]))
    return save_second_pass(out, replace(info, record=info.record | _origin(models)), second)


def _has_own_first(path: Path, first: str) -> bool:
    """Whether a second pass belongs to another model than the one with this hash, or learnt with its own."""
    if path.suffix == SECOND_SUFFIX:
        return read_second_pass(path)[0].first != first
    return bool(_checkpoint(path)["recipe"].get("acoustic", {}).get("first_weight"))


def _second_weights(path: Path) -> Weights:
    """The weights of a second pass; a checkpoint has them among those of both."""
    if path.suffix == SECOND_SUFFIX:
        return read_second_pass(path)[1].state_dict()
    weights = read_weights(path)
    return {name.removeprefix(IN_BOTH): weights[name] for name in weights if name.startswith(IN_BOTH)}


def _average_both_passes(models: Sequence[Path], out: Path, info: SecondPassInfo) -> str:
    """Writes the mean of models and of their second passes; returns the hash of the latter."""
    spec, both, _ = load_two_passes(models[0])
    found = [
        load_two_passes(path)[1].state_dict() if path.suffix == SECOND_SUFFIX else read_weights(path)
        for path in models
    ]
    both.load_state_dict(average(found))
    first = save_model(
        out.with_suffix(SUFFIX), replace(spec, record=spec.record | _origin(models)), both.first()
    )
    mean = replace(info, first=first, record=info.record | _origin(models))
    return save_second_pass(out, mean, both.second)


def _origin(models: Sequence[Path]) -> dict[str, list[str]]:
    return {"average_of": [str(path) for path in models]}


if __name__ == "__main__":
    main()
