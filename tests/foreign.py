"""Small models of the same graph signatures as those trained elsewhere, with random weights."""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torchaudio.models import emformer_rnnt_model

Array = NDArray[np.float32]
TOKENS = ("<blk>", "<sos/eos>", "<unk>", "\u2581a", "\u2581b", "c", "d", "\u2581e")
T, SHIFT, MELS, LAYERS, D_MODEL, HIDDEN, JOINER, CONTEXT = 9, 4, 80, 2, 6, 10, 7, 2
MEAN = np.float32(8)
"""Taken off the features (which lie below zero), or random networks would see little else."""
PIECES = (("<unk>", 2), ("<s>", 3), ("</s>", 3), ("\u2581a", 1), ("\u2581b", 1), ("c", 1), ("d", 1))
NETWORK = {
    "input_dim": 80,
    "encoding_dim": 12,
    "segment_length": 16,
    "right_context_length": 4,
    "time_reduction_input_dim": 4,
    "time_reduction_stride": 4,
    "transformer_num_heads": 2,
    "transformer_ffn_dim": 8,
    "transformer_num_layers": 2,
    "transformer_dropout": 0.1,
    "transformer_activation": "gelu",
    "transformer_left_context_length": 6,
    "transformer_max_memory_size": 0,
    "transformer_weight_init_scale_strategy": "depthwise",
    "transformer_tanh_on_mem": True,
    "symbol_embedding_dim": 8,
    "num_lstm_layers": 2,
    "lstm_layer_norm": True,
    "lstm_layer_norm_epsilon": 1e-3,
    "lstm_dropout": 0.3,
}


class Graph:
    """Collects the nodes and weights of a graph, and writes it."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, name: str = "", **options: object) -> str:
        output = name or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **options))
        return output

    def constant(self, value: NDArray[np.generic]) -> str:
        self.weights.append(numpy_helper.from_array(value, f"w{len(self.weights)}"))
        return f"w{len(self.weights) - 1}"

    def write(
        self,
        path: Path,
        inputs: dict[str, list[int | str]],
        outputs: dict[str, list[int | str]],
        metadata: dict[str, object],
        kind: int = TensorProto.FLOAT,
    ) -> None:
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in outputs.items()
            ],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        for key, value in metadata.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, str(value)
        onnx.checker.check_model(model)
        onnx.save(model, path)


class Weights:
    """Weights of a small transducer, and the same network in plain numpy."""

    def __init__(self, seed: int = 4) -> None:
        rng = np.random.default_rng(seed)

        def draw(*shape: int, scale: float = 1.0) -> Array:
            return (scale * rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

        self.input = draw(T * MELS, D_MODEL, scale=0.3)
        self.layers = [
            (
                draw(D_MODEL, 4 * HIDDEN, scale=2.0),
                draw(D_MODEL, 4 * HIDDEN),
                draw(HIDDEN, D_MODEL, scale=2.0),
            )
            for _ in range(LAYERS)
        ]
        self.output = draw(D_MODEL, JOINER, scale=6.0)
        self.embedding = draw(len(TOKENS), JOINER, scale=3.0)
        self.joint = draw(JOINER, len(TOKENS), scale=8.0)

    def encode(self, segments: Array) -> Array:
        """Segments `(K, T * 80)` to encoder frames `(K, J)`: an LSTM with projection, two layers."""
        h, c = np.zeros((LAYERS, D_MODEL)), np.zeros((LAYERS, HIDDEN))
        frames = []
        for segment in segments:
            x = np.tanh((segment + MEAN) @ self.input)
            for layer, (w_x, w_h, projection) in enumerate(self.layers):
                i, f, g, o = np.split(x @ w_x + h[layer] @ w_h, 4)
                c[layer] = c[layer] / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
                h[layer] = x = (np.tanh(c[layer]) / (1 + np.exp(-o))) @ projection
            frames.append(x @ self.output)
        return np.array(frames, dtype=np.float32)

    def greedy(self, frames: Array) -> list[tuple[int, int]]:
        """Tokens with their frames, at most one for each frame."""
        tokens, found = [0] * CONTEXT, []
        for number, frame in enumerate(frames):
            predicted = self.embedding[tokens[-CONTEXT:]].sum(0)
            token = int((np.tanh(frame + predicted) @ self.joint).argmax())
            if token not in (0, 1, 2):
                tokens.append(token)
                found.append((token, number))
        return found


def write_encoder(path: Path, weights: Weights, model_type: str = "lstm", mels: int = MELS) -> None:
    graph = Graph()
    zero, one = graph.constant(np.array([0])), graph.constant(np.array([-1, T * mels]))
    centred = graph.add("Add", graph.add("Reshape", "x", one), graph.constant(np.array(MEAN)))
    x = graph.add("Tanh", graph.add("MatMul", centred, graph.constant(weights.input)))
    hidden, cells = [], []
    for layer, (w_x, w_h, projection) in enumerate(weights.layers):
        index = graph.constant(np.array(layer))
        h = graph.add("Gather", "state0", index, axis=0)
        c = graph.add("Gather", "state1", index, axis=0)
        from_h = graph.add("MatMul", h, graph.constant(w_h))
        gates = graph.add("Add", graph.add("MatMul", x, graph.constant(w_x)), from_h)
        parts = [f"gate{layer}{name}" for name in "ifgo"]
        graph.nodes.append(helper.make_node("Split", [gates], parts, axis=1))
        i, f, g, o = (
            graph.add("Tanh" if name == "g" else "Sigmoid", part)
            for name, part in zip("ifgo", parts, strict=True)
        )
        c = graph.add("Add", graph.add("Mul", f, c), graph.add("Mul", i, g))
        x = graph.add("MatMul", graph.add("Mul", o, graph.add("Tanh", c)), graph.constant(projection))
        hidden.append(graph.add("Unsqueeze", x, zero))
        cells.append(graph.add("Unsqueeze", c, zero))
    graph.add("Concat", *hidden, name="new_state0", axis=0)
    graph.add("Concat", *cells, name="new_state1", axis=0)
    encoded = graph.add("MatMul", x, graph.constant(weights.output))
    graph.add("Unsqueeze", encoded, graph.constant(np.array([1])), name="encoder_out")
    sizes = {"state0": [LAYERS, "N", D_MODEL], "state1": [LAYERS, "N", HIDDEN]}
    metadata = {"model_type": model_type, "version": 1, "decode_chunk_len": SHIFT, "T": T}
    metadata |= {"num_encoder_layers": LAYERS, "d_model": D_MODEL, "rnn_hidden_size": HIDDEN}
    outputs: dict[str, list[int | str]] = {"encoder_out": ["N", 1, JOINER]}
    outputs |= {f"new_{name}": shape for name, shape in sizes.items()}
    graph.write(path, {"x": ["N", T, mels], **sizes}, outputs, metadata)


def write_sherpa(folder: Path, weights: Weights) -> Path:
    """A folder as sherpa-onnx takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_encoder(folder / "encoder-epoch-99-avg-1.onnx", weights)
    decoder = Graph()
    embedded = decoder.add("Gather", decoder.constant(weights.embedding), "y", axis=0)
    decoder.add("ReduceSum", embedded, decoder.constant(np.array([1])), name="decoder_out", keepdims=0)
    metadata = {"context_size": CONTEXT, "vocab_size": len(TOKENS)}
    decoder.write(
        folder / "decoder-epoch-99-avg-1.onnx",
        {"y": ["N", CONTEXT]},
        {"decoder_out": ["N", JOINER]},
        metadata,
        TensorProto.INT64,
    )
    joiner = Graph()
    both = joiner.add("Tanh", joiner.add("Add", "encoder_out", "decoder_out"))
    joiner.add("MatMul", both, joiner.constant(weights.joint), name="logit")
    inputs: dict[str, list[int | str]] = {"encoder_out": ["N", JOINER], "decoder_out": ["N", JOINER]}
    path = folder / "joiner-epoch-99-avg-1.onnx"
    joiner.write(path, inputs, {"logit": ["N", len(TOKENS)]}, {"joiner_dim": JOINER})
    lines = [f"{token} {number}\n" for number, token in enumerate(TOKENS)]
    (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def message(*fields: tuple[int, bytes | int]) -> bytes:
    """A protocol buffer of short fields."""
    content = b""
    for field, value in fields:
        if isinstance(value, int):
            content += bytes([field << 3, value])
        else:
            content += bytes([field << 3 | 2, len(value)]) + value
    return content


def write_pieces(path: Path) -> None:
    """A SentencePiece model with scores (which nobody needs) and a trainer's description after the pieces."""
    pieces = [
        message((1, text.encode())) + bytes([2 << 3 | 5, 0, 0, 128, 191]) + message((3, kind))
        for text, kind in PIECES
    ]
    path.write_bytes(message(*((1, piece) for piece in pieces), (2, message((3, 2)))))


def write_emformer(folder: Path, seed: int = 0) -> torch.nn.Module:
    """A folder with a small Emformer RNN-T; returns the network."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rnnt: torch.nn.Module = emformer_rnnt_model(**NETWORK, num_symbols=len(PIECES) + 1).eval()
        for weight in rnnt.parameters():
            weight.data.mul_(2.0)
        rnnt.joiner.linear.weight.data.mul_(4.0)  # type: ignore[union-attr]
        torch.save(rnnt.state_dict(), folder / "weights.pt")
    values = {"mean": np.linspace(8, 12, 80).tolist(), "invstddev": np.linspace(0.2, 0.4, 80).tolist()}
    (folder / "statistics.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "network.json").write_text(json.dumps(NETWORK), encoding="utf-8")
    write_pieces(folder / "pieces.model")
    return rnnt
