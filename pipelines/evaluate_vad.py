"""Voice activity judged on held-out speakers in held-out noise, beside Silero and WebRTC where installed.

Every detector hears the same streams and is judged on the same 30 ms frames, each by the score it gives for
the middle of the frame once its own stated delay is taken into account.

Shape letters: B streams, N samples, K frames of 30 ms.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.models.checkpoint import load_model
from auricle.models.frontend import LogMel
from auricle.models.imported.frontends import Windows
from auricle.models.imported.silero import FRONTEND, Silero, find_silero
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.dev import posteriors, stream_features
from auricle.pipelines.groups import Group, members
from auricle.pipelines.metrics import Interval, bootstrap, roc_auc, roc_curve
from auricle.pipelines.recipe import load_recipe
from auricle.pipelines.sounds import NoisePlanner
from auricle.pipelines.streams import Placed, StreamBatcher
from auricle.pipelines.targets import IGNORE, Floats
from auricle.pipelines.vad_data import VadPlanner

JUDGED_SAMPLES = 480
SNRS_DB = (0.0, 5.0, 10.0)
STREAMS = 24
SECONDS = 60
SEED = 30_000
GAINS_DB = (-25.0, -10.0, 0.0)

LEAST_FRAMES = 1000
"""Groups with less speech than this (30 s) get no figure."""
BINS = 2000
"""Steps into which scores are sorted for the intervals of groups."""

Detector = Callable[[Floats], Floats]
"""Samples of one stream `(N,)` to scores of its 30 ms frames `(K,)`."""
Scores = Mapping[str, Mapping[float, Floats]]
"""By detector and SNR: scores `(B, K)`."""


class Streams(NamedTuple):
    """What is listened to."""

    speech: Floats  # (B, N)
    noise: Floats  # (B, N), at the level of the speech
    targets: NDArray[np.int64]  # (B, K)
    placed: Sequence[Placed] = ()  # the recordings of speech, each with its clip as note

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
    batcher = StreamBatcher(planner, streams=STREAMS, hops=hops, seed=SEED, note_places=True)
    speech = batcher.next()
    sound = StreamBatcher(noise.recorded_piece, streams=STREAMS, hops=hops, seed=SEED + 1).next()
    by_frame = speech.targets.numpy().reshape(STREAMS, -1, 3)
    same = (by_frame == by_frame[..., :1]).all(-1)
    targets = np.where(same, by_frame[..., 0], IGNORE)
    return Streams(speech.samples.numpy(), sound.samples.numpy(), targets, batcher.placed)


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


def listen(
    streams: Streams, detectors: Mapping[str, Detector], snrs_db: Sequence[float] = SNRS_DB
) -> dict[str, dict[float, Floats]]:
    """Lets each detector hear the streams at each SNR."""
    return {
        name: {snr_db: np.stack([detect(row) for row in streams.mixed(snr_db)]) for snr_db in snrs_db}
        for name, detect in detectors.items()
    }


def judge(streams: Streams, scores: Scores) -> dict[str, dict[str, Interval]]:
    """ROC-AUC of each detector at each SNR and over all of them, intervals by drawing streams anew."""
    figures: dict[str, dict[str, Interval]] = {}
    for name, by_snr in scores.items():
        figures[name] = {f"{snr_db:.0f} dB": _auc(heard, streams.targets) for snr_db, heard in by_snr.items()}
        if len(by_snr) > 1:
            figures[name][all_snrs(by_snr)] = _auc(*joined(streams, by_snr))
    return figures


def all_snrs(by_snr: Mapping[float, Floats]) -> str:
    """Names the range of the SNRs."""
    return f"{min(by_snr):.0f}-{max(by_snr):.0f} dB"


def joined(streams: Streams, by_snr: Mapping[float, Floats]) -> tuple[Floats, NDArray[np.int64]]:
    """Scores and targets over all SNRs, each `(B, S K)`."""
    width = min(heard.shape[1] for heard in by_snr.values())
    scores = np.concatenate([heard[:, :width] for heard in by_snr.values()], axis=1)
    return scores, np.tile(streams.targets[:, :width], len(by_snr))


def curves(streams: Streams, scores: Scores) -> dict[str, dict[str, list[float]]]:
    """False alarm and miss rates of each detector over all SNRs, for ROC and DET curves."""
    found = {}
    for name, by_snr in scores.items():
        heard, targets = joined(streams, by_snr)
        known = targets != IGNORE
        alarms, misses = roc_curve(heard[known], targets[known] == 1)
        found[name] = {"false_alarm_rate": alarms.round(5).tolist(), "miss_rate": misses.round(5).tolist()}
    return found


def judge_groups(streams: Streams, scores: Scores) -> dict[Group, dict[str, Interval]]:
    """ROC-AUC of each detector on the speech of each set, and of each group of speakers within one.

    Frames of their speech stand against all frames without speech, at all SNRs together. Intervals draw
    streams anew.
    """
    clips: list[Clip] = [place.note for place in streams.placed]
    groups: dict[Group, list[int]] = {
        Group(name, "all", ""): [] for name in sorted({clip.set for clip in clips})
    }
    for number, clip in enumerate(clips):
        groups[Group(clip.set, "all", "")].append(number)
    every: dict[Group, Sequence[int]] = {**groups, **members(clips)}
    owners = _owners(streams)
    figures: dict[Group, dict[str, Interval]] = {}
    for group, numbers in sorted(every.items()):
        own = np.isin(owners, numbers)
        if (own & (streams.targets == 1)).sum() >= LEAST_FRAMES:
            figures[group] = {name: _group_auc(streams, by_snr, own) for name, by_snr in scores.items()}
    return figures


def _owners(streams: Streams) -> NDArray[np.int64]:
    """Which of the recordings each frame lies in, -1 for none, with shape `(B, K)`."""
    owners = np.full(streams.targets.shape, -1, np.int64)
    for number, place in enumerate(streams.placed):
        first, last = place.start_sample // JUDGED_SAMPLES, place.end_sample // JUDGED_SAMPLES
        owners[place.stream, first:last] = number
    return owners


def _group_auc(streams: Streams, by_snr: Mapping[float, Floats], own: NDArray[np.bool_]) -> Interval:
    """ROC-AUC of some speech against all that is none; scores are sorted into bins once, to draw quickly."""
    scores, targets = joined(streams, by_snr)
    mine = np.tile(own[:, : scores.shape[1] // len(by_snr)], len(by_snr))
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, scores, side="right")

    def count(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        rows = [
            np.bincount(row[keep], minlength=len(edges) + 1) for row, keep in zip(bins, chosen, strict=True)
        ]
        return np.stack(rows)

    speech, others = count(mine & (targets == 1)), count(targets == 0)

    def statistic(rows: NDArray[np.intp]) -> float:
        above, below = speech[rows].sum(0), others[rows].sum(0)
        wins = above @ (np.cumsum(below) - below / 2)
        return float(wins / (above.sum() * below.sum())) if above.any() and below.any() else float("nan")

    return bootstrap(statistic, len(scores))


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
