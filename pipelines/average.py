"""Averages the weights of models that began as the same one: often better than each of them.

    python -m auricle.pipelines.average runs/one/one.safetensors runs/more/last.pt --out both.safetensors

After training went on with a fresh rate, its end and where it began lie in one valley, their mean lower in it
(Wortsman et al., "Model soups", 2022). Models that began apart have nothing in common to average.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from auricle.configs.errors import AuricleError, ModelError
from auricle.models.checkpoint import load_model, save_model

Weights = dict[str, Tensor]


def read_weights(path: Path) -> Weights:
    """The weights in a model file, or the running average in a checkpoint of a run (`last.pt`).

    Raises:
        ModelError: the file is missing or neither of them.
    """
    if path.suffix != ".pt":
        return load_model(path)[1].state_dict()
    try:
        stored = torch.load(path, map_location="cpu", weights_only=False)
        return dict(stored["average"])
    except (OSError, KeyError, TypeError, RuntimeError) as error:
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
        spec, network, _ = load_model(args.models[0])
        network.load_state_dict(average([read_weights(path) for path in args.models]))
    except AuricleError as error:
        parser.exit(1, f"{error}\n")
    averaged = [str(path) for path in args.models]
    record = {**spec.record, "average_of": averaged}
    digest = save_model(args.out, replace(spec, record=record), network)
    print(f"{args.out} ({digest}): the mean of {len(averaged)} models")  # noqa: T201


if __name__ == "__main__":
    main()
