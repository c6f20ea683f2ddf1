"""Model cards: what a shipped model is, learnt from, reaches, and does not.

    python -m auricle.pipelines.card NAME... --figures DIR

Reads `models/weights/NAME.json` (from `auricle train`) and `DIR/NAME-eval.md` or `DIR/vad-eval.md` (from
`auricle evaluate --split eval --out DIR`), writes `models/weights/NAME.md`.
"""

import argparse
import json
import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from auricle.models.checkpoint import load_model
from auricle.models.second_pass import SECOND_SUFFIX, load_two_passes
from auricle.models.zoo import WEIGHTS
from auricle.pipelines.recipe import as_table, load_recipe
from auricle.pipelines.release import LICENCES

PURPOSE = {
    "vad": "Says for every 20 ms of a 16 kHz stream how likely someone is speaking, 40 ms late.",
    "keyword": """\
Says for every 40 ms of a 16 kHz stream which of ten commands (yes, no, up, down, left, right, on, off, stop,
go) or ten digits has just been spoken, if any: 22 posteriors, with silence and unknown.""",
    "acoustic": """\
Says for every 40 ms of a 16 kHz stream which of the 39 phones of General American English begins: 40
posteriors, label 0 (blank) for "nothing new". Wake phrases, commands and transcripts are decoded from it.""",
}
LOOKS = {
    "vad": "looked at once.",
    "acoustic": "looked at once.",
    "acoustic-lstm": "looked at once with these weights, and once with each of the seven before them.",
    "acoustic-gru": "looked at once with these weights, and once with each of the five before them.",
    "keyword": "looked at once.",
    "keyword-lstm": """\
looked at once with these weights, and once with each of the two before them (0.917 and 0.924 on the first
line).""",
    "keyword-gru": """\
looked at once with these weights, once with those before them (0.923 on the first line), and twice with the
first ones. The very first look gave 0.917 there, with silence often wrong. That led to the rule of decision:
a word was sought while the word before it was still heard. Where to seek was then chosen on `dev` with clips
of noise added, which made 0.926. So the shares by clip, of both keyword models, owe something to `eval`; the
reported keywords and the false alarms do not. That "unknown" was wrong more often than other labels was seen
in the table of the weights before, and is one reason why words are cut out of sentences now.""",
}
SECOND_LOOKS = {
    "acoustic-lstm": "looked at once with these weights, and once with each of the four before them",
    "acoustic-gru": "looked at once with these weights, and once with each of the four before them",
}
AGAIN = """
Intervals are by the spread between speakers. What is in noise was looked at once more when it turned out that
a third of the noise came from recordings of which another piece is in `train`; that is left out now."""
LIMITS = {
    "vad": """\
- Talk in the background counts as speech if it is clear enough; a babble of many voices mostly does not.
- Singing was left out of the training data on both sides: what the model makes of it is not known.
- Pauses shorter than 200 ms were labelled speech: the output bridges them.
- Learnt from English speech (read, a little spontaneous, children among it). Other languages were not
  measured.
""",
    "keyword": """\
- Words are learnt one by one. In running speech, words that sound like a keyword set it off: see the false
  alarms per hour, and raise `keyword.threshold` where they hurt.
- Noise alone is now and then taken for a word: see the false alarms in noise.
- "no" and most digits had few recordings (71 of "no", 12 to 57 of two, three, four, six, seven, nine, beside
  the digits of four speakers): synthesised ones and words found inside sentences were added. They are less
  sure than the rest.
- Words whose ends are cut off are guessed: "off" without its f is "up" or "on".
- Recordings in which the word is not above the noise are called silence.
- English only; accents as they come in the data.
""",
    "acoustic": """\
- It under-fits: it was trained on one core. Expect a quarter to a third of the phones to be wrong in clear
  reading, nearly half in strong accents, and some eight to thirteen points more in real noise at 10 dB.
- Answers come late by as much as the training found best, not by a fixed number of frames.
- Trained against a phone bigram (LF-MMI): the most likely label of each frame inserts phones; use a search.
- English only, mostly read; accents, children and telephones as they come in the data.
- Errors are counted against dictionary pronunciations, which are not always what was said.
""",
}
SHARE_ALIKE = """\
Share-alike (CC BY-SA) covers recordings of {names}: the recordings, which are not part of this file.
They are named here as their licences ask.
"""


def card(name: str, record: Mapping[str, Any], figures: str) -> str:
    """Composes the card of one model."""
    spec, network, digest = load_model(WEIGHTS / f"{name}.safetensors")
    parameters = sum(weight.numel() for weight in network.parameters())
    training = record["recipe"]["training"]
    kind = spec.kind
    shape = (
        f"{spec.network.cell.upper()}, {spec.network.layers} x {spec.network.hidden}, after "
        f"{len(spec.network.conv_channels)} causal convolution(s); {parameters:,} parameters, fp16. "
        f"Hash {digest}. Licence Apache-2.0, as Auricle."
    )
    batch = "" if kind == "acoustic" else f" of {training['streams']} streams x {training['segment_s']} s"
    chosen = f"Averaged weights of step {record['best_step']} did best on `dev`."
    if "auricle.pipelines.average" in record["command"]:
        chosen = "The mean of the checkpoints named there did best on `dev`."
    effort = (
        f"{record['steps']} steps{batch} "
        f"({record['hours_heard']} h of audio heard, augmented), {record['seconds'] / 60:.0f} minutes on one "
        f"core shared with others, seed {training['seed']}. {chosen} "
        f"`{name}.json` has every setting and the learning curve."
    )
    data = record["data"]
    shared = [key for key, entry in data.items() if "BY-SA" in entry["licence"]]
    parts = [
        f"# {name}\n\n{PURPOSE[kind]} {shape}",
        "## Figures\n\nOn the `eval` split, nothing of which was trained or tuned on; "
        + LOOKS.get(name, LOOKS[kind])
        + AGAIN,
        figures.strip(),
        f"## Limits\n\n{LIMITS[kind].strip()}",
        f"## Training\n\n    {record['command']}\n\n{effort}{_recipe_note(record)}",
        "## Data\n\nReal recordings of the `train` split, real noise, and rooms, simulated and measured "
        f"({LICENCES['rooms']}).",
        _data_table(data).strip(),
        SHARE_ALIKE.format(names=", ".join(shared)),
    ]
    return "\n\n".join(parts)


def second_pass_part(name: str, figures: Path) -> str:
    """What a card says of the second pass of a model; nothing where it has none."""
    if not (WEIGHTS / f"{name}{SECOND_SUFFIX}.json").exists():
        return ""
    record = json.loads((WEIGHTS / f"{name}{SECOND_SUFFIX}.json").read_text(encoding="utf-8"))
    _, both, digest = load_two_passes(WEIGHTS / f"{name}{SECOND_SUFFIX}")
    shape = both.second.config
    parameters = sum(weight.numel() for weight in both.second.parameters())
    found = (figures / f"{name}{SECOND_SUFFIX}-eval.md").read_text(encoding="utf-8")
    return (
        f"\n## Second pass\n\n`{name}{SECOND_SUFFIX}` looks at a whole utterance once it is "
        "over, and at what may be a wake phrase as soon as it has been said: "
        f"{shape.layers} layers, an LSTM of {shape.inputs} forwards and one backwards in each, above the "
        f"last one of this model. {parameters:,} parameters, fp16. Hash {digest}. "
        f"Learnt from the same data by\n\n    {record['command']}\n\n{record['steps']} steps "
        f"({record['hours_heard']} h of audio heard, augmented), {record['seconds'] / 60:.0f} minutes on one "
        f"core shared with others. `{name}{SECOND_SUFFIX}.json` has every setting and the learning curve. "
        f"On `eval`, {SECOND_LOOKS.get(name, 'looked at once')}:\n\n{found.strip()}\n"
    )


def _recipe_note(record: Mapping[str, Any]) -> str:
    """Says so where the shipped recipe has changed since."""
    stages = [stage for stage in record["command"].split("; then ") if stage.startswith("auricle train")]
    pairs = list(pairwise(shlex.split(stages[-1].partition(" (")[0])))
    settings = [value for key, value in pairs if key == "--set"]
    path = next((Path(value) for key, value in pairs if key == "--recipe"), None)
    now = as_table(load_recipe(record["recipe"]["task"], settings, path))
    return "" if _holds(now, record["recipe"]) else " The recipe was an earlier one, other than today's."


def _holds(now: Any, then: Any) -> bool:
    """Whether all that a record tells of its recipe is still so; it may be older than some settings."""
    if isinstance(then, Mapping):
        return all(key not in now or _holds(now[key], value) for key, value in then.items())
    return bool(then == (list(now) if isinstance(now, tuple) else now))


def _data_table(data: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        f"| {name} | {entry['clips']} | {entry['hours']} | {entry['speakers'] or '-'} | {entry['licence']} |"
        for name, entry in data.items()
    ]
    return "\n".join(["| set | clips | hours | speakers | licence |", "|---|---|---|---|---|", *rows, ""])


def main() -> int:
    """Runs the module as a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", help="shipped models, such as vad-gru")
    parser.add_argument("--figures", type=Path, required=True, help="folder of the evaluation's tables")
    args = parser.parse_args()
    for name in args.names:
        record = json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
        own = args.figures / f"{name}-eval.md"
        figures = own if own.exists() else args.figures / "vad-eval.md"
        text = card(name, record, figures.read_text(encoding="utf-8"))
        text += second_pass_part(name, args.figures)
        (WEIGHTS / f"{name}.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
