"""Grammars, their graphs, and the search through them."""

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.configs.errors import ConfigError
from auricle.models.decoding.graph import CommandGraph, compile_grammar, compile_text
from auricle.models.decoding.search import (
    SearchConfig,
    Sentence,
    begin,
    best_sentence,
    progress,
    settled_frames,
    step,
)
from auricle.models.decoding.templates import read_network
from auricle.models.decoding.word_network import WordNetwork
from auricle.models.lexicon import Lexicon
from auricle.models.phones import INDEX, PHONES

GRAMMAR = """
language: en
intents:
  Light:
    data:
      - sentences: ["[please] turn (on|off) [the] {area} light[s]", "<dim> (the lamp;in {area})"]
        slots: {domain: light}
  Timer:
    data:
      - sentences: ["[set] [a] timer for {1..12:minutes} minute[s]"]
lists:
  area:
    values: ["kitchen", {in: "(bed|sleeping) room", out: 7}]
expansion_rules:
  dim: "(dim|darken)[ down]"
"""
LEXICON = Lexicon()


@pytest.fixture(name="graph", scope="module")
def _graph() -> CommandGraph:
    return compile_text(GRAMMAR)


def posteriors(text: str, rng: np.random.Generator, noise: float = 0.0) -> np.ndarray:
    """Peaky posteriors of a text: a frame or two for each phone, blanks between."""
    rows = [0, 0]
    for word in text.split():
        for phone in LEXICON.spoken(word)[0]:
            rows += [INDEX[phone]] * int(rng.integers(1, 3)) + [0] * int(rng.integers(1, 3))
    scores = 6 * np.eye(1 + len(PHONES))[[*rows, 0]] + noise * rng.standard_normal((len(rows) + 1, 40))
    return (np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).astype(np.float32)


def decode(rows: np.ndarray, graph: CommandGraph, config: SearchConfig | None = None) -> Sentence | None:
    state = begin(graph)
    for row in rows:
        state = step(row, state, config or SearchConfig())
    return best_sentence(state)


@pytest.mark.parametrize(
    ("text", "intent", "slots"),
    [
        ("please turn on the kitchen lights", "Light", {"domain": "light", "area": "kitchen"}),
        ("turn off sleeping room light", "Light", {"domain": "light", "area": 7}),
        ("darken in kitchen the lamp", "Light", {"domain": "light", "area": "kitchen"}),
        ("dim down the lamp in bed room", "Light", {"domain": "light", "area": 7}),
        ("timer for one minute", "Timer", {"minutes": 1}),
        ("set a timer for twelve minutes", "Timer", {"minutes": 12}),
    ],
)
def test_a_sentence_is_found_with_its_slots(
    graph: CommandGraph, text: str, intent: str, slots: dict[str, object]
) -> None:
    found = decode(posteriors(text, np.random.default_rng(1), 0.5), graph)
    assert found is not None
    assert " ".join(word.word for word in found.words) == text
    assert (found.intent, found.slots) == (intent, slots)
    assert -1.0 < found.score <= 0.0


def test_a_sentence_settles_while_other_sound_follows(graph: CommandGraph) -> None:
    rng = np.random.default_rng(3)
    sentence, other = posteriors("turn on the kitchen light", rng), posteriors("go away now no no", rng)
    state, settled = begin(graph), []
    for row in np.concatenate([other, sentence, other]):
        state = step(row, state, SearchConfig())
        settled.append(settled_frames(state))
    spoken = len(other) + len(sentence)
    assert max(settled[:spoken]) <= 3  # the blanks at its end
    assert settled[-1] >= len(other) - 2
    assert settled[-1] - settled[-6] == 5
    found = best_sentence(state)
    assert found is not None and found.slots["area"] == "kitchen"


def test_a_longer_sentence_is_not_settled_where_a_shorter_one_ends() -> None:
    graph = compile_text('intents: {Go: {data: [{sentences: ["go home [now please]"]}]}}')
    state, settled = begin(graph), []
    for row in posteriors("go home now please", np.random.default_rng(4)):
        state = step(row, state, SearchConfig())
        settled.append(settled_frames(state))
    assert max(settled) <= 4


def test_words_lie_where_they_are_said(graph: CommandGraph) -> None:
    rows = posteriors("timer for two minutes", np.random.default_rng(2))
    found = decode(rows, graph)
    assert found is not None
    labels = rows.argmax(1)
    place = 0
    for word in found.words:
        assert word.start_frame >= place
        place = word.end_frame
        own = labels[word.start_frame : word.end_frame]
        spoken = [label for label, _ in itertools.groupby(own.tolist()) if label]
        assert spoken in [[INDEX[phone] for phone in way] for way in LEXICON.spoken(word.word)]
    assert place <= len(rows)


def reference(ratios: np.ndarray, phones: list[int], cost: float) -> float:
    """The best path of one sentence, by the textbook: states blank, phone, blank, phone, ..., blank."""
    states = [0, *itertools.chain.from_iterable((phone, 0) for phone in phones)]
    outside = np.maximum(ratios[:, 0], -cost)
    scores = np.full(len(states), -np.inf)
    scores[0] = 0.0
    for row, free in zip(ratios, outside, strict=True):
        new = np.full(len(states), -np.inf)
        for place, label in enumerate(states):
            best = scores[place]
            if place >= 1:
                best = max(best, scores[place - 1])
            if place >= 2 and label and (label != states[place - 2]):
                best = max(best, scores[place - 2])
            new[place] = best + (free if place in (0, len(states) - 1) else row[label])
        scores = new
    return float(max(scores[-1], scores[-2]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), frames=st.integers(6, 25), cost=st.floats(0.1, 4.0))
def test_the_search_is_exact(seed: int, frames: int, cost: float) -> None:
    """Against every sentence in turn, on posteriors that mean nothing."""
    lexicon = Lexicon({"go": (("G", "OW"), ("G", "AH")), "ma": (("M", "M", "AH"),), "so": (("S", "OW"),)})
    text = "intents: {X: {data: [{sentences: ['go [ma] {x}', '(so|ma) [so]']}]}}\n"
    text += "lists: {x: {values: [so, go so]}}"
    sentences = ["go so", "go ma so", "go go so", "go ma go so", "so", "ma", "so so", "ma so"]
    rows = np.random.default_rng(seed).dirichlet(np.full(40, 0.1), frames).astype(np.float32)
    config = SearchConfig(filler_cost=cost)
    ratios = np.stack([config.log_ratios(row) for row in rows]).astype(np.float64)
    best = -np.inf
    for sentence in sentences:
        for way in itertools.product(*(lexicon.spoken(word) for word in sentence.split())):
            phones = [INDEX[phone] for phone in itertools.chain.from_iterable(way)]
            # Equal phones at a seam of two words need no blank in the graph: none are in these sentences.
            best = max(best, reference(ratios, phones, cost))
    found = decode(rows, compile_text(text, lexicon), config)
    if best == -np.inf:
        assert found is None
        return
    assert found is not None
    assert found.score == pytest.approx(best, abs=1e-3)
    assert " ".join(word.word for word in found.words) in sentences
    assert sum(word.score for word in found.words) >= best - 1e-3


def test_progress_tells_where_a_sentence_stands(graph: CommandGraph) -> None:
    rows = posteriors("turn on the kitchen light", np.random.default_rng(3))
    state, seen = begin(graph), []
    for row in rows:
        state = step(row, state, SearchConfig())
        seen.append(progress(state))
    order = [what for what, _ in itertools.groupby(seen)]
    assert order == ["nothing", "partial", "final"]


def test_a_search_does_not_change_the_state_it_was_given(graph: CommandGraph) -> None:
    rows = posteriors("timer for two minutes", np.random.default_rng(2), 2.0)
    state = begin(graph)
    for row in rows[:10]:
        state = step(row, state, SearchConfig())
    ends = []
    for _ in range(2):
        branch = state
        for row in rows[10:]:
            branch = step(row, branch, SearchConfig())
        ends.append(best_sentence(branch))
    assert ends[0] == ends[1] is not None


def six_lists(size: int) -> str:
    words = sorted(LEXICON_WORDS)[: 6 * size]
    lists = "".join(
        f"  l{number}: {{values: {words[number * size : (number + 1) * size]}}}\n" for number in range(6)
    )
    sentence = "i want {l0} and {l1} with {l2} [and] {l3} for {l4} [in] {l5} please"
    return f"intents: {{Order: {{data: [{{sentences: ['{sentence}']}}]}}}}\nlists:\n{lists}"


LEXICON_WORDS = [
    f"{a}{b}{c}" for a in ("ba", "ki", "so") for b in ("men", "tal", "ro") for c in "abcdefghijklmno"
]


def test_the_graph_grows_with_the_template_not_with_its_sentences() -> None:
    started = time.process_time()
    graph = compile_text(six_lists(22))  # 22 ** 6 * 4 = 450 million sentences
    assert time.process_time() - started < 10  # a second on a free machine
    assert len(graph.labels) < 3000
    assert len(graph.jump_from) < 1000
    longer = compile_text(six_lists(11))
    assert len(graph.labels) < 2.5 * len(longer.labels)


def test_a_graph_comes_back_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = tmp_path / "orders.yaml", tmp_path / "cache"
    path.write_text(six_lists(22))
    fresh = compile_grammar(path, cache_folder=cache)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr("auricle.models.decoding.graph.build_graph", None)  # not called again
    stored = compile_grammar(path, cache_folder=cache)
    rows = posteriors("i want bamena", np.random.default_rng(0), 1.0)
    assert decode(rows, stored) == decode(rows, fresh)
    assert (stored.tags, stored.vocabulary) == (fresh.tags, fresh.vocabulary)
    path.write_text(six_lists(21))
    with pytest.raises(TypeError):
        compile_grammar(path, cache_folder=cache)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    monkeypatch.undo()
    path.write_text(six_lists(22))
    flipped = bytes([*whole[:200], whole[200] ^ 1, *whole[201:]])
    for damaged in (b"damaged", b"", whole[: len(whole) // 2], flipped):
        file.write_bytes(damaged)
        assert compile_grammar(path, cache_folder=cache).tags == fresh.tags


def test_a_grammar_that_is_saved_while_it_is_read_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its graph would be found under the name of the text before."""
    path, cache = tmp_path / "orders.yaml", tmp_path / "cache"
    path.write_text(six_lists(2))

    def saved_first(path: Path) -> WordNetwork:
        path.write_text(six_lists(3))
        return read_network(path)

    monkeypatch.setattr("auricle.models.decoding.graph.read_network", saved_first)
    compile_grammar(path, cache_folder=cache)
    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("intents: [", "not valid YAML"),
        ("lists: {}", "expected a table `intents`"),
        (
            "intents: {X: {data: [{sentences: ['turn on {aera}']}]}}\nlists: {area: {values: [a]}}",
            "did you mean 'area'",
        ),
        ("intents: {X: {data: [{sentences: ['turn <it>']}]}}", "unknown expansion rule 'it'"),
        ("intents: {X: {data: [{sentences: ['<a>']}]}}\nexpansion_rules: {a: 'b [<a>]'}", "refers to itself"),
        ("intents: {X: {data: [{sentences: ['turn (on']}]}}", "check its brackets"),
        ("intents: {X: {data: [{sentences: ['turn to ελ']}]}}", "write it as it is spoken"),
        ("intents: {X: {data: [{sentences: ['go {n}']}]}}\nlists: {n: {wildcard: true}}", "wildcard"),
        (f"intents: {{X: {{data: [{{sentences: ['go{'(a|b)' * 30}']}}]}}}}", "more than 10000 spellings"),
        (f"intents: {{X: {{data: [{{sentences: ['{'[' * 900}go{']' * 900} on']}}]}}}}", "beyond all depth"),
        ("intents: {X: {data: [{sentences: ['go {0..2000000000000,1000000000:n}']}]}}", "numbers up to"),
        ("intents: {X: {data: [{sentences: ['[go]']}]}}\nlists: {n: 1}", None),
        ("intents: {X: {data: [{sentences: ['.']}]}}", "no word in it"),
        ("language: de\nintents: {X: {data: [{sentences: ['go']}]}}", "expected en"),
        ("intents: {X: {data: [{sentences: ['go {0..99999:n}']}]}}", "expected 1 to 10000"),
        ("intents: {X: {data: []}}", "expected a list `data`"),
        ("intents: {X: {data: [{sentences: [no]}]}}", "need quotes"),
        ("intents: {X: {data: [{sentences: [~]}]}}", "expected words, got None"),
        ("intents: {X: {data: [{sentences: ['go {n}']}]}}\nlists: {n: {values: [on, off]}}", "need quotes"),
        (
            "intents: {X: {data: [{sentences: ['go {n}']}]}}\nlists: {n: {values: [{in: on, out: 1}]}}",
            "need quotes",
        ),
        ("intents: {X: {data: [{sentences: ['go']}]}}\nskip_words: please", r"such as \[please\]"),
        ("intents: {X: {data: [{sentences: ['go <s>']}]}}\nexpansion_rules: {s: on}", "need quotes"),
        ("intents: {X: {data: [{sentences: ['go <s>']}]}}\nexpansion_rules: {s: [a]}", "expected words"),
        ("intents: {X: {data: [{sentences: ['go <s>']}]}}\nexpansion_rules: {on: a}", "True needs quotes"),
        ("intents: {X: {data: [{sentences: ['go'], slots: [a]}]}}", "expected a table `slots`"),
        ("intents: {X: {data: [{sentences: ['go zz']}]}}", "cannot guess how 'zz' is spoken"),
    ],
)
def test_mistakes_in_a_grammar_are_named(tmp_path: Path, text: str, message: str | None) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    if message is None:
        compile_grammar(path)
        return
    with pytest.raises(ConfigError, match=message) as caught:
        compile_grammar(path)
    assert "my.yaml" in str(caught.value)


def test_a_missing_grammar_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot read the grammar"):
        compile_grammar(tmp_path / "none.yaml")


def test_numbers_are_said_in_their_usual_ways() -> None:
    text = "intents: {X: {data: [{sentences: ['{n}%']}]}}\nlists: {n: {range: {from: -5, to: 130, step: 5}}}"
    graph = compile_text(text)
    for said, value in {
        "minus five percent": -5,
        "thirty five percent": 35,
        "one hundred five percent": 105,
        "a hundred and thirty percent": 130,
    }.items():
        found = decode(posteriors(said, np.random.default_rng(0)), graph)
        assert found is not None
        assert found.slots == {"n": value}


def test_numbers_of_a_list_keep_their_sign_and_their_point() -> None:
    text = "intents: {X: {data: [{sentences: ['set it to {n}']}]}}\nlists: {n: {values: [-5, 5, 19.5, 25]}}"
    graph = compile_text(text)
    for said, value in {"minus five": -5, "five": 5, "nineteen point five": 19.5, "twenty five": 25}.items():
        found = decode(posteriors(f"set it to {said}", np.random.default_rng(0)), graph)
        assert found is not None
        assert found.slots == {"n": value}
