"""What a training run leaves behind: the model file and the record of how it was made."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auricle.configs.errors import DataError
from auricle.configs.whole import written_whole
from auricle.models.checkpoint import ModelSpec, load_model, save_model
from auricle.models.network import Network
from auricle.models.second_pass import SECOND_SUFFIX, SecondPassInfo, TwoPasses, save_second_pass
from auricle.pipelines.corpus import Clip
from auricle.pipelines.recipe import Recipe, as_table
from auricle.pipelines.start import first_pass
from auricle.pipelines.train import Trainer

LICENCES = {
    "ambience": "per file CC0 or CC BY (Muges ambientsounds); public domain (Precise Community Data)",
    "asterisk": "CC BY-SA 3.0, (c) Allison Smith",
    "commonvoice": "CC0 (Mozilla Common Voice v1)",
    "englishccc": "CC BY 4.0 (English Consistent Confusion Corpus 1.2)",
    "fsdd": "CC BY-SA 4.0 (Free Spoken Digit Dataset)",
    "kathleen": "CC0 (Rhasspy voice data set kathleen)",
    "libridevclean": "CC BY 4.0 (LibriSpeech)",
    "librispeech": "CC BY 4.0 (LibriSpeech)",
    "ljspeech": "public domain (LJSpeech 1.1)",
    "noise": "CC BY 3.0 (ESC-10); per file CC0, public domain, CC BY, CC BY-SA (Blanket); CC BY 4.0; CC BY",
    "own": "the user's own",
    "rooms": "CC BY 4.0 (OpenAIR); Apache-2.0 (web-audio-samples)",
    "speechcommands": "CC BY 4.0 (Google Speech Commands)",
    "speechocean762": "free for commercial and non-commercial use (speechocean762)",
    "synthetic": "made here with espeak-ng, flite and festival",
    "vctk": "ODC-By 1.0 (CSTR VCTK)",
    "vctk4": "ODC-By 1.0 (CSTR VCTK)",
    "wakewords": "public domain (Precise Community Data)",
    "wuw2": "CC BY-SA 4.0 (Wake-Up-Word Corpus II)",
}


def model_name(recipe: Recipe) -> str:
    """What the file of a run is called; a second pass is found by the name of the model that it looks at."""
    if not recipe.acoustic.only_second:
        return f"{recipe.name}.safetensors"
    return f"{first_pass(recipe).stem}{SECOND_SUFFIX}"


def data_counts(clips: Sequence[Clip]) -> dict[str, dict[str, Any]]:
    """Clips, hours, speakers and licence of each set that was trained on."""
    counts: dict[str, dict[str, Any]] = {}
    for name in sorted({clip.set for clip in clips}):
        unique = {clip.id: clip for clip in clips if clip.set == name}.values()
        counts[name] = {
            "split": "train",
            "clips": len(unique),
            "hours": round(sum(clip.seconds for clip in unique) / 3600, 2),
            "speakers": len({clip.speaker for clip in unique if clip.speaker}),
            "licence": LICENCES.get(name, "see the data folder"),
        }
    return counts


def training_record(trainer: Trainer, command: str) -> dict[str, Any]:
    """Says how the model was made, for its file and for the JSON beside it."""
    progress = trainer.progress
    return {
        "command": command,
        "recipe": as_table(trainer.recipe),
        "data": data_counts(trainer.task.clips),
        "steps": progress.step,
        "best_step": progress.best_step,
        "hours_heard": round(trainer.hours_heard, 1),
        "seconds": round(progress.seconds, 1),
        "dev": progress.figures,
    }


def write_model(trainer: Trainer, out: Path, command: str) -> str:
    """Writes the best weights (fp16) to `out`, record and curve beside it with `.json` (`.second.json`).

    Where a second pass learnt together with its model, that is written beside it.

    Returns:
        The hash of the model file.
    """
    recipe, record = trainer.recipe, training_record(trainer, command)
    network = trainer.best_network()
    if isinstance(network, TwoPasses) and network.both_learn:
        digest = _write_network(network.first(), trainer, out, record)
        _write_second_pass(network, f"{out.stem}@{digest}", trainer, out.with_suffix(SECOND_SUFFIX), record)
        return digest
    if isinstance(network, TwoPasses):
        return _write_second_pass(network, _first_as_it_was(network, recipe), trainer, out, record)
    return _write_network(network, trainer, out, record)


def _write_network(network: Network, trainer: Trainer, out: Path, record: dict[str, Any]) -> str:
    recipe = trainer.recipe
    spec = ModelSpec(
        kind=recipe.task,
        labels=trainer.task.labels,
        network=recipe.network,
        frontend=recipe.frontend,
        activation=trainer.task.activation,
        lookahead_frames=recipe.lookahead_frames,
        record={key: value for key, value in record.items() if key not in ("recipe", "data")},
    )
    digest = save_model(out, spec, network)
    _write_record(out.with_suffix(".json"), {"model": f"{out.stem}@{digest}", **record}, trainer)
    return digest


def _first_as_it_was(network: TwoPasses, recipe: Recipe) -> str:
    """Name and hash of the model that a second pass was trained above, which learnt nothing.

    Raises:
        DataError: its file holds other weights by now.
    """
    path = first_pass(recipe)
    _, model, digest = load_model(path)
    if not network.has_first(model):
        raise DataError(
            f"{path} is not what the second pass was trained above: give it the weights that it had, or "
            "train again with --fresh"
        )
    return f"{path.stem}@{digest}"


def _write_second_pass(
    network: TwoPasses, first: str, trainer: Trainer, out: Path, record: dict[str, Any]
) -> str:
    """Writes the second pass alone, which belongs to the model of this name and hash."""
    short = {key: value for key, value in record.items() if key not in ("recipe", "data")}
    info = SecondPassInfo(first.partition("@")[2], network.second.config, short)
    digest = save_second_pass(out, info, network.second)
    names = {"model": f"{out.name}@{digest}", "first_pass": first}
    _write_record(out.with_name(f"{out.name}.json"), names | record, trainer)
    return digest


def _write_record(path: Path, record: dict[str, Any], trainer: Trainer) -> None:
    content = {**record, "curve": trainer.log.rows}
    with written_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
