"""Commands: utterances searched for the sentences of a grammar that may change while the daemon runs."""

import logging
import math
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import AuricleError
from auricle.configs.grammars import find_grammar
from auricle.configs.paths import cache_dir
from auricle.configs.section import samples
from auricle.configs.settings import CommandSettings, Settings
from auricle.daemon import event_data
from auricle.daemon.detectors import Detector, Draft, check_phones
from auricle.daemon.endpoint import Endpoint, EndpointRules, Progress
from auricle.daemon.utterance import (
    TAIL_SAMPLES,
    LookAgain,
    Utterance,
    UtteranceDetector,
    history_samples,
)
from auricle.daemon.watched import Rereading, WatchedFile

if TYPE_CHECKING:
    from auricle.models.decoding.graph import CommandGraph
    from auricle.models.decoding.search import SearchConfig, SearchState, Sentence
    from auricle.models.decoding.talk import Scale
    from auricle.models.engine import ModelInfo

logger = logging.getLogger(__name__)

Array = NDArray[np.float32]
ASKED_EVERY_FRAMES = 5
"""How often it is asked whether a sentence is over: the way back through the search takes its time."""
WORTH_ANOTHER_LOOK = math.log(700)
"""The second pass looks at an utterance whose sentence falls short by less than this, in logits."""
WAKE_DELAY_MS = 1500
"""A wake phrase is reported at most this long after its end."""


class Compiled(NamedTuple):
    """A grammar that is ready to be searched for."""

    graph: "CommandGraph"
    scale: "Scale"
    """What a score means in it."""


class Decoding(NamedTuple):
    """A search under way, and the scale of the grammar that it began in."""

    search: "SearchState"
    scale: "Scale"


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


class CommandDecoder:
    """`command` from the sentences of a grammar; see `UtteranceDecoder`."""

    def __init__(self, model: "ModelInfo", settings: CommandSettings, grammar: Grammar) -> None:
        """Takes the model whose posteriors it will see.

        Raises:
            ModelError: `model` is no acoustic model.
        """
        from auricle.models.decoding import confidence, search

        check_phones(model)
        self.grammar = grammar
        self._model, self._settings = model, settings
        self._search, self._confidence = search, confidence
        self._settle_frames = -(-samples(settings.after_sentence_ms) // model.frame_samples)
        self._config = search_config(settings)
        self._rate = asked_rate(settings)

    @property
    def tail_samples(self) -> int:
        """For phones that are named late."""
        return TAIL_SAMPLES

    def begin(self) -> Decoding:
        """The state before the first frame, in the newest grammar."""
        graph, scale = self.grammar.current()
        return Decoding(self._search.begin(graph), scale)

    def step(self, posterior: Array, state: Decoding) -> Decoding:
        """Takes one frame `(V,)`."""
        return Decoding(self._search.step(posterior, state.search, self._config), state.scale)

    def progress(self, state: Decoding) -> Progress:
        """Whether a word, or a whole sentence, is the best that was found so far."""
        return self._search.progress(state.search)

    def is_over(self, state: Decoding) -> bool:
        """Whether a sentence that will be reported has had other sound behind it for long enough.

        Voice activity cannot tell noise from speech that goes on; the search can, unless that is a longer
        sentence. One that would be rejected waits for the silence.
        """
        behind = state.search.frames - state.search.ended - self._settle_frames
        if not self._settle_frames or behind < 0 or behind % ASKED_EVERY_FRAMES:
            return False
        if self._search.settled_frames(state.search) < self._settle_frames:
            return False
        return self._is_near(self._search.best_sentence(state.search), state.scale)

    def _logit(self, sentence: "Sentence") -> float:
        return self._confidence.logit(self._confidence.evidence(sentence))

    def _is_near(self, sentence: "Sentence | None", scale: "Scale", within: float = 0.0) -> bool:
        """Whether a sentence will be reported, or falls short of that by no more than `within`, in logits."""
        return sentence is not None and self._logit(sentence) >= scale.least(self._rate) - within

    def partial(self, utterance: Utterance, state: Decoding) -> tuple[list[Draft], Decoding]:
        """Nothing is said before the end."""
        return [], state

    def again(self, state: Decoding) -> Decoding | None:
        """A second search of the same grammar, unless nothing near a sentence of it was heard."""
        sentence = self._search.best_sentence(state.search)
        if not self._is_near(sentence, state.scale, WORTH_ANOTHER_LOOK):
            return None
        return Decoding(self._search.begin(state.search.graph), state.scale)

    def finish(self, utterance: Utterance, why: Endpoint, state: Decoding) -> list[Draft]:
        """The best sentence, if its score reaches the threshold."""
        sentence = self._search.best_sentence(state.search)
        if sentence is None:
            return []
        score = state.scale.score(self._logit(sentence))
        if not self._is_near(sentence, state.scale):
            text = " ".join(word.word for word in sentence.words)
            logger.debug(
                "rejected at %.2f s with score %.3f: %s", utterance.start_sample / 16_000, score, text
            )
            return []
        words = [
            (
                word.word,
                self._sample(word.start_frame, utterance, state),
                self._sample(word.end_frame, utterance, state),
                self._confidence.word_confidence(word.score, word.phones),
            )
            for word in sentence.words
        ]
        data = event_data.command(sentence.intent, sentence.slots, score, words)
        wake = utterance.wake if self._settings.after_wake else None
        return [Draft("command", utterance.end_sample, data, self._model.name, wake)]

    def _sample(self, frame: int, utterance: Utterance, state: Decoding) -> int:
        """Where the audio of a frame begins that the model spoke of, within the utterance."""
        behind = state.search.frames - frame + self._model.lookahead_frames
        return utterance.place(behind * self._model.frame_samples)


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
    from auricle.models.decoding.spotting import rate_of

    return rate_of(settings.threshold) if settings.threshold else settings.false_accepts_per_hour


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


def command_detector(
    model: "ModelInfo", settings: Settings, look_again: LookAgain | None = None
) -> UtteranceDetector[Any]:
    """The detector that the settings ask for; `look_again` is the model's second pass, if it is to be used.

    Raises:
        ConfigError: something is wrong with the grammar.
        ModelError: `model` is no acoustic model, or the talk beside it is damaged or belongs to another.
    """
    commands = settings.commands
    scale = find_scale(model, commands, looks_again=look_again is not None)
    grammar = Grammar(find_grammar(commands.grammar), cache_dir(), settings.acoustic.lexicon, scale)
    before = history_samples(settings.vad)
    if commands.after_wake:
        before = max(before, samples(WAKE_DELAY_MS))
    return UtteranceDetector(
        model,
        CommandDecoder(model, commands, grammar),
        EndpointRules.of(settings.endpoint),
        before,
        window_samples=samples(commands.window_ms) if commands.after_wake else None,
        look_again=look_again,
    )


def grammars(detectors: Sequence[Detector]) -> list[Grammar]:
    """Those that the detectors go by: they are to be polled while streams run."""
    decoders = [one.decoder for one in detectors if isinstance(one, UtteranceDetector)]
    return [decoder.grammar for decoder in decoders if isinstance(decoder, CommandDecoder)]
