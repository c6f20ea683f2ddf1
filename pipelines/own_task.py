"""The task of spotting a user's own words: its data, loss and judgement.

Shape letters: B streams, T hops or feature frames, J output frames, V labels.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from auricle.models.frontend import LogMel
from auricle.models.network import Network
from auricle.pipelines.batches import AudioMaker, BatchMaker
from auricle.pipelines.corpus import SAMPLE_RATE, Corpus
from auricle.pipelines.decide import count_events, word_scores
from auricle.pipelines.dev import DEV_SEED, STREAMS, lay_out, posteriors, stream_features
from auricle.pipelines.own_recordings import gather
from auricle.pipelines.own_words import OwnPlanner, OwnWords
from auricle.pipelines.recipe import Recipe, load_recipe
from auricle.pipelines.rooms import make_rooms
from auricle.pipelines.sounds import read_clip
from auricle.pipelines.streams import Piece
from auricle.pipelines.targets import HOP_SAMPLES
from auricle.pipelines.tasks import KeywordTask

RECIPE = "own-words"
LEAST_NEGATIVE_S = 120.0
NO_TARGETS = np.zeros(0, np.int16)


def own_recipe(words: Sequence[str], settings: Sequence[str], path: Path | None) -> Recipe:
    """Reads a recipe of the keyword task (the shipped `own-words` if None) and puts the words into it.

    Raises:
        ConfigError: something in it is wrong, or a word cannot be one.
    """
    own = OwnWords(tuple(word.strip().lower() for word in words))
    recipe = load_recipe("keyword", (f"network.labels={len(own.labels)}", *settings), path or Path(RECIPE))
    shipped = f"keyword-{recipe.network.cell}"  # the name of a recipe that gives none
    name = f"{RECIPE}-{recipe.network.cell}" if recipe.name == shipped else recipe.name
    return dataclasses.replace(recipe, own=own, name=name)


class OwnWordsTask(KeywordTask):
    """Which of a user's words, if any, has just been spoken."""

    def __init__(self, corpus: Corpus, recipe: Recipe, frontend: LogMel, recordings: Path) -> None:
        """Reads the recordings, prepares training streams and dev streams.

        Raises:
            DataError: recordings are missing or cannot be used.
        """
        self.recipe, self.frontend, self.data = recipe, frontend, recipe.keyword
        self.labels, self.recordings = recipe.own.labels, recordings
        own = gather(recordings, recipe.own.words, corpus.work)
        planner = OwnPlanner(corpus, recipe.keyword, recipe.own, own, "train")
        self.planner, self.noise, self.clips = planner, planner.noise, planner.clips
        self.judged = OwnDev(OwnPlanner(corpus, recipe.keyword, recipe.own, own, "dev"), recipe, frontend)

    def batches(self, recipe: Recipe, corpus: Corpus, device: torch.device, loaders: int) -> BatchMaker:
        """Streams of pieces; measured rooms are used where the data folder has some."""
        there = corpus.data != self.recordings and (corpus.data / "rooms").is_dir()
        measured = corpus.rooms().values() if there and recipe.augment.room_part else ()
        rooms = make_rooms(measured, recipe.augment.simulated_rooms, recipe.training.seed)
        teachers = self.teachers(recipe)
        return AudioMaker(self.planner, self.noise, recipe, self.frontend, rooms, teachers=teachers)

    def evaluate(self, network: Network) -> dict[str, float]:
        """Share of the words heard right, and false alarms."""
        return self.judged.evaluate(network)


class OwnDev:
    """The recordings put aside, one after another, and talk without the words (made up if there is none)."""

    def __init__(self, planner: OwnPlanner, recipe: Recipe, frontend: LogMel) -> None:
        """Makes the streams once."""
        self.frame_samples = recipe.network.stride_frames * HOP_SAMPLES
        self.labels = recipe.own.labels
        words = [word for words in planner.by_label.values() for word in words]
        order = np.random.default_rng(DEV_SEED).permutation(len(words))
        pieces = [Piece(read_clip(planner.corpus, word.clip), NO_TARGETS, word.label) for word in words]
        samples, self.placed = lay_out([pieces[number] for number in order], min(STREAMS, len(pieces)))
        self.words = stream_features(frontend, samples)
        talk = [Piece(planner.speech(clip), NO_TARGETS) for clip in planner.sentences if clip.seconds < 20]
        talk = talk or _disorder(planner)
        samples, _ = lay_out(talk, min(STREAMS, len(talk)))
        self.talk = stream_features(frontend, samples)
        self.hours = sum(len(piece.samples) for piece in talk) / SAMPLE_RATE / 3600

    def evaluate(self, network: Network) -> dict[str, float]:
        """Mean over the words of the share heard right; `score` takes false alarms off.

        The words' own shares have names that no other figure has, whatever a word is.
        """
        posterior = posteriors(network, self.words, sigmoid=False)
        truth, found = word_scores(posterior, self.placed, self.frame_samples)
        shares = {
            f"right: {self.labels[label]}": float((found == label)[truth == label].mean())
            for label in np.unique(truth)
        }
        talk = posteriors(network, self.talk, sigmoid=False)
        per_hour = sum(count_events(row, self.frame_samples) for row in talk) / self.hours
        balanced = float(np.mean(list(shares.values())))
        score = balanced - min(per_hour, 200.0) / 2000
        return {"score": score, "balanced": balanced, "false_alarms_per_hour": per_hour, **shares}


def _disorder(planner: OwnPlanner) -> list[Piece]:
    """Two minutes of recordings in disorder."""
    rng = np.random.default_rng(DEV_SEED)
    pieces: list[Piece] = []
    while sum(len(piece.samples) for piece in pieces) < LEAST_NEGATIVE_S * SAMPLE_RATE:
        pieces.append(planner.made_up(rng))
    return pieces
