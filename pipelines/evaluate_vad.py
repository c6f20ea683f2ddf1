"""Voice activity judged on held-out speakers in held-out noise, beside Silero and WebRTC where installed.

Every detector hears the same streams and is judged on the same 30 ms frames, each by the score it gives for
the middle of the frame once its own stated delay is taken into account.

Shape letters: B streams, N samples, K frames of 30 ms.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.models.checkpoint import load_model
from auricle.models.frontend import LogMel
from auricle.models.imported.frontends import Windows
from auricle.models.imported.silero import FRONTEND, Silero, find_silero
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.dev import posteriors, stream_features
from auricle.pipelines.metrics import Interval, bootstrap, roc_auc
from auricle.pipelines.recipe import load_recipe
from auricle.pipelines.sounds import NoisePlanner
from auricle.pipelines.streams import StreamBatcher
from auricle.pipelines.targets import IGNORE, Floats
from auricle.pipelines.vad_data import VadPlanner

JUDGED_SAMPLES = 480
SNRS_DB = (0.0, 5.0, 10.0)
STREAMS = 24
SECONDS = 60
SEED = 30_000
GAINS_DB = (-25.0, -10.0, 0.0)

Detector = Callable[[Floats], Floats]
"""Samples of one stream `(N,)` to scores of its 30 ms frames `(K,)`."""


class Streams(NamedTuple):
    """What is listened to."""

    speech: Floats  # (B, N)
    noise: Floats  # (B, N), at the level of the speech
    targets: NDArray[np.int64]  # (B, K)

    def mixed(self, snr_db: float) -> Floats:
        """Speech in noise, streams in turn loud, softer and soft, with shape `(B, N)`."""
        gains = np.resize(10 ** (np.array(GAINS_DB) / 20), len(self.speech))[:, None]
        mixed = gains * (self.speech + self.noise * 10 ** (-snr_db / 20))
        return np.clip(mixed, -1, 1).astype(np.float32)


def make_streams(corpus: Corpus, split: str) -> Streams:
    """Lays dev or eval speech, with pauses and other sounds, beside noise of the same split."""
    data = load_recipe("vad").vad
    planner = VadPlanner(corpus, data, split)
    noise: NoisePlanner = planner.noise
    hops = SECONDS * 100 // 3 * 3
    speech = StreamBatcher(planner, streams=STREAMS, hops=hops, seed=SEED).next()
    sound = StreamBatcher(noise.recorded_piece, streams=STREAMS, hops=hops, seed=SEED + 1).next()
    by_frame = speech.targets.numpy().reshape(STREAMS, -1, 3)
    same = (by_frame == by_frame[..., :1]).all(-1)
    return Streams(speech.samples.numpy(), sound.samples.numpy(), np.where(same, by_frame[..., 0], IGNORE))


def middles(count: int) -> NDArray[np.int64]:
    """The middle sample of each of so many frames."""
    return np.arange(count) * JUDGED_SAMPLES + JUDGED_SAMPLES // 2


def auricle_detector(path: Path) -> Detector:
    """A model file as a detector."""
    spec, network, _ = load_model(path)
    frontend = LogMel(spec.frontend)

    def detect(samples: Floats) -> Floats:
        whole = samples[: len(samples) // spec.frame_samples * spec.frame_samples]
        features = stream_features(frontend, torch.from_numpy(whole.copy())[None])
        scores = posteriors(network, features, sigmoid=True)[0, :, 0]
        frames = middles(len(samples) // JUDGED_SAMPLES) // spec.frame_samples + spec.lookahead_frames
        return scores[np.minimum(frames, len(scores) - 1)]

    return detect


def silero_detector(delay_chunks: int = 0) -> Detector:
    """Silero VAD (package silero-vad), windows of 512 samples, state carried.

    Raises:
        ModelError: the package, or onnxruntime, is not installed.
    """
    network, frontend = Silero(find_silero()), Windows(FRONTEND)

    def detect(samples: Floats) -> Floats:
        heard = torch.from_numpy(samples.copy())[None]
        windows, _ = frontend(heard, frontend.initial_state(1))
        scores = network(windows, network.initial_state(1))[0][0, :, 0].numpy()
        frames = middles(len(samples) // JUDGED_SAMPLES) // FRONTEND.hop_samples + delay_chunks
        return scores[np.minimum(frames, len(scores) - 1)]

    return detect


def webrtc_detector() -> Detector:
    """WebRTC VAD (package webrtcvad): how many of its four modes say speech."""
    import webrtcvad

    def detect(samples: Floats) -> Floats:
        pcm = (samples * 32767).astype(np.int16)
        frames = pcm[: len(pcm) // JUDGED_SAMPLES * JUDGED_SAMPLES].reshape(-1, JUDGED_SAMPLES)
        votes = np.zeros(len(frames), np.float32)
        for mode in range(4):
            vad = webrtcvad.Vad(mode)
            votes += [vad.is_speech(frame.tobytes(), 16_000) for frame in frames]
        return votes

    return detect


def judge(streams: Streams, detectors: Mapping[str, Detector]) -> dict[str, dict[str, Interval]]:
    """ROC-AUC of each detector at each SNR and over all of them, intervals by drawing streams anew."""
    figures: dict[str, dict[str, Interval]] = {}
    for name, detect in detectors.items():
        figures[name], every = {}, []
        for snr_db in SNRS_DB:
            scores = np.stack([detect(row) for row in streams.mixed(snr_db)])
            every.append(scores)
            figures[name][f"{snr_db:.0f} dB"] = _auc(scores, streams.targets)
        width = min(scores.shape[1] for scores in every)
        joined = np.concatenate([scores[:, :width] for scores in every], axis=1)
        targets = np.concatenate([streams.targets[:, :width]] * len(every), axis=1)
        figures[name]["0-10 dB"] = _auc(joined, targets)
    return figures


def _auc(scores: Floats, targets: NDArray[np.int64]) -> Interval:
    targets = targets[:, : scores.shape[1]]

    def statistic(rows: NDArray[np.intp]) -> float:
        known = targets[rows] != IGNORE
        return roc_auc(scores[rows][known], targets[rows][known] == 1)

    return bootstrap(statistic, len(scores))


def speech_share(streams: Streams) -> tuple[float, float]:
    """Hours that are judged, and the share of them that is speech."""
    known = streams.targets != IGNORE
    hours = known.sum() * JUDGED_SAMPLES / 16_000 / 3600
    return float(hours), float((streams.targets[known] == 1).mean())
