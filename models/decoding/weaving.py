"""Weaves sentence templates into one network of words.

`hassil` parses the templates; the network grows with them and their lists, not with their sentences.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from auricle.configs.errors import ConfigError, DataError
from auricle.models.decoding.word_network import (
    FINAL,
    NO_TAG,
    START,
    Jump,
    Place,
    Scalar,
    Tag,
    WordArc,
    WordNetwork,
)
from auricle.models.lexicon import LARGEST_NUMBER, normalise, number_words

MOST_PERMUTED = 6
"""Parts of one permutation: each further one doubles its size."""
MOST_NUMBERS = 10_000
MOST_ARCS = 500_000
MOST_SPELLINGS = 10_000
"""Of the word that begins at one place: alternatives without a space between them multiply."""
SPOKEN_SIGNS = {"%": " percent ", "°": " degrees ", "&": " and "}


class Section(NamedTuple):
    """What a template may refer to."""

    lists: Mapping[str, Any]
    rules: Mapping[str, Any]


class Weaver:
    """Weaves templates into a graph of text fragments, and reads whole words off it."""

    def __init__(self, place: Place) -> None:
        """Begins with the nodes `START` and `FINAL`; `place` is the file that messages name."""
        self.place = place
        self.tags = [Tag()]
        self._numbers = {Tag(): NO_TAG}
        # From each node: (fragment or None for a jump, " " between words; tag; target).
        self._arcs: list[list[tuple[str | None, int, int]]] = [[], []]
        self._count = 0
        self._template = ""

    def node(self) -> int:
        """A new node."""
        self._arcs.append([])
        return len(self._arcs) - 1

    def jump(self, source: int, target: int, tag: Tag = Tag()) -> None:  # noqa: B008
        """Lets a sentence go on at another node without a word."""
        self._add(source, None, self._number(tag), target)

    def skip_words(self, words: list[Any], source: int, target: int) -> None:
        """Lets any of some phrases, or none, stand between two nodes."""
        self.jump(source, target)
        for phrase in words:
            begin = self.node()
            self.jump(source, begin)
            self._add(self._fragments(self._text(phrase, "skip_words"), begin), " ", NO_TAG, target)

    def sentence(self, template: Any, source: int, section: Section) -> int:
        """Weaves a template in from `source` on; returns the node behind it, a word's end."""
        self._template = template = self._text(template, "sentences")
        behind = self.node()
        try:
            end = self._weave(self._parse(template), source, section, ())
        except RecursionError as error:
            raise self._error("brackets within brackets beyond all depth; use expansion rules") from error
        self._add(end, " ", NO_TAG, behind)
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

    def _text(self, value: Any, where: str) -> str:
        """Words that stand in the file; YAML reads some as something else."""
        if isinstance(value, bool):
            raise self.place.error(f"{where}: yes, no, on, off, true and false need quotes", where)
        if not isinstance(value, str | int | float):
            raise self.place.error(f"{where}: expected words, got {value!r}", where)
        return str(value)

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
            parsed_body = self._parse(self._text(body, f"expansion rule '{name}'"))
            return self._weave(parsed_body, source, section, (*rules, name))
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
            entry = value if isinstance(value, dict) else {"in": value}
            spoken = self._text(entry.get("in", ""), f"list '{name}'")
            meant = entry.get("out", entry.get("in"))
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
        if max(abs(first), abs(last)) > LARGEST_NUMBER:
            raise self._error(f"list '{item.list_name}': expected numbers up to {LARGEST_NUMBER}")
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
            if len(words) > MOST_ARCS:
                raise self.place.error(f"the grammar grows beyond {MOST_ARCS} words; use lists")
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
            if len(seen) > MOST_SPELLINGS:
                raise self.place.error(
                    f"a word that begins with '{text[:40]}' has more than {MOST_SPELLINGS} spellings: put "
                    "spaces between alternatives, or fewer of them into one word"
                )

    def _spoken(self, text: str) -> list[str]:
        try:
            return normalise(text)
        except DataError as error:
            raise self.place.error(f"{error}; write it as it is spoken", text) from error


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
