"""How a phrase may be said, as chains of labels for the search."""

from collections.abc import Mapping, Sequence
from itertools import islice, product

from auricle.configs.errors import ConfigError, DataError
from auricle.models.decoding.phrases import Way
from auricle.models.lexicon import Lexicon, normalise
from auricle.models.phones import INDEX

Ways = Mapping[str, tuple[Way, ...]]
"""How each of some phrases may be said."""
MOST_WAYS = 8
"""A phrase of many words with several pronunciations each is searched in so many ways, most usual first."""


def ways_of(phrase: str, lexicon: Lexicon, pronunciations: Sequence[str] = ()) -> tuple[Way, ...]:
    """Returns the ways to say a phrase, most usual first.

    Args:
        phrase: any text that can be spoken.
        lexicon: how words are spoken.
        pronunciations: phones of the whole phrase, in place of the lexicon's.

    Raises:
        ConfigError: the phrase cannot be said, or a pronunciation has unknown phones.
    """
    if pronunciations:
        return tuple(dict.fromkeys((_labels(text, phrase),) for text in pronunciations))
    try:
        words = [lexicon.spoken(word) for word in normalise(phrase)]
    except DataError as error:
        raise ConfigError(f"wake phrase '{phrase}': {error}") from error
    if not words:
        raise ConfigError(f"wake phrase '{phrase}': expected words, such as 'hey auricle'")
    combined = islice(product(*words), MOST_WAYS)
    return tuple(tuple(tuple(INDEX[phone] for phone in word) for word in way) for way in combined)


def _labels(text: str, phrase: str) -> tuple[int, ...]:
    """The labels of phones, stress marks taken off."""
    phones = [phone.rstrip("012").upper() for phone in text.split()]
    if not phones or (unknown := [phone for phone in phones if phone not in INDEX]):
        what = f"unknown phones {', '.join(unknown)}" if phones else "no phones"
        raise ConfigError(
            f"wake phrase '{phrase}': {what} in the pronunciation '{text}'; expected phones of ARPAbet, "
            f"such as 'HH EY AO R IH K AH L': {' '.join(INDEX)}"
        )
    return tuple(INDEX[phone] for phone in phones)
