"""What a model costs to run: parameters, bytes and the time of a step, measured as the daemon runs it.

`python -m auricle.pipelines.cost FILE STREAMS` prints by how many bytes a process grows with a model in use.
"""

import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auricle.configs.memory import release_free_memory
from auricle.models import state as states
from auricle.models.checkpoint import ModelSpec, load_model, save_model
from auricle.models.engine import ModelInfo, TorchEngine, limit_threads
from auricle.models.network import Network
from auricle.pipelines.recipe import Recipe

ROUNDS = 7
"""How often the steps of each model are timed, turn by turn, so that a busy moment hits all alike."""
STEPS = 150
WARM_UP_STEPS = 20
STREAMS = 512
"""So many that their states show beside what a process grows by anyhow."""
STATM = Path("/proc/self/statm")
PAGE_BYTES = 4096


def write_untrained(recipe: Recipe, path: Path, seed: int = 1) -> None:
    """Writes a model file of a recipe's network with the weights it starts from."""
    torch.manual_seed(seed)
    labels = tuple(str(number) for number in range(recipe.network.labels))
    spec = ModelSpec(recipe.task, labels, recipe.network, recipe.frontend)
    save_model(path, spec, Network(recipe.network))


def measure_costs(
    recipes: Mapping[str, Recipe], *, rounds: int = ROUNDS, steps: int = STEPS, resident: bool = True
) -> dict[str, dict[str, Any]]:
    """Measures one model for each recipe.

    Args:
        recipes: by any name.
        rounds: how often to time each.
        steps: calls of one output frame in a round.
        resident: whether to measure memory too, each in a process of its own (seconds).

    Returns:
        For each name, plain values for JSON: `parameters`, `weights_bytes` (in memory), `file_bytes`,
        `state_bytes` (of one stream), `resident_bytes` (by which a process with 512 streams grows; None if
        unknown), `frame_ms`, and `step_p50_us`, `step_p95_us` with a value for each round.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{number}.safetensors" for number, name in enumerate(recipes)}
        for name, path in paths.items():
            write_untrained(recipes[name], path)
        costs = {name: _sizes(path) for name, path in paths.items()}
        for name, cost in costs.items():
            cost["resident_bytes"] = measure_resident(paths[name]) if resident else None
        engine = TorchEngine()
        models = {name: engine.load(str(path)) for name, path in paths.items()}
        for _ in range(rounds):
            for name, model in models.items():
                p50_us, p95_us = time_steps(engine, model, steps)
                costs[name].setdefault("step_p50_us", []).append(p50_us)
                costs[name].setdefault("step_p95_us", []).append(p95_us)
    return costs


def _sizes(path: Path) -> dict[str, Any]:
    spec, network, _ = load_model(path)
    weights = list(network.parameters())
    return {
        "parameters": sum(weight.numel() for weight in weights),
        "weights_bytes": sum(weight.nbytes for weight in weights),
        "file_bytes": path.stat().st_size,
        "state_bytes": sum(leaf.nbytes for leaf in states.leaves(network.initial_state(1))),
        "frame_ms": 1000 * spec.frame_samples / 16_000,
    }


def time_steps(engine: TorchEngine, model: ModelInfo, steps: int) -> tuple[float, float]:
    """Times calls of one output frame of one stream, state carried: median and 95th percentile, us."""
    state = engine.model_state(model)
    shape = (1, model.stride_frames, model.frontend.width)
    frames = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    took_ns = []
    for _ in range(WARM_UP_STEPS + steps):
        started_ns = time.perf_counter_ns()
        _, state = engine.infer(model, frames, state)
        took_ns.append(time.perf_counter_ns() - started_ns)
    p50_us, p95_us = np.percentile(np.array(took_ns[WARM_UP_STEPS:]) / 1000, (50, 95))
    return float(p50_us), float(p95_us)


def measure_resident(path: Path, streams: int = STREAMS) -> int | None:
    """Bytes by which a fresh process grows when it loads a model and runs so many streams of it."""
    command = [sys.executable, "-m", "auricle.pipelines.cost", str(path), str(streams)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdigit() else None


def resident_bytes() -> int:
    """Memory of this process that is in use now (Linux); what is free goes back to the system first."""
    release_free_memory()
    return int(STATM.read_text().split()[1]) * PAGE_BYTES


def describe_machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else ())
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "processors": len(names) or None,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
    }


def main(path: Path, streams: int) -> None:
    """Prints by how much this process grows with a model in use; the engine itself is not counted."""
    limit_threads(1)
    engine = TorchEngine()
    with tempfile.TemporaryDirectory() as folder:  # whatever the first model of a process costs once
        other = Path(folder) / "other.safetensors"
        spec, _, _ = load_model(path)
        save_model(other, spec, Network(spec.network))
        time_steps(engine, engine.load(str(other)), WARM_UP_STEPS)
    before = resident_bytes()
    model = engine.load(str(path))
    live = [engine.model_state(model) for _ in range(streams)]
    frames = np.zeros((1, model.stride_frames, model.frontend.width), np.float32)
    for _ in range(3):
        live = [engine.infer(model, frames, state)[1] for state in live]
    sys.stdout.write(f"{max(0, resident_bytes() - before)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
