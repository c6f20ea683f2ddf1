"""Sentence templates in Home Assistant's format, read from YAML into a network of words.

`hassil` parses the templates; this module reads the file around them, and weaves what they say into one
network whose size grows with the templates and their lists, never with the number of sentences.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from auricle.configs.errors import ConfigError, DataError
from auricle.models.lexicon import normalise, number_words

Scalar = str | int | float | bool
MOST_PERMUTED = 6
"""Parts of one permutation: each further one doubles its size."""
MOST_NUMBERS = 10_000
MOST_ARCS = 500_000
SPOKEN_SIGNS = {"%": " percent ", "°": " degrees ", "&": " and "}
START, FINAL = 0, 1
NO_TAG = 0


class Tag(NamedTuple):
    """What a stretch of a sentence means."""

    intent: str = ""
    slots: tuple[tuple[str, Scalar], ...] = ()


class WordArc(NamedTuple):
    """A word between two nodes."""

    source: int
    target: int
    word: str
    tag: int


class Jump(NamedTuple):
    """A way between two nodes without a word."""

    source: int
    target: int
    tag: int


class WordNetwork(NamedTuple):
    """All sentences of a grammar: the ways from node `START` to node `FINAL`."""

    words: list[WordArc]
    jumps: list[Jump]
    tags: list[Tag]


class Section(NamedTuple):
    """What a template may refer to."""

    lists: Mapping[str, Any]
    rules: Mapping[str, Any]


def read_network(path: Path) -> WordNetwork:
    """Reads a grammar.

    Raises:
        ConfigError: the file is missing or no YAML, a template is wrong, a list or rule is unknown, or a word
            cannot be spoken; the message names the file, the place and the remedy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the grammar: {error}; see [commands] grammar") from error
    return parse_network(text, str(path))


def parse_network(text: str, name: str) -> WordNetwork:
    """Reads a grammar from its text; `name` stands for it in messages."""
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML: {error}; templates with : or [ need quotes") from error
    place = _Place(name, text)
    if not isinstance(content, dict) or not isinstance(content.get("intents"), dict):
        raise place.error("expected a table `intents` (and `lists`, `expansion_rules`)")
    if not str(content.get("language", "en")).startswith("en"):
        raise place.error(f"language '{content['language']}' is not spoken here; expected en")
    weaver = _Weaver(place)
    shared = Section(_table(content, "lists", place), _table(content, "expansion_rules", place))
    begin, end = weaver.node(), weaver.node()
    weaver.skip_words(content.get("skip_words") or [], START, begin)
    weaver.skip_words(content.get("skip_words") or [], end, FINAL)
    for intent, body in content["intents"].items():
        for block in _blocks(intent, body, place):
            section = Section(
                {**shared.lists, **_table(block, "lists", place)},
                {**shared.rules, **_table(block, "expansion_rules", place)},
            )
            constants = _constants(intent, block.get("slots") or {}, place)
            for sentence in block["sentences"]:
                source = weaver.node()
                weaver.jump(begin, source, Tag(str(intent), constants))
                weaver.jump(weaver.sentence(str(sentence), source, section), end)
    return weaver.network()


def _table(content: Mapping[str, Any], key: str, place: "_Place") -> Mapping[str, Any]:
    table = content.get(key) or {}
    if not isinstance(table, dict):
        raise place.error(f"expected a table `{key}`, got {table!r}")
    return table


def _blocks(intent: str, body: Any, place: "_Place") -> list[Mapping[str, Any]]:
    blocks = body.get("data") if isinstance(body, dict) else None
    if not isinstance(blocks, list) or not blocks:
        raise place.error(f"intent {intent}: expected a list `data`", str(intent))
    for block in blocks:
        sentences = block.get("sentences") if isinstance(block, dict) else None
        if not isinstance(sentences, list) or not sentences:
            raise place.error(f"intent {intent}: expected a list `sentences` in each of `data`", str(intent))
    return blocks


def _constants(intent: str, slots: Mapping[str, Any], place: "_Place") -> tuple[tuple[str, Scalar], ...]:
    for slot, value in slots.items():
        if not isinstance(value, Scalar):
            raise place.error(f"intent {intent}, slot {slot}: expected one value, got {value!r}", str(slot))
    return tuple((str(slot), value) for slot, value in slots.items())


class _Place(NamedTuple):
    """A file, to say where in it something is wrong."""

    name: str
    text: str

    def error(self, problem: str, near: str = "") -> ConfigError:
        """An error that names the line on which `near` first stands."""
        lines = self.text.splitlines()
        found = next((number for number, line in enumerate(lines, 1) if near and near in line), None)
        return ConfigError(f"{self.name}{f':{found}' if found else ''}: {problem}")


class _Weaver:
    """Weaves templates into a graph of text fragments, and reads whole words off it."""

    def __init__(self, place: _Place) -> None:
        self.place = place
        self.tags = [Tag()]
        self._numbers = {Tag(): NO_TAG}
        # From each node: (fragment or None for a jump, " " between words; tag; target).
        self._arcs: list[list[tuple[str | None, int, int]]] = [[], []]
        self._count = 0
        self._template = ""

    def node(self) -> int:
        self._arcs.append([])
        return len(self._arcs) - 1

    def jump(self, source: int, target: int, tag: Tag = Tag()) -> None:  # noqa: B008
        self._add(source, None, self._number(tag), target)

    def skip_words(self, words: list[Any], source: int, target: int) -> None:
        """Lets any of some phrases, or none, stand between two nodes."""
        self.jump(source, target)
        for phrase in words:
            begin = self.node()
            self.jump(source, begin)
            self._add(self._fragments(str(phrase), begin), " ", NO_TAG, target)

    def sentence(self, template: str, source: int, section: Section) -> int:
        """Weaves a template in from `source` on; returns the node behind it, a word's end."""
        self._template = template
        behind = self.node()
        self._add(self._weave(self._parse(template), source, section, ()), " ", NO_TAG, behind)
        return behind

    def _add(self, source: int, fragment: str | None, tag: int, target: int) -> None:
        self._arcs[source].append((fragment, tag, target))
        self._count += 1
        if self._count > MOST_ARCS:
            raise self._error(f"the grammar grows beyond {MOST_ARCS} arcs; use lists instead of nested rules")

    def _number(self, tag: Tag) -> int:
        if tag not in self._numbers:
            self._numbers[tag] = len(self.tags)
            self.tags.append(tag)
        return self._numbers[tag]

    def _merged(self, one: int, other: int) -> int:
        if NO_TAG in (one, other):
            return one or other
        first, second = self.tags[one], self.tags[other]
        return self._number(Tag(first.intent or second.intent, (*first.slots, *second.slots)))

    def _error(self, problem: str) -> ConfigError:
        return self.place.error(f"{problem} (in '{self._template[:80]}')", self._template)

    def _parse(self, template: str) -> Any:
        from hassil.parse_expression import parse_sentence
        from hassil.parser import ParseError

        try:
            return parse_sentence(template).expression
        except (ParseError, AssertionError) as error:
            raise self._error(f"not a sentence template: {error}; check its brackets") from error

    def _weave(self, item: Any, source: int, section: Section, rules: tuple[str, ...]) -> int:
        """Weaves an expression in from `source` on, inside the rules named; returns the node behind it."""
        from hassil import expression as parsed

        if isinstance(item, parsed.TextChunk):
            return self._fragments(item.text, source)
        if isinstance(item, parsed.ListReference):
            return self._list(item, source, section, rules)
        if isinstance(item, parsed.RuleReference):
            name = item.rule_name
            body = self._known(name, section.rules, "expansion rule")
            if name in rules:
                raise self._error(f"expansion rule <{name}> refers to itself; write its cases out")
            return self._weave(self._parse(str(body)), source, section, (*rules, name))
        if isinstance(item, parsed.Alternative):
            target = self.node()
            for branch in item.items:
                begin = self.node()
                self.jump(source, begin)
                self.jump(self._weave(branch, begin, section, rules), target)
            return target
        if isinstance(item, parsed.Permutation):
            return self._permutation(item.items, source, section, rules)
        for part in item.items:
            source = self._weave(part, source, section, rules)
        return source

    def _permutation(self, items: list[Any], source: int, section: Section, rules: tuple[str, ...]) -> int:
        """All orders of some parts, as the lattice of what has been said already."""
        if len(items) > MOST_PERMUTED:
            raise self._error(f"a permutation of {len(items)} parts; expected at most {MOST_PERMUTED}")
        said = {0: source} | {subset: self.node() for subset in range(1, 1 << len(items))}
        for subset, place in said.items():
            for number, item in enumerate(items):
                if not subset >> number & 1:
                    begin = self.node()
                    self.jump(place, begin)
                    self.jump(self._weave(item, begin, section, rules), said[subset | 1 << number])
        return said[(1 << len(items)) - 1]

    def _fragments(self, text: str, source: int) -> int:
        for sign, spoken in SPOKEN_SIGNS.items():
            text = text.replace(sign, spoken)
        for number, part in enumerate(text.split(" ")):
            for fragment in ([" "] if number else []) + ([part] if part else []):
                target = self.node()
                self._add(source, fragment, NO_TAG, target)
                source = target
        return source

    def _known(self, name: str, table: Mapping[str, Any], what: str) -> Any:
        if name in table:
            return table[name]
        near = get_close_matches(name, table, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(table) or 'none'}"
        raise self._error(f"unknown {what} '{name}'; {hint}")

    def _list(self, item: Any, source: int, section: Section, rules: tuple[str, ...]) -> int:
        """Weaves in all values of a list, each with what it means for the slot."""
        target = self.node()
        if item.is_inline_range:
            first, last, step = item.get_inline_range()
            self._range({"from": first, "to": last, "step": step}, item, source, target)
            return target
        name = item.list_name
        body = self._known(name, section.lists, "list")
        if isinstance(body, dict) and isinstance(body.get("range"), dict):
            self._range(body["range"], item, source, target)
            return target
        values = body.get("values") if isinstance(body, dict) else None
        if not isinstance(values, list) or not values:
            kind = (
                "a wildcard cannot be listened for: "
                if isinstance(body, dict) and body.get("wildcard")
                else ""
            )
            raise self._error(f"list '{name}': {kind}expected `values` or a `range`")
        for value in values:
            spoken, meant = _value(value)
            if not isinstance(meant, Scalar) or not spoken.strip():
                raise self._error(f"list '{name}': expected words, or `in` and `out`, got {value!r}")
            begin = self.node()
            self.jump(source, begin, Tag("", ((item.slot_name, meant),)))
            self.jump(self._weave(self._parse(spoken), begin, section, rules), target)
        return target

    def _range(self, body: Mapping[str, Any], item: Any, source: int, target: int) -> None:
        """Weaves in a range of whole numbers; numbers that begin with the same words share them."""
        try:
            first, last, step = int(body["from"]), int(body["to"]), int(body.get("step", 1))
            factor = float(body.get("multiplier") or 1)
            numbers = range(first, last + 1, step)
        except (KeyError, TypeError, ValueError) as error:
            raise self._error(f"list '{item.list_name}': expected from, to and step, got {body}") from error
        if not 0 < len(numbers) <= MOST_NUMBERS or body.get("fractions"):
            raise self._error(f"list '{item.list_name}': expected 1 to {MOST_NUMBERS} whole numbers")
        beginnings: dict[tuple[str, ...], int] = {(): source}
        for number in numbers:
            meant: Scalar = number if "multiplier" not in body else number * factor
            tag = self._number(Tag("", ((item.slot_name, meant),)))
            for words in spoken_numbers(number):
                for end in range(1, len(words)):
                    if words[:end] not in beginnings:
                        spaced = self._fragments(f"{words[end - 1]} ", beginnings[words[: end - 1]])
                        beginnings[words[:end]] = spaced
                begin = self.node()
                self._add(beginnings[words[:-1]], None, tag, begin)
                self.jump(self._fragments(words[-1], begin), target)

    def network(self) -> WordNetwork:
        """Reads whole words off the fragments."""
        words: list[WordArc] = []
        jumps: list[Jump] = []
        waiting, seen = [START], {START}
        while waiting:
            source = waiting.pop()
            for text, tag, target in self._words_from(source):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
                spoken = self._spoken(text)
                if not spoken and source != target:
                    jumps.append(Jump(source, target, tag))
                place = source
                for number, word in enumerate(spoken):
                    end = target if number + 1 == len(spoken) else self.node()
                    words.append(WordArc(place, end, word, NO_TAG if number else tag))
                    place = end
        if not words:
            raise self.place.error("the grammar has no word in it")
        return WordNetwork(words, jumps, self.tags)

    def _words_from(self, source: int) -> Iterator[tuple[str, int, int]]:
        """The words that begin at a node: text (empty for none), tag, and the node behind it."""
        waiting, seen = [("", NO_TAG, source)], {("", NO_TAG, source)}
        while waiting:
            text, tag, place = waiting.pop()
            if place == FINAL:
                yield text, tag, place
            for fragment, own, target in reversed(self._arcs[place]):
                if fragment == " ":
                    yield text, self._merged(tag, own), target
                    continue
                way = (text + (fragment or ""), self._merged(tag, own), target)
                if way not in seen:
                    seen.add(way)
                    waiting.append(way)

    def _spoken(self, text: str) -> list[str]:
        try:
            return normalise(text)
        except DataError as error:
            raise self.place.error(f"{error}; write it as it is spoken", text) from error


def _value(value: Any) -> tuple[str, Any]:
    """How a value of a list is spoken, and what it means."""
    if isinstance(value, dict):
        spoken = str(value.get("in", ""))
        return spoken, value.get("out", spoken)
    return str(value), value


def spoken_numbers(number: int) -> list[tuple[str, ...]]:
    """The ways to say a whole number: "minus five"; "one hundred five" and "one hundred and five"."""
    sign = ("minus",) if number < 0 else ()
    words = (*sign, *number_words(abs(number)))
    ways = [words]
    if "hundred" in words[:-1]:
        place = len(words) - words[::-1].index("hundred")
        ways.append((*words[:place], "and", *words[place:]))
    if words[:2] == ("one", "hundred"):
        ways += [("a", *way[1:]) for way in ways]
    return ways
