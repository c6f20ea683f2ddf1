"""Language models in files: ARPA (plain or .gz), and a compact format of Auricle's own (`.lm.xz`).

The compact format is an xz-compressed npz archive: the words, and for each order the number of n-grams after
each history, their last words, and log-probabilities and back-off weights in steps of 1/40 of a decade.
"""

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import ModelError
from auricle.configs.whole import written_whole
from auricle.models.decoding.ngram import END, NEVER, START, UNKNOWN, Floats, Ints, NGram, assemble

SUFFIX = ".lm.xz"
WEIGHTS = Path(__file__).parent.parent / "weights"
LN10 = float(np.log(10))
Table = list[tuple[int, int, float, float]]
"""Of one order: place of the history in the order before, last word, log-probability, back-off weight."""
DAMAGED = (
    OSError,
    EOFError,
    UnicodeDecodeError,
    lzma.LZMAError,
    zlib.error,
    zipfile.BadZipFile,
    KeyError,
)
"""What reading a file raises that is cut off or corrupt."""
MOST_WORDS = 1 << 16
"""That the compact format can number."""
STEPS = 40
"""Steps of a decade that the compact format keeps."""


def find_language_model(name: str) -> Path:
    """Finds a language model's file: the name of a shipped one, or a path.

    Raises:
        ModelError: there is none; the message lists those there are.
    """
    shipped = WEIGHTS / f"{name}{SUFFIX}"
    path = shipped if shipped.is_file() and "/" not in name else Path(name).expanduser()
    if not path.is_file():
        names = ", ".join(sorted(file.name.removesuffix(SUFFIX) for file in WEIGHTS.glob(f"*{SUFFIX}")))
        raise ModelError(
            f"no language model '{name}'; shipped: {names or 'none'}; or give the path of an ARPA file "
            "(.arpa, .arpa.gz) in transcript.language_model"
        )
    return path


def read_language_model(path: Path) -> NGram:
    """Reads a model of either format.

    Raises:
        ModelError: the file is missing, damaged or of another kind.
    """
    try:
        if path.name.endswith(".xz"):
            return _read_compact(path)
        opener: Any = gzip.open if path.name.endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8") as lines:
            return _read_arpa(line.rstrip("\n") for line in lines)
    except DAMAGED as error:
        raise ModelError(f"cannot read the language model {path}: {error}; get or build it again") from error
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"{path} is damaged or no ARPA language model: {error}; build it again (auricle train lm)"
        ) from error


def write_compact(model: NGram, path: Path) -> None:
    """Writes the compact format.

    Raises:
        ModelError: the model has more than 65,536 words.
    """
    count = len(model.words)
    if count > MOST_WORDS:
        raise ModelError(
            f"{count} words do not fit the compact format: expected at most {MOST_WORDS}; keep the ARPA file"
        )
    arrays: dict[str, NDArray[Any]] = {
        "words": np.frombuffer("\n".join(model.words).encode(), np.uint8),
        "unigram": _coarse(model.unigram),
        "backoff1": _coarse_signed(model.backoff[1 : 1 + count]),
    }
    begin, before = 0, 1
    for order, size in enumerate(model.orders[1:], start=2):
        part = slice(begin, begin + size)
        history = model.keys[part] // count - before
        before, begin = 1 + count + begin, begin + size
        arrays |= {
            f"after{order}": np.bincount(history, minlength=model.orders[order - 2]).astype(np.uint16),
            f"last{order}": (model.keys[part] % count).astype(np.uint16),
            f"prob{order}": _coarse(model.log_prob[part]),
            f"backoff{order}": _coarse_signed(model.backoff[1 + count + part.start : 1 + count + part.stop]),
        }
    stored = io.BytesIO()
    np.savez(stored, **arrays)  # type: ignore[arg-type]
    packed = lzma.compress(stored.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    with written_whole(path) as partial:
        partial.write_bytes(packed)


def _read_compact(path: Path) -> NGram:
    with np.load(io.BytesIO(lzma.decompress(path.read_bytes())), allow_pickle=False) as arrays:
        words = arrays["words"].tobytes().decode().split("\n")
        return assemble(words, _fine(arrays["unigram"]), _fine(arrays["backoff1"]), _orders(arrays))


def _orders(arrays: Mapping[str, NDArray[Any]]) -> Iterator[tuple[Ints, Ints, Floats, Floats]]:
    """One order after the other, so that memory is needed for one at a time."""
    order = 2
    while f"last{order}" in arrays:
        after = arrays[f"after{order}"]
        yield (
            np.repeat(np.arange(len(after)), after),
            arrays[f"last{order}"].astype(np.int64),
            _fine(arrays[f"prob{order}"]),
            _fine(arrays[f"backoff{order}"]),
        )
        order += 1


def _coarse(log_prob: NDArray[np.float32]) -> NDArray[np.uint8]:
    steps: NDArray[np.uint8] = np.clip(np.round(-log_prob * (STEPS / LN10)), 0, 255).astype(np.uint8)
    return steps


def _coarse_signed(backoff: NDArray[np.float32]) -> NDArray[np.int16]:
    steps: NDArray[np.int16] = np.round(-backoff * (STEPS / LN10)).astype(np.int16)
    return steps


def _fine(steps: NDArray[Any]) -> NDArray[np.float32]:
    values: NDArray[np.float32] = (steps * (-LN10 / STEPS)).astype(np.float32)
    return values


def _read_arpa(lines: Iterator[str]) -> NGram:
    """Reads the lines of an ARPA file; an n-gram whose history is missing is refused."""
    sizes = _read_sizes(lines)
    words: list[str] = []
    numbers: dict[str, int] = {}
    places: dict[tuple[int, ...], int] = {}
    tables: list[Table] = [[] for _ in sizes]
    for order, tokens in _entries(lines):
        log_prob, gram_words = float(tokens[0]), tokens[1 : 1 + order]
        backoff = float(tokens[1 + order]) if len(tokens) > 1 + order else 0.0
        table = tables[order - 1]
        if order == 1:
            numbers[gram_words[0]] = len(words)
            words += gram_words
        if unknown := [word for word in gram_words if word not in numbers]:
            raise ValueError(f"'{unknown[0]}' of '{' '.join(gram_words)}' is not among the 1-grams")
        gram = tuple(numbers[word] for word in gram_words)
        if order > 1 and gram[:-1] not in places:
            raise ValueError(f"n-gram '{' '.join(gram_words)}' has no entry for its history")
        places[gram] = len(table)
        table.append((places[gram[:-1]] if order > 1 else 0, gram[-1], log_prob, backoff))
    for number, (size, table) in enumerate(zip(sizes, tables, strict=True), start=1):
        if size != len(table):
            raise ValueError(f"expected {size} {number}-grams, found {len(table)}")
    return _of_tables(words, tables)


def _read_sizes(lines: Iterator[str]) -> list[int]:
    """How many n-grams of each order the header promises; stops behind the first section's title."""
    if not any(line.strip() == "\\data\\" for line in lines):
        raise ValueError("it has no line \\data\\, with which one begins")
    sizes = []
    for line in lines:
        if line.startswith("ngram "):
            sizes.append(int(line.partition("=")[2]))
        elif line.startswith("\\"):
            break
    if not sizes:
        raise ValueError("no line 'ngram 1=...'")
    return sizes


def _entries(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Order and tokens of each n-gram's line."""
    order = 1
    for line in lines:
        if line.strip() == "\\end\\":
            return
        if line.startswith("\\"):
            order = int(line[1 : line.index("-")])
        elif line.strip():
            yield order, line.split()
    raise ValueError("it ends without \\end\\")


def _of_tables(words: list[str], tables: list[Table]) -> NGram:
    columns = [np.array(table, np.float64).reshape(-1, 4) for table in tables]
    for word, log_prob in ((START, -99.0), (END, -99.0), (UNKNOWN, -99.0)):
        if word not in words:
            columns[0] = np.vstack([columns[0], [0, len(words), log_prob, 0]])
            words.append(word)

    def natural(values: NDArray[np.float64]) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = np.maximum(values * LN10, NEVER).astype(np.float32)
        return scaled

    orders = [
        (part[:, 0].astype(np.int64), part[:, 1].astype(np.int64), natural(part[:, 2]), natural(part[:, 3]))
        for part in columns[1:]
    ]
    return assemble(words, natural(columns[0][:, 2]), natural(columns[0][:, 3]), orders)


def write_arpa(model: NGram, path: Path) -> None:
    """Writes an ARPA file, compressed if its name ends in .gz."""
    opener: Any = gzip.open if path.name.endswith(".gz") else open
    count = len(model.words)
    with written_whole(path) as partial, opener(partial, "wt", encoding="utf-8") as out:
        out.write("\\data\\\n")
        out.writelines(f"ngram {order}={size}\n" for order, size in enumerate(model.orders, start=1))
        texts = list(model.words)
        out.write("\n\\1-grams:\n")
        for word, log_prob, backoff in zip(
            model.words, model.unigram / LN10, model.backoff[1 : 1 + count] / LN10, strict=True
        ):
            out.write(f"{log_prob:.5f}\t{word}\t{backoff:.5f}\n")
        begin = 0
        for order, size in enumerate(model.orders[1:], start=2):
            out.write(f"\n\\{order}-grams:\n")
            for entry in range(begin, begin + size):
                history, last = divmod(int(model.keys[entry]), count)
                texts.append(f"{texts[history - 1]} {model.words[last]}")
                log_prob, backoff = model.log_prob[entry] / LN10, model.backoff[1 + count + entry] / LN10
                out.write(f"{log_prob:.5f}\t{texts[-1]}\t{backoff:.5f}\n")
            begin += size
        out.write("\n\\end\\\n")
