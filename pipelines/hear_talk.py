"""Makes what false commands are counted in: talk as an acoustic model, and its second pass, heard it.

It is every second recording of what thresholds of wake phrases are found in (`calibrate`), in the same noise;
each is an utterance. What people who were not trained on say is taken for commands more often: how much more
is measured by each intent of the shipped grammar, and corrected for.

Shape letters: J output frames, V labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
import yaml

from auricle.configs.grammars import find_grammar
from auricle.configs.settings import CommandSettings
from auricle.models.decoding.background import Codes
from auricle.models.decoding.graph import CommandGraph, compile_text
from auricle.models.decoding.phrases import Array, log_posteriors
from auricle.models.decoding.search import SearchConfig
from auricle.models.decoding.talk import Talk, TalkInfo, coded
from auricle.pipelines.calibrate import SNRS_DB, STREAMS, Source, corrected, draw_clips
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.wake_streams import Ear, in_noise, lay_clips, recorded_noise

STEP = 2
"""One of so many recordings is heard."""
PROBE_RATE = 20.0
"""False commands per hour at which people who were trained on are compared with others."""


def hear_talk(
    ear: Ear, corpus: Corpus, config: SearchConfig, hours_part: float = 1.0
) -> tuple[Talk, Talk | None]:
    """Hears every second recording of all sources; some minutes.

    Args:
        ear: the model, with a second pass or without.
        corpus: the data.
        config: how the daemon searches.
        hours_part: how much of it to take.

    Returns:
        What the model made of it, and what its second pass did, where there is one.

    Raises:
        DataError: there is no speech of any source.
    """
    drawn = {source: clips[::STEP] for source, clips in draw_clips(corpus, hours_part).items()}
    heard = {
        source: [
            tuple(coded(log_probs) for log_probs in made)
            for made in hear_utterances(ear, corpus, clips, SNRS_DB, "train")
        ]
        for source, clips in drawn.items()
    }
    hours = {source: sum(clip.seconds for clip in clips) / 3600 for source, clips in drawn.items()}
    probes = shipped_intents()
    first = {source: [codes[0] for codes in found] for source, found in heard.items()}
    talk = _joined(first, hours, ear.digest, (probes, config))
    if ear.second is None:
        return talk, None
    again = {source: [codes[1] for codes in found] for source, found in heard.items()}
    return talk, _joined(again, hours, ear.second_digest, (probes, config))


def config_of(commands: CommandSettings) -> SearchConfig:
    """How the daemon searches by these settings."""
    return SearchConfig(commands.blank_shift, commands.smoothing, commands.filler_cost)


def hear_utterances(
    ear: Ear, corpus: Corpus, clips: Sequence[Clip], snrs_db: Sequence[float], noise_of: str
) -> Iterator[tuple[Array, ...]]:
    """Log-probabilities `(J, V)` of each recording in its stream.

    Args:
        ear: the model, with a second pass or without.
        corpus: the data.
        clips: the recordings.
        snrs_db: of the streams in turn; none: no noise.
        noise_of: split of the noise.

    Yields:
        Those of the model, and those of its second pass, if there is one.
    """
    laid = lay_clips(corpus, clips, min(STREAMS, len(clips)))
    samples = laid.samples
    if snrs_db:
        noise = recorded_noise(corpus, noise_of, samples.shape)
        samples = in_noise(samples, noise, np.resize(snrs_db, len(noise)).tolist())
    heard = ear.hear_all(samples)
    for place in laid.placed:
        own = slice(place.start_sample // ear.spec.frame_samples, place.end_sample // ear.spec.frame_samples)
        made = [heard.log_probs[place.stream, own]]
        if heard.hidden is not None:
            made.append(log_posteriors(ear.look_at_one(heard.hidden[place.stream, own])))
        yield tuple(made)


def _joined(
    heard: Mapping[Source, Sequence[Codes]],
    hours: Mapping[Source, float],
    model: str,
    probing: tuple[Sequence[CommandGraph], SearchConfig],
) -> Talk:
    """All utterances, and how many more false commands come of people who were not trained on."""
    sources = tuple(f"{' '.join(source)}: {hours[source]:.2f} h" for source in heard)
    every = _talk(
        [codes for found in heard.values() for codes in found], TalkInfo(model, sum(hours.values()))
    )
    parts = {
        split: _talk(
            [codes for source, found in heard.items() if source[1] == split for codes in found],
            TalkInfo(model, sum(one for source, one in hours.items() if source[1] == split)),
        )
        for split in sorted({split for _, split in heard})
    }
    info = replace(every.info, hours=round(every.info.hours, 3), sources=sources)
    if len(parts) == 2:
        info = replace(info, correction=round(_correction(parts["train"], parts["dev"], *probing), 3))
    return Talk(every.codes, every.ends, info)


def _talk(utterances: Sequence[Codes], info: TalkInfo) -> Talk:
    return Talk(np.concatenate(utterances), list(accumulate(len(codes) for codes in utterances)), info)


def _correction(seen: Talk, unseen: Talk, probes: Sequence[CommandGraph], config: SearchConfig) -> float:
    """How many times more false commands come in speech not trained on than in both together."""
    ratios = []
    for probe in probes:
        least = seen.tail(probe, config).score_at(PROBE_RATE)
        ratios.append(unseen.tail(probe, config).rate(least) / PROBE_RATE)
    share = unseen.info.hours / (unseen.info.hours + seen.info.hours)
    return corrected(float(np.median(ratios)), share)


def shipped_intents() -> list[CommandGraph]:
    """Each intent of the shipped grammar as a grammar of its own."""
    whole = yaml.safe_load(find_grammar("commands").read_text(encoding="utf-8"))
    return [
        compile_text(yaml.safe_dump({**whole, "intents": {name: intent}}))
        for name, intent in whole["intents"].items()
    ]
