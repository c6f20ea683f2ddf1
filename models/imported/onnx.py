"""Graphs in ONNX files, run by onnxruntime (an optional package), one thread each unless torch has more."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.configs.errors import ModelError

Array = NDArray[Any]


class Graph:
    """One loaded graph."""

    def __init__(self, path: Path, extra: str) -> None:
        """Loads a graph.

        Args:
            path: the ONNX file.
            extra: Auricle's optional part that brings onnxruntime, named if that is missing.

        Raises:
            ModelError: the file or onnxruntime is missing, or the file is no graph.
        """
        if not path.is_file():
            raise ModelError(f"no model file {path}")
        ort = _onnxruntime(extra)
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions have no common class but this
            raise ModelError(f"{path} is no ONNX graph that onnxruntime can run: {error}") from error
        self.path = path
        self.inputs: dict[str, list[int | str | None]] = {
            entry.name: list(entry.shape) for entry in self._session.get_inputs()
        }
        self.outputs = [entry.name for entry in self._session.get_outputs()]
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Runs the graph once; returns its outputs in order."""
        found: list[Array] = self._session.run(None, dict(inputs))
        return found

    def number(self, key: str) -> int:
        """A whole number out of the graph's metadata.

        Raises:
            ModelError: it has none of that name.
        """
        text = self.metadata.get(key, "")
        if not text.isdecimal():
            raise ModelError(
                f"{self.path}: expected a number as metadata '{key}', got {text!r}; export it for sherpa-onnx"
            )
        return int(text)

    def expect(self, inputs: int, outputs: int) -> None:
        """Checks how many inputs and outputs there are at least.

        Raises:
            ModelError: there are fewer.
        """
        if len(self.inputs) < inputs or len(self.outputs) < outputs:
            raise ModelError(
                f"{self.path}: expected {inputs} inputs and {outputs} outputs, got {', '.join(self.inputs)} "
                f"and {', '.join(self.outputs)}; is it the right file?"
            )


def _onnxruntime(extra: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"this model needs onnxruntime, which is not installed: pip install onnxruntime "
            f"(part of Auricle's extra '{extra}')"
        ) from error
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime


def as_float32(array: Array) -> NDArray[np.float32]:
    """An output as float32; graphs of another precision are rare."""
    return np.asarray(array, dtype=np.float32)
