"""Silero VAD out of the package `silero-vad`: an LSTM that hears raw samples, 32 ms at a time.

Source: https://github.com/snakers4/silero-vad (MIT). Its graph for 16 kHz is run as it is; samples, context
and state are carried here. The package itself is not imported: that would load more than the graph needs.

Shape letters: B streams, T windows, W samples in a window.
"""

import base64
import hashlib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from auricle.configs.errors import ModelError
from auricle.models.imported.frontends import WindowConfig
from auricle.models.imported.onnx import Graph, as_float32

NAME = "silero"
PACKAGE = "silero-vad"
FILE = "silero_vad_16k_op15.onnx"
FRONTEND = WindowConfig(hop_samples=512, context_samples=64)
SIZE = 128
RATE = np.array(16_000, dtype=np.int64)


class SileroState(NamedTuple):
    """What the LSTM remembers."""

    hidden: Tensor  # (B, 128)
    cell: Tensor  # (B, 128)


class Silero:
    """The graph, window by window."""

    def __init__(self, path: Path) -> None:
        """Loads the graph.

        Raises:
            ModelError: it is missing or another one, or onnxruntime is missing.
        """
        self._graph = Graph(path, "silero")
        if list(self._graph.inputs) != ["input", "state", "sr"]:
            raise ModelError(
                f"{path}: expected inputs input, state and sr, got {', '.join(self._graph.inputs)}; "
                f"install a version of {PACKAGE} from 6.0 on"
            )

    def initial_state(self, batch_size: int) -> SileroState:
        """Returns the state of streams that have heard nothing."""
        return SileroState(torch.zeros(batch_size, SIZE), torch.zeros(batch_size, SIZE))

    def __call__(self, windows: Tensor, state: SileroState) -> tuple[Tensor, SileroState]:
        """Windows `(B, T, W)` to the probability of speech `(B, T, 1)`, and the new state."""
        carried = torch.stack([state.hidden, state.cell]).numpy()
        scores = np.empty((*windows.shape[:2], 1), dtype=np.float32)
        heard = np.ascontiguousarray(windows.numpy())
        for window in range(windows.shape[1]):
            inputs = {"input": np.ascontiguousarray(heard[:, window]), "state": carried, "sr": RATE}
            score, carried = self._graph.run(inputs)
            scores[:, window] = as_float32(score)
        hidden, cell = torch.from_numpy(as_float32(carried).copy())
        return torch.from_numpy(scores), SileroState(hidden, cell)


def find_silero() -> Path:
    """Finds the installed package's graph and compares it with the checksum that it was installed with.

    Raises:
        ModelError: the package is missing, has no such file, or the file was changed.
    """
    try:
        package: Distribution = distribution(PACKAGE)
    except PackageNotFoundError as error:
        raise ModelError(
            f"the model '{NAME}' needs the package {PACKAGE}, which is not installed: "
            f"pip install onnxruntime {PACKAGE} (Auricle's extra '{NAME}')"
        ) from error
    entry = next((file for file in package.files or () if file.name == FILE), None)
    path = None if entry is None else Path(str(entry.locate()))
    if entry is None or path is None or not path.is_file():
        raise ModelError(
            f"{PACKAGE} {package.version} has no {FILE}; install another version: pip install -U {PACKAGE}"
        )
    if entry.hash is not None and entry.hash.mode == "sha256":
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=")
        if digest.decode() != entry.hash.value:
            raise ModelError(f"{path} was changed since it was installed; install {PACKAGE} again")
    return path
