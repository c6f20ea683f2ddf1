"""Wake phrases that change while the daemon runs: the configuration is read again, streams lose nothing.

The slow part, reading and searching the background for what a new phrase is worth, has a thread of its own;
what came of it is put in use by the engine loop, between two chunks.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from auricle.configs.errors import AuricleError, ConfigError
from auricle.configs.settings import Settings
from auricle.daemon.detectors import Detector
from auricle.daemon.watched import Rereading, WatchedFile

if TYPE_CHECKING:
    from auricle.daemon.wake import Phrases

logger = logging.getLogger(__name__)


class Origin:
    """Where a configuration comes from; made before it is read, so that no change of its file is missed."""

    def __init__(self, read: Callable[[], Settings], path: Path | None = None) -> None:
        """Remembers how the file is now.

        Args:
            read: reads the configuration.
            path: file to be read again when it changes; None to wait until asked.
        """
        self.read, self.path = read, path
        self.file = WatchedFile(path)


class Reloader:
    """Reads the configuration again and puts its wake phrases in use; a bad one changes nothing."""

    def __init__(self, settings: Settings, origin: Origin | None, detectors: Sequence[Detector]) -> None:
        """Takes what is in use now.

        Args:
            settings: the configuration in use.
            origin: where it came from; None if it can't be read again.
            detectors: of all streams.
        """
        from auricle.daemon.wake import WakeDetector

        self._settings, self._origin = settings, origin
        self._wake = next((one for one in detectors if isinstance(one, WakeDetector)), None)
        self._asked = False
        self._rereading = Rereading[tuple[Settings, "Phrases | None"]]("the configuration")

    @property
    def phrases(self) -> list[str]:
        """Those that are listened for."""
        return [] if self._wake is None else [entry.phrase for entry in self._wake.phrases]

    def ask(self) -> None:
        """Asks for it to be read at the next poll; safe in a signal handler and from other threads."""
        self._asked = True

    def poll(self) -> bool | AuricleError:
        """Does what is due, between two chunks; never waits.

        Returns:
            Whether other phrases are in use now, or why a changed configuration is not.
        """
        if self._rereading.is_idle:
            if self._origin is not None and self._is_due(self._origin.file):
                self._rereading.start(partial(self._prepare, self._origin))
            return False
        found = self._rereading.poll()
        if isinstance(found, AuricleError):
            return found
        return found is not None and self._use(*found)

    def _is_due(self, file: WatchedFile) -> bool:
        """Whether it was asked for, or the file has changed and is quiet now."""
        if not self._asked:
            return file.has_changed()
        self._asked = False
        file.take()
        return True

    def _prepare(self, origin: Origin) -> "tuple[Settings, Phrases | None]":
        """The slow part."""
        from auricle.models.lexicon import Lexicon

        settings = origin.read()
        self._with_phrases_of(settings)  # refuses what would not go together
        if self._wake is not None:
            lexicon = Lexicon.of_user(self._settings.acoustic.lexicon)
            return settings, self._wake.prepare(settings.wake, lexicon)
        if settings.wake:
            raise ConfigError(
                "wake: the daemon was started with nothing that hears phones (wake phrases, commands, "
                "transcripts), or with an acoustic model that is not calibrated for wake phrases; start "
                "it anew"
            )
        return settings, None

    def _with_phrases_of(self, settings: Settings) -> Settings:
        """What is in use, with other wake phrases.

        Raises:
            ConfigError: the phrases only go with other changes, which need a new start.
        """
        try:
            return self._settings.replace(wake=settings.wake)
        except ValidationError as error:
            problems = "; ".join(problem["msg"] for problem in error.errors())
            raise ConfigError(
                f"wake: these phrases need the other changes of the file, too ({problems}): start the daemon "
                "anew"
            ) from error

    def _use(self, settings: Settings, phrases: "Phrases | None") -> bool:
        """Puts what was prepared in use; says what else has changed, and needs a new start."""
        old, self._settings = self._settings, self._with_phrases_of(settings)
        others = [
            name
            for name in Settings.model_fields
            if name != "wake" and getattr(settings, name) != getattr(old, name)
        ]
        if others:
            logger.warning("changes of [%s] are used when the daemon is started anew", "], [".join(others))
        if self._wake is None or phrases is None:
            return False
        self._wake.use(phrases)
        if settings.wake == old.wake:
            return False
        logger.info("listening for %s", ", ".join(map(repr, self.phrases)) or "no wake phrase")
        return True
