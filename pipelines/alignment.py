"""When each phone is said: recordings aligned with their phones by a CTC model, as targets for every frame.

Shape letters: B utterances, J output frames, V labels.
"""

import logging
import zlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from auricle.configs.errors import DataError
from auricle.configs.whole import written_whole
from auricle.models.checkpoint import ModelSpec, load_model
from auricle.models.frontend import LogMel
from auricle.models.network import Network
from auricle.models.phones import BLANK, BLANK_INDEX, phone_labels
from auricle.models.zoo import find_model
from auricle.pipelines.acoustic_data import AcousticData, Utterance, frames_needed
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.sounds import read_clip, speech_at_reference
from auricle.pipelines.targets import Floats, hop_levels_db

logger = logging.getLogger(__name__)

FrameLabels = NDArray[np.int16]
BATCH = 32
LATEST_FRAMES = 8
"""A model is taken to answer at most this many frames late."""
MEASURED = 200
"""Utterances from which a model's delay is measured."""


class Aligner(NamedTuple):
    """A CTC model that can tell when phones are said."""

    spec: ModelSpec
    network: Network
    frontend: LogMel
    digest: str
    device: torch.device


def load_aligner(name: str, device: torch.device) -> Aligner:
    """Reads a model by its shipped name, or its path.

    Raises:
        ModelError: there is no such model.
        DataError: it was not trained with CTC.
    """
    path = find_model(name, "lstm")
    spec, network, digest = load_model(path)
    if spec.labels != phone_labels(BLANK):
        raise DataError(f"{path} cannot align: expected an acoustic model trained with 'ctc' or 'lfmmi'")
    return Aligner(spec, network.to(device), LogMel(spec.frontend).to(device), digest, device)


@torch.inference_mode()
def utterance_log_probs(
    spec: ModelSpec, network: Network, frontend: LogMel, recordings: Sequence[Floats]
) -> tuple[Tensor, Tensor]:
    """Runs recordings through an acoustic model, each followed by the silence that the model's delay wants.

    Returns:
        Log-probabilities `(B, J, V)` and the number of frames of each recording `(B,)`, on the CPU.
    """
    frame, device = spec.frame_samples, network.feature_mean.device
    counts = [-(-len(samples) // frame) + spec.lookahead_frames for samples in recordings]
    batch = torch.zeros(len(recordings), max(counts) * frame)
    for row, samples in enumerate(recordings):
        batch[row, : len(samples)] = torch.from_numpy(samples)
    features, _ = frontend(batch.to(device), frontend.initial_state(len(batch)))
    logits, _ = network(features, network.initial_state(len(batch)))
    return logits.float().log_softmax(-1).cpu(), torch.tensor(counts)


def ctc_path(log_probs: Tensor, labels: Sequence[int], blank_shift: float) -> FrameLabels:
    """The most likely way of the labels through the frames `(J, V)`: a label or blank for each, `(J,)`.

    Raises:
        DataError: there are fewer frames than the labels need.
    """
    if frames_needed(labels) > len(log_probs):
        raise DataError(f"{len(labels)} phones do not fit into {len(log_probs)} frames")
    shifted = log_probs.clone()
    shifted[:, BLANK_INDEX] += blank_shift
    path, _ = torchaudio.functional.forced_align(
        shifted[None], torch.tensor([list(labels)], dtype=torch.int32), blank=BLANK_INDEX
    )
    aligned: FrameLabels = path[0].numpy().astype(np.int16)
    return aligned


def spread(path: FrameLabels, pause_frames: int) -> FrameLabels:
    """Widens the peaks of a CTC path to whole phones.

    A gap of up to `pause_frames` is divided between the phones beside it; of a longer one, and at both ends,
    the phone keeps one more frame and the rest is silence (label 0).

    Args:
        path: labels and blanks, with shape `(J,)`.
        pause_frames: the longest gap that is no pause.
    """
    frames, runs, place = path.copy(), [], 0
    for label, group in groupby(path.tolist()):
        length = len(list(group))
        runs.append((label, place, place + length))
        place += length
    for number, (label, start, end) in enumerate(runs):
        if label != BLANK_INDEX:
            continue
        before = runs[number - 1][0] if number else BLANK_INDEX
        after = runs[number + 1][0] if number + 1 < len(runs) else BLANK_INDEX
        if before and after and end - start <= pause_frames:
            middle = (start + end + 1) // 2
            frames[start:middle], frames[middle:end] = before, after
            continue
        if before:
            frames[start] = before
        if after and end - start > (1 if before else 0):
            frames[end - 1] = after
    return frames


def measure_delay(paths: Sequence[FrameLabels], recordings: Sequence[Floats], frame_samples: int) -> int:
    """How many frames late a model names its phones: where the loud frames best fit the named ones."""
    hops = frame_samples // 160
    contrasts = []
    for delay in range(LATEST_FRAMES + 1):
        voiced, silent = [], []
        for path, samples in zip(paths, recordings, strict=True):
            hop_levels = hop_levels_db(samples)
            levels = hop_levels[: len(hop_levels) // hops * hops].reshape(-1, hops).mean(1)
            named = path[delay : delay + len(levels)] != BLANK_INDEX
            voiced.append(levels[: len(named)][named])
            silent.append(levels[: len(named)][~named])
        voiced_levels, silent_levels = np.concatenate(voiced), np.concatenate(silent)
        both = len(voiced_levels) and len(silent_levels)
        contrasts.append(voiced_levels.mean() - silent_levels.mean() if both else -np.inf)
    return int(np.argmax(contrasts))


def align_all(
    corpus: Corpus, utterances: Sequence[Utterance], aligner: Aligner, data: AcousticData
) -> dict[tuple[str, str], FrameLabels]:
    """Aligns utterances set by set; what was aligned before with the same model is read from the work folder.

    The aligner's delay is measured on some of all of them, so that it is the same for every set.

    Returns:
        For (set, id) of each clip the label of every frame, from its first sample on, at its own speed.
    """
    by_set: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_set[utterance.clip.set].append(utterance)
    aligned: dict[tuple[str, str], FrameLabels] = {}
    for name, members in sorted(by_set.items()):
        key = f"{aligner.digest}-blank{data.aligner_blank_shift:g}-pause{data.pause_frames}"
        path = corpus.work / "alignments" / key / f"{name}.npz"
        found = _read(path)
        if missing := [member for member in members if _kept_as(member) not in found]:
            found |= _align_set(corpus, missing, aligner, data)
            _write(path, found)
        aligned |= {(name, member.clip.id): found[_kept_as(member)] for member in members}
    measured = [one.clip for one in utterances[:: max(1, len(utterances) // MEASURED)]]
    paths = [aligned[clip.set, clip.id] for clip in measured]
    delay = measure_delay(paths, [read_clip(corpus, clip) for clip in measured], aligner.spec.frame_samples)
    logger.info("the aligner answers %d frames late", delay)
    return {identity: path[delay:] for identity, path in aligned.items()}


def _align_set(
    corpus: Corpus, members: Sequence[Utterance], aligner: Aligner, data: AcousticData
) -> dict[str, FrameLabels]:
    ordered = sorted(members, key=lambda member: member.clip.seconds)
    paths: dict[str, FrameLabels] = {}
    for start in track(range(0, len(ordered), BATCH), description=f"aligning {ordered[0].clip.set}"):
        batch = ordered[start : start + BATCH]
        recordings = [speech_at_reference(read_clip(corpus, member.clip)) for member in batch]
        log_probs, counts = utterance_log_probs(aligner.spec, aligner.network, aligner.frontend, recordings)
        for member, rows, count in zip(batch, log_probs, counts.tolist(), strict=True):
            path = ctc_path(rows[:count], member.labels, data.aligner_blank_shift)
            paths[_kept_as(member)] = spread(path, data.pause_frames)
    return paths


def _kept_as(member: Utterance) -> str:
    """What an alignment is found by: another text, pronunciation or length is another one."""
    heard = f"{member.clip.length_samples} {list(member.labels)}"
    return f"{member.clip.id} {zlib.crc32(heard.encode()):08x}"


def _read(path: Path) -> dict[str, FrameLabels]:
    if not path.exists():
        return {}
    with np.load(path) as stored:
        names, ends, frames = stored["names"], stored["ends"], stored["frames"]
    return dict(zip(names.tolist(), np.split(frames, ends[:-1]), strict=True))


def _write(path: Path, aligned: dict[str, FrameLabels]) -> None:
    frames = list(aligned.values())
    ends = np.cumsum([len(labels) for labels in frames])
    with written_whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, names=np.array(list(aligned)), ends=ends, frames=np.concatenate(frames))
