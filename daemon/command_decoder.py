"""Commands: utterances searched for the sentences of a grammar that may change while the daemon runs."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from auricle.models.decoding.search import SearchState, Sentence
    from auricle.models.engine import ModelInfo

logger = logging.getLogger(__name__)

Array = NDArray[np.float32]
ASKED_EVERY_FRAMES = 5
"""How often it is asked whether a sentence is over: the way back through the search takes its time."""
WORTH_ANOTHER_LOOK = 0.0015
"""The second pass looks at an utterance whose sentence has this part of the score that is asked for."""
WAKE_DELAY_MS = 1500
"""A wake phrase is reported at most this long after its end."""


class Grammar:
    """A compiled grammar, compiled again in a thread of its own when its file has changed."""

    def __init__(self, path: Path, cache_folder: Path | None = None, lexicon: str = "") -> None:
        """Compiles the file.

        Args:
            path: YAML with sentence templates.
            cache_folder: where compiled grammars are kept; None for nowhere.
            lexicon: file of the user's own pronunciations; "" for the usual place.

        Raises:
            ConfigError: something is wrong with it, or the pronunciations cannot be read.
        """
        self.path, self._cache_folder, self._lexicon = path, cache_folder, lexicon
        self._file = WatchedFile(path)
        self._graph = self._compile()
        self._rereading = Rereading["CommandGraph"]("the grammar")

    def current(self) -> "CommandGraph":
        """The newest grammar that could be compiled."""
        return self._graph

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
            self._graph = found
            logger.info("%s is in use: %d states", self.path, len(found.labels))
        return None

    def _compile(self) -> "CommandGraph":
        from auricle.models.decoding.graph import compile_grammar
        from auricle.models.lexicon import Lexicon

        return compile_grammar(self.path, Lexicon.of_user(self._lexicon), self._cache_folder)


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
        self._config = search.SearchConfig(settings.blank_shift, settings.smoothing, settings.filler_cost)

    @property
    def tail_samples(self) -> int:
        """For phones that are named late."""
        return TAIL_SAMPLES

    def begin(self) -> "SearchState":
        """The state before the first frame, in the newest grammar."""
        return self._search.begin(self.grammar.current())

    def step(self, posterior: Array, state: "SearchState") -> "SearchState":
        """Takes one frame `(V,)`."""
        return self._search.step(posterior, state, self._config)

    def progress(self, state: "SearchState") -> Progress:
        """Whether a word, or a whole sentence, is the best that was found so far."""
        return self._search.progress(state)

    def is_over(self, state: "SearchState") -> bool:
        """Whether a sentence that will be reported has had other sound behind it for long enough.

        Voice activity cannot tell noise from speech that goes on; the search can, unless that is a longer
        sentence. One that would be rejected waits for the silence.
        """
        behind = state.frames - state.ended - self._settle_frames
        if not self._settle_frames or behind < 0 or behind % ASKED_EVERY_FRAMES:
            return False
        if self._search.settled_frames(state) < self._settle_frames:
            return False
        sentence = self._search.best_sentence(state)
        return sentence is not None and self._score(sentence) >= self._settings.threshold

    def _score(self, sentence: "Sentence") -> float:
        return self._confidence.confidence(self._confidence.evidence(sentence))

    def partial(self, utterance: Utterance, state: "SearchState") -> "tuple[list[Draft], SearchState]":
        """Nothing is said before the end."""
        return [], state

    def again(self, state: "SearchState") -> "SearchState | None":
        """A second search of the same grammar, unless nothing near a sentence of it was heard."""
        sentence = self._search.best_sentence(state)
        if sentence is None or self._score(sentence) < WORTH_ANOTHER_LOOK * self._settings.threshold:
            return None
        return self._search.begin(state.graph)

    def finish(self, utterance: Utterance, why: Endpoint, state: "SearchState") -> list[Draft]:
        """The best sentence, if its score reaches the threshold."""
        sentence = self._search.best_sentence(state)
        if sentence is None:
            return []
        score = self._score(sentence)
        if score < self._settings.threshold:
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

    def _sample(self, frame: int, utterance: Utterance, state: "SearchState") -> int:
        """Where the audio of a frame begins that the model spoke of, within the utterance."""
        behind = state.frames - frame + self._model.lookahead_frames
        return utterance.place(behind * self._model.frame_samples)


def command_detector(
    model: "ModelInfo", settings: Settings, look_again: LookAgain | None = None
) -> UtteranceDetector[Any]:
    """The detector that the settings ask for; `look_again` is the model's second pass, if it is to be used.

    Raises:
        ConfigError: something is wrong with the grammar.
        ModelError: `model` is no acoustic model.
    """
    commands = settings.commands
    grammar = Grammar(find_grammar(commands.grammar), cache_dir(), settings.acoustic.lexicon)
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
