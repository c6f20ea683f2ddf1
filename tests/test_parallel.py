"""Two processes train as one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import spoken
import torch
from made_up import VAD, make_data

from auricle.configs.errors import DataError
from auricle.pipelines import dev
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.parallel import Processes
from auricle.pipelines.recipe import load_recipe
from auricle.pipelines.train import Trainer

STEPS, ATOL = 4, 1e-4
SETTINGS = {
    "vad": (*VAD, "network.dropout=0.0", "training.streams=5"),
    # not Muon, which brings the smallest directions of a gradient, mere rounding here, to the size of others
    "acoustic": (*spoken.SETTINGS, "acoustic.criterion=lfmmi", "training.optimiser=adamw"),
}
MAKE = {"vad": make_data, "acoustic": spoken.write_data}


def train(task: str, data: Path, folder: Path) -> None:
    """Runs in each process."""
    torch.set_num_threads(1)
    dev.VAD_SECONDS = 7
    processes = Processes()
    if not processes.is_first:
        processes.wait()
    recipe = load_recipe(task, (*SETTINGS[task], f"training.steps={STEPS}"))
    run = Trainer(recipe, Corpus(data, folder / "work"), folder / "run", processes=processes)
    if processes.is_first:
        processes.wait()
    run.run()
    torch.save([run.network.state_dict(), run.average.state_dict()], folder / f"rank{processes.number}.pt")
    processes.leave()


def test_shares_cover_all_rows() -> None:
    one = Processes()
    for count in (1, 2, 3, 5):
        covered: list[int] = []
        for number in range(count):
            one.count, one.number = count, number
            covered += range(5)[one.share(5)]
        assert covered == list(range(5))
    one.count = 6
    with pytest.raises(DataError, match="a batch of 5 rows for 6 processes"):
        one.share(5)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("task", SETTINGS)
def test_two_processes_find_the_weights_of_one(tmp_path: Path, task: str) -> None:
    data = MAKE[task](tmp_path / "data")
    train(task, data, tmp_path / "one")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = [task, str(data), str(tmp_path / "two")]
    (tmp_path / "two").mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [*command, __file__, *paths],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    alone = torch.load(tmp_path / "one/rank0.pt", weights_only=True)
    for rank in (0, 1):
        together = torch.load(tmp_path / f"two/rank{rank}.pt", weights_only=True)
        for expected, got in zip(alone, together, strict=True):
            for name, value in expected.items():
                torch.testing.assert_close(got[name], value, rtol=0, atol=ATOL, msg=name)
    checkpoints = [torch.load(tmp_path / name / "run/last.pt", weights_only=True) for name in ("one", "two")]
    assert checkpoints[0]["progress"]["step"] == checkpoints[1]["progress"]["step"] == STEPS
    for name, leaf in checkpoints[0]["state"].items():
        torch.testing.assert_close(checkpoints[1]["state"][name], leaf, rtol=0, atol=ATOL)
    assert len((tmp_path / "two/run/log.csv").read_text().splitlines()) == 2  # one process wrote it


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
