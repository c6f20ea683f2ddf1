"""Transducers trained elsewhere: small models of the same signatures, against plain implementations."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from streaming import assert_resumes, assert_streams_like_offline

from auricle.configs.errors import ModelError
from auricle.daemon.bundled import FOLDER
from auricle.daemon.sources.file import read_blocks
from auricle.models.decoding.transducer import SearchState, TransducerSearch, log_softmax
from auricle.models.engine import ModelInfo, TorchEngine
from auricle.models.imported import emformer
from auricle.models.imported.files import write_sums
from auricle.models.imported.frontends import SegmentConfig, Segments
from auricle.models.imported.pieces import read_pieces

RATE = 16_000
Samples = NDArray[np.float32]


@pytest.fixture(name="words", scope="module")
def _words() -> Samples:
    return np.concatenate(list(read_blocks(FOLDER / "kitchen.flac", RATE)))[: 4 * RATE]


@pytest.fixture(name="sherpa", scope="module")
def _sherpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign.write_sherpa(tmp_path_factory.mktemp("models") / "lstm-en", foreign.Weights())


@pytest.fixture(name="bundle", scope="module")
def _bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("models") / "emformer"
    return folder, foreign.write_emformer(folder)


def heard(
    engine: TorchEngine, model: ModelInfo, samples: Samples, sizes: list[int], beam: int = 1
) -> SearchState:
    """Streams samples in pieces through front end, encoder and search."""
    transcriber = engine.transducer_search(model, beam)
    frontend, state = engine.frontend_state(model.frontend), engine.model_state(model)
    found, start, turn = transcriber.initial_state(), 0, 0
    while start < len(samples):
        piece = samples[None, start : start + sizes[turn % len(sizes)]]
        frames, frontend = engine.features(model.frontend, piece, frontend)
        encoded, state = engine.infer(model, frames, state)
        found = transcriber.step(encoded[0], found)
        start, turn = start + piece.shape[1], turn + 1
    return found


def tokens_of(state: SearchState) -> list[tuple[int, int]]:
    return [(token.id, token.frame) for token in state.best.tokens]


def kaldi_segments(samples: Samples) -> Samples:
    """The segments that sherpa-onnx would cut, out of torchaudio's copy of Kaldi."""
    mels = torchaudio.compliance.kaldi.fbank(
        torch.from_numpy(samples)[None], num_mel_bins=80, dither=0.0, snip_edges=False, high_freq=-400
    )
    segments: Samples = mels.unfold(0, foreign.T, foreign.SHIFT).transpose(1, 2).flatten(1).numpy()
    return segments


def test_sherpa_hears_what_plain_arithmetic_hears(sherpa: Path, words: Samples) -> None:
    weights, engine = foreign.Weights(), TorchEngine()
    model = engine.load(str(sherpa))
    expected = weights.greedy(weights.encode(kaldi_segments(words)))
    assert len(expected) > 5 and len({token for token, _ in expected}) > 2
    found = heard(engine, model, words, [160])
    # The reference mirrors the stream's end, which a stream does not have: its last segments are more.
    assert tokens_of(found) == [entry for entry in expected if entry[1] < found.frames]
    assert found.frames == len(weights.encode(kaldi_segments(words)[: found.frames]))
    last_sample = (found.frames * foreign.SHIFT) * 160 + model.frontend.delay_samples
    assert last_sample <= len(words) < last_sample + foreign.SHIFT * 160


@settings(max_examples=6, deadline=None)
@given(sizes=st.lists(st.integers(100, 9000), min_size=1, max_size=4), beam=st.sampled_from([1, 4]))
def test_sherpa_streams_as_in_one_piece(sherpa: Path, words: Samples, sizes: list[int], beam: int) -> None:
    engine = TorchEngine()
    model = engine.load(str(sherpa))
    whole = heard(engine, model, words, [len(words)], beam)
    found = heard(engine, model, words, [*sizes, 4000], beam)
    assert tokens_of(found) == tokens_of(whole)
    assert found.best.log_prob == pytest.approx(whole.best.log_prob, abs=1e-3)


def test_a_wide_beam_adds_up_all_ways_to_say_the_same(sherpa: Path) -> None:
    """Four frames, at most one token each: every way is counted out and compared."""
    engine = TorchEngine()
    transcriber = engine.transducer_search(engine.load(str(sherpa)), beam=100_000)
    weights = foreign.Weights()
    frames = np.random.default_rng(1).standard_normal((4, foreign.JOINER)).astype(np.float32)
    totals: dict[tuple[int, ...], float] = {}
    spoken = [token for token in range(len(foreign.TOKENS)) if token not in (1, 2)]
    for path in product(spoken, repeat=len(frames)):
        tokens, total = [0, 0], 0.0
        for frame, token in zip(frames, path, strict=True):
            logits = np.tanh(frame + weights.embedding[tokens[-2:]].sum(0)) @ weights.joint
            total += float(log_softmax(logits[None])[0, token])
            tokens += [token] if token else []
        key = tuple(tokens[2:])
        totals[key] = float(np.logaddexp(totals.get(key, -np.inf), total))
    best = max(totals, key=lambda key: totals[key])
    found = transcriber.step(frames, transcriber.initial_state())
    assert tuple(token.id for token in found.best.tokens) == best
    assert found.best.log_prob == pytest.approx(totals[best], abs=1e-4)
    assert len(found.beam) == len(totals)


def test_words_begin_where_tokens_say_so(sherpa: Path) -> None:
    class Fixed:
        """Says what it is told to: the encoder's frames are the log probabilities."""

        blank, silent = 0, frozenset({1, 2})

        def begin(self) -> tuple[Samples, None]:
            return np.zeros(1, np.float32), None

        def advance(self, tokens: Any, memories: Any) -> tuple[Samples, list[None]]:
            return np.zeros((len(tokens), 1), np.float32), [None] * len(tokens)

        def join(self, encoded: Samples, predicted: Samples) -> Samples:
            return np.repeat(encoded[None], len(predicted), axis=0)

    def frames(*tokens: int, score: float = 0.8) -> Samples:
        rows = np.full((len(tokens), len(foreign.TOKENS)), np.log(0.2 / 7), np.float32)
        rows[np.arange(len(tokens)), tokens] = np.log(score)
        return rows

    transcriber = TransducerSearch(Fixed(), foreign.TOKENS)
    state = transcriber.step(frames(0, 3, 5, 0, 4, 2, 0), transcriber.initial_state())
    words = transcriber.words(state.best)
    assert [(word.text, word.first_frame, word.last_frame) for word in words] == [("ac", 1, 2), ("b", 4, 4)]
    assert [word.score for word in words] == pytest.approx([0.8, 0.8])
    assert state.frames == 7
    assert transcriber.words(transcriber.initial_state().best) == []


@pytest.mark.parametrize("scale", ["kaldi", "torchaudio"])
def test_segments_do_not_depend_on_chunks(scale: str, words: Samples) -> None:
    frontend = Segments(SegmentConfig(scale, 9, 4))
    heard = torch.from_numpy(np.stack([words[:8000], words[20_000:28_000]]))
    for sizes in ([1, 7, 150], [160], [3000, 1]):
        assert_streams_like_offline(frontend, heard, sizes)
    assert_resumes(frontend, heard, 160)


def test_kaldi_mels_are_kaldis(words: Samples) -> None:
    frontend = Segments(SegmentConfig("kaldi", foreign.T, foreign.SHIFT))
    found, _ = frontend(torch.from_numpy(words)[None], frontend.initial_state(1))
    expected = kaldi_segments(words)[: found.shape[1]]
    assert found.shape[1] == len(expected) > 90
    assert np.abs(found[0].numpy() - expected).max() < 1e-3


def bundle_features(samples: Samples, values: dict[str, list[float]]) -> torch.Tensor:
    """Frames as torchaudio's bundle makes them of a whole recording."""
    mels = torchaudio.transforms.MelSpectrogram(RATE, n_fft=400, n_mels=80, hop_length=160)
    power = mels(torch.from_numpy(samples)).T * 32767.0**2
    scaled = torch.where(power > np.e, power.clamp(min=1e-9).log(), power / np.e)
    return (scaled - torch.tensor(values["mean"])) * torch.tensor(values["invstddev"])


def test_emformer_hears_what_torchaudio_hears(bundle: tuple[Path, Any], words: Samples) -> None:
    folder, rnnt = bundle
    engine = TorchEngine()
    found = heard(engine, engine.load(str(folder)), words, [320])
    frames = bundle_features(words, json.loads((folder / "statistics.json").read_text()))
    one, state, tokens, place = torch.tensor([1]), None, [], 0
    blank = len(foreign.PIECES)
    with torch.inference_mode():
        predicted, _, memory = rnnt.predict(torch.tensor([[blank]]), one, None)
        for start in range(0, len(frames) - 20, 16):
            segment = frames[None, start : start + 20]
            encoded, _, state = rnnt.transcribe_streaming(segment, torch.tensor([20]), state)
            for frame in encoded[0]:
                for _ in range(emformer.MOST_TOKENS):
                    joined, _, _ = rnnt.join(frame[None, None], one, predicted, one)
                    token = int(joined.argmax())
                    if token in (blank, 0, 1, 2):
                        break
                    tokens.append((token, place))
                    predicted, _, memory = rnnt.predict(torch.tensor([[token]]), one, memory)
                place += 1
    assert len(tokens) > 5
    assert tokens_of(found) == [entry for entry in tokens if entry[1] < found.frames]
    assert place - 4 <= found.frames <= place


@settings(max_examples=4, deadline=None)
@given(sizes=st.lists(st.integers(100, 9000), min_size=1, max_size=4))
def test_emformer_streams_as_in_one_piece(bundle: tuple[Path, Any], words: Samples, sizes: list[int]) -> None:
    engine = TorchEngine()
    model = engine.load(str(bundle[0]))
    whole = heard(engine, model, words, [len(words)])
    assert tokens_of(heard(engine, model, words, [*sizes, 4000])) == tokens_of(whole)


def test_states_are_stored_and_restored(sherpa: Path, bundle: tuple[Path, Any]) -> None:
    for folder in (sherpa, bundle[0]):
        engine = TorchEngine()
        model = engine.load(str(folder))
        shape = (1, 5, model.frontend.width)
        frames = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        _, state = engine.infer(model, frames, engine.model_state(model))
        restored = engine.restore_state(engine.dump_state(state), engine.model_state(model))
        found, _ = engine.infer(model, frames, restored)
        assert np.array_equal(found, engine.infer(model, frames, state)[0])
        assert found.shape == (1, 5, model.width)
        assert not np.allclose(found, engine.infer(model, frames, engine.model_state(model))[0])


def copied(sherpa: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in sherpa.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def other_encoder(folder: Path) -> None:
    foreign.write_encoder(folder / "encoder-epoch-99-avg-1.onnx", foreign.Weights(), "zipformer")


def wrong_checksum(folder: Path) -> None:
    write_sums(folder, [folder / "tokens.txt", *folder.glob("*.onnx")])
    (folder / "joiner-epoch-99-avg-1.onnx").write_bytes(b"other")


PROBLEMS: dict[str, Callable[[Path], object]] = {
    "expected one joiner graph": lambda folder: next(folder.glob("joiner*")).unlink(),
    "found decoder-1.onnx, decoder-epoch": lambda folder: (folder / "decoder-1.onnx").write_bytes(b""),
    "is a 'zipformer' model": other_encoder,
    "is not what it was: its SHA-256": wrong_checksum,
    "names no checksum for encoder": lambda folder: write_sums(folder, [folder / "tokens.txt"]),
    "SHA256SUMS:1: expected a SHA-256": lambda folder: (folder / "SHA256SUMS").write_text("1234\n"),
    "cannot read model file .*tokens.txt": lambda folder: (folder / "tokens.txt").unlink(),
    "knows 8 tokens, tokens.txt lists 1": lambda folder: (folder / "tokens.txt").write_text("<blk> 0\n"),
    "expected a token and a number": lambda folder: (folder / "tokens.txt").write_text("a b\n"),
    "the token <blk>": lambda folder: (folder / "tokens.txt").write_text("a 0\n"),
    "is no ONNX graph": lambda folder: next(folder.glob("encoder*")).write_bytes(b"junk"),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_is_wrong_with_a_folder_is_named(problem: str, sherpa: Path, tmp_path: Path) -> None:
    folder = copied(sherpa, tmp_path)
    PROBLEMS[problem](folder)
    with pytest.raises(ModelError, match=problem):
        TorchEngine().load(str(folder))


def test_right_checksums_and_spare_precisions_do_no_harm(sherpa: Path, tmp_path: Path) -> None:
    folder = copied(sherpa, tmp_path)
    (folder / "encoder-epoch-99-avg-1.int8.onnx").write_bytes(b"not looked at")
    write_sums(folder, [folder / "tokens.txt", *folder.glob("*1.onnx")])
    assert TorchEngine().load(str(folder)).name.startswith("copy@")


def test_a_folder_without_a_transducer_and_a_vad_are_refused(sherpa: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no transducer"):
        TorchEngine().load(str(tmp_path))
    engine = TorchEngine()
    with pytest.raises(ModelError, match="expected a transducer"):
        engine.transducer_search(engine.load("vad"))


def test_a_bundle_that_does_not_fit_is_refused(bundle: tuple[Path, Any], tmp_path: Path) -> None:
    folder = copied(bundle[0], tmp_path)
    (folder / "network.json").write_text(json.dumps(foreign.NETWORK | {"encoding_dim": 16}))
    with pytest.raises(ModelError, match="do not fit the network"):
        TorchEngine().load(str(folder))
    (folder / "network.json").write_text("{}")
    with pytest.raises(ModelError, match="does not describe an Emformer"):
        TorchEngine().load(str(folder))
    (folder / "network.json").write_text(json.dumps(foreign.NETWORK))
    (folder / "statistics.json").write_text('{"mean": [1], "invstddev": [1]}')
    with pytest.raises(ModelError, match="expected 80 numbers"):
        TorchEngine().load(str(folder))
    (folder / "pieces.model").write_bytes(b"\x0a\xff\x01")
    with pytest.raises(ModelError, match="no SentencePiece model"):
        TorchEngine().load(str(folder))


def test_pieces_are_read_in_order_with_their_types(tmp_path: Path) -> None:
    foreign.write_pieces(tmp_path / "pieces.model")
    pieces = read_pieces(tmp_path / "pieces.model")
    assert [(piece.text, piece.type) for piece in pieces] == list(foreign.PIECES)
    assert [piece.is_text for piece in pieces] == [False] * 3 + [True] * 4


def test_a_download_is_checked_ever_after(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(key: str, path: Path, progress: bool) -> None:
        path.write_bytes(b"half a fi")
        raise OSError("no route to host")

    monkeypatch.setattr(torchaudio.utils, "_download_asset", broken)
    with pytest.raises(ModelError, match=r"no route to host; .*docs/imported-models.md"):
        emformer.download(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".partial"]
    asked: list[str] = []

    def works(key: str, path: Path, progress: bool) -> None:
        assert not path.exists()
        asked.append(key)
        path.write_bytes(key.encode())

    monkeypatch.setattr(torchaudio.utils, "_download_asset", works)
    assert emformer.download(tmp_path) == emformer.download(tmp_path) == tmp_path
    assert asked == list(emformer.DOWNLOADS.values())
    (tmp_path / "weights.pt").write_bytes(b"other")
    monkeypatch.setattr(emformer, "download", lambda: tmp_path)
    with pytest.raises(ModelError, match="is not what it was"):
        TorchEngine().load("emformer-rnnt")
