"""Whether as many false commands come as were asked for: of many grammars, in speech that holds none of them.

Each intent of the shipped grammar is a grammar of its own. What the pass that decides says of recordings,
each an utterance, is searched for it as the daemon would, and what its scale lets through is counted.

Shape letters: U utterances, J output frames, V labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

from auricle.models.decoding import talk
from auricle.models.decoding.search import SearchConfig
from auricle.models.decoding.talk import CountedScale, Talk, best_logit, load_talk
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.hear_talk import hear_utterances, shipped_intents
from auricle.pipelines.metrics import rate_per_hour
from auricle.pipelines.wake_streams import Ear

ASKED = (1.0, 0.5)
"""False commands an hour."""
CONDITIONS_DB: Mapping[str, tuple[float, ...]] = {"quiet": (), "10 dB": (10.0,)}
HEARD_AT_ONCE = 200
"""Recordings."""


class Counted(NamedTuple):
    """What a grammar lets through."""

    asked: float
    condition: str
    events: int
    grammars: int
    hours: float
    """Of speech, for each grammar."""


def talk_of(ear: Ear) -> Talk:
    """The talk beside the weights that decide.

    Raises:
        ModelError: it is missing or damaged, or belongs to other weights.
    """
    second = ear.second is not None
    path = ear.path.with_suffix(talk.SUFFIX_OF_SECOND if second else talk.SUFFIX)
    return load_talk(path, ear.second_digest if second else ear.digest)


def count_promised(
    ear: Ear, corpus: Corpus, clips: Sequence[Clip], split: str, config: SearchConfig
) -> list[Counted]:
    """Counts what all grammars let through, in the quiet and in recorded noise of the split.

    Raises:
        ModelError: there is no talk beside the model.
    """
    heard_before = talk_of(ear)
    graphs = shipped_intents()
    scales = [CountedScale(heard_before.tail(graph, config)) for graph in track(graphs, "grammars in talk")]
    parts = [clips[first : first + HEARD_AT_ONCE] for first in range(0, len(clips), HEARD_AT_ONCE)]
    hours = sum(clip.seconds for clip in clips) / 3600
    found = []
    for name, snrs_db in CONDITIONS_DB.items():
        logits = np.array(
            [
                [best_logit(np.exp(made[-1]), graph, config) for graph in graphs]
                for part in track(parts, f"recordings, {name}")
                for made in hear_utterances(ear, corpus, part, snrs_db, split)
            ]
        )
        for asked in ASKED:
            events = int((logits >= [scale.least(asked) for scale in scales]).sum())
            found.append(Counted(asked, name, events, len(graphs), hours))
    return found


def promise_text(found: Sequence[Mapping[str, Any]]) -> str:
    """The counts as Markdown."""
    lines = [
        "| false commands asked for an hour | came, an hour of each grammar | grammars | hours |",
        "| --- | --- | --- | --- |",
    ]
    for row in found:
        rate = rate_per_hour(row["events"], row["grammars"] * row["hours"])
        lines.append(
            f"| {row['asked']:g}, {row['condition']} | {rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}] | "
            f"{row['grammars']} | {row['hours']:.2f} |"
        )
    return (
        "Each intent of the shipped grammar as a grammar of its own, in recordings that hold none:\n\n"
        + "\n".join(lines)
        + "\n"
    )
