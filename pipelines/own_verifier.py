"""A verifier for a user's wake phrase, from folders of recordings."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from auricle.configs.settings import Settings
from auricle.models.decoding.background import SUFFIX, load_background
from auricle.models.decoding.ways import ways_of
from auricle.models.lexicon import Lexicon
from auricle.models.zoo import find_model
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.fit_verifier import Fitted, check_count, fit_verifier, new_info
from auricle.pipelines.metrics import Interval, proportion
from auricle.pipelines.own_words import OwnNoise
from auricle.pipelines.sounds import NoiseConfig, NoisePlanner, noise_clips
from auricle.pipelines.targets import Floats
from auricle.pipelines.verifier_data import hear_takes, hear_talk
from auricle.pipelines.wake_streams import Ear
from auricle.pipelines.wake_tune import read_folder

RATES = (0.5, 0.1)
"""False accepts per hour at which misses are told."""
CONDITIONS = ("as recorded", "noise at 10 dB")


def fit_own(phrase: str, settings: Settings, recordings: Path, talk: Path | None, corpus: Corpus) -> Fitted:
    """Fits a verifier to the recordings in a folder; a minute or so.

    Args:
        phrase: as it is written.
        settings: the acoustic model; pronunciations, where the phrase is in `wake`.
        recordings: folder with the phrase once in each file.
        talk: folder of speech without the phrase.
        corpus: has recorded noise and measured rooms, or else noise is made up and rooms are simulated.

    Raises:
        DataError: there are too few recordings, or one cannot be read.
        ModelError: the acoustic model or its calibration is missing.
        ConfigError: the phrase cannot be said.
    """
    found = read_folder(recordings)
    check_count(phrase, len(found))
    ear = Ear(find_model(settings.acoustic.model, settings.acoustic.cell))
    background = load_background(ear.path.with_suffix(SUFFIX), ear.digest)
    own = next((entry for entry in settings.wake if entry.phrase.lower() == phrase.lower()), None)
    lexicon = Lexicon.of_user(settings.acoustic.lexicon)
    ways = ways_of(phrase, lexicon, own.pronunciations if own else ())
    takes = hear_takes(ear, [one.samples for one in found], noise_of(corpus), rooms_of(corpus))
    other = hear_talk(ear, [one.samples for one in read_folder(talk)]) if talk else []
    names = [one.name for one in found]
    fitted = fit_verifier(new_info(phrase, ways, background), background, takes, other, names)
    record = {"recordings": len(found), "takes": len(takes), "misses": told(fitted)}
    info = replace(fitted.verifier.info, record=record)
    return fitted._replace(verifier=replace(fitted.verifier, info=info))


def noise_of(corpus: Corpus) -> NoisePlanner:
    """Recorded noise to train with where there is some, else coloured noise."""
    config = NoiseConfig()
    if not all((corpus.data / name).is_dir() for name in config.sets):
        return OwnNoise(corpus, (), (), config)
    return NoisePlanner(corpus, noise_clips(corpus, config.sets, "train", voices=True), (), config)


def rooms_of(corpus: Corpus) -> Sequence[Floats]:
    """The measured rooms of a data folder that has some."""
    return list(corpus.rooms().values()) if (corpus.data / "rooms").is_dir() else []


def told(fitted: Fitted) -> dict[str, dict[str, list[Interval]]]:
    """Misses of recordings held out by condition and rate: without the verifier, and with it."""
    return {
        condition: {
            str(rate): [proportion(int(missed.sum()), len(missed)) for missed in fitted.misses(take, rate)]
            for rate in RATES
        }
        for take, condition in enumerate(CONDITIONS)
    }


def verifier_text(fitted: Fitted) -> str:
    """What the verifier is worth, as a table."""
    info = fitted.verifier.info
    lines = [
        f"'{info.phrase}', {info.record['recordings']} recordings, "
        "each judged by networks that did not learn from it",
        "",
        f"{'':16}{'false accepts per hour':>24}{'missed by the search':>22}{'with the verifier':>22}",
    ]
    for condition, rates in info.record["misses"].items():
        for rate, (without, together) in rates.items():
            lines.append(f"{condition:16}{rate:>24}{_percent(without):>22}{_percent(together):>22}")
    lines += [
        "",
        "Without a verifier the model's second pass looks again, if it has one: `auricle tune "
        f'"{info.phrase}" --recordings DIR` tells what it misses.',
    ]
    return "\n".join(lines)


def _percent(share: Interval) -> str:
    return f"{100 * share.value:.0f}% [{100 * max(0.0, share.low):.0f}, {100 * share.high:.0f}]"
