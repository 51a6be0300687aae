"""Strict YAML: from text to nodes, without tags, equal keys or YAML 1.1's surprises."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import yaml

from lightbus.manifest.problems import Place, shown

from .nodes import Broken, Node, Scalar

#: Room for the text of one source, in bytes.
LARGEST_SOURCE = 1024 * 1024
#: Nodes in one source once every alias stands for what it repeats.
MOST_NODES = 10_000
#: Maps and lists within each other.
DEEPEST = 48
_TOO_DEEP = f"nested deeper than {DEEPEST} levels"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Integers of more than 18 digits stay text: no option takes one, and converting a million digits is slow.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_OTHER_BASE = re.compile(r"0x[0-9a-fA-F]{1,15}|0o[0-7]{1,20}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,20}|[0-9]{1,20}(?:\.[0-9]{0,20})?)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}


class Unreadable(Exception):
    """The text is no YAML that a manifest may hold.

    Args:
        place: The place at which reading stopped.
        what: Why.
    """

    def __init__(self, place: Place, what: str) -> None:
        super().__init__(what)
        self.place = place
        self.what = what


def parse(data: bytes, source: str, rank: int = 0, *, remote: bool = False) -> tuple[Node, list[Unreadable]]:
    """Read one document.

    Args:
        data: The bytes of a file.
        source: Its name.
        rank: When it was read, for the order of the problems.
        remote: Whether it came over the network.

    Returns:
        The root, null for an empty document, and the mistakes that did not stop the reading.

    Raises:
        Unreadable: The reading could not go on.
    """
    place = Place(source, 1, 1, rank, remote)
    return _Reader(place).read(_decode(data, place))


def plain_scalar(text: str) -> Scalar:
    """Return what unquoted text means in YAML 1.2, but for octal-looking integers, which stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and not text.isdigit():
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def _decode(data: bytes, place: Place) -> str:
    if len(data) > LARGEST_SOURCE:
        raise Unreadable(
            place, f"larger than {LARGEST_SOURCE // 1024} KiB; split it, or check that it is YAML"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        at = _after(place, data[: e.start].decode("latin-1"))
        raise Unreadable(at, "not UTF-8; save the file in that encoding") from None
    return text


class _Reader:
    """Builds nodes from the parser's events: composing itself would follow any depth and any alias."""

    def __init__(self, start: Place) -> None:
        self.start = start
        self.anchors: dict[str, tuple[Node, int] | None] = {}
        self.count = 0
        self.mistakes: list[Unreadable] = []

    def read(self, text: str) -> tuple[Node, list[Unreadable]]:
        loader = _LOADER(text)
        try:
            return self._document(loader), self.mistakes
        except yaml.MarkedYAMLError as e:
            mark = e.problem_mark or e.context_mark
            raise Unreadable(self._at(mark) if mark else self.start, _explain(e)) from None
        except yaml.reader.ReaderError as e:
            raise Unreadable(self._of_character(text, e), "a control character, which YAML forbids") from None
        except (RecursionError, ValueError, yaml.YAMLError):
            raise Unreadable(self.start, "not YAML") from None
        finally:
            loader.dispose()

    def _document(self, loader: Any) -> Node:
        loader.get_event()
        event = loader.get_event()
        if isinstance(event, yaml.StreamEndEvent):
            return Node(None, self.start)
        root = self._node(loader, loader.get_event(), None, 0)
        loader.get_event()
        after = loader.get_event()
        if not isinstance(after, yaml.StreamEndEvent):
            raise Unreadable(
                self._at(after.start_mark), "a second document; a manifest is one, so remove the ---"
            )
        return root

    def _node(self, loader: Any, event: Any, key: Place | None, depth: int) -> Node:
        place = self._at(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), place, key)
        self._count(1, place)
        if depth > DEEPEST:
            raise Unreadable(place, _TOO_DEEP)
        if event.tag is not None:
            self.mistakes.append(
                Unreadable(place, "tags are not allowed; quote the value if it is text that begins with !")
            )
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        before = self.count
        if isinstance(event, yaml.ScalarEvent):
            node = Node(event.value if event.style else plain_scalar(event.value), place, key)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Node(self._list(loader, depth), place, key)
        else:
            node = Node(self._map(loader, depth), place, key)
        if event.tag is not None:
            node = replace(node, value=Broken())
        if event.anchor is not None:
            self.anchors[event.anchor] = node, self.count - before + 1
        return node

    def _alias(self, anchor: str, place: Place, key: Place | None) -> Node:
        # The name is not repeated: it may be a password that begins with a star.
        known = self.anchors.get(anchor)
        if known is None:
            inside = (
                "repeats what it lies in" if anchor in self.anchors else "repeats an anchor that is not set"
            )
            raise Unreadable(place, f"this alias {inside}; quote the value if it is text that begins with *")
        node, size = known
        self._count(size, place)
        # The key is here, the value where the anchor is: that is the line to change.
        return Node(node.value, node.place, key)

    def _list(self, loader: Any, depth: int) -> list[Node]:
        nodes = []
        while not isinstance(event := loader.get_event(), yaml.SequenceEndEvent):
            nodes.append(self._node(loader, event, None, depth + 1))
        return nodes

    def _map(self, loader: Any, depth: int) -> dict[str, Node]:
        children: dict[str, Node] = {}
        beneath: list[Node] = []
        while not isinstance(event := loader.get_event(), yaml.MappingEndEvent):
            key = self._node(loader, event, None, depth + 1)
            value = self._node(loader, loader.get_event(), key.place, depth + 1)
            if key.value == "<<" and isinstance(event, yaml.ScalarEvent) and not event.style:
                beneath.extend(self._merged(value))
            elif not isinstance(key.value, str):
                self.mistakes.append(Unreadable(key.place, "a key must be text; put it in quotes"))
            elif key.value in children:
                first = children[key.value].where
                self.mistakes.append(
                    Unreadable(
                        key.place,
                        f"the key {shown(key.value)!r} is already at {first.line}:{first.column}; keep one",
                    )
                )
            else:
                children[key.value] = value
        for node in beneath:
            for name, child in node.items():
                children.setdefault(name, child)
        return children

    def _merged(self, node: Node) -> list[Node]:
        nodes = node.value if isinstance(node.value, list) else [node]
        maps = [n for n in nodes if isinstance(n.value, dict)]
        for wrong in [n for n in nodes if not isinstance(n.value, dict)]:
            self.mistakes.append(Unreadable(wrong.where, "<< takes a map, or a list of maps"))
        for one in maps:
            self._count(sum(1 for _ in one.items()), one.place)
        return maps

    def _count(self, nodes: int, place: Place) -> None:
        self.count += nodes
        if self.count > MOST_NODES:
            raise Unreadable(place, f"more than {MOST_NODES:,} values, counting what aliases repeat")

    def _at(self, mark: Any) -> Place:
        start = self.start
        return Place(start.source, mark.line + 1, mark.column + 1, start.rank, start.remote)

    def _of_character(self, text: str, error: Any) -> Place:
        # libyaml counts bytes of UTF-8 here, the Python parser characters.
        if _LOADER.__name__[0] == "C":
            return _after(self.start, text.encode()[: error.position].decode(errors="ignore"))
        return _after(self.start, text[: error.position])


def _after(start: Place, before: str) -> Place:
    """Return the place where a text ends that begins at the start of a source."""
    return replace(start, line=before.count("\n") + 1, column=len(before) - before.rfind("\n"))


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "not YAML"
    if "nesting" in problem:
        # libyaml looks ahead, and gives up by itself.
        return _TOO_DEEP
    # The parser quotes names of anchors and tags, which may be what somebody meant as a password.
    problem = re.sub(r"'[^'\s]{2,}'|\"[^\"]{2,}\"", "...", problem)
    advice = {
        "mapping values are not allowed": "quote the value if it contains a colon",
        "found character": "a tab can't indent, and values that begin with @, ` or % need quotes",
        "did not find expected key": "look at the indentation and quotes of this line and the one before",
        "did not find expected ','": 'within brackets, quote values that have brackets or commas: "${NAME}"',
        "could not find expected": "a key needs a colon and a space after it",
        "did not find expected <document start>": "the text before this place is a value of its own",
        "found unexpected end of stream": "a quote or bracket was not closed",
    }
    for beginning, help_text in advice.items():
        if problem.startswith(beginning):
            return f"not YAML: {problem}; {help_text}"
    return f"not YAML: {problem}"
