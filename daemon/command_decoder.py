"""Commands: utterances searched for the sentences of a grammar."""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.grammars import find_grammar
from auricle.configs.paths import cache_dir
from auricle.configs.section import samples
from auricle.configs.settings import CommandSettings, Settings
from auricle.daemon import event_data
from auricle.daemon.detectors import Detector, Draft, check_phones
from auricle.daemon.endpoint import Endpoint, EndpointRules, Progress
from auricle.daemon.grammar import Grammar, asked_rate, find_scale, search_config
from auricle.daemon.utterance import (
    TAIL_SAMPLES,
    LookAgain,
    Utterance,
    UtteranceDetector,
    history_samples,
)

if TYPE_CHECKING:
    from auricle.models.decoding.search import SearchState, Sentence
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


class Decoding(NamedTuple):
    """A search under way, and the scale of the grammar that it began in."""

    search: "SearchState"
    scale: "Scale"
    asked: int = 0
    """Frame at whose end the sentence was over that was looked at last."""


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
        return state._replace(search=self._search.step(posterior, state.search, self._config))

    def progress(self, state: Decoding) -> Progress:
        """Whether a word, or a whole sentence, is the best that was found so far."""
        return self._search.progress(state.search)

    def may_be_over(self, state: Decoding) -> Decoding | None:
        """Once for each sentence that has had other sound behind it for long enough.

        Voice activity cannot tell noise from speech that goes on; the search can, unless that is a longer
        sentence. One that is rejected now waits for the silence, and for a better one.
        """
        ended = state.search.ended
        behind = state.search.frames - ended - self._settle_frames
        if not self._settle_frames or ended == state.asked or behind < 0 or behind % ASKED_EVERY_FRAMES:
            return None
        if self._search.settled_frames(state.search) < self._settle_frames:
            return None
        return state._replace(asked=ended)

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
