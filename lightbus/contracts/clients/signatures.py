"""The signatures in a generated module, and how those of two differ."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Final

Signatures = Mapping[str, Mapping[str, str]]

_RESULT: Final = "->"
_OPTIONS: Final = "bus_options"


def signatures_of(code: str) -> dict[str, dict[str, str]]:
    """Return what a generated module says of procedures, events and classes.

    Args:
        code: Its code.

    Returns:
        The hint of each parameter, field or member, by the name of what has it; none if it is no such module.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return {}
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, dict[str, str]] = {}
    views: set[str] = set()
    if "Bus" in classes:
        _walk("Bus", "", classes, found, views)
    for name, cls in classes.items():
        is_help = any(name.startswith(f"{view}_") for view in views)
        if name not in views and not is_help:
            found[name] = dict(_fields(cls))
    return found


def differences(old: str, new: str) -> list[str]:
    """Say how the signatures of one module differ from those of another.

    Args:
        old: The code of the module that is there.
        new: The code that would be written.

    Returns:
        A line for each difference, such as ``auth.find: kind gained 'guest'``.
    """
    return list(_differences(signatures_of(old), signatures_of(new)))


def _walk(
    name: str,
    path: str,
    classes: Mapping[str, ast.ClassDef],
    found: dict[str, dict[str, str]],
    views: set[str],
) -> None:
    cls = classes.get(name)
    if cls is None or name in views:
        return
    views.add(name)
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            below = f"{path}.{node.target.id}".lstrip(".")
            _walk(ast.unparse(node.annotation), below, classes, found, views)
        elif isinstance(node, ast.FunctionDef) and node.name in ("__call__", "fire"):
            found[path] = dict(_parameters(node))
        elif isinstance(node, ast.FunctionDef) and node.name == "__getitem__" and node.returns is not None:
            word = ast.unparse(node.args.posonlyargs[1].annotation or node.returns)
            below = f"{path}.{word.partition('[')[2].strip(chr(39) + ']')}".lstrip(".")
            _walk(ast.unparse(node.returns), below, classes, found, views)


def _parameters(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if argument.arg != _OPTIONS:
            end = f" = {ast.unparse(default)}" if default is not None else ""
            yield argument.arg, _text(argument.annotation) + end
    if function.args.kwarg is not None:
        yield "**kwargs", _text(function.args.kwarg.annotation)
    if function.name == "__call__":
        yield _RESULT, _text(function.returns)


def _fields(cls: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            end = f" = {ast.unparse(node.value)}" if node.value is not None else ""
            yield node.target.id, _text(node.annotation) + end
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, ast.unparse(node.value)


def _text(node: ast.expr | None) -> str:
    return ast.unparse(node) if node is not None else "Any"


def _differences(old: Signatures, new: Signatures) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if name not in new:
            yield f"{name} is gone"
        elif name not in old:
            yield f"{name} is new"
        else:
            before, after = old[name], new[name]
            for part in [*before, *(p for p in after if p not in before)]:
                if before.get(part) != after.get(part):
                    yield f"{name}: {_change(part, before.get(part), after.get(part))}"


def _change(part: str, before: str | None, after: str | None) -> str:
    what = "its result" if part == _RESULT else part
    if before is None:
        return f"{what} is new: {after}"
    if after is None:
        return f"{what} is gone"
    lost, gained = _values(before) - _values(after), _values(after) - _values(before)
    if _frame(before) != _frame(after) or not (lost or gained):
        return f"{what}: {before} becomes {after}"
    changes = [f"gained {', '.join(sorted(gained))}"] if gained else []
    changes += [f"lost {', '.join(sorted(lost))}"] if lost else []
    return f"{what} {' and '.join(changes)}"


def _literals(hint: str) -> Iterator[ast.Subscript]:
    for node in ast.walk(ast.parse(hint.partition(" = ")[0])):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).startswith("Literal"):
            yield node


def _values(hint: str) -> set[str]:
    """Return the values that the literals of a hint allow."""
    found: set[str] = set()
    for node in _literals(hint):
        inner = node.slice
        found |= {ast.unparse(each) for each in (inner.elts if isinstance(inner, ast.Tuple) else [inner])}
    return found


def _frame(hint: str) -> str:
    """Return a hint without the values of its literals."""
    for node in _literals(hint):
        hint = hint.replace(ast.unparse(node), "Literal")
    return hint
