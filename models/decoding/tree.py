"""All pronunciations of a vocabulary as one prefix tree in arrays.

The first V nodes are copies of the root: node v is the root after label v was heard last (0: nothing yet), so
that two equal phones on both sides of a word boundary stay two. All other nodes carry one phone.

Shape letters: K nodes, V labels, P pronunciations.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
NO_CHILD = 0
"""No node has the first copy of the root for a child."""


class PrefixTree(NamedTuple):
    """See the module."""

    children: NDArray[np.int32]
    """The node after each label, `NO_CHILD` for none, `(K, V)`."""
    label: Ints
    """The label that leads to each node, `(K,)`."""
    best: NDArray[np.float32]
    """The greatest of the words' scores below each node; 0 at the roots, `(K,)`."""
    first_word: Ints
    """Where each node's words begin in `words`, `(K + 1,)`."""
    words: Ints
    """The words that end at the nodes, `(P,)`."""
    leads_on: NDArray[np.bool_]
    """Whether a node has children, `(K,)`."""


def build_tree(
    pronunciations: Sequence[tuple[int, Sequence[int]]], scores: NDArray[np.float32], labels: int
) -> PrefixTree:
    """Builds the tree.

    Args:
        pronunciations: for each, the word's number and its labels (none of them blank).
        scores: how likely each word is by itself, a logarithm (times a weight).
        labels: how many labels the acoustic model has, blank included.
    """
    nodes: dict[tuple[int, int], int] = {}
    parents, label = [0] * labels, list(range(labels))
    ends: list[tuple[int, int]] = []
    for word, phones in pronunciations:
        node = 0
        for phone in phones:
            key = (node, phone)
            if key not in nodes:
                nodes[key] = len(label)
                parents.append(node)
                label.append(phone)
            node = nodes[key]
        if node:
            ends.append((node, word))
    count = len(label)
    children = np.zeros((count, labels), np.int32)
    if nodes:
        places = np.array(list(nodes))
        children[places[:, 0], places[:, 1]] = list(nodes.values())
    children[:labels] = children[0]
    at, words = np.array(sorted(set(ends)), np.int64).reshape(-1, 2).T
    best = np.full(count, -np.inf, np.float32)
    np.maximum.at(best, at, scores[words])
    parent = np.array(parents)
    for node in range(count - 1, labels - 1, -1):  # children have higher numbers than their parents
        best[parent[node]] = max(best[parent[node]], best[node])
    best[:labels] = 0
    first = np.searchsorted(at, np.arange(count + 1))
    return PrefixTree(children, np.array(label), best, first, words, np.asarray(children.any(1)))
