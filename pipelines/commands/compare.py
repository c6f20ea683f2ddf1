"""`auricle compare`: LSTM or GRU? CTC or LF-MMI? Every choice under one budget, on this machine."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.configs.arguments import count

if TYPE_CHECKING:
    from auricle.pipelines.compare import Plan
    from auricle.pipelines.compare_criteria import CriteriaPlan
    from auricle.pipelines.memory import Budget

HELP = "compare the cells (LSTM or GRU?), or the criteria of acoustic models, on this machine"

DESCRIPTION = """\
Trains every kind of cell under one budget and measures what people argue about: accuracy, noise, over-fitting
on little data, size, step latency, training time, and how long each remembers.

  auricle compare                                  what needs no data: size, speed, recall, gradients
  auricle compare --data ../shared/data --quick    all of it, roughly: a few minutes
  auricle compare --data ../shared/data            with intervals over three seeds: about an hour

Results lie in OUT: compare.md (tables, and which common claims held), compare.json, pictures, and one file
for each measurement: a run that was stopped goes on where it was; more seeds or cells add to what is there.

  auricle compare criteria --data ../shared/data --budget-s 360

trains a small acoustic model by CTC, by CTC with phones in context, by CTC drawn towards early answers, by
frame targets and by LF-MMI, for as many steps each as CTC makes in the budget, on a part of the data
(--parts 0.3), and compares their phone error rates and learning curves: OUT/criteria.md.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = DESCRIPTION
    parser.add_argument(
        "what", nargs="?", choices=("cells", "criteria"), default="cells", help="what to compare"
    )
    parser.add_argument("--data", type=Path, help="folder of the sets; without it only what needs no data")
    parser.add_argument(
        "--work", type=Path, default=Path("runs"), help="folder for decoded audio (default runs)"
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the results (default: WORK/compare-TASK, -criteria)"
    )
    parser.add_argument("--task", default="keyword", help="what to learn: keyword (default) or vad")
    parser.add_argument(
        "--cells", help="cells with commas (default rnn,gru,lstm,gru+lstm,attention; any joined by + too)"
    )
    parser.add_argument("--choices", help="criteria with commas (default: all)")
    parser.add_argument("--seeds", type=int, help="repetitions (default 3; quick, criteria 1)")
    parser.add_argument(
        "--parts", help="parts of the data to learn from (default 0.1,0.3,1; quick 0.1,1; criteria 0.3)"
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--budget-s", type=float, help="seconds of each training (default 60, quick 10, criteria 360)"
    )
    budget.add_argument("--steps", type=int, help="steps of each training instead of seconds")
    parser.add_argument("--quick", action="store_true", help="a short budget and one seed: minutes")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="change the recipe"
    )
    parser.add_argument("--threads", type=count, default=1, help="threads of torch (default 1)")
    parser.add_argument("--fresh", action="store_true", help="measure everything anew")
    parser.add_argument(
        "--page", type=Path, help="write the page here too, pictures and JSON into a folder beside"
    )
    parser.add_argument(
        "--from", dest="source", type=Path, help="measure nothing: write --page from a compare.json"
    )


def run(args: argparse.Namespace) -> int:
    """Measures what is missing, then writes tables, pictures and the page."""
    from auricle.configs.errors import ConfigError
    from auricle.pipelines.compare_page import read_results, write_all

    if args.what == "criteria":
        return _compare_criteria(args)
    if args.source is not None:
        if args.page is None:
            raise ConfigError("expected --page FILE with --from, got none; it says where to write")
        results = read_results(args.source)
    else:
        results = _measure(args)
        out = _out(args)
        write_all(results, out / "compare.md", out)
        print(f"{out / 'compare.md'}, compare.json and pictures beside it")
    if args.page is not None:
        write_all(results, args.page, args.page.with_suffix(""))
        print(args.page)
    _show_claims(results)
    return 0


def _out(args: argparse.Namespace) -> Path:
    return Path(args.out or args.work / f"compare-{'criteria' if args.what == 'criteria' else args.task}")


def _prepare(args: argparse.Namespace) -> None:
    """What all measuring begins with."""
    import logging
    import shutil

    from auricle.pipelines.train import prepare_process

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("auricle.pipelines.curves").setLevel(logging.WARNING)  # figures come with the tables
    if args.fresh:
        for name in ("results", "runs"):
            shutil.rmtree(_out(args) / name, ignore_errors=True)
    prepare_process(args.threads)


def _compare_criteria(args: argparse.Namespace) -> int:
    from auricle.configs.errors import ConfigError
    from auricle.pipelines.compare_criteria import CriteriaComparison
    from auricle.pipelines.criteria_page import read_criteria, write_criteria

    out = _out(args)
    if args.source is not None:
        results = read_criteria(args.source)
    elif args.data is None:
        raise ConfigError("expected --data FOLDER to compare criteria, got none")
    else:
        plan = _criteria_plan(args)
        _prepare(args)
        results = CriteriaComparison(plan, out, args.data, args.work).run()
        write_criteria(results, out / "criteria.md", out)
        print(f"{out / 'criteria.md'}, criteria.json and a picture beside it")
    if args.page is not None:
        write_criteria(results, args.page, args.page.with_suffix(""))
        print(args.page)
    return 0


def _measure(args: argparse.Namespace) -> dict[str, object]:
    from auricle.pipelines.compare import Comparison

    plan = _plan(args)
    _prepare(args)
    comparison = Comparison(plan, _out(args), args.data, args.work)
    if args.data is None:
        print("no --data: only size, speed, recall and gradients are measured")
    print(f"this takes about {comparison.expected_minutes():.0f} min, less what is kept in {_out(args)}")
    return comparison.run()


def _plan(args: argparse.Namespace) -> "Plan":
    from dataclasses import replace

    from auricle.pipelines.compare import Plan
    from auricle.pipelines.memory import Budget

    plan = Plan(task=args.task, settings=tuple(args.settings))
    if args.quick:
        plan = replace(plan, seeds=1, parts=(0.1, 1.0), budget=Budget(seconds=10.0), probe_size=20)
    if args.cells is not None:
        plan = replace(plan, cells=tuple(cell.strip() for cell in args.cells.split(",")))
    if args.seeds is not None:
        plan = replace(plan, seeds=args.seeds)
    if args.parts is not None:
        plan = replace(plan, parts=_parts(args.parts))
    return replace(plan, budget=_budget(args) or plan.budget)


def _criteria_plan(args: argparse.Namespace) -> "CriteriaPlan":
    from dataclasses import replace

    from auricle.configs.errors import ConfigError
    from auricle.pipelines.compare_criteria import CriteriaPlan

    plan = CriteriaPlan(seeds=args.seeds or 1, settings=tuple(args.settings))
    if args.choices is not None:
        plan = replace(plan, choices=tuple(choice.strip() for choice in args.choices.split(",")))
    if args.parts is not None:
        parts = _parts(args.parts)
        if len(parts) != 1:
            raise ConfigError(f"expected one part of the data to compare criteria on, got '{args.parts}'")
        plan = replace(plan, part=parts[0])
    return replace(plan, budget=_budget(args) or plan.budget)


def _parts(text: str) -> tuple[float, ...]:
    from auricle.configs.errors import ConfigError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"expected --parts like 0.1,0.3,1, got '{text}'; {error}") from error


def _budget(args: argparse.Namespace) -> "Budget | None":
    from auricle.pipelines.memory import Budget

    if args.steps is not None:
        return Budget(steps=args.steps)
    return None if args.budget_s is None else Budget(seconds=args.budget_s)


def _show_claims(results: dict[str, object]) -> None:
    from rich.console import Console
    from rich.table import Table

    from auricle.pipelines.compare_summary import judge

    shown = Table("claim", "here", "measured")
    for claim in judge(results):
        shown.add_row(claim.text, claim.verdict, claim.evidence)
    Console().print(shown)
