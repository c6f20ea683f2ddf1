"""When a partial transcript is due, and whether it says anything new: on the sample clock."""

from typing import NamedTuple


class Partials(NamedTuple):
    """What was last said of the utterance under way; a value."""

    looked_sample: int = -1
    """When the text was last looked at; -1: not yet."""
    published: tuple[str, ...] = ()
    """The newest partial transcript."""

    def due(self, now_sample: int, every_samples: int) -> bool:
        """Whether the last look is so long ago, or there was none."""
        return self.looked_sample < 0 or now_sample - self.looked_sample >= every_samples

    def look(self, now_sample: int, words: tuple[str, ...]) -> tuple[bool, "Partials"]:
        """Looks at the text; says whether it is to be published."""
        return words != self.published, Partials(now_sample, words)
