"""The pieces in a SentencePiece model file, read without the sentencepiece package.

The file is a protocol buffer (`sentencepiece_model.proto`): field 1, repeated, is a piece, of which field 1
is the text and field 3 the type. Only these are read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from auricle.configs.errors import ModelError

NORMAL, UNKNOWN, CONTROL, UNUSED = 1, 2, 3, 5
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Piece(NamedTuple):
    """One token of a SentencePiece model."""

    text: str
    type: int = NORMAL

    @property
    def is_text(self) -> bool:
        """Whether it stands for something that was said."""
        return self.type not in (UNKNOWN, CONTROL, UNUSED)


def read_pieces(path: Path) -> list[Piece]:
    """Reads all pieces in order: the place of each is its number.

    Raises:
        ModelError: the file is missing, damaged, or holds no pieces.
    """
    try:
        pieces = [
            _piece(value) for field, value in _fields(path.read_bytes()) if field == 1 and value is not None
        ]
    except OSError as error:
        raise ModelError(f"cannot read the tokens {path}: {error}") from error
    except (ValueError, IndexError) as error:
        raise ModelError(f"{path} is no SentencePiece model, or damaged: {error}") from error
    if not pieces:
        raise ModelError(f"{path} is no SentencePiece model: it holds no pieces")
    return pieces


def _piece(content: bytes | int) -> Piece:
    if isinstance(content, int):
        raise ValueError("a piece is a message")
    found = dict(_fields(content))
    text, kind = found.get(1, b""), found.get(3, NORMAL)
    if not isinstance(text, bytes) or not isinstance(kind, int):
        raise ValueError("a piece has a text and a type")
    return Piece(text.decode("utf-8"), kind)


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int | None]]:
    """Numbers and values of a message's fields; numbers of fixed width are passed over as None."""
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            number, place = _varint(content, place)
            yield field, number
            continue
        if kind == _BYTES:
            length, place = _varint(content, place)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {kind}")
        if place + length > len(content):
            raise ValueError("it ends in the middle of a field")
        yield field, content[place : place + length] if kind == _BYTES else None
        place += length


def _varint(content: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
