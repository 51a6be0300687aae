"""From nodes to the frozen records of options, with every problem reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from lightbus.declared.settings import ChosenTransport
from lightbus.exceptions import ConfigurationError, TransportNotFound
from lightbus.manifest.keys.cerberus_rules import validate, validate_lists
from lightbus.manifest.keys.forms import Block, Key, Leaves, Named, OneOf, keys_of
from lightbus.manifest.keys.installed import plugin_names, plugin_options
from lightbus.manifest.keys.scalars import Leaf, name_pattern
from lightbus.manifest.problems import Place, Problems, shown
from lightbus.manifest.text.nodes import Broken, HiddenText, Node
from lightbus.plugins.own_options import OWN_PLUGINS

Maker = Callable[[Node, str], Any]
_NOWHERE = Place("the manifest")


class Blocks:
    """Makes the records that dataclasses of options describe.

    Args:
        problems: Takes what is wrong.
        trust_remote: Whether manifests from the network may name code.
    """

    def __init__(self, problems: Problems, *, trust_remote: bool) -> None:
        self.problems = problems
        self._trust_remote = trust_remote

    def make(
        self, cls: type[Any], node: Node | None, path: str, *, given: Mapping[str, Any] = MappingProxyType({})
    ) -> Any:
        """Make one record.

        Args:
            cls: Its dataclass.
            node: The value in the manifest; None or null for nothing.
            path: The path of it.
            given: Values of fields that are known already.

        Returns:
            The record; wrong values are left at their defaults. None if a required key is wrong.
        """
        if node is None or not isinstance(node.value, dict):
            node = Node({}, *((node.place, node.key) if node else (_NOWHERE, None)))
        values = validate(cls, node, path, self.problems)
        result: dict[str, Any] = {}
        for name, key in keys_of(cls).items():
            child = node.get(name)
            if child is None or name in given:
                continue
            full = f"{path}.{name}" if path else name
            if isinstance(child.value, dict):
                if isinstance(key.form, Block):
                    result[key.attribute] = self.make(key.form.cls, child, full)
                elif isinstance(key.form, Named) and isinstance(key.form.value, Leaves):
                    result[key.attribute] = self._lists(key, key.form.value, child, full)
            elif name in values:
                result[key.attribute] = self._finish(key, values[name], child, full)
        try:
            made = cls(**{**result, **given})
        except TypeError:
            return None
        self._check_together(made, node, path)
        return made

    def named(self, node: Node | None, path: str, make: Maker) -> Mapping[str, Any]:
        """Make the records of a map whose keys are names that the user gave."""
        made: dict[str, Any] = {}
        empty = ""
        for name, child in node.items() if node else ():
            full = f"{path}.{name}"
            pattern, says = name_pattern(path)
            if not pattern.fullmatch(name):
                self.problems.add(child.where, shown(full), f"can't be a name; {says}")
            elif isinstance(child.value, dict):
                made[name] = make(child, full)
            elif not isinstance(child.value, Broken | None):
                hint = f"; indent it under {shown(empty)}?" if empty else ""
                self.problems.add(child.place, full, f"must be a map of keys and values{hint}")
                continue
            empty = name if child.value is None else ""
        return MappingProxyType({name: value for name, value in made.items() if value is not None})

    def _lists(self, key: Key, form: Leaves, node: Node, path: str) -> Mapping[str, tuple[Any, ...]]:
        """Make the lists of a map whose keys are names that the user gave."""
        pattern, says = name_pattern(path)
        for name, child in node.items():
            if not pattern.fullmatch(name):
                self.problems.add(child.where, shown(f"{path}.{name}"), f"can't be a name; {says}")
        read = validate_lists(key, form, node, path, self.problems)
        one = replace(key, form=form)
        made = {
            name: self._finish(one, read[name], child, f"{path}.{name}")
            for name, child in node.items()
            if name in read and pattern.fullmatch(name)
        }
        return MappingProxyType(made)

    def transport(
        self, form: OneOf, name: str, options: Node | None, choice: Node | None, path: str
    ) -> ChosenTransport:
        """Make the choice of a transport.

        Args:
            form: Its kind.
            name: Its name.
            options: The node of its options, with what lies beneath.
            choice: The node that names it.
            path: The path of that.
        """
        try:
            cls = form.options(name)
        except TransportNotFound as e:
            self.problems.add(_where(choice, name), shown(f"{path}.{name}"), str(e))
            return ChosenTransport(name)
        if cls is None:
            for key, child in options.items() if options else ():
                self.problems.add(
                    child.where, f"{path}.{name}.{shown(key)}", f"unknown key; {name} has no options"
                )
            return ChosenTransport(name)
        return ChosenTransport(name, self.make(cls, options, f"{path}.{name}"))

    def chosen(self, node: Node | None, path: str, fallback: str) -> tuple[str, Node | None]:
        """Return which transport a node names, and the node of its options."""
        names = [name for name, _ in node.items()] if node else []
        if node is None or not names:
            return fallback, None
        for extra in names[1:]:
            what = f"a second transport; keep {shown(names[0])} or this one"
            self.problems.add(_where(node, extra), f"{path}.{shown(extra)}", what)
        options = node.get(names[0])
        if options and not isinstance(options.value, dict | Broken | None):
            self.problems.add(options.place, f"{path}.{shown(names[0])}", "must be a map of options")
            options = None
        return names[0], options

    def plugins(self, node: Node | None, path: str) -> Mapping[str, Any]:
        """Make the options of every plugin that is named, and of Lightbus's own."""
        made: dict[str, Any] = {}
        for name, child in node.items() if node else ():
            cls = self._plugin_class(name, child, f"{path}.{name}")
            if cls is None:
                continue
            if not isinstance(child.value, dict | Broken | None):
                self.problems.add(child.place, f"{path}.{name}", "must be a map of options")
            made[name] = self.make(cls, child, f"{path}.{name}")
        for name, own in OWN_PLUGINS.items():
            made.setdefault(name, own())
        return MappingProxyType({n: made[n] for n in sorted(made) if made[n] is not None})

    def _plugin_class(self, name: str, node: Node, path: str) -> type[Any] | None:
        try:
            cls = plugin_options(name)
        except ConfigurationError as e:
            self.problems.add(node.where, path, str(e))
            return None
        if cls is None:
            advice = self.problems.suggest(name, plugin_names())
            self.problems.add(node.where, shown(path), f"no plugin of that name is installed{advice}")
            return None
        try:
            keys_of(cls)
        except TypeError as e:
            self.problems.add(node.where, path, f"the options of the plugin can't be used: {e}")
            return None
        return cls

    def _finish(self, key: Key, value: Any, node: Node, path: str) -> Any:
        form = key.form
        if isinstance(form, Block) and form.toggle:
            value = form.cls(**dict.fromkeys(keys_of(form.cls), value))
        elif isinstance(form, Leaves):
            self._check_code(form.item, node, path)
            value = tuple(form.item.finish(v) if form.item.finish else _plain(v, node) for v in value)
        elif isinstance(form, Leaf) and value is not None:
            self._check_code(form, node, path)
            if form.secret and form.finish:
                value = form.finish(str(value), node.reread)
            else:
                value = form.finish(str(value)) if form.finish else _plain(value, node)
        return value

    def _check_together(self, made: Any, node: Node, path: str) -> None:
        """Tell of values that are right by themselves, but not beside each other, where their class knows."""
        find = getattr(made, "contradiction", None)
        wrong = find() if find is not None else None
        if wrong is not None:
            key, what = wrong
            self.problems.add(_where(node, key), f"{path}.{key}", what)

    def _check_code(self, leaf: Leaf, node: Node, path: str) -> None:
        if leaf.code and node.place.remote and not self._trust_remote:
            what = "a manifest from a URL may name code only with --trust-remote"
            self.problems.add(node.place, path, what)


def _plain(value: Any, node: Node) -> Any:
    return (HiddenText if node.is_hidden else str)(value) if isinstance(value, str) else value


def _where(node: Node | None, name: str) -> Place:
    child = node.get(name) if node else None
    return child.where if child else node.where if node else _NOWHERE
