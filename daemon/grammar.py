"""The grammar of commands, which may change while the daemon runs, and what a score means in it."""

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import AuricleError
from auricle.configs.paths import cache_dir
from auricle.configs.settings import CommandSettings
from auricle.daemon.watched import Rereading, WatchedFile

if TYPE_CHECKING:
    from auricle.models.decoding.graph import CommandGraph
    from auricle.models.decoding.search import SearchConfig
    from auricle.models.decoding.talk import Scale
    from auricle.models.engine import ModelInfo

logger = logging.getLogger(__name__)

Array = NDArray[np.float32]


class Compiled(NamedTuple):
    """A grammar that is ready to be searched for."""

    graph: "CommandGraph"
    scale: "Scale"
    """What a score means in it."""


class Grammar:
    """A compiled grammar, compiled again in a thread of its own when its file has changed."""

    def __init__(
        self,
        path: Path,
        cache_folder: Path | None = None,
        lexicon: str = "",
        scale: "Callable[[CommandGraph], Scale] | None" = None,
    ) -> None:
        """Compiles the file.

        Args:
            path: YAML with sentence templates.
            cache_folder: where compiled grammars are kept; None for nowhere.
            lexicon: file of the user's own pronunciations; "" for the usual place.
            scale: finds what scores mean in a grammar; None for the fixed scale.

        Raises:
            ConfigError: something is wrong with it, or the pronunciations cannot be read.
            ModelError: what the scale is found in is damaged or belongs to another model.
        """
        self.path, self._cache_folder, self._lexicon, self._scale = path, cache_folder, lexicon, scale
        self._file = WatchedFile(path)
        self._compiled = self._compile()
        self._rereading = Rereading["Compiled"]("the grammar")

    def current(self) -> "Compiled":
        """The newest grammar that could be compiled."""
        return self._compiled

    def poll(self) -> AuricleError | None:
        """Does what is due, between two chunks; never waits.

        Returns:
            Why a changed grammar is not used, once for each change.
        """
        if self._rereading.is_idle:
            if self._file.has_changed():
                self._rereading.start(self._compile)
            return None
        found = self._rereading.poll()
        if isinstance(found, AuricleError):
            return found
        if found is not None:
            self._compiled = found
            logger.info("%s is in use: %d states", self.path, len(found.graph.labels))
        return None

    def _compile(self) -> "Compiled":
        from auricle.models.decoding.graph import compile_grammar
        from auricle.models.decoding.talk import Scale
        from auricle.models.lexicon import Lexicon

        graph = compile_grammar(self.path, Lexicon.of_user(self._lexicon), self._cache_folder)
        return Compiled(graph, self._scale(graph) if self._scale else Scale())


def search_config(settings: CommandSettings) -> "SearchConfig":
    """How posteriors are weighed."""
    from auricle.models.decoding.search import SearchConfig

    return SearchConfig(settings.blank_shift, settings.smoothing, settings.filler_cost)


def shown_to_who_waits(utterances: Iterable[Array], count: int) -> Iterable[Array]:
    """The utterances, with a bar that grows where somebody waits for them at a terminal."""
    if threading.current_thread() is not threading.main_thread() or not sys.stderr.isatty():
        return utterances
    from rich.console import Console
    from rich.progress import track

    what = "once for this grammar: hearing it in talk"
    return track(utterances, what, total=count, console=Console(stderr=True), transient=True)


def asked_rate(settings: CommandSettings) -> float:
    """How often in an hour something else may be taken for a command."""
    from auricle.models.decoding import spotting

    return spotting.asked_rate(settings.threshold, settings.false_accepts_per_hour)


def find_scale(
    model: "ModelInfo", settings: CommandSettings, *, looks_again: bool
) -> "Callable[[CommandGraph], Scale] | None":
    """What finds the scale of a grammar in the talk beside the weights that decide; None if there is none."""
    from auricle.models.decoding.talk import SUFFIX, SUFFIX_OF_SECOND, Listener

    if model.file is None:
        return None
    path = model.file.with_suffix(SUFFIX_OF_SECOND if looks_again else SUFFIX)
    if not path.exists():
        logger.info(
            "scores of commands are on a fixed scale: there is no %s; `auricle calibrate %s` makes it",
            path.name,
            model.file,
        )
        return None
    decides = model.second if looks_again else model.name
    listener = Listener(path, decides.rpartition("@")[2], search_config(settings), cache_dir())
    asked = asked_rate(settings)

    def scale(graph: "CommandGraph") -> "Scale":
        found = listener.scale(graph, shown_to_who_waits)
        if (rate := found.rate(found.least(asked))) > 1.01 * asked:
            logger.warning(
                "sentences of the grammar are easily said in passing: expect %.1f false commands an hour of "
                "speech where %.2g were asked for; make them longer, or set after_wake = true",
                rate,
                asked,
            )
        return found

    return scale
