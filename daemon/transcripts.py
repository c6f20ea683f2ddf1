"""Transcripts: the words of each utterance, while it goes on and when it has ended."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.section import samples
from auricle.configs.settings import Settings, TranscriptSettings
from auricle.daemon import event_data
from auricle.daemon.detectors import Draft, check_phones
from auricle.daemon.endpoint import Endpoint, EndpointRules, Progress
from auricle.daemon.partials import Partials
from auricle.daemon.utterance import (
    TAIL_SAMPLES,
    LookAgain,
    Utterance,
    UtteranceDetector,
    history_samples,
)

if TYPE_CHECKING:
    from auricle.models.decoding.hypotheses import BeamState
    from auricle.models.decoding.transcriber import Transcriber
    from auricle.models.engine import ModelInfo

Array = NDArray[np.float32]


class TranscriptState(NamedTuple):
    """What is known of the utterance under way."""

    search: "BeamState"
    partials: Partials = Partials()
    has_last_word: bool = False
    """Whether this is the second search, of which the final transcript is made."""


class TranscriptDecoder:
    """`transcript.partial` and `transcript.final` by a language model; see `UtteranceDecoder`."""

    def __init__(
        self,
        model: "ModelInfo",
        settings: TranscriptSettings,
        transcriber: "Transcriber",
        first: "Transcriber | None" = None,
    ) -> None:
        """Takes the model whose posteriors it will see, and the search.

        Args:
            model: an acoustic model.
            settings: of transcripts.
            transcriber: the search.
            first: the search while an utterance goes on, where another one has the last word.

        Raises:
            ModelError: `model` is no acoustic model.
        """
        check_phones(model)
        self._model, self._settings, self._transcriber = model, settings, transcriber
        self._first = first or transcriber
        self._partial_samples = samples(settings.partial_ms)
        self._commit_frames = -(-samples(settings.commit_ms) // model.frame_samples)

    @property
    def tail_samples(self) -> int:
        """For phones that are named late."""
        return TAIL_SAMPLES

    def begin(self) -> TranscriptState:
        """The state before the first frame."""
        return TranscriptState(self._transcriber.begin())

    def step(self, posterior: Array, state: TranscriptState) -> TranscriptState:
        """Takes one frame `(V,)`."""
        transcriber = self._transcriber if state.has_last_word else self._first
        return state._replace(search=transcriber.step(posterior, state.search))

    def progress(self, state: TranscriptState) -> Progress:
        """Whether there are words, and whether a sentence may end after them."""
        if self._transcriber.may_end(state.search, self._settings.end_cost):
            return "final"
        return "partial" if self._transcriber.has_words(state.search) else "nothing"

    def may_be_over(self, state: TranscriptState) -> None:
        """Never: anything may follow."""

    def partial(self, utterance: Utterance, state: TranscriptState) -> tuple[list[Draft], TranscriptState]:
        """The text so far, if it has changed and the last one is old enough."""
        now = utterance.heard_sample
        if not state.partials.due(now, self._partial_samples):
            return [], state
        search = state.search
        if self._commit_frames:
            search = self._transcriber.commit(search, self._commit_frames)
        text = self._transcriber.text(search)
        is_new, partials = state.partials.look(now, text.words)
        state = state._replace(search=search, partials=partials)
        if not is_new:
            return [], state
        begin = self._sample(text.begin_frame, utterance, state)
        data = event_data.transcript_partial(text.words, text.stable, begin)
        draft = Draft("transcript.partial", utterance.end_sample, data, self._model.name)
        return [draft], state

    def again(self, state: TranscriptState) -> TranscriptState | None:
        """A second search of all of it; what partial transcripts called stable binds only partial ones."""
        return state._replace(search=self._transcriber.begin(), has_last_word=True)

    def finish(self, utterance: Utterance, why: Endpoint, state: TranscriptState) -> list[Draft]:
        """All words; nothing if there are none and never were in a partial transcript."""
        words = [
            (
                word.word,
                self._sample(word.begin_frame, utterance, state),
                self._sample(word.end_frame, utterance, state),
                word.score,
            )
            for word in self._transcriber.finish(state.search)
        ]
        if not words and not state.partials.published:
            return []
        data = event_data.transcript_final(words, why, utterance.start_sample, utterance.end_sample)
        return [Draft("transcript.final", utterance.end_sample, data, self._model.name)]

    def _sample(self, frame: int, utterance: Utterance, state: TranscriptState) -> int:
        """Where the audio of a frame begins that the model spoke of, within the utterance."""
        behind = state.search.frames - frame + self._model.lookahead_frames
        return utterance.place(behind * self._model.frame_samples)


def load_transcriber(settings: TranscriptSettings, lexicon: str = "") -> "Transcriber":
    """Reads the language model that the settings name, and how the user says words.

    Args:
        settings: of transcripts.
        lexicon: file of the user's own pronunciations; "" for the usual place.

    Raises:
        ModelError: the language model is missing or damaged.
        ConfigError: the pronunciations cannot be read.
        DataError: nobody knows how a hot word is spoken.
    """
    from auricle.models.decoding.beam import BeamSettings
    from auricle.models.decoding.ngram_file import find_language_model, read_language_model
    from auricle.models.decoding.transcriber import Transcriber
    from auricle.models.lexicon import Lexicon

    search = BeamSettings(
        blank_shift=settings.blank_shift,
        lm_weight=settings.lm_weight,
        word_bonus=settings.word_bonus,
        beam=settings.beam,
        hypotheses=settings.hypotheses,
    )
    model = read_language_model(find_language_model(settings.language_model))
    return Transcriber(model, Lexicon.of_user(lexicon), search, hot_words=settings.boosts())


def transcript_detector(
    model: "ModelInfo", settings: Settings, look_again: LookAgain | None = None
) -> UtteranceDetector[Any]:
    """The detector that the settings ask for; `look_again` is the model's second pass, if it is to be used.

    Raises:
        ModelError: `model` is no acoustic model, or the language model is missing or damaged.
        ConfigError: the user's pronunciations cannot be read.
        DataError: nobody knows how a hot word is spoken.
    """
    transcript = settings.transcript
    transcriber = load_transcriber(transcript, settings.acoustic.lexicon)
    beam = min(transcript.partial_beam, transcript.beam)
    first = None if look_again is None else transcriber.narrowed(beam)
    return UtteranceDetector(
        model,
        TranscriptDecoder(model, transcript, transcriber, first),
        EndpointRules.of(settings.endpoint),
        history_samples(settings.vad),
        look_again=look_again,
    )
