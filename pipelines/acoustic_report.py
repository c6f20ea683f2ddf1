"""The phone error rates of an acoustic model as Markdown and plain values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auricle.pipelines.corpus import Corpus
from auricle.pipelines.evaluate_acoustic import SNR_DB, Row, judge
from auricle.pipelines.report import markdown_table, percent, plain

RATES = ("most likely labels", "search with phone bigram", "search, nearest pronunciation")


def evaluate_acoustic(
    path: Path, corpus: Corpus, split: str, snrs_db: Sequence[float] = ()
) -> tuple[str, dict[str, Any]]:
    """Phone error rates of an acoustic model, set by set and group by group, clean and in noise.

    Args:
        path: the model file.
        corpus: the recordings.
        split: "dev" or "eval".
        snrs_db: noise conditions beside clean; 10 dB if none are given.

    Returns:
        The tables as Markdown, and the figures.
    """
    found = judge(path, corpus, split, snrs_db or (SNR_DB,))
    spec, settings = found.spec, found.settings
    name = path.name.removesuffix(".safetensors")
    text = (
        f"Phone error rate of {name} on {split}, in %, 95 % intervals by the spread between "
        f"speakers (where they are not known, clips). One output every {spec.frame_samples / 16:.0f} ms, "
        f"{spec.lookahead_frames} outputs late. Search, tuned on dev: blank {settings.blank_shift:+.1f}, "
        f"bigram x {settings.bigram_weight:.1f}, phone cost {settings.phone_cost:.1f}. Errors are counted "
        "against each word's first pronunciation in the lexicon; in the last column against whichever of its "
        "pronunciations is nearest to what was found (per phone of the first).\n\n"
        + markdown_table(
            ["set", "condition", "utterances", "phones", *RATES],
            [[row.set, row.condition, *_counts_and_rates(row)] for row in found.rows],
        )
    )
    if found.groups:
        text += "\nBy who speaks, as far as the manifests know:\n\n" + markdown_table(
            ["set", "facet", "group", "condition", "utterances", "phones", *RATES],
            [[row.set, row.facet, row.group, row.condition, *_counts_and_rates(row)] for row in found.groups],
        )
    return text, {
        "phone_error_rate": [_values(row) for row in found.rows],
        "phone_error_rate_by_group": [_values(row) for row in found.groups],
        "search": settings._asdict(),
    }


def _counts_and_rates(row: Row) -> list[str]:
    counts = [str(row.utterances), str(row.phones)]
    return [*counts, *map(percent, (row.greedy, row.search, row.nearest))]


def _values(row: Row) -> dict[str, Any]:
    return {key: plain(value) for key, value in row._asdict().items()}
