"""The variables and files that a service gets from where it runs; never their values."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from lightbus.manifest.keys.entries import Entry
from lightbus.manifest.keys.scalars import Leaf
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Place
from lightbus.manifest.text.nodes import Node
from lightbus.manifest.text.variables import expressions
from lightbus.options import SecretUrl

#: The keys that name files which are read on the spot.
_FILES = ("ca_file", "cert_file", "key_file")


@dataclass(frozen=True, slots=True)
class Use:
    """One key that takes a value from outside.

    Args:
        path: The key, with dots.
        place: Where it is written.
    """

    path: str
    place: Place

    def __str__(self) -> str:
        place = self.place
        return f"{self.path}, {place.source}:{place.line}" if place.line else self.path


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment that the manifest names.

    Args:
        name: Its name.
        use: The first key that takes it.
        is_secret: Whether such a key is a secret.
        is_optional: Whether the manifest has a default wherever it takes it.
    """

    name: str
    use: Use
    is_secret: bool
    is_optional: bool


@dataclass(frozen=True, slots=True)
class File:
    """A file that is there when the service runs, and is no part of its project.

    Args:
        path: Its path as the manifest has it.
        use: The first key that takes it.
    """

    path: str
    use: Use

    @property
    def name(self) -> str:
        """Its name, without folders."""
        return PurePosixPath(self.path).name

    @property
    def key(self) -> str:
        """Its name in the form that Compose and Kubernetes take."""
        return key_of(self.path)

    def within(self, folder: str) -> str:
        """Return its path where the project is in a folder; a relative one starts at its manifest."""
        place = self.use.place
        beside = posixpath.dirname(place.source) if place.line and not place.remote else ""
        return posixpath.normpath(posixpath.join(folder, beside, self.path))


def key_of(path: str) -> str:
    """Return under which name a file's content is kept where it runs."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", PurePosixPath(path).name)


@dataclass(frozen=True, slots=True)
class Inputs:
    """All of them.

    Args:
        variables: The variables, by name.
        files: The files, by path.
        told: The keys with a secret that the command line itself tells.
    """

    variables: tuple[Variable, ...]
    files: tuple[File, ...]
    told: tuple[Use, ...]

    @property
    def secrets(self) -> list[Variable]:
        """The variables that are secrets."""
        return [variable for variable in self.variables if variable.is_secret]

    @property
    def settings(self) -> list[Variable]:
        """The variables that are none."""
        return [variable for variable in self.variables if not variable.is_secret]


def inputs_of(manifest: Manifest) -> Inputs:
    """Return what a service needs besides its project.

    Args:
        manifest: Its manifest, read without the variables of any place.
    """
    variables: dict[str, Variable] = {}
    files: dict[str, File] = {}
    told: list[Use] = []
    secret = {entry.path for entry in _secrets(Entry(value=manifest))}
    # The shortest first: what lies beneath others is at their paths, too.
    found = sorted(_scalars(manifest.tree), key=lambda item: len(item[0])) if manifest.tree else []
    for path, node in found:
        # Who somebody is belongs to what proves it.
        use, is_secret = Use(".".join(path), node.place), path in secret or path[-1] == "username"
        for each in expressions(node.written or ""):
            if each.file:
                files.setdefault(each.file, File(each.file, use))
            else:
                new = Variable(each.name, use, is_secret, each.default is not None)
                old = variables.get(each.name, new)
                variables[each.name] = replace(
                    old,
                    is_secret=old.is_secret or is_secret,
                    is_optional=old.is_optional and new.is_optional,
                )
        if path[-1] in _FILES and node.written is None and isinstance(node.value, str):
            files.setdefault(node.value, File(node.value, use))
        if (
            path in secret
            and node.place.source.startswith("--set")
            and _has_secret(path[-1], str(node.value))
        ):
            told.append(use)
    return Inputs(
        tuple(sorted(variables.values(), key=lambda variable: variable.name)),
        tuple(sorted(files.values(), key=lambda file: file.path)),
        tuple(dict.fromkeys(told)),
    )


def _scalars(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node]]:
    if isinstance(node.value, list):
        for item in node.value:
            yield from _scalars(item, path)
    elif isinstance(node.value, dict):
        for key, child in node.items():
            yield from _scalars(child, (*path, key))
    elif path:
        yield path, node


def _secrets(entry: Entry) -> Iterator[Entry]:
    for each in entry.below():
        if isinstance(each.key.form, Leaf) and each.key.form.secret:
            yield each
        yield from _secrets(each)


def _has_secret(key: str, value: str) -> bool:
    return key != "url" or str(SecretUrl(value)) != value
