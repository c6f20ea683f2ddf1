"""A made-up data folder for acoustic models: every phone is a tone of its own."""

import json
from pathlib import Path

import numpy as np
import soundfile

from auricle.models.lexicon import Lexicon
from auricle.models.phones import PHONES

TEXTS = ("go see me", "no one", "see no one go", "me", "go go", "one may see", "may go", "so may we")
SETTINGS = (
    "network.cell=gru",
    "network.hidden=48",
    "network.layers=1",
    "network.conv_channels=[32,32]",
    "network.dropout=0.0",
    "acoustic.sets={talk=0,words=3}",
    'acoustic.dev_sets=["talk"]',
    'acoustic.noise.sets=["hiss"]',
    "acoustic.batch_seconds=12.0",
    "acoustic.pad_most_s=0.1",
    "augment.room_part=0.0",
    "augment.simulated_rooms=2",
    "augment.microphones=3",
    "augment.noise_part=0.2",
    "augment.gain_low_db=-6.0",
    "augment.clip_part=0.0",
    "augment.warp_part=0.0",
    "augment.mask_part=0.0",
    "training.warmup_steps=5",
    "training.learning_rate=0.015",
    "training.evaluate_every=1000",
    "training.precision=fp32",
)


def speak(text: str, rng: np.random.Generator) -> np.ndarray:
    """Samples of a text: 120 ms for each phone."""
    time, parts = np.arange(1920) / 16_000, [np.zeros(800)]
    for phone in Lexicon().phones(text):
        pitch = 150 + 90 * PHONES.index(phone)
        parts.append(0.1 * np.sin(2 * np.pi * pitch * time) * np.sin(np.pi * time / 0.12) ** 0.5)
    samples = np.concatenate([*parts, np.zeros(800)])
    return samples + 1e-4 * rng.standard_normal(len(samples))


def write_set(data: Path, name: str, split: str, clips: list[tuple[str, np.ndarray]], key: str) -> None:
    """Writes a set of (text, samples)."""
    folder, start, lines = data / name, 0.0, []
    folder.mkdir(parents=True, exist_ok=True)
    for number, (text, samples) in enumerate(clips):
        line = {"id": f"{split}-{number}", "file": f"{name}/{split}.flac", "start": start}
        line |= {"duration": len(samples) / 16_000, "speaker": f"{name}-{split}-{number % 3}", key: text}
        lines.append(json.dumps(line) + "\n")
        start += len(samples) / 16_000
    (folder / f"{split}.jsonl").write_text("".join(lines))
    soundfile.write(folder / f"{split}.flac", np.concatenate([samples for _, samples in clips]), 16_000)


def write_data(data: Path) -> Path:
    """Writes sets of sentences, words and noise; `eval` is unreadable on purpose."""
    rng = np.random.default_rng(0)
    for split in ("train", "dev"):
        write_set(data, "talk", split, [(text, speak(text, rng)) for text in TEXTS * 2], "text")
    write_set(
        data,
        "words",
        "train",
        [(word, speak(word, rng)) for word in ("go", "no", "so", "me", "one")],
        "label",
    )
    write_set(
        data, "hiss", "train", [(f"hiss_{n}", 0.05 * rng.standard_normal(48_000)) for n in range(12)], "label"
    )
    for name in ("talk", "words", "hiss"):
        (data / name / "eval.jsonl").write_text("nobody may read this\n")
    return data
