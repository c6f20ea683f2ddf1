"""Units in context: a phone together with the one before it, for a second head that only training has.

Decoders want plain phones. Telling "AE after K" from "AE after S" asks more of the layers below, so both
heads train them together; the second one is left out of the model file.

Shape letters: B utterances, L labels of the longest utterance, P phones, V labels.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from auricle.models.network import Network, NetworkConfig
from auricle.models.phones import PHONES
from auricle.pipelines.criteria import PhoneTargets

HEAD = ("head.weight", "head.bias")


class Biphones(NamedTuple):
    """Blank, the phones in rare contexts, then the frequent pairs."""

    table: Tensor  # (P + 1, P + 1): the unit of a phone (second) after another, or after nothing (0)
    size: int
    """How many units there are, blank included."""

    def to(self, device: torch.device) -> "Biphones":
        """The same on another device."""
        return self._replace(table=self.table.to(device))

    def of(self, targets: PhoneTargets) -> PhoneTargets:
        """What is said in units instead of phones; padding stays 0."""
        before = targets.labels.roll(1, 1)
        before[:, 0] = 0
        return targets._replace(labels=self.table[before, targets.labels])


def count_biphones(sequences: Iterable[Sequence[int]], most: int, phones: int = len(PHONES)) -> Biphones:
    """Makes units of the most frequent pairs in label sequences (labels from 1)."""
    pairs: Counter[tuple[int, int]] = Counter()
    for sequence in sequences:
        pairs.update(zip((0, *sequence), sequence, strict=False))
    frequent = sorted(pairs, key=lambda pair: (-pairs[pair], pair))[:most]
    table = torch.arange(phones + 1).repeat(phones + 1, 1)
    for unit, (before, phone) in enumerate(frequent, start=phones + 1):
        table[before, phone] = unit
    return Biphones(table, 1 + phones + len(frequent))


def widened(weights: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """Weights of a network with fewer outputs, completed by those that the wider one starts with."""
    own = network.state_dict()
    return weights | {name: torch.cat([weights[name], own[name][len(weights[name]) :]]) for name in HEAD}


def narrowed(network: Network, config: NetworkConfig) -> Network:
    """The network with only the outputs that a model file has; itself, where it has no others."""
    if network.config == config:
        return network
    weights = network.state_dict()
    narrow = Network(config).requires_grad_(False).to(network.feature_mean.device).train(network.training)
    narrow.load_state_dict(weights | {name: weights[name][: config.labels] for name in HEAD})
    return narrow
