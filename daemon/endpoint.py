"""When an utterance begins and ends: pure logic on the sample clock.

An utterance begins where speech begins, pre-roll included. It ends when silence has lasted as long as the
rule for what was recognised so far asks, or when it has become too long. Speech that comes back sooner
belongs to it.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from auricle.configs.section import samples
from auricle.configs.speech_settings import EndpointSettings

Progress = Literal["nothing", "partial", "final"]
"""What a decoder has recognised so far: no word, some words, or a sentence that may end here."""
Endpoint = Literal["silence", "length", "sentence", "end"]
"""Why an utterance ended: silence, its length, a sentence with other sound behind it, or the stream's end."""


class UtteranceState(NamedTuple):
    """What the rules remember of a stream."""

    start_sample: int = -1  # of the utterance under way, -1 for none
    speaking: bool = False
    speech_end: int = 0  # end of the newest speech, while not speaking


@dataclass(frozen=True)
class EndpointRules:
    """How much silence ends an utterance, in samples; see `EndpointSettings`."""

    no_speech_samples: int
    after_partial_samples: int
    after_final_samples: int
    longest_samples: int

    @classmethod
    def of(cls, settings: EndpointSettings) -> "EndpointRules":
        """Converts settings to samples."""
        return cls(
            samples(settings.no_speech_ms),
            samples(settings.after_partial_ms),
            samples(settings.after_final_ms),
            samples(settings.longest_ms),
        )

    def speech_started(self, start_sample: int, state: UtteranceState) -> UtteranceState:
        """Speech was found to have begun at `start_sample`, pre-roll included."""
        begin = state.start_sample if state.start_sample >= 0 else start_sample
        return state._replace(start_sample=begin, speaking=True)

    def speech_stopped(self, end_sample: int, state: UtteranceState) -> UtteranceState:
        """Speech was found to have ended at `end_sample`."""
        return state._replace(speaking=False, speech_end=end_sample)

    def silence_may_end(self, end_sample: int, state: UtteranceState) -> bool:
        """Whether it matters to `step` what was recognised."""
        least = min(self.no_speech_samples, self.after_partial_samples, self.after_final_samples)
        return not state.speaking and end_sample - state.speech_end >= least

    def step(
        self, end_sample: int, progress: Progress, state: UtteranceState, is_over: bool = False
    ) -> tuple[Endpoint | None, UtteranceState]:
        """Takes one frame that ends at `end_sample`; says whether, and why, the utterance ends with it.

        After its greatest length, or after a sentence that `is_over`, an utterance that is still being
        spoken is followed by another at once.
        """
        if state.start_sample < 0:
            return None, state
        if is_over or end_sample - state.start_sample >= self.longest_samples:
            begin = end_sample if state.speaking else -1
            return "sentence" if is_over else "length", state._replace(start_sample=begin)
        needed = {
            "nothing": self.no_speech_samples,
            "partial": self.after_partial_samples,
            "final": self.after_final_samples,
        }[progress]
        if state.speaking or end_sample - state.speech_end < needed:
            return None, state
        return "silence", state._replace(start_sample=-1)
