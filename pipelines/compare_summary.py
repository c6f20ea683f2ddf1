"""What a comparison says: figures with intervals, and common claims put to the test.

A claim holds, or does not, only where the difference is larger than its noise; else it is "within noise".
One seed alone has no interval and decides nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import Any

import numpy as np

from auricle.models.network import ATTENTION
from auricle.pipelines.memory import CHANCE, DELAYS, FADED, RECALLED
from auricle.pipelines.metrics import Z_95, Interval

HELD, FAILED, NOISE, UNKNOWN = "held", "did not hold", "within noise", "not measured"
LEARNT = {"keyword": 0.25, "vad": 0.7}
"""A task of which no cell reaches this (share of words, ROC-AUC) has not been learnt."""
LONG_STEPS = 100
"""Delays from here on count as long."""
Results = Mapping[str, Any]


def spread(values: Sequence[float], errors: Sequence[float] = ()) -> Interval:
    """Mean of some repetitions and its 95 % interval.

    Args:
        values: one for each seed or round.
        errors: standard error of each from the test material, which all repetitions share.

    Returns:
        Infinitely wide for a single value.
    """
    from scipy.stats import t

    count, mean = len(values), float(np.mean(values))
    between = inf
    if count > 1:
        between = float(np.std(values, ddof=1)) / sqrt(count) * float(t.ppf(0.975, count - 1))
    within = Z_95 * float(np.mean(errors)) if len(errors) else 0.0
    half = sqrt(between**2 + within**2)
    return Interval(mean, mean - half, mean + half)


def difference(one: Interval, other: Interval) -> Interval:
    """One minus the other, their noise taken as independent."""
    value = one.value - other.value
    half = sqrt((one.high - one.value) ** 2 + (other.high - other.value) ** 2)
    return Interval(value, value - half, value + half)


def is_greater(one: Interval, other: Interval) -> str:
    """The verdict on "one is greater than the other"."""
    gap = difference(one, other)
    if gap.low > 0:
        return HELD
    return FAILED if gap.high <= 0 else NOISE


class NothingLearntError(Exception):
    """A budget too short to say anything about: the message tells of what."""


class Figures:
    """Reads figures with intervals out of the results of a comparison."""

    def __init__(self, results: Results) -> None:
        """Takes what `Comparison.run` returned, or its JSON."""
        self.results = results

    def cost(self, cell: str, key: str) -> Interval:
        """A figure of cost; those measured in rounds have an interval."""
        value = self.results["cost"][cell][key]
        return spread(value) if isinstance(value, list) else Interval(value, value, value)

    def trained(self, cell: str, key: str, part: float = 1.0) -> Interval:
        """A figure of merit of the trained models, such as `clean`, `0 dB` or `train clean`."""
        figures = [run["figures"] for run in self._runs(cell, part)]
        return spread([entry[key] for entry in figures], [entry[f"{key} error"] for entry in figures])

    def lost(self, cell: str, condition: str) -> Interval:
        """What a condition costs against clean; the words are the same, so their sampling drops out."""
        figures = [run["figures"] for run in self._runs(cell, 1.0)]
        return spread([entry["clean"] - entry[condition] for entry in figures])

    def gap(self, cell: str, part: float) -> Interval:
        """How much better a model does on people it was trained on."""
        figures = [run["figures"] for run in self._runs(cell, part)]
        errors = [
            sqrt(entry["train clean error"] ** 2 + entry["matched clean error"] ** 2) for entry in figures
        ]
        return spread([entry["train clean"] - entry["matched clean"] for entry in figures], errors)

    def mean_gap(self, part: float) -> Interval:
        """The gap, mean over the cells; they share seeds, data and words, so each seed counts once."""
        runs = zip(*(self._runs(cell, part) for cell in self.results["training"]), strict=True)
        gaps, errors = [], []
        for of_one_seed in runs:
            figures = [run["figures"] for run in of_one_seed]
            gaps.append(float(np.mean([entry["train clean"] - entry["matched clean"] for entry in figures])))
            both = [(entry["train clean error"], entry["matched clean error"]) for entry in figures]
            errors.append(float(np.mean(np.hypot(*zip(*both, strict=True)))))
        return spread(gaps, errors)

    def pace(self, cell: str) -> Interval:
        """Seconds of one training step."""
        runs = [run for by_part in self.results["training"][cell].values() for run in by_part]
        return spread([run["seconds"] / run["updates"] for run in runs])

    def updates(self, cell: str, part: float = 1.0) -> float:
        """Steps that the budget allowed."""
        return float(np.mean([run["updates"] for run in self._runs(cell, part)]))

    def recall(self, cell: str, shortest: int = LONG_STEPS, longest: int = 5000) -> Interval:
        """Mean accuracy of recall over a range of delays."""
        return spread(
            [
                float(np.mean([v for delay, v in run["recall"].items() if shortest <= int(delay) <= longest]))
                for run in self.results["memory"][cell]
            ]
        )

    def memory(self, cell: str, key: str) -> list[Any]:
        """A figure of memory, one for each seed."""
        return [run[key] for run in self.results["memory"][cell]]

    def gradient(self, cell: str, when: str, distance: int) -> list[float]:
        """The gradient so many steps back, `trained` or `untrained`, for each seed."""
        return [run[f"gradient_{when}"][str(distance)] for run in self.results["memory"][cell]]

    def require_learnt(self) -> None:
        """Refuses to compare accuracy where there is none.

        Raises:
            NothingLearntError: no cell has learnt the task.
            KeyError: none was trained.
        """
        task, cells = self.results["plan"]["task"], self.results["training"]
        best = max((self.trained(cell, "clean") for cell in cells), default=None)
        if best is None:
            raise KeyError("no training")
        if best.value < LEARNT[task]:
            raise NothingLearntError(
                f"the budget was too short: at best {percent(best)}, below the {LEARNT[task]:.0%} that count"
            )

    def _runs(self, cell: str, part: float) -> list[Any]:
        return list(self.results["training"][cell][str(part)])


@dataclass(frozen=True)
class Claim:
    """Something people say, and what was found here."""

    text: str
    verdict: str
    evidence: str


def judge(results: Results) -> list[Claim]:
    """Puts all claims to the test; what was not measured is said to be so."""
    figures, claims = Figures(results), []
    for text, test in CLAIMS:
        try:
            verdict, evidence = test(figures)
        except NothingLearntError as error:
            verdict, evidence = UNKNOWN, str(error)
        except KeyError:
            verdict, evidence = UNKNOWN, "the cells or the data it needs were not part of this run"
        claims.append(Claim(text, verdict, evidence))
    return claims


Test = Callable[[Figures], tuple[str, str]]


def _costs(key: str, unit: str, scale: float = 1.0) -> Test:
    """GRU against LSTM in something that should be small."""

    def test(figures: Figures) -> tuple[str, str]:
        gru, lstm = figures.cost("gru", key), figures.cost("lstm", key)
        evidence = f"GRU {gru.value * scale:,.0f}{unit}, LSTM {lstm.value * scale:,.0f}{unit}"
        return is_greater(lstm, gru), evidence

    return test


def _trains_faster(figures: Figures) -> tuple[str, str]:
    gru, lstm = figures.pace("gru"), figures.pace("lstm")
    return is_greater(lstm, gru), f"GRU {1000 * gru.value:.0f} ms a step, LSTM {1000 * lstm.value:.0f} ms"


def _vanishes(figures: Figures) -> tuple[str, str]:
    before, after = (max(figures.gradient("rnn", when, LONG_STEPS)) for when in ("untrained", "trained"))
    evidence = f"at {LONG_STEPS} steps at most {before:.0e} of it is left untrained, {after:.0e} trained"
    return (HELD if before < FADED else FAILED), evidence


def _gates_keep(figures: Figures) -> tuple[str, str]:
    gated = ("gru", "lstm")
    if max(max(figures.memory(cell, "longest_recalled")) for cell in gated) == 0:
        raise NothingLearntError("the budget was too short: neither had learnt to recall anything")
    before = max(value for cell in gated for value in figures.gradient(cell, "untrained", LONG_STEPS))
    after = min(value for cell in gated for value in figures.gradient(cell, "trained", LONG_STEPS))
    evidence = (
        f"at {LONG_STEPS} steps at least {after:.0e} is left in GRU and LSTM that have learnt to recall, "
        f"untrained at most {before:.0e}"
    )
    return (HELD if after >= FADED else FAILED), evidence


def _recalls(one: str, others: Sequence[str]) -> Test:
    """Whether one cell recalls better over long delays than the best of some others."""

    def test(figures: Figures) -> tuple[str, str]:
        found = {cell: figures.recall(cell) for cell in (one, *others)}
        best = max(others, key=lambda cell: found[cell].value)
        evidence = ", ".join(f"{name_of(cell)} {percent(value)}" for cell, value in found.items())
        return is_greater(found[one], found[best]), f"recall after 100 to 5,000 steps: {evidence}"

    return test


def _learns_to_recall(figures: Figures) -> tuple[str, str]:
    longest = min(min(figures.memory(cell, "longest_practised")) for cell in ("gru", "lstm"))
    if longest < DELAYS[-1]:
        raise NothingLearntError(f"the budget was too short: no more than {longest:,} steps were practised")
    gru, lstm = (spread([float(n) for n in figures.memory(cell, "updates")]) for cell in ("gru", "lstm"))
    evidence = f"updates until {longest:,} steps were recalled: GRU {gru.value:,.0f}, LSTM {lstm.value:,.0f}"
    return is_greater(lstm, gru), evidence


def _attention_window(figures: Figures) -> tuple[str, str]:
    window, layers = figures.memory("attention", "window_steps")[0], figures.memory("attention", "layers")[0]
    inside = figures.recall("attention", 1, window)
    outside = figures.recall("attention", window * layers + 1)
    evidence = (
        f"recall within the {window} steps of one layer {percent(inside)}, beyond the {window * layers} that "
        f"{layers} layers reach {percent(outside)} (chance {100 * CHANCE:.1f} %)"
    )
    return (HELD if inside.value >= RECALLED and outside.value < 2 * CHANCE else FAILED), evidence


def _accuracy(one: str, others: Sequence[str], part: float = 1.0) -> Test:
    """Whether one cell beats the best of some others."""

    def test(figures: Figures) -> tuple[str, str]:
        figures.require_learnt()
        found = {cell: figures.trained(cell, "clean", part) for cell in (one, *others)}
        best = max(others, key=lambda cell: found[cell].value)
        evidence = ", ".join(f"{name_of(cell)} {percent(value)}" for cell, value in found.items())
        return is_greater(found[one], found[best]), evidence

    return test


def _gated_beat_plain(figures: Figures) -> tuple[str, str]:
    figures.require_learnt()
    found = {cell: figures.trained(cell, "clean") for cell in ("gru", "lstm", "rnn")}
    worse = min(("gru", "lstm"), key=lambda cell: found[cell].value)
    evidence = ", ".join(f"{name_of(cell)} {percent(value)}" for cell, value in found.items())
    return is_greater(found[worse], found["rnn"]), evidence


def _overfits(figures: Figures) -> tuple[str, str]:
    figures.require_learnt()
    lstm, gru = figures.gap("lstm", 0.1), figures.gap("gru", 0.1)
    return is_greater(lstm, gru), f"gap at 10 % of the data: LSTM {percent(lstm)}, GRU {percent(gru)}"


def _more_data_helps(figures: Figures) -> tuple[str, str]:
    figures.require_learnt()
    little, much = figures.mean_gap(0.1), figures.mean_gap(1.0)
    evidence = f"mean gap at 10 % of the data {percent(little)}, with all of it {percent(much)}"
    return is_greater(little, much), evidence


def _noise(figures: Figures) -> tuple[str, str]:
    figures.require_learnt()
    gru, lstm = figures.lost("gru", "0 dB"), figures.lost("lstm", "0 dB")
    return is_greater(gru, lstm), f"lost from clean to 0 dB: LSTM {percent(lstm)}, GRU {percent(gru)}"


CLAIMS: Sequence[tuple[str, Test]] = (
    ("The GRU is lighter than the LSTM (parameters, same width)", _costs("parameters", "")),
    ("The GRU needs less memory for each stream", _costs("state_bytes", " bytes")),
    ("The GRU is faster live (one step of one stream)", _costs("step_p50_us", " us")),
    ("The GRU trains faster", _trains_faster),
    ("A plain RNN's gradient vanishes", _vanishes),
    ("Gates keep the gradient alive, once trained", _gates_keep),
    ("The GRU remembers longer than a plain RNN", _recalls("gru", ("rnn",))),
    ("The LSTM remembers longer than the GRU", _recalls("lstm", ("gru",))),
    ("The GRU learns to remember with less practice than the LSTM", _learns_to_recall),
    ("Attention recalls everything in its window and nothing beyond", _attention_window),
    ("GRU and LSTM beat a plain RNN", _gated_beat_plain),
    ("The LSTM is more accurate than the GRU", _accuracy("lstm", ("gru",))),
    ("The GRU does better on little data (10 %)", _accuracy("gru", ("lstm",), 0.1)),
    ("The LSTM over-fits more than the GRU", _overfits),
    ("More data closes the gap between known and unknown voices", _more_data_helps),
    ("The LSTM stands noise better than the GRU", _noise),
    ("Hybrids win (GRU+LSTM against the better of the two)", _accuracy("gru+lstm", ("gru", "lstm"))),
    ("Attention beats recurrence", _accuracy("attention", ("gru", "lstm"))),
)
"""What people say, and how to find out."""


def name_of(cell: str) -> str:
    """A cell as one writes it in a sentence."""
    return "+".join(part if part == ATTENTION else part.upper() for part in cell.split("+"))


def percent(interval: Interval) -> str:
    """An interval as `81.2 ± 3.4 %`."""
    if not isfinite(interval.high):
        return f"{100 * interval.value:.1f} % (one seed)"
    return f"{100 * interval.value:.1f} ± {100 * (interval.high - interval.value):.1f} %"
