"""What verifiers are worth: fitted to recordings of the train split, judged on the streams of another one.

Shape letters: B streams, J output frames, V labels, P phrases.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from auricle.models.decoding.background import Background, encode
from auricle.models.decoding.phrases import Array, PhraseSearch
from auricle.models.decoding.verifier import Verifier, candidates, cut
from auricle.models.decoding.ways import Ways
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.fit_verifier import FEWEST, fit_verifier, new_info
from auricle.pipelines.own_verifier import noise_of, rooms_of
from auricle.pipelines.sounds import read_clip, speech_at_reference
from auricle.pipelines.targets import Floats
from auricle.pipelines.verifier_data import hear_takes
from auricle.pipelines.wake_streams import NEVER, Ear, scan

AROUND_S = (0.4, 0.3)
"""Of a sentence with a wake word so much before and after it is taken."""
SEED = 62_000


def fit_split(
    ear: Ear,
    corpus: Corpus,
    background: Background,
    ways: Ways,
    said: Mapping[str, Sequence[Clip]],
    *,
    count: int,
) -> dict[str, Verifier]:
    """Fits a verifier for each phrase with enough recordings, to so many of them, drawn at random."""
    verifiers = {}
    for phrase, clips in said.items():
        order = np.random.default_rng(SEED).permutation(len(clips))[:count]
        if len(order) < FEWEST:
            continue
        recordings = [said_in(corpus, clips[index]) for index in order]
        takes = hear_takes(ear, recordings, noise_of(corpus), rooms_of(corpus))
        info = new_info(phrase, ways[phrase], background)
        verifiers[phrase] = fit_verifier(info, background, takes).verifier
    return verifiers


def said_in(corpus: Corpus, clip: Clip) -> Floats:
    """What a user would record: the phrase with little around it."""
    samples = speech_at_reference(read_clip(corpus, clip))
    if "wake_start" not in clip.details:
        return samples
    begin = round((float(clip.details["wake_start"]) - AROUND_S[0]) * SAMPLE_RATE)
    return samples[max(0, begin) : round((float(clip.details["wake_end"]) + AROUND_S[1]) * SAMPLE_RATE)]


def verified_scores(log_probs: Array, verifiers: Mapping[str, Verifier], phrases: Sequence[str]) -> Array:
    """The verifiers' scores where candidates end, `NEVER` elsewhere, with shape `(B, J, P)`."""
    found = []
    for phrase in phrases:
        verifier = verifiers[phrase]
        scores, starts = scan(log_probs, PhraseSearch([verifier.info.ways], verifier.info.search))
        looked = np.full(scores.shape[:2], NEVER, np.float32)
        for stream, rows in enumerate(log_probs):
            own = candidates(scores[stream, :, 0], starts[stream, :, 0], verifier.info.least_raw)
            codes = encode(rows, len(rows))[0]
            if own:
                raws = [one.raw for one in own]
                means = verifier.scores([cut(codes, one) for one in own], raws).mean(0)
                looked[stream, [one.frame for one in own]] = means
        found.append(looked)
    return np.stack(found, 2)
