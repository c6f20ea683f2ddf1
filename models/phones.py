"""The phones of General American English as CMUdict writes them (ARPAbet), without stress."""

PHONES = tuple(
    (  # noqa: SIM905
        "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
    ).split()
)
BLANK, SILENCE = "<blank>", "<silence>"
"""Label 0 of an acoustic model: `BLANK` says nothing new (CTC), `SILENCE` that nobody speaks (frames)."""
BLANK_INDEX = 0

Pronunciation = tuple[str, ...]


def phone_labels(first: str) -> tuple[str, ...]:
    """The labels of an acoustic model: `first` (blank or silence), then the 39 phones."""
    return (first, *PHONES)


INDEX = {phone: number for number, phone in enumerate(PHONES, start=1)}
"""The label of each phone."""
