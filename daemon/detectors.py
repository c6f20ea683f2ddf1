"""Detectors: what turns a model's posteriors into events, one class for each kind of model.

A detector holds settings only; what it remembers of a stream is a state that the stream keeps.

Shape letters: T frames, V labels, H hidden values, W = V + H numbers in a frame.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import ConfigError, ModelError
from auricle.configs.memory import release_free_memory
from auricle.configs.section import samples
from auricle.configs.settings import KeywordSettings, Settings, VadSettings
from auricle.daemon import event_data
from auricle.daemon.decision import (
    KeywordState,
    KeywordTrigger,
    SpeechSegmenter,
    SpeechStart,
    SpeechState,
    SpeechStop,
)

if TYPE_CHECKING:
    from auricle.models.engine import Engine, ModelInfo

Array = NDArray[np.float32]

NOT_WORDS = ("silence", "unknown")
"""Labels of a keyword model that are never published."""


class Draft(NamedTuple):
    """An event before it gets its number and its times."""

    type: str
    sample: int
    data: dict[str, Any]
    model: str | None = None
    wake: "Draft | None" = None
    """The wake event that led to it; its number becomes `wake_seq`."""


class Detector(Protocol):
    """Posteriors of one model in, drafts of events out."""

    model: "ModelInfo"

    @property
    def tail_samples(self) -> int:
        """Silence that must follow the last sample so that nothing said remains undecided."""

    def initial_state(self, position: int = 0) -> Any:
        """State of a stream that has heard nothing before sample `position`."""

    def decide(
        self, posterior: Array, end_samples: Sequence[int], state: Any, cues: Sequence[Draft]
    ) -> tuple[list[Draft], Any]:
        """Takes T frames.

        Args:
            posterior: with shape `(T, V)`; `(T, W)` where hidden values for a second pass follow.
            end_samples: where each frame ends on the stream's timeline.
            state: what was heard before.
            cues: what the detectors before this one decided in the same chunk. A frame may only depend on
                cues whose `sample` is not after its end: then chunking changes nothing. Later ones are kept
                for the frames to come.
        """

    def finish(self, end_sample: int, last_sample: int, state: Any) -> tuple[list[Draft], Any]:
        """Closes what is open: the stream ends, or its state is about to be reset.

        Args:
            end_sample: where the newest frame ends, silence added for the end included.
            last_sample: where the audio really ended.
            state: what was heard before.
        """


class VadDetector:
    """`speech.start` and `speech.stop` from a voice activity model."""

    def __init__(self, model: "ModelInfo", settings: VadSettings) -> None:
        """Converts the settings to samples.

        Raises:
            ModelError: `model` is no voice activity model.
        """
        check_kind(model, "vad")
        self.model = model
        self._lookahead_samples = model.lookahead_frames * model.frame_samples
        self._segmenter = SpeechSegmenter(
            onset=settings.onset,
            offset=settings.offset,
            min_speech_samples=samples(settings.min_speech_ms),
            hangover_samples=samples(settings.hangover_ms),
            preroll_samples=samples(settings.preroll_ms),
            frame_samples=model.frame_samples,
        )

    @property
    def tail_samples(self) -> int:
        """The model's look-ahead."""
        return self._lookahead_samples

    def initial_state(self, position: int = 0) -> SpeechState:
        """State of a stream that has heard nothing; no speech begins before `position`, pre-roll or not."""
        return SpeechState(last_speech=position)

    def decide(
        self, posterior: Array, end_samples: Sequence[int], state: SpeechState, cues: Sequence[Draft] = ()
    ) -> tuple[list[Draft], SpeechState]:
        """Takes T frames of the label "speech"; see `Detector`."""
        drafts = []
        for score, end_sample in zip(posterior[:, 0].tolist(), end_samples, strict=True):
            # The model speaks of audio that ended its look-ahead ago.
            decision, state = self._segmenter.step(score, end_sample - self._lookahead_samples, state)
            if decision is not None:
                drafts.append(self._draft(decision, end_sample))
        return drafts, state

    def finish(
        self, end_sample: int, last_sample: int, state: SpeechState
    ) -> tuple[list[Draft], SpeechState]:
        """Ends the segment under way, with the audio at the latest."""
        state = state._replace(last_speech=min(state.last_speech, last_sample))
        decision, state = self._segmenter.finish(state)
        return [] if decision is None else [self._draft(decision, end_sample)], state

    def _draft(self, decision: SpeechStart | SpeechStop, sample: int) -> Draft:
        if isinstance(decision, SpeechStart):
            return Draft("speech.start", sample, event_data.speech_start(*decision), self.model.name)
        return Draft("speech.stop", sample, event_data.speech_stop(*decision), self.model.name)


class KeywordDetector:
    """`keyword` from a model that classifies words."""

    def __init__(self, model: "ModelInfo", settings: KeywordSettings) -> None:
        """Converts the settings to frames and samples.

        Raises:
            ModelError: `model` is no keyword model.
            ConfigError: a wanted label is not among the model's.
        """
        check_kind(model, "keyword")
        self.model = model
        self._trigger = KeywordTrigger(
            labels=_wanted(model, settings.labels),
            threshold=settings.threshold,
            smooth_frames=max(1, round(samples(settings.smooth_ms) / model.frame_samples)),
            refractory_samples=samples(settings.refractory_ms),
        )

    @property
    def tail_samples(self) -> int:
        """The smoothing window and the model's look-ahead."""
        return (self._trigger.smooth_frames + self.model.lookahead_frames) * self.model.frame_samples

    def initial_state(self, position: int = 0) -> KeywordState:
        """State of a stream that has heard nothing."""
        return self._trigger.initial_state(len(self.model.labels))

    def decide(
        self, posterior: Array, end_samples: Sequence[int], state: KeywordState, cues: Sequence[Draft] = ()
    ) -> tuple[list[Draft], KeywordState]:
        """Takes T frames; see `Detector`."""
        drafts = []
        for scores, end_sample in zip(posterior, end_samples, strict=True):
            hit, state = self._trigger.step(scores, end_sample, state)
            if hit is not None:
                data = event_data.keyword(self.model.labels[hit.label], hit.score)
                drafts.append(Draft("keyword", end_sample, data, self.model.name))
        return drafts, state

    def finish(
        self, end_sample: int, last_sample: int, state: KeywordState
    ) -> tuple[list[Draft], KeywordState]:
        """Nothing stays open between frames."""
        return [], state


def check_kind(model: "ModelInfo", kind: str) -> None:
    """Refuses a model of another kind.

    Raises:
        ModelError: it is one.
    """
    if model.kind != kind:
        raise ModelError(f"{model.name} is a '{model.kind}' model, expected '{kind}'; see [{kind}] model")


def check_phones(model: "ModelInfo") -> None:
    """Refuses a model that does not hear the phones that phrases, commands and words are made of.

    Raises:
        ModelError: it is one.
    """
    from auricle.models.phones import PHONES

    check_kind(model, "acoustic")
    if model.labels[1:] != PHONES:
        raise ModelError(
            f"{model.name} hears other phones than those of the dictionary; see [acoustic] model"
        )


def _wanted(model: "ModelInfo", labels: Sequence[str]) -> tuple[int, ...]:
    words = [label for label in model.labels if label not in NOT_WORDS]
    for label in labels:
        if label not in words:
            near = get_close_matches(label, words, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ConfigError(
                f"keyword.labels: {model.name} does not know '{label}'; {hint}it knows {', '.join(words)}"
            )
    return tuple(model.labels.index(label) for label in labels or words)


def load_acoustic(settings: Settings, engine: "Engine", *, reloads: bool = False) -> "ModelInfo":
    """Loads the model that wake phrases, commands and transcripts share.

    Args:
        settings: what is asked for.
        engine: runs the model.
        reloads: wake phrases may come later that want its second pass.

    Raises:
        ModelError: it is missing, damaged, or hears other phones than those of the dictionary.
    """
    acoustic = settings.acoustic
    model = engine.load(acoustic.model, acoustic.cell, second_pass=settings.looks_again or reloads)
    check_phones(model)
    return model


def _look_again(model: "ModelInfo", engine: "Engine", *, wanted: bool) -> Callable[[Array], Array] | None:
    """What looks again at whole utterances, hidden values `(J, H)` to posteriors `(J, V)`, if anything."""
    return partial(engine.look_again, model) if wanted and model.hidden else None


def build_detectors(settings: Settings, engine: "Engine", reloads: bool = False) -> list[Detector]:
    """Loads the models that the settings ask for, each with its detector.

    Detectors that listen to others come after them.

    Args:
        settings: what is asked for.
        engine: runs the models.
        reloads: wake phrases may come later: where phones are heard anyhow, be ready for the first one.

    Raises:
        ModelError: a model is missing, damaged, or of the wrong kind.
        ConfigError: a label is not among a model's.
    """
    detectors: list[Detector] = []
    if settings.vad.enabled:
        detectors.append(VadDetector(engine.load(settings.vad.model, settings.vad.cell), settings.vad))
    if settings.keyword.enabled:
        model = engine.load(settings.keyword.model, settings.keyword.cell)
        detectors.append(KeywordDetector(model, settings.keyword))
    if settings.wake or (reloads and settings.hears_phones):
        from auricle.daemon.wake import build_wake_detector

        try:
            detectors.append(build_wake_detector(settings, engine, reloads=reloads))
        except ModelError:
            if settings.wake:
                raise
    if settings.commands.enabled:
        from auricle.daemon.command_decoder import command_detector

        acoustic = load_acoustic(settings, engine, reloads=reloads)
        look_again = _look_again(acoustic, engine, wanted=settings.commands.second_pass)
        detectors.append(command_detector(acoustic, settings, look_again))
    if settings.transcript.enabled and settings.transcript.model:
        from auricle.daemon.transducer_decoder import transducer_detector

        detectors.append(transducer_detector(settings, engine))
    elif settings.transcript.enabled:
        from auricle.daemon.transcripts import transcript_detector

        acoustic = load_acoustic(settings, engine, reloads=reloads)
        look_again = _look_again(acoustic, engine, wanted=settings.transcript.second_pass)
        detectors.append(transcript_detector(acoustic, settings, look_again))
    release_free_memory()
    return detectors
