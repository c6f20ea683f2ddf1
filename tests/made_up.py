"""A made-up data folder: tones for words, hiss for noise. Learnt in seconds, so training can be tested."""

import json
from pathlib import Path

import numpy as np
import soundfile

from auricle.pipelines.vocabulary import COMMANDS, DIGITS

SMALL = (
    "network.hidden=24",
    "network.layers=1",
    "network.conv_channels=[24]",
    "network.conv_kernels=[5]",
    "network.conv_strides=[2]",
    "augment.room_part=0.0",
    "augment.simulated_rooms=2",
    "augment.microphones=3",
    "training.streams=8",
    "training.segment_s=1.6",
    "training.warmup_steps=5",
    "training.learning_rate=0.01",
    "training.noise_share=2",
    "training.evaluate_every=1000",
)
VAD = (*SMALL, "vad.speech={talk=1.0}", 'vad.dev_speech=["talk"]', 'vad.noise.sets=["hiss"]')


def voice(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """A buzz of harmonics, loud in the middle."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    buzz = sum(np.sin(2 * np.pi * pitch * number * time) / number for number in range(1, 12))
    return 0.1 * buzz * np.sin(np.pi * time / seconds) ** 0.3 + 1e-4 * rng.standard_normal(len(time))


def write(data: Path, name: str, split: str, recordings: list[tuple[str, str, np.ndarray]]) -> None:
    """Writes a set of (id, text, samples)."""
    folder, start, lines, parts = data / name, 0.0, [], []
    folder.mkdir(parents=True, exist_ok=True)
    for identity, text, samples in recordings:
        lines.append(
            {
                "id": identity,
                "file": f"{name}/{split}.flac",
                "start": start,
                "duration": len(samples) / 16_000,
                "speaker": f"{split}-someone",
                ("label" if " " not in text else "text"): text,
            }
        )
        parts.append(samples)
        start += len(samples) / 16_000
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    soundfile.write(folder / f"{split}.flac", np.concatenate(parts), 16_000)


def make_data(root: Path) -> Path:
    """Fills a data folder with the sets `talk`, `words` (train and dev) and `hiss` (noise)."""
    rng = np.random.default_rng(0)
    pause = 1e-4 * rng.standard_normal(8000)
    for split in ("train", "dev"):
        talk = [
            (f"{split}-{number}", "so it is said", np.concatenate([pause, voice(rng, 1.0, pitch), pause]))
            for number, pitch in enumerate(rng.uniform(90, 250, 6))
        ]
        write(root, "talk", split, talk)
        words = [
            (f"{split}-{word}-{take}", word, np.concatenate([pause[:3200], voice(rng, 0.5, 80 + 15 * index)]))
            for index, word in enumerate((*COMMANDS, *DIGITS, "banana"))
            for take in range(2)
        ]
        write(root, "words", split, words)
    hiss = [(f"hiss-{number}", "hiss", 0.05 * rng.standard_normal(48_000)) for number in range(12)]
    write(root, "hiss", "train", hiss)
    return root
