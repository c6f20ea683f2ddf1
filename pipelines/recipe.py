"""Recipes: everything that decides what a training run does, in TOML files beside this module.

Frozen dataclasses say what may be set; unknown keys and wrong types are refused with the nearest known key.
"""

import dataclasses
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from auricle.configs.errors import ConfigError
from auricle.models.frontend import FrontendConfig
from auricle.models.network import NetworkConfig
from auricle.models.second_pass import SECOND_SUFFIX
from auricle.pipelines.acoustic_data import AcousticData
from auricle.pipelines.augment import AugmentConfig
from auricle.pipelines.keyword_data import KeywordData
from auricle.pipelines.own_words import OwnWords
from auricle.pipelines.vad_data import VadData

TASK_NAMES = ("vad", "keyword", "acoustic")
"""Each has a table of its own in a recipe."""
OPTIMISERS = ("adamw", "muon")
RECIPES = Path(__file__).parent / "recipes"
C = TypeVar("C")


@dataclass(frozen=True)
class TrainingConfig:
    """The optimisation."""

    seed: int = 1
    """Decides initial weights, data, augmentation and dropout."""
    streams: int = 64
    """Parallel endless streams (the batch)."""
    segment_s: float = 3.2
    """Length of the segments that gradients run through; the state is carried from each to the next."""
    start: str = ""
    """Model whose weights to begin with, a shipped one's name or a path; "" for random ones.

    One of another task (an acoustic model for keywords) lends all but its outputs. Where a second pass is
    learnt, one may stand here to go on from (`acoustic.second`, or a path), with fewer layers as well.
    """
    steps: int = 2000
    warmup_steps: int = 100
    learning_rate: float = 2e-3
    """Highest, after the warm-up; then a half cosine to zero."""
    optimiser: str = "adamw"
    """"adamw", or "muon": orthogonalised momentum for the matrices that remember, AdamW for the rest."""
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.998
    """Of the moving average of the weights, which is what is evaluated and kept."""
    evaluate_every: int = 200
    """Steps between evaluations on dev, each followed by a checkpoint."""
    patience: int = 0
    """Evaluations without a better score after which training stops; 0 for never."""
    precision: str = "fp32"
    """"fp32", or "bf16" to run the network in mixed precision where the processor multiplies bf16."""
    noise_share: int = 4
    """So many streams hear the same noise (making noise costs time)."""

    def __post_init__(self) -> None:
        """Checks the optimiser, and the sizes."""
        if self.optimiser not in OPTIMISERS:
            raise ConfigError(
                f"unknown training.optimiser '{self.optimiser}': expected one of {', '.join(OPTIMISERS)}"
            )
        for name, least in {"steps": 0, "streams": 1, "evaluate_every": 1, "noise_share": 1}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"training.{name}: expected {least} or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    task: str
    network: NetworkConfig
    vad: VadData = field(default_factory=VadData)
    keyword: KeywordData = field(default_factory=KeywordData)
    own: OwnWords = field(default_factory=OwnWords)
    acoustic: AcousticData = field(default_factory=AcousticData)
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    lookahead_frames: int = 0
    """Output frames by which the model answers late (without frame targets: by which it may answer late)."""
    name: str = ""

    def __post_init__(self) -> None:
        """Checks what concerns more than one table."""
        if self.training.streams % self.stream_views:
            raise ConfigError(
                f"keyword.consistency_weight: of training.streams every two are one, {self.training.streams} "
                "is odd"
            )
        if not self.acoustic.second_layers:
            if self.training.start.endswith(SECOND_SUFFIX):
                raise ConfigError(
                    f"training.start: only a second pass can go on from {self.training.start}; "
                    "take --recipe acoustic-second, or set acoustic.second_layers"
                )
            return
        if not self.training.start:
            raise ConfigError(
                "acoustic.second_layers: a second pass is learnt above a finished model; name it in "
                "training.start"
            )
        if self.acoustic.units != "phone":
            raise ConfigError('acoustic.second_layers goes with acoustic.units = "phone" only')

    @property
    def stream_views(self) -> int:
        """How often a batch holds each stream."""
        return 2 if self.task == "keyword" and self.keyword.consistency_weight else 1


def load_recipe(task: str, settings: Sequence[str] = (), path: Path | None = None) -> Recipe:
    """Reads a recipe.

    Args:
        task: "vad", "keyword" or "acoustic".
        settings: changes such as `network.cell=lstm`, as given to `--set`.
        path: the file, or the name of a shipped recipe; the shipped one of the task if None.

    Raises:
        ConfigError: there is no such recipe, or something in it is unknown or of the wrong type.
    """
    source = path or Path(task)
    if not source.suffix and not source.exists():
        source = RECIPES / f"{source}.toml"
    try:
        values = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(sorted(entry.stem for entry in RECIPES.glob("*.toml")))
        raise ConfigError(
            f"no recipe {path or task}: shipped are {known}; or give a file with --recipe"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}") from error
    for setting in settings:
        _apply(values, setting)
    values.setdefault("task", task)
    recipe = build(Recipe, values, "recipe")
    if recipe.task != task:
        raise ConfigError(f"{source} is a recipe for task '{recipe.task}', expected '{task}'")
    return dataclasses.replace(recipe, name=recipe.name or f"{recipe.task}-{recipe.network.cell}")


def _apply(values: dict[str, Any], setting: str) -> None:
    """Puts `a.b=value` into nested tables; a value that is not TOML is a string."""
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"expected key=value, got '{setting}'; for example network.cell=lstm")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, last = key.strip().split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise ConfigError(f"'{table}' in '{setting}' is a value, not a table")
    values[last] = value


def build(kind: type[C], values: Mapping[str, Any], where: str) -> C:
    """Makes a frozen dataclass of a table, and of the tables inside it.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type.
    """
    hints = get_type_hints(kind)
    for key in values:
        if key not in hints:
            near = get_close_matches(key, hints, n=1)
            advice = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(hints)}"
            raise ConfigError(f"unknown key '{key}' in {where}: {advice}")
    made = {key: _convert(hints[key], value, f"{where}.{key}") for key, value in values.items()}
    try:
        return kind(**made)
    except TypeError as error:
        raise ConfigError(f"{where} is incomplete: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is a table, got {value!r}")
        return build(hint, value, where)
    origin = get_origin(hint)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(get_args(hint)[0], entry, where) for entry in value)
    if origin is not None and not isinstance(origin, types.UnionType) and isinstance(value, Mapping):
        return {key: _convert(get_args(hint)[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if not isinstance(hint, type) or type(value) is not hint:
        raise ConfigError(f"{where} wants {getattr(hint, '__name__', hint)}, got {value!r}")
    return value


def as_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, without the data of the other tasks."""
    table = dataclasses.asdict(recipe)
    unused = {name for name in TASK_NAMES if name != recipe.task} | (set() if recipe.own.words else {"own"})
    return {key: value for key, value in table.items() if key not in unused}
