"""An engine that hears made-up speech, in which every phone is a tone; nothing is trained."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.models.engine import ModelInfo
from auricle.models.frontend import FrontendConfig, LogMel
from auricle.models.lexicon import Lexicon
from auricle.models.phones import BLANK, PHONES, phone_labels

RATE, STRIDE = 16_000, 4
PHONE_SAMPLES = 1920
FRONTEND = FrontendConfig()
VAD = ModelInfo("tone-vad@0", "vad", ("speech",), STRIDE, 0, FRONTEND, 0)
ACOUSTIC = ModelInfo("tones@0", "acoustic", phone_labels(BLANK), STRIDE, 0, FRONTEND, 0)
Array = NDArray[np.float32]


def tone(phone: str, samples: int = PHONE_SAMPLES) -> Array:
    """A phone."""
    time = np.arange(samples) / RATE
    heard = np.sin(2 * np.pi * (200 + 95 * PHONES.index(phone)) * time)
    return (0.1 * heard * np.sin(np.pi * np.arange(samples) / samples) ** 0.3).astype(np.float32)


def speak(text: str, before_s: float = 0.6, after_s: float = 2.0) -> Array:
    """A text between silences."""
    phones = [tone(phone) for phone in Lexicon().phones(text)]
    return np.concatenate([hush(before_s), *phones, hush(after_s)])


def hush(seconds: float) -> Array:
    """Near silence."""
    noise = np.random.default_rng(5).standard_normal(round(seconds * RATE))
    return (1e-4 * noise).astype(np.float32)


class ToneEngine:
    """Compares each frame with what every phone sounds like; see `Engine`."""

    def __init__(self) -> None:
        import torch

        self._torch = torch
        self._frontend = LogMel(FRONTEND)
        shapes = []
        for phone in PHONES:
            frames, _ = self.features(FRONTEND, tone(phone)[None], self.frontend_state(FRONTEND))
            shapes.append(np.exp(frames[0, 4:8]).mean(0))
        self._shapes = _unit(np.array(shapes))

    def load(self, name: str, cell: str = "gru", *, second_pass: bool = False) -> ModelInfo:
        return VAD if name == "vad" else ACOUSTIC

    def frontend_state(self, frontend: FrontendConfig, batch_size: int = 1) -> Any:
        return self._frontend.initial_state(batch_size)

    def model_state(self, model: ModelInfo, batch_size: int = 1) -> Any:
        return ()

    def features(self, frontend: FrontendConfig, samples: Array, state: Any) -> tuple[Array, Any]:
        frames, state = self._frontend(self._torch.from_numpy(samples), state)
        return frames.numpy(), state

    def infer(self, model: ModelInfo, frames: Array, state: Any) -> tuple[Array, Any]:
        energy = np.exp(frames).reshape(len(frames), -1, STRIDE, frames.shape[2]).mean(2)
        loud = energy.max(-1, keepdims=True) > 0.1
        if model.kind == "vad":
            return np.where(loud, 0.95, 0.02).astype(np.float32), state
        fit = np.concatenate([np.where(loud, 0.0, 2.0), _unit(energy) @ self._shapes.T * loud], -1)
        scores = np.exp(12 * fit)
        return (scores / scores.sum(-1, keepdims=True)).astype(np.float32), state

    def dump_state(self, state: Any) -> dict[str, NDArray[Any]]:
        return {}

    def restore_state(self, tensors: Mapping[str, NDArray[Any]], like: Any) -> Any:
        return like


def _unit(shapes: Array) -> Array:
    roots = np.sqrt(shapes)
    return roots / np.linalg.norm(roots, axis=-1, keepdims=True)
