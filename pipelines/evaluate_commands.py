"""Commands judged as a user gets them: recordings in a stream, through `auricle stream --grammar`.

The recordings follow each other with pauses, clean or in recorded noise, in one file; a command is right if
the one event that comes for it has its intent and all its slots. Speech outside the grammar makes another
stream, in which every event is false. PocketSphinx, where it is installed, hears the same recordings cut out
one by one, with the same grammar as a finite state graph; without a threshold of its own, it is only judged
on commands.

Shape letters: N samples.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from auricle.models.decoding import search
from auricle.models.decoding.graph import compile_text
from auricle.models.decoding.templates import parse_network
from auricle.models.decoding.word_network import FINAL, START, Tag, WordNetwork
from auricle.models.lexicon import Lexicon, normalise
from auricle.pipelines.command_trials import Trial, Trials
from auricle.pipelines.corpus import SAMPLE_RATE, Corpus
from auricle.pipelines.metrics import rate_per_hour, share_by_block
from auricle.pipelines.sounds import NoisePlanner
from auricle.pipelines.targets import Floats
from auricle.pipelines.through_stream import lay_out, stream_events

CONDITIONS_DB = (None, 12.0, 6.0)
SEED = 61_000
TIMED_FRAMES = 400

Recogniser = Callable[[Floats], list[str]]
Event = Mapping[str, Any]


class Laid(NamedTuple):
    """A recording in its stream."""

    trial: Trial
    start_sample: int
    end_sample: int
    speech_end: int


def command_events(stream: Floats, grammar: str, options: Sequence[str]) -> tuple[list[Event], float]:
    """Runs a stream through `auricle stream`; its commands, and the processor time it took (s).

    Raises:
        DataError: the command failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        sentences = Path(folder) / "grammar.yaml"
        sentences.write_text(grammar, encoding="utf-8")
        events, used_s = stream_events(stream, ["--grammar", str(sentences), *options])
    return [event for event in events if event["type"] == "command"], used_s


def judge(laid: Sequence[Laid], events: Sequence[Event]) -> dict[str, Any]:
    """Counts what is right: intent and all slots of the one event for each recording."""
    starts = np.array([one.start_sample for one in laid])
    owned: list[list[Event]] = [[] for _ in laid]
    for event in events:
        place = int(np.searchsorted(starts, event["data"]["end_sample"], side="right")) - 1
        owned[max(0, place)].append(event)
    right, intents, heard, delays = [], [], [], []
    mistakes: Counter[tuple[str, str, str]] = Counter()
    wrong = []
    for one, own in zip(laid, owned, strict=True):
        heard.append(bool(own))
        intents.append(len(own) == 1 and own[0]["data"]["intent"] == one.trial.intent)
        right.append(intents[-1] and own[0]["data"]["slots"] == dict(one.trial.slots))
        if not right[-1]:
            wrong.append([" ".join(one.trial.clip.words), "; ".join(event["data"]["text"] for event in own)])
        if intents[-1]:
            mistakes.update(wrong_slots(one.trial.slots, own[0]["data"]["slots"]))
            delays.append((own[0]["sample"] - one.speech_end) / SAMPLE_RATE)
    speakers = [one.trial.clip.speaker_or_id for one in laid]
    return {
        "commands": len(laid),
        "all_right": share_by_block(right, speakers),
        "intent_right": share_by_block(intents, speakers),
        "any_event": share_by_block(heard, speakers),
        "delay_p50_s": float(np.median(delays)) if delays else None,
        "delay_p95_s": float(np.percentile(delays, 95)) if delays else None,
        "mistakes": [[*mistake, count] for mistake, count in mistakes.most_common()],
        "wrong": wrong,
    }


def wrong_slots(said: Mapping[str, Any], heard: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Slots that were heard wrongly: name, what was said, what was heard; "" for nothing."""
    names = [name for name in dict.fromkeys((*said, *heard)) if said.get(name) != heard.get(name)]
    return [(name, str(said.get(name, "")), str(heard.get(name, ""))) for name in names]


def understand(network: WordNetwork, words: Sequence[str]) -> Tag | None:
    """What a sentence of the grammar means; None if it is outside."""
    jumps: dict[int, list[tuple[int, int]]] = {}
    for jump in network.jumps:
        jumps.setdefault(jump.source, []).append((jump.target, jump.tag))
    arcs: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for arc in network.words:
        arcs.setdefault((arc.source, arc.word), []).append((arc.target, arc.tag))

    def closed(reached: dict[int, Tag]) -> dict[int, Tag]:
        waiting = list(reached)
        while waiting:
            place = waiting.pop()
            for target, tag in jumps.get(place, ()):
                if target not in reached:
                    reached[target] = _joined(reached[place], network.tags[tag])
                    waiting.append(target)
        return reached

    reached = closed({START: Tag()})
    for word in words:
        found = {
            target: _joined(before, network.tags[tag])
            for place, before in reached.items()
            for target, tag in arcs.get((place, word), ())
        }
        reached = closed(found)
    return reached.get(FINAL)


def _joined(one: Tag, other: Tag) -> Tag:
    return Tag(one.intent or other.intent, (*one.slots, *other.slots))


def sphinx(network: WordNetwork) -> Recogniser:
    """PocketSphinx with the network as its grammar, in its own words where it knows them.

    Raises:
        ImportError: it is not installed.
    """
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=SAMPLE_RATE, lm=None, loglevel="FATAL")
    lexicon = Lexicon()
    for word in dict.fromkeys(arc.word for arc in network.words):
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, " ".join(lexicon.spoken(word)[0]), True)
    ways: list[tuple[Any, ...]] = [(arc.source, arc.target, 1.0, arc.word) for arc in network.words]
    ways += [(jump.source, jump.target, 1.0) for jump in network.jumps]
    decoder.add_fsg("grammar", decoder.create_fsg("grammar", START, FINAL, ways))
    decoder.activate_search("grammar")
    floor = np.random.default_rng(SEED)

    def recognise(samples: Floats) -> list[str]:
        faint = floor.standard_normal(len(samples)) * 1e-3  # its running mean suffers from digital silence
        decoder.start_utt()
        decoder.process_raw(
            (np.clip(samples + faint, -1, 1) * 32767).astype(np.int16).tobytes(), full_utt=True
        )
        decoder.end_utt()
        found = decoder.hyp()
        return [] if found is None else [word.partition("(")[0] for word in found.hypstr.split()]

    return recognise


def beside(
    recogniser: Recogniser, network: WordNetwork, stream: Floats, laid: Sequence[Laid]
) -> dict[str, Any]:
    """The same recordings for another recogniser, cut out with half a second around them."""
    started, right, length = time.process_time(), [], 0
    for one in laid:
        cut = stream[max(0, one.start_sample - SAMPLE_RATE // 2) : one.end_sample + SAMPLE_RATE // 2]
        length += len(cut)
        meant = understand(network, recogniser(cut))
        wanted = (one.trial.intent, dict(one.trial.slots))
        right.append(meant is not None and (meant.intent, dict(meant.slots)) == wanted)
    used_s = time.process_time() - started
    speakers = [one.trial.clip.speaker_or_id for one in laid]
    return {"all_right": share_by_block(right, speakers), "cost": used_s / (length / SAMPLE_RATE)}


def search_cost(grammar: str) -> dict[str, float]:
    """Size of the graph, time to compile it, and processor time of its search in each second of audio."""
    started = time.process_time()
    graph = compile_text(grammar)
    compile_s = time.process_time() - started
    rows = np.random.default_rng(SEED).dirichlet(np.full(40, 0.1), TIMED_FRAMES).astype(np.float32)
    config, state = search.SearchConfig(), search.begin(graph)
    started = time.process_time()
    for row in rows:
        state = search.step(row, state, config)
        search.progress(state)
    per_frame = (time.process_time() - started) / TIMED_FRAMES
    return {"states": len(graph.labels), "compile_s": compile_s, "frame_ms": 1000 * per_frame}


def evaluate_commands(
    recordings: Corpus,
    trials: Trials,
    noise: NoisePlanner | None,
    options: Sequence[str],
    *,
    most: int = 0,
) -> dict[str, Any]:
    """Figures of commands in each condition, and of speech outside the grammar.

    Args:
        recordings: where what is said is.
        trials: what is said.
        noise: makes the noise; None to judge without any.
        options: of `auricle stream`, such as --config.
        most: commands, and recordings outside the grammar, at most; 0 for all.
    """
    commands = trials.commands[: most or None]
    network = parse_network(trials.grammar, "grammar")
    try:
        peer: Recogniser | None = sphinx(network)
    except ImportError:
        peer = None
    silence = np.zeros(SAMPLE_RATE, np.float32)
    command_events(silence, trials.grammar, options)  # hears talk for a grammar that is new, once
    load_s = command_events(silence, trials.grammar, options)[1]
    rows = []
    for snr_db in CONDITIONS_DB if noise else (None,):
        clips = [trial.clip for trial in commands]
        stream, places = lay_out(recordings, clips, noise if snr_db else None, snr_db or 0.0, SEED)
        laid = [Laid(trial, *place) for trial, place in zip(commands, places, strict=True)]
        events, used_s = command_events(stream, trials.grammar, options)
        row = {"condition": f"{snr_db:.0f} dB" if snr_db else "clean", **judge(laid, events)}
        row["cost"] = (used_s - load_s) / (len(stream) / SAMPLE_RATE)
        if peer is not None:
            row["pocketsphinx"] = beside(peer, network, stream, laid)
        rows.append(row)
    return {
        "options": list(options),
        "rows": rows,
        "outside": _outside(recordings, trials.others[: most or None], trials.grammar, options),
        "graph": search_cost(trials.grammar),
        "words": float(np.mean([len(normalise(trial.clip.text)) for trial in commands])),
        "slots": float(np.mean([len(trial.slots) for trial in commands])),
    }


def _outside(
    recordings: Corpus, others: Sequence[Trial], grammar: str, options: Sequence[str]
) -> dict[str, Any] | None:
    """False commands in speech outside the grammar; None where there is none."""
    if not others:
        return None
    stream, _ = lay_out(recordings, [trial.clip for trial in others], None, 0.0, SEED)
    false = len(command_events(stream, grammar, options)[0])
    hours = len(stream) / SAMPLE_RATE / 3600
    return {"hours": hours, "events": false, "per_hour": rate_per_hour(false, hours)}
