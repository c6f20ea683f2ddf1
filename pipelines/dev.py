"""Fixed streams of dev speakers to judge a model on while it trains, state carried throughout.

Shape letters: B streams, N samples, T feature frames, J output frames, V labels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.models.frontend import LogMel
from auricle.models.network import Network
from auricle.pipelines.corpus import SAMPLE_RATE
from auricle.pipelines.decide import count_events, word_scores
from auricle.pipelines.keyword_data import WordClip, WordPlanner
from auricle.pipelines.metrics import roc_auc
from auricle.pipelines.recipe import Recipe
from auricle.pipelines.sounds import read_clip
from auricle.pipelines.streams import Piece, Placed, StreamBatcher
from auricle.pipelines.targets import HOP_SAMPLES, IGNORE
from auricle.pipelines.vad_data import VadPlanner
from auricle.pipelines.vocabulary import LABELS, UNKNOWN_INDEX

DEV_SEED = 20_000
SNRS_DB = (0.0, 5.0, 10.0)
STREAMS = 12
VAD_SECONDS = 64
CHUNK_FRAMES = 320
DIGIT_START = 12


@torch.inference_mode()
def posteriors(network: Network, features: Tensor, *, sigmoid: bool) -> NDArray[np.float32]:
    """Runs streams through a model, chunk by chunk, state carried.

    Args:
        network: the model.
        features: with shape `(B, T, F)`.
        sigmoid: what makes posteriors of logits: sigmoid, or else softmax.

    Returns:
        With shape `(B, J, V)`.
    """
    was_training, device = network.training, network.feature_mean.device
    network.eval()
    state, parts = network.initial_state(len(features)), []
    for chunk in torch.split(features, CHUNK_FRAMES, dim=1):
        logits, state = network(chunk.to(device), state)
        parts.append(logits.sigmoid() if sigmoid else logits.softmax(-1))
    network.train(was_training)
    return torch.cat(parts, 1).cpu().numpy()


@torch.inference_mode()
def stream_features(frontend: LogMel, samples: Tensor) -> Tensor:
    """Features `(B, T, F)` of whole streams `(B, N)`."""
    features: Tensor = frontend(samples, frontend.initial_state(len(samples)))[0]
    return features


class VadDev:
    """Dev speakers in dev noise at 0, 5 and 10 dB."""

    def __init__(self, planner: VadPlanner, recipe: Recipe, frontend: LogMel) -> None:
        """Makes the streams once; they are the same for every run."""
        hops = VAD_SECONDS * 100 // CHUNK_FRAMES * CHUNK_FRAMES
        self.stride, delay = recipe.network.stride_frames, recipe.lookahead_frames
        delay_hops = delay * self.stride
        speech = StreamBatcher(
            planner, streams=STREAMS, hops=hops, seed=DEV_SEED, delay_hops=delay_hops
        ).next()
        noise = StreamBatcher(planner.noise, streams=STREAMS, hops=hops, seed=DEV_SEED + 1).next().samples
        self.targets = speech.targets[:, self.stride - 1 :: self.stride].numpy()
        gain = 10 ** (torch.linspace(-20, 0, STREAMS) / 20)[:, None]
        self.features = [
            stream_features(frontend, gain * (speech.samples + noise * 10 ** (-snr_db / 20)))
            for snr_db in SNRS_DB
        ]

    def evaluate(self, network: Network) -> dict[str, float]:
        """ROC-AUC for each SNR; `score` is their mean."""
        known = self.targets != IGNORE
        figures = {}
        for snr_db, features in zip(SNRS_DB, self.features, strict=True):
            posterior = posteriors(network, features, sigmoid=True)[..., 0]
            figures[f"auc_{snr_db:.0f}db"] = roc_auc(posterior[known], self.targets[known] == 1)
        return {"score": float(np.mean(list(figures.values()))), **figures}


class KeywordDev:
    """Dev speakers' words one after another, and dev sentences without keywords."""

    def __init__(self, planner: WordPlanner, recipe: Recipe, frontend: LogMel) -> None:
        """Makes the streams once; they are the same for every run."""
        self.stride = recipe.network.stride_frames
        words = [word for words in planner.by_label.values() for word in words]
        order = np.random.default_rng(DEV_SEED).permutation(len(words))
        pieces = [self._piece(planner, words[index]) for index in order]
        samples, self.placed = lay_out(pieces, STREAMS)
        self.words = stream_features(frontend, samples)
        sentences = [
            Piece(planner.speech(clip), np.zeros(0, np.int16))
            for clip in planner.sentences
            if clip.seconds < 20
        ]
        samples, _ = lay_out(sentences, STREAMS)
        self.sentences = stream_features(frontend, samples)
        self.sentence_hours = samples.numel() / SAMPLE_RATE / 3600

    @staticmethod
    def _piece(planner: WordPlanner, word: WordClip) -> Piece:
        samples = read_clip(planner.corpus, word.clip)  # as loud as it was recorded, as evaluation hears it
        return Piece(samples, np.zeros(0, np.int16), note=word.label)

    def evaluate(self, network: Network) -> dict[str, float]:
        """Accuracy over words, over classes, and false alarms; `score` weighs the two."""
        posterior = posteriors(network, self.words, sigmoid=False)
        frame = self.stride * HOP_SAMPLES
        truth, found = word_scores(posterior, self.placed, frame)
        classes = [label for label in np.unique(truth) if (truth == label).sum() >= 10]
        by_class = {LABELS[label]: float((found == label)[truth == label].mean()) for label in classes}
        alarms = sum(count_events(row, frame) for row in posteriors(network, self.sentences, sigmoid=False))
        accuracy, per_hour = float((truth == found).mean()), alarms / self.sentence_hours
        balanced = float(np.mean(list(by_class.values())))
        twelve = float((to_twelve(truth) == to_twelve(found)).mean())
        figures = {
            "accuracy": accuracy,
            "accuracy_12": twelve,
            "balanced": balanced,
            "false_alarms_per_hour": per_hour,
        }
        return {"score": balanced - min(per_hour, 200.0) / 2000, **figures}


def to_twelve(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Counts digits as unknown: silence, unknown and ten commands remain."""
    return np.where(labels >= DIGIT_START, UNKNOWN_INDEX, labels)


def lay_out(pieces: Sequence[Piece], streams: int) -> tuple[Tensor, list[Placed]]:
    """Lays pieces one after another in streams of about equal length.

    Returns:
        Samples `(B, N)`, N a whole number of chunks, the ends filled with silence; and where pieces lie.
    """
    rows: list[list[NDArray[np.float32]]] = [[] for _ in range(streams)]
    lengths, placed = [0] * streams, []
    for piece in pieces:
        row = int(np.argmin(lengths))
        samples = piece.samples[: len(piece.samples) // HOP_SAMPLES * HOP_SAMPLES]
        rows[row].append(samples)
        placed.append(Placed(row, lengths[row], lengths[row] + len(samples), piece.note))
        lengths[row] += len(samples)
    chunk = CHUNK_FRAMES * HOP_SAMPLES
    length = (max(lengths) // chunk + 1) * chunk
    joined = torch.zeros(streams, length)
    for row, parts in enumerate(rows):
        if parts:
            audio = np.concatenate(parts)
            joined[row, : len(audio)] = torch.from_numpy(audio)
    return joined, placed
