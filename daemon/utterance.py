"""Decoding utterance by utterance: from speech.start, pre-roll included, to the endpoint.

What commands and transcripts have in common. The decoder is a value-in, value-out search over posteriors;
this detector follows the voice activity among the cues, gives the decoder the frames of each utterance, and
asks it for events. Where the model has a second pass, which hears the whole utterance, what it says of the
frames is searched at the end instead.

Shape letters: T frames, J frames of an utterance, V labels, H hidden values, W numbers in a frame.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from auricle.configs.section import samples
from auricle.configs.settings import VadSettings
from auricle.daemon.detectors import Draft
from auricle.daemon.endpoint import Endpoint, EndpointRules, Progress, UtteranceState

if TYPE_CHECKING:
    from auricle.models.engine import ModelInfo

Array = NDArray[np.float32]
S = TypeVar("S")
LookAgain = Callable[[Array], Array]
"""Hidden values of an utterance `(J, H)` to posteriors `(J, V)`."""
_CLOSED = (-1, -1)
TAIL_SAMPLES = 3200
"""An acoustic model names the last phone up to this much later than it hears it."""
LONGEST_LOOK_MS = 30_000
"""Longer utterances are not searched a second time: the stream waits meanwhile."""
NOTICE_MS = 500
"""Speech is reported at most this long after it has lasted `min_speech_ms`; its hangover plays no part."""


def history_samples(vad: VadSettings) -> int:
    """How far before its report speech may begin, pre-roll included."""
    return samples(vad.preroll_ms + vad.min_speech_ms + NOTICE_MS)


class Utterance(NamedTuple):
    """The place of an utterance on the stream's timeline, as far as it was decoded."""

    start_sample: int
    end_sample: int
    wake: Draft | None = None
    """The newest wake event before it."""
    heard_sample: int = 0
    """End of the newest frame decoded; unlike in `end_sample`, silence added at the stream's end counts."""

    def place(self, behind_samples: int) -> int:
        """The sample so far before the end of the newest frame, within the utterance."""
        return min(max(self.heard_sample - behind_samples, self.start_sample), self.end_sample)


class UtteranceDecoder(Protocol[S]):
    """A search over the posteriors of one utterance; settings only, its state is a value."""

    @property
    def tail_samples(self) -> int:
        """Silence after the last word without which it may be lost."""

    def begin(self) -> S:
        """The state before the first frame."""

    def step(self, posterior: Array, state: S) -> S:
        """Takes one frame `(V,)`."""

    def progress(self, state: S) -> Progress:
        """What was recognised so far, for the endpoint."""

    def may_be_over(self, state: S) -> S | None:
        """If all may have been said, though sound goes on: the state to go on from where `finish` makes
        nothing of it, in which the same is not found again. None if not; asked for after every frame."""

    def partial(self, utterance: Utterance, state: S) -> tuple[list[Draft], S]:
        """Events while the utterance goes on, asked for after every frame."""

    def again(self, state: S) -> S | None:
        """The state before the first frame, for a second search at the end; None if that is not wanted."""

    def finish(self, utterance: Utterance, why: Endpoint, state: S) -> list[Draft]:
        """Events of an utterance that has ended."""


class _State(NamedTuple, Generic[S]):
    utterance: UtteranceState
    cues: tuple[Draft, ...]  # of frames to come
    history: deque[tuple[int, Array]]  # end sample and numbers (W,) of the newest frames
    decoding: S | None
    hidden: tuple[Array, ...]  # of the utterance's frames, each (H,); none without a second pass
    wake: Draft | None
    listening: tuple[int, int]  # samples between which an utterance may begin, where a wake word is needed


class UtteranceDetector(Generic[S]):
    """Runs a decoder over each utterance; see `Detector`."""

    def __init__(
        self,
        model: "ModelInfo",
        decoder: UtteranceDecoder[S],
        rules: EndpointRules,
        history_samples: int,
        *,
        window_samples: int | None = None,
        look_again: LookAgain | None = None,
    ) -> None:
        """Takes the search and the rules.

        Args:
            model: whose posteriors are searched.
            decoder: the search.
            rules: when an utterance ends.
            history_samples: how far before its detection speech may begin, pre-roll included, or a wake
                phrase may have ended.
            window_samples: if given, only utterances are decoded that begin within so many samples after a
                wake phrase; what is said in one breath with the phrase begins where that ends. The window
                closes with the first utterance of which the decoder makes an event.
            look_again: the second pass of the model, if it is wanted.
        """
        self.model = model
        self.decoder = decoder
        self.rules = rules
        self._history_frames = 1 + -(-history_samples // model.frame_samples)
        self._window_samples = window_samples
        self._outputs = model.outputs
        self._look_again = look_again
        self._most_frames = samples(LONGEST_LOOK_MS) // model.frame_samples

    @property
    def tail_samples(self) -> int:
        """What the decoder needs after the last word, and the model's look-ahead."""
        return self.decoder.tail_samples + self.model.lookahead_frames * self.model.frame_samples

    def initial_state(self, position: int = 0) -> _State[S]:
        """State of a stream that has heard nothing."""
        return _State(UtteranceState(), (), deque(maxlen=self._history_frames), None, (), None, _CLOSED)

    def decide(
        self, posterior: Array, end_samples: Sequence[int], state: _State[S], cues: Sequence[Draft]
    ) -> tuple[list[Draft], _State[S]]:
        """Takes T frames, each after the cues up to its end."""
        waiting = sorted((*state.cues, *cues), key=lambda cue: cue.sample)
        state = state._replace(history=state.history.copy())
        drafts: list[Draft] = []
        for row, end_sample in zip(posterior, end_samples, strict=True):
            while waiting and waiting[0].sample <= end_sample:
                found, state = self._follow(waiting.pop(0), state)
                drafts += found
            found, state = self._frame(row, end_sample, state)
            drafts += found
        return drafts, state._replace(cues=tuple(waiting))

    def finish(self, end_sample: int, last_sample: int, state: _State[S]) -> tuple[list[Draft], _State[S]]:
        """Ends the utterance under way: the stream is over or its state is reset."""
        if state.decoding is None:
            return [], state
        utterance = Utterance(state.utterance.start_sample, last_sample, state.wake, end_sample)
        drafts = self._finish(utterance, "end", state.decoding, state.hidden)
        return _at(drafts, end_sample), state._replace(decoding=None, hidden=(), utterance=UtteranceState())

    def _finish(
        self, utterance: Utterance, why: Endpoint, decoding: S, hidden: tuple[Array, ...]
    ) -> list[Draft]:
        """Asks the decoder for the events of an utterance, after a second search if there is one."""
        if self._look_again is None or not 0 < len(hidden) <= self._most_frames:
            return self.decoder.finish(utterance, why, decoding)
        again = self.decoder.again(decoding)
        if again is None:
            return self.decoder.finish(utterance, why, decoding)
        for posterior in self._look_again(np.stack(hidden)):
            again = self.decoder.step(posterior, again)
        drafts = self.decoder.finish(utterance, why, again)
        return [draft._replace(model=self.model.second) for draft in drafts]

    def _follow(self, cue: Draft, state: _State[S]) -> tuple[list[Draft], _State[S]]:
        """Takes note of what another detector decided."""
        rules, utterance = self.rules, state.utterance
        if cue.type == "speech.start":
            begin, (earliest, latest) = cue.data["start_sample"], state.listening
            if begin <= latest:
                begin = max(begin, earliest)  # the pre-roll may reach into the phrase
            return [], state._replace(utterance=rules.speech_started(begin, utterance))
        if cue.type == "speech.stop":
            return [], state._replace(utterance=rules.speech_stopped(cue.data["end_sample"], utterance))
        return self._woken(cue, state) if cue.type == "wake" else ([], state)

    def _woken(self, cue: Draft, state: _State[S]) -> tuple[list[Draft], _State[S]]:
        """Takes note of a wake phrase; where it is needed, the utterance under way begins at its end.

        What had been said whole by then is reported first: it may have ended with the very phrase.
        """
        if self._window_samples is None:
            return [], state._replace(wake=cue)
        drafts: list[Draft] = []
        if state.decoding is not None and self.decoder.progress(state.decoding) == "final":
            heard = state.history[-1][0]
            said = Utterance(state.utterance.start_sample, heard, state.wake, heard)
            drafts = _at(self._finish(said, "end", state.decoding, state.hidden), cue.sample)
        state = state._replace(wake=cue)
        end, utterance = cue.data["end_sample"], state.utterance
        if utterance.start_sample >= 0:
            utterance = utterance._replace(start_sample=max(end, utterance.start_sample))
        listening = (end, end + self._window_samples)
        return drafts, state._replace(utterance=utterance, decoding=None, hidden=(), listening=listening)

    def _wanted(self, state: _State[S]) -> bool:
        """Whether the utterance under way is to be decoded."""
        earliest, latest = state.listening
        return self._window_samples is None or earliest <= state.utterance.start_sample <= latest

    def _frame(self, row: Array, end_sample: int, state: _State[S]) -> tuple[list[Draft], _State[S]]:
        """Takes one frame `(W,)`; the first one of an utterance brings those of the pre-roll along."""
        state.history.append((end_sample, row))
        begin = state.utterance.start_sample
        if begin < 0:
            return [], state
        if not self._wanted(state):
            _, after = self.rules.step(end_sample, "nothing", state.utterance)
            return [], state._replace(utterance=after)
        decoding = state.decoding
        if decoding is None:
            decoding = self.decoder.begin()
            rows = [heard for end, heard in state.history if end > begin]
        else:
            rows = [row]
        for heard in rows:
            decoding = self.decoder.step(heard[: self._outputs], decoding)
        hidden = state.hidden
        if self._look_again is not None and len(hidden) <= self._most_frames:  # more would be in vain
            hidden += tuple(heard[self._outputs :] for heard in rows)
        utterance = Utterance(begin, end_sample, state.wake, end_sample)
        drafts, decoding = self.decoder.partial(utterance, decoding)
        may_end = self.rules.silence_may_end(end_sample, state.utterance)
        progress = self.decoder.progress(decoding) if may_end else "nothing"  # asking is not free
        found: list[Draft] = []
        if (going_on := self.decoder.may_be_over(decoding)) is not None:
            found = self._finish(utterance, "sentence", decoding, hidden)
            decoding = going_on
        why, after = self.rules.step(end_sample, progress, state.utterance, is_over=bool(found))
        state = state._replace(utterance=after, decoding=decoding, hidden=hidden)
        if why is None:
            return _at(drafts, end_sample), state
        found = found or self._finish(utterance, why, decoding, hidden)
        listening = _CLOSED if found else state.listening
        return _at(drafts + found, end_sample), state._replace(decoding=None, hidden=(), listening=listening)


def _at(drafts: list[Draft], sample: int) -> list[Draft]:
    """Dates drafts to the frame that decided them."""
    return [draft._replace(sample=sample) for draft in drafts]
