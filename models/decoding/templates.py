"""Sentence templates in Home Assistant's format, read from YAML into a network of words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auricle.configs.errors import ConfigError
from auricle.models.decoding.weaving import Section, Weaver
from auricle.models.decoding.word_network import FINAL, START, Place, Scalar, Tag, WordNetwork


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
    place = Place(name, text)
    if not isinstance(content, dict) or not isinstance(content.get("intents"), dict):
        raise place.error("expected a table `intents` (and `lists`, `expansion_rules`)")
    if not str(content.get("language", "en")).startswith("en"):
        raise place.error(f"language '{content['language']}' is not spoken here; expected en")
    weaver = Weaver(place)
    shared = Section(_table(content, "lists", place), _table(content, "expansion_rules", place))
    begin, end = weaver.node(), weaver.node()
    skipped = content.get("skip_words") or []
    if not isinstance(skipped, list):
        raise place.error(f"skip_words: expected a list, such as [please], got {skipped!r}", "skip_words")
    weaver.skip_words(skipped, START, begin)
    weaver.skip_words(skipped, end, FINAL)
    for intent, body in content["intents"].items():
        for block in _blocks(intent, body, place):
            section = Section(
                {**shared.lists, **_table(block, "lists", place)},
                {**shared.rules, **_table(block, "expansion_rules", place)},
            )
            constants = _constants(intent, _table(block, "slots", place), place)
            for sentence in block["sentences"]:
                source = weaver.node()
                weaver.jump(begin, source, Tag(str(intent), constants))
                weaver.jump(weaver.sentence(sentence, source, section), end)
    return weaver.network()


def _table(content: Mapping[str, Any], key: str, place: Place) -> Mapping[str, Any]:
    table = content.get(key) or {}
    if not isinstance(table, dict):
        raise place.error(f"expected a table `{key}`, got {table!r}", key)
    if wrong := [name for name in table if not isinstance(name, str)]:
        raise place.error(f"{key}: the name {wrong[0]!r} needs quotes", key)
    return table


def _blocks(intent: str, body: Any, place: Place) -> list[Mapping[str, Any]]:
    blocks = body.get("data") if isinstance(body, dict) else None
    if not isinstance(blocks, list) or not blocks:
        raise place.error(f"intent {intent}: expected a list `data`", str(intent))
    for block in blocks:
        sentences = block.get("sentences") if isinstance(block, dict) else None
        if not isinstance(sentences, list) or not sentences:
            raise place.error(f"intent {intent}: expected a list `sentences` in each of `data`", str(intent))
    return blocks


def _constants(intent: str, slots: Mapping[str, Any], place: Place) -> tuple[tuple[str, Scalar], ...]:
    for slot, value in slots.items():
        if not isinstance(value, Scalar):
            raise place.error(f"intent {intent}, slot {slot}: expected one value, got {value!r}", str(slot))
    return tuple((str(slot), value) for slot, value in slots.items())
