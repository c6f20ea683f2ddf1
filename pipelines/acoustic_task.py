"""The acoustic task: which phone is being said, learnt from whole utterances.

Shape letters: B utterances, J output frames, V labels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from auricle.models.checkpoint import ModelSpec
from auricle.models.frontend import LogMel
from auricle.models.layers import Recurrent
from auricle.models.lexicon import Lexicon
from auricle.models.network import Network, NetworkConfig
from auricle.models.phones import BLANK, SILENCE, phone_labels
from auricle.models.second_pass import SecondPassConfig, TwoPasses
from auricle.pipelines import criteria
from auricle.pipelines.acoustic_data import Utterance, list_utterances
from auricle.pipelines.alignment import align_all, load_aligner, utterance_log_probs
from auricle.pipelines.batches import BatchMaker, recipe_rooms
from auricle.pipelines.bigram import count_bigram
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.criteria import PhoneTargets
from auricle.pipelines.decode_phones import edit_distance, greedy
from auricle.pipelines.recipe import Recipe
from auricle.pipelines.sounds import NoisePlanner, noise_clips, read_clip, speech_at_reference
from auricle.pipelines.targets import Floats
from auricle.pipelines.tasks import Task
from auricle.pipelines.teacher import Teacher
from auricle.pipelines.units import count_biphones
from auricle.pipelines.utterances import UtteranceMaker

DEV_SEED = 40_000
DEV_BATCH = 24
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


class AcousticTask(Task):
    """Phones, by the criterion of the recipe."""

    activation = "softmax"

    def __init__(self, corpus: Corpus, recipe: Recipe, frontend: LogMel) -> None:
        """Lists the utterances to learn from and those to judge by."""
        data = recipe.acoustic
        self.recipe = recipe
        self.labels = phone_labels(SILENCE if data.criterion == "ce" else BLANK)
        lexicon = Lexicon.of_folder(corpus.data)
        frame_s = recipe.network.stride_frames * recipe.frontend.hop_samples / 16_000
        self.utterances = list_utterances(
            corpus, list(data.sets), "train", data=data, lexicon=lexicon, frame_s=frame_s
        )
        sounds = noise_clips(corpus, data.noise.sets, "train")
        speech = [utterance.clip for utterance in self.utterances]
        self.noise = NoisePlanner(corpus, sounds, speech, data.noise)
        self.clips = [*speech, *sounds]
        self.bigram = count_bigram(utterance.labels for utterance in self.utterances)
        self.biphones = None
        if data.units == "biphone":
            self.biphones = count_biphones((one.labels for one in self.utterances), data.biphones)
            self.extra_outputs = self.biphones.size
        judged = list_utterances(corpus, data.dev_sets, "dev", data=data, lexicon=lexicon, frame_s=frame_s)
        self.spec = ModelSpec(
            "acoustic",
            self.labels,
            recipe.network,
            recipe.frontend,
            lookahead_frames=recipe.lookahead_frames,
        )
        self.dev = AcousticDev(corpus, pick_seconds(judged, data.dev_seconds), self.spec, frontend)

    def network(self, config: NetworkConfig) -> Network:
        """One network, or two passes of which the second is trained, or both."""
        data = self.recipe.acoustic
        if not data.second_layers:
            return Network(config)
        second = SecondPassConfig(config.labels, config.hidden, data.second_layers, config.dropout)
        return TwoPasses(config, second, both_learn=data.first_weight > 0)

    def prepare(self, network: Network) -> None:
        """Keeps the spread of the signal from layer to layer, without which CTC rests long on the blank."""
        for convolution in network.convolutions:
            nn.init.kaiming_normal_(convolution.net.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.net.bias)  # type: ignore[arg-type]  # every CausalConv has one
        for block in network.modules():
            if isinstance(block, Recurrent):  # attention starts as its layers made it
                _start_recurrent(block)
        for head in torch.split(network.head.weight.data, len(self.labels)):
            nn.init.xavier_uniform_(head)
        nn.init.zeros_(network.head.bias)

    def batches(self, recipe: Recipe, corpus: Corpus, device: torch.device, loaders: int) -> BatchMaker:
        """Utterances of about equal length, augmented on the device."""
        data, alignments = recipe.acoustic, None
        if data.criterion == "ce":
            aligner = load_aligner(data.aligner, device)
            alignments = align_all(corpus, self.utterances, aligner, data)
        teacher = None
        if data.criterion == "distil":
            teacher = Teacher(data.teacher, self.spec, device, recipe.training.precision)
        maker = UtteranceMaker(
            corpus,
            recipe,
            self.utterances,
            noise=self.noise,
            rooms=recipe_rooms(recipe, corpus),
            scores=[self.bigram.score(utterance.labels) for utterance in self.utterances],
            alignments=alignments,
            teacher=teacher,
            device=device,
            loaders=loaders,
        )
        self.bigram = self.bigram.to(device)
        self.biphones = self.biphones and self.biphones.to(device)
        return maker

    def loss(self, logits: Tensor, targets: PhoneTargets) -> Tensor:
        """The recipe's criterion, and what is added to it."""
        data, labels = self.recipe.acoustic, len(self.labels)
        loss = self._phone_loss(logits[..., :labels], targets)
        if data.first_weight:
            loss = loss + data.first_weight * self._phone_loss(logits[..., labels:], targets)
        if self.biphones is not None:
            units = logits[..., labels:].log_softmax(-1)
            loss = loss + data.unit_weight * criteria.ctc(units, self.biphones.of(targets))
        return loss

    def _phone_loss(self, logits: Tensor, targets: PhoneTargets) -> Tensor:
        data, log_probs = self.recipe.acoustic, logits.log_softmax(-1)
        loss = self._criterion(log_probs, targets)
        if data.early_weight:
            loss = loss + data.early_weight * criteria.lateness(log_probs, targets)
        if data.consistency_weight:
            loss = loss + data.consistency_weight * criteria.consistency(log_probs, targets)
        return loss

    def _criterion(self, log_probs: Tensor, targets: PhoneTargets) -> Tensor:
        data = self.recipe.acoustic
        if data.criterion == "ce":
            return criteria.cross_entropy(log_probs, targets)
        if data.criterion == "lfmmi":
            return criteria.lfmmi(log_probs, targets, self.bigram, data.ctc_weight)
        if data.criterion == "distil":
            return criteria.distillation(log_probs, targets, data.ctc_weight)
        return criteria.ctc(log_probs, targets)

    def evaluate(self, network: Network) -> dict[str, float]:
        """Phone error rate of each dev set, greedy; `score` is minus their mean.

        Where both passes learn, the rates are those of the second, and `score` the mean of both passes'.
        """
        figures = self.dev.evaluate(network)
        if not (isinstance(network, TwoPasses) and network.both_learn):
            return figures
        alone = self.dev.evaluate(network.first())["score"]
        return figures | {"score": (figures["score"] + alone) / 2, "score_first": alone}


def _start_recurrent(block: Recurrent) -> None:
    """Orthogonal memories, and an LSTM that remembers to begin with."""
    for name, weight in block.net.named_parameters():
        start = nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_
        for gate in weight.data.chunk(GATES[block.cell]):
            start(gate) if gate.dim() > 1 else nn.init.zeros_(gate)
        if block.cell == "lstm" and "bias_ih" in name:
            weight.data.chunk(4)[1].fill_(1.0)


class AcousticDev:
    """Dev utterances, clean, with the most likely label of each frame taken."""

    def __init__(
        self, corpus: Corpus, utterances: Sequence[Utterance], spec: ModelSpec, frontend: LogMel
    ) -> None:
        """Reads the recordings once."""
        self.spec, self.frontend = spec, frontend
        self.utterances = sorted(utterances, key=lambda utterance: utterance.clip.seconds)
        self.recordings: list[Floats] = [
            speech_at_reference(read_clip(corpus, utterance.clip)) for utterance in self.utterances
        ]

    def evaluate(self, network: Network) -> dict[str, float]:
        """Phone error rates, and `score`, higher is better."""
        was_training = network.training
        network.eval()
        frontend = self.frontend.to(network.feature_mean.device)
        wrong: dict[str, list[tuple[int, int]]] = {}
        for start in range(0, len(self.utterances), DEV_BATCH):
            log_probs, counts = utterance_log_probs(
                self.spec, network, frontend, self.recordings[start : start + DEV_BATCH]
            )
            batch = self.utterances[start : start + DEV_BATCH]
            for utterance, found in zip(batch, greedy(log_probs, counts), strict=True):
                errors = edit_distance(found, utterance.labels)
                wrong.setdefault(utterance.clip.set, []).append((errors, len(utterance.labels)))
        network.train(was_training)
        rates = {f"per_{name}": _rate(pairs) for name, pairs in sorted(wrong.items())}
        return {"score": -float(np.mean(list(rates.values()))), **rates}


def _rate(pairs: Sequence[tuple[int, int]]) -> float:
    return sum(errors for errors, _ in pairs) / sum(count for _, count in pairs)


def pick_seconds(utterances: Sequence[Utterance], seconds: float) -> list[Utterance]:
    """Draws about so many seconds of each set, always the same."""
    left: dict[str, float] = {}
    picked = []
    for number in np.random.default_rng(DEV_SEED).permutation(len(utterances)):
        utterance = utterances[int(number)]
        remaining = left.setdefault(utterance.clip.set, seconds)
        if remaining > 0:
            left[utterance.clip.set] = remaining - utterance.clip.seconds
            picked.append(utterance)
    return picked
