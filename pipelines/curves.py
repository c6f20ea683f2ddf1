"""The log of a run: losses and figures as CSV, their curves as a picture, and both for TensorBoard."""

import csv
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from auricle.configs.errors import ConfigError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)
MEAN_OVER = 50
"""Losses are logged as means over so many steps."""


class RunLog:
    """Collects what happens in a run and writes `log.csv` and `curve.png`."""

    def __init__(self, folder: Path, name: str) -> None:
        """Starts an empty log."""
        self.folder, self.name = folder, name
        self.losses: list[tuple[int, float]] = []
        self.pending: list[float] = []
        self.rows: list[dict[str, float]] = []
        self.writer: SummaryWriter | None = None

    def open_tensorboard(self, step: int) -> None:
        """Writes scalars for TensorBoard too, from a step on: what an earlier run wrote after it is hidden.

        Raises:
            ConfigError: TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(f"--tensorboard needs the package ({error}): install auricle[train]") from error
        self.writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step)

    def close(self) -> None:
        """Writes out what waits for TensorBoard."""
        if self.writer is not None:
            self.writer.close()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self.writer is not None:
            for key, value in values.items():
                self.writer.add_scalar(key, value, step)

    def loss(self, step: int, value: float) -> None:
        """Notes the loss of one step."""
        self.pending.append(value)
        if len(self.pending) >= MEAN_OVER:
            self.losses.append((step, sum(self.pending) / len(self.pending)))
            self._scalars(step, {"train/loss": self.losses[-1][1]})
            self.pending.clear()

    def evaluation(self, step: int, seconds: float, figures: Mapping[str, float]) -> None:
        """Notes figures on dev, and writes the files."""
        loss = self.losses[-1][1] if self.losses else float("nan")
        self.rows.append({"step": step, "seconds": round(seconds, 1), "train_loss": loss, **figures})
        logger.info(
            "%s step %d: %s", self.name, step, {key: round(value, 4) for key, value in figures.items()}
        )
        self._scalars(step, {f"dev/{key}": value for key, value in figures.items()})
        with (self.folder / "log.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)

    def plot(self) -> None:
        """Draws the curves, if matplotlib is installed."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            logger.info("no curve.png: install auricle[train] for matplotlib")
            return
        figure = Figure(figsize=(9, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(*zip(*self.losses, strict=True) if self.losses else ([], []))
        left.set(xlabel="step", ylabel="training loss", title=self.name)
        for key in self.rows[0] if self.rows else ():
            if key not in ("step", "seconds", "train_loss", "false_alarms_per_hour"):
                right.plot([row["step"] for row in self.rows], [row[key] for row in self.rows], label=key)
        right.set(xlabel="step", title="dev")
        if self.rows:
            right.legend()
        figure.savefig(self.folder / "curve.png", dpi=110)

    def state_dict(self) -> dict[str, Any]:
        """What has been logged, to be stored."""
        return {"losses": list(self.losses), "pending": list(self.pending), "rows": list(self.rows)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with a stored log."""
        self.losses, self.pending, self.rows = (list(state[key]) for key in ("losses", "pending", "rows"))


@contextmanager
def progress_bar(name: str, steps: int, done: int) -> Iterator[Callable[[str], None]]:
    """Shows steps, remaining time and a note; yields the function that advances it by one."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns) as progress:
        task = progress.add_task(name, total=steps, completed=done, note="")
        yield lambda note: progress.update(task, advance=1, note=note)
