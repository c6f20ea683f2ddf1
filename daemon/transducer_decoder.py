"""Transcripts from a transducer that was trained elsewhere: its tokens, utterance by utterance.

The encoder runs through pauses with its state carried; the search begins anew with each utterance.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import ModelError
from auricle.configs.section import samples
from auricle.configs.settings import Settings
from auricle.daemon import event_data
from auricle.daemon.detectors import Draft
from auricle.daemon.endpoint import Endpoint, EndpointRules, Progress
from auricle.daemon.partials import Partials
from auricle.daemon.utterance import Utterance, UtteranceDetector, history_samples

if TYPE_CHECKING:
    from auricle.models.decoding.transducer import SearchState, TransducerSearch
    from auricle.models.engine import Engine, ModelInfo

Array = NDArray[np.float32]
TAIL_SAMPLES = 8000
"""A transducer names a word up to this much after it was said."""


class TransducerState(NamedTuple):
    """What is known of the utterance under way."""

    search: "SearchState"
    partials: Partials = Partials()


class TransducerDecoder:
    """`transcript.partial` and `transcript.final` from a transducer; see `UtteranceDecoder`."""

    def __init__(self, model: "ModelInfo", search: "TransducerSearch", partial_samples: int) -> None:
        """Takes the model whose encoder frames it will see.

        Args:
            model: the transducer.
            search: over the outputs of `model` (`Engine.transducer_search`).
            partial_samples: at least so much between two partial transcripts.

        Raises:
            ModelError: `model` is no transducer.
        """
        if model.kind != "transducer":
            raise ModelError(f"{model.name} is a '{model.kind}' model, expected a transducer")
        self._model, self._search, self._partial_samples = model, search, partial_samples

    @property
    def tail_samples(self) -> int:
        """For words that are named late, and for what the encoder hears ahead."""
        return TAIL_SAMPLES + self._model.frontend.delay_samples

    def begin(self) -> TransducerState:
        """The state before the first frame."""
        return TransducerState(self._search.initial_state())

    def step(self, posterior: Array, state: TransducerState) -> TransducerState:
        """Takes one output of the encoder `(V,)`."""
        return state._replace(search=self._search.step(posterior[None], state.search))

    def progress(self, state: TransducerState) -> Progress:
        """Whether there are words; a transducer does not say whether a sentence may end after them."""
        return "partial" if state.search.best.tokens else "nothing"

    def may_be_over(self, state: TransducerState) -> None:
        """Never: anything may follow."""

    def partial(self, utterance: Utterance, state: TransducerState) -> tuple[list[Draft], TransducerState]:
        """The text so far, if it has changed and the last look is old enough."""
        now = utterance.heard_sample
        if not state.partials.due(now, self._partial_samples):
            return [], state
        words = self._search.words(state.search.best)
        text = tuple(word.text.lower() for word in words)
        is_new, partials = state.partials.look(now, text)
        state = state._replace(partials=partials)
        if not is_new:
            return [], state
        begin = self._sample(words[0].first_frame, utterance, state) if words else utterance.start_sample
        data = event_data.transcript_partial(text, self._search.stable_words(state.search), begin)
        draft = Draft("transcript.partial", utterance.end_sample, data, self._model.name)
        return [draft], state

    def again(self, state: TransducerState) -> None:
        """Never: a transducer's encoder has no second pass."""

    def finish(self, utterance: Utterance, why: Endpoint, state: TransducerState) -> list[Draft]:
        """All words; nothing if there are none and never were in a partial transcript."""
        words = [
            (
                word.text.lower(),
                self._sample(word.first_frame, utterance, state),
                self._sample(word.last_frame + 1, utterance, state),
                word.score,
            )
            for word in self._search.words(state.search.best)
        ]
        if not words and not state.partials.published:
            return []
        data = event_data.transcript_final(words, why, utterance.start_sample, utterance.end_sample)
        return [Draft("transcript.final", utterance.end_sample, data, self._model.name)]

    def _sample(self, frame: int, utterance: Utterance, state: TransducerState) -> int:
        """Where the audio of an encoder frame begins, within the utterance."""
        step = self._model.frame_samples // self._search.frames_per_output
        behind = (state.search.frames - frame) * step + self._model.frontend.delay_samples
        return utterance.place(behind)


def transducer_detector(settings: Settings, engine: "Engine") -> UtteranceDetector[TransducerState]:
    """The detector of the transducer that the settings name.

    Raises:
        ModelError: it is missing, damaged, no transducer, or needs a package that is missing.
    """
    from auricle.models.engine import IMPORTED

    transcript = settings.transcript
    folder = Path(transcript.model).expanduser()
    if transcript.model not in IMPORTED and not folder.is_dir():
        raise ModelError(
            f"transcript.model: no folder {folder}; expected one with a transducer, or emformer-rnnt "
            "(docs/imported-models.md)"
        )
    model = engine.load(transcript.model)
    search = engine.transducer_search(model, transcript.transducer_beam)
    decoder = TransducerDecoder(model, search, samples(transcript.partial_ms))
    # Frames are dated by what the encoder hears ahead.
    before = history_samples(settings.vad) + model.frontend.delay_samples
    return UtteranceDetector(model, decoder, EndpointRules.of(settings.endpoint), before)
