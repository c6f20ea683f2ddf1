"""Wake phrases: from the posteriors of the acoustic model to `wake` events.

Shape letters: T frames, V labels.
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import ConfigError, ModelError
from auricle.configs.section import samples
from auricle.configs.settings import ClipSettings, Settings, WakeSettings
from auricle.daemon import event_data
from auricle.daemon.clips import NEAR
from auricle.daemon.detectors import Draft, check_phones, load_acoustic
from auricle.models.decoding.background import SUFFIX, SUFFIX_OF_SECOND, Background, load_background
from auricle.models.decoding.listening import Listening, Wanted
from auricle.models.decoding.phrases import Way, log_posteriors
from auricle.models.decoding.second_look import SecondLook
from auricle.models.decoding.spotting import SETTLE_FRAMES, Hit, Spotter, SpotterState, asked_rate, rate_of
from auricle.models.decoding.verifier import Verifier, load_verifier
from auricle.models.decoding.ways import ways_of
from auricle.models.lexicon import Lexicon
from auricle.models.zoo import find_model

if TYPE_CHECKING:
    from auricle.models.engine import Engine, ModelInfo

Array = NDArray[np.float32]

logger = logging.getLogger(__name__)

LATE_FRAMES = 3
"""The last phone of a phrase may be answered so many frames late."""


class Phrases(NamedTuple):
    """Phrases ready to be listened for."""

    settings: tuple[WakeSettings, ...]
    listening: Listening


class WakeDetector:
    """`wake` for each of some phrases, and for clips `wake.near` for what came near one; see `Detector`."""

    def __init__(
        self,
        model: "ModelInfo",
        phrases: Sequence[WakeSettings],
        background: Background,
        lexicon: Lexicon,
        clips: ClipSettings | None = None,
        *,
        second_look: SecondLook | None = None,
    ) -> None:
        """Finds the threshold of every phrase in the background: a second or so.

        Args:
            model: whose posteriors are searched.
            phrases: what to listen for.
            background: speech as the model heard it.
            lexicon: how words are said.
            clips: what is wanted of near misses.
            second_look: the model's second pass; then its hidden values must follow the posteriors.

        Raises:
            ModelError: `model` is no acoustic model, or a verifier does not belong to it or to its phrase.
            ConfigError: a phrase cannot be said.
        """
        check_phones(model)
        self.model, self._lexicon, self._background = model, lexicon, background
        kept = clips is not None and clips.folder and clips.near_score < 1
        self._near_per_hour = rate_of(clips.near_score) if clips is not None and kept else 0.0
        self._spotter = Spotter((), background, model.frame_samples, second_look)
        self.phrases: tuple[WakeSettings, ...] = ()
        self.change(phrases)

    def change(self, phrases: Sequence[WakeSettings]) -> None:
        """Listens for these phrases from the next chunk on; those that stay lose nothing of what was heard.

        Raises:
            ConfigError: a phrase cannot be said; then nothing is changed.
            ModelError: a verifier cannot be read, or belongs elsewhere; then neither.
        """
        self.use(self.prepare(phrases, self._lexicon))

    def prepare(self, phrases: Sequence[WakeSettings], lexicon: Lexicon) -> Phrases:
        """Does the slow part of a change, a second or so, in any thread; nothing is changed.

        Raises:
            ConfigError: a phrase cannot be said.
            ModelError: a verifier cannot be read, or belongs elsewhere.
        """
        wanted = [self._wanted(entry, lexicon) for entry in phrases]
        said: dict[tuple[Way, ...], str] = {}
        for entry, one in zip(phrases, wanted, strict=True):
            if (other := said.setdefault(one.ways, entry.phrase)) != entry.phrase:
                raise ConfigError(f"wake: '{other}' and '{entry.phrase}' sound the same: keep one of them")
        return Phrases(tuple(phrases), self._spotter.prepare(wanted))

    def use(self, prepared: Phrases) -> None:
        """Listens for what was prepared; only between chunks."""
        self._spotter.use(prepared.listening)
        self.phrases = prepared.settings
        for number, entry in enumerate(prepared.listening.wanted):
            if (rate := self._spotter.least_rate(number)) > entry.false_accepts_per_hour:
                logger.warning(
                    "wake phrase '%s' is too easily mistaken: expect %.1f false accepts an hour of speech "
                    "where %.2g were asked for; choose a longer one (`auricle tune` tells more)",
                    self.phrases[number].phrase,
                    rate,
                    entry.false_accepts_per_hour,
                )

    def _wanted(self, entry: WakeSettings, lexicon: Lexicon) -> Wanted:
        ways = ways_of(entry.phrase, lexicon, entry.pronunciations)
        rate = asked_rate(entry.threshold, entry.false_accepts_per_hour)
        verifier = self._verifier(entry.verifier, ways) if entry.verifier else None
        refractory = samples(entry.refractory_ms)
        return Wanted(ways, rate, refractory, self._near_per_hour, verifier, entry.second_pass)

    def _verifier(self, path: str, ways: tuple[Way, ...]) -> Verifier:
        verifier = load_verifier(Path(path).expanduser())
        verifier.check(ways, self._background.info.model, self._background.info.search)
        return verifier

    @property
    def tail_samples(self) -> int:
        """The model's look-ahead, and the time it may take to answer."""
        frames = self.model.lookahead_frames + LATE_FRAMES + SETTLE_FRAMES
        return frames * self.model.frame_samples

    def initial_state(self, position: int = 0) -> SpotterState:
        """State of a stream that has heard nothing before sample `position`."""
        return self._spotter.initial_state(position)

    def decide(
        self, posterior: Array, end_samples: Sequence[int], state: SpotterState, cues: Sequence[Draft] = ()
    ) -> tuple[list[Draft], SpotterState]:
        """Takes T frames; see `Detector`."""
        drafts: list[Draft] = []
        if not self.phrases and self._spotter.is_current(state):
            return drafts, state
        heard, hidden = np.split(posterior, [self.model.outputs], axis=1)
        for row, values, end_sample in zip(log_posteriors(heard), hidden, end_samples, strict=True):
            hits, state = self._spotter.step(row, end_sample, state, values)
            drafts += [self._draft(hit, end_sample) for hit in hits]
        return drafts, state

    def finish(
        self, end_sample: int, last_sample: int, state: SpotterState
    ) -> tuple[list[Draft], SpotterState]:
        """Reports what was heard to the end just now."""
        hits, state = self._spotter.finish(end_sample, state)
        return [self._draft(hit, end_sample) for hit in hits], state

    def _draft(self, hit: Hit, sample: int) -> Draft:
        phrase = self.phrases[hit.phrase].phrase
        data = event_data.wake(phrase, hit.score, hit.start_sample, hit.end_sample)
        model = self.model.second if self._spotter.looks_at(hit.phrase) else self.model.name
        return Draft(NEAR if hit.near else "wake", sample, data, model)


def build_wake_detector(settings: Settings, engine: "Engine", *, reloads: bool = False) -> WakeDetector:
    """Loads the acoustic model, its calibration and the user's lexicon.

    Args:
        settings: what is asked for.
        engine: runs the model.
        reloads: other phrases may come later, which may want the second pass.

    Raises:
        ModelError: the model or its calibration is missing or damaged, or they do not belong together.
        ConfigError: a phrase cannot be said.
    """
    model = load_acoustic(settings, engine, reloads=reloads)
    path = find_model(settings.acoustic.model, settings.acoustic.cell)
    background = load_background(path.with_suffix(SUFFIX), model.name.rpartition("@")[2])
    lexicon = Lexicon.of_user(settings.acoustic.lexicon)
    wanted = any(entry.looks_again for entry in settings.wake)
    look = _second_look(model, path, engine, wanted=wanted) if wanted or reloads else None
    return WakeDetector(model, settings.wake, background, lexicon, settings.clips, second_look=look)


def _second_look(model: "ModelInfo", path: Path, engine: "Engine", *, wanted: bool) -> SecondLook | None:
    """The second pass for wake phrases; None where the model has none, or it has no background."""
    beside = path.with_suffix(SUFFIX_OF_SECOND)
    if not model.hidden:
        return None
    if not beside.exists():
        logger.warning(
            "wake phrases are not looked at again: %s has no %s; `auricle calibrate %s` makes it",
            model.second,
            beside.name,
            path,
        )
        return None
    try:
        background = load_background(beside, model.second.rpartition("@")[2], "second pass")
        return SecondLook(background, partial(engine.look_again, model))
    except ModelError as error:
        if wanted:
            raise ModelError(f"{error}; or set second_pass = false in [[wake]]") from error
        logger.warning("wake phrases that come later will not be looked at again: %s", error)
        return None
