"""The protocols of procedures and events: how they are called, fired and listened to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .hints import Hints, Place
from .names import Names, camel, is_parameter
from .texts import FieldText, docstring, typed_dict_text

_WIDTH = 100
_OPTIONS = "lightbus.bus.bus_options"
_VIEWS = "lightbus.bus.typed.views"


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a procedure or an event.

    Args:
        fields: Those that can be written, each with its hint.
        others: The hint of what ``**kwargs`` take; None where there is nothing else.
        text: What they are of, in the words of its docstring.
        docs: What that says of each parameter.
    """

    fields: tuple[FieldText, ...]
    others: str | None
    text: str
    docs: Mapping[str, str]

    def signature(self, *, all_given: bool = False) -> list[str]:
        """Return the parameters, as they stand between the brackets; ``**kwargs`` are left out."""
        return [
            f"{f.name}: {f.hint}" + ("" if all_given or f.is_required else f" = {f.default or '...'}")
            for f in self.fields
        ]

    @property
    def rest(self) -> list[str]:
        """The parameter ``**kwargs``, if there is one."""
        return [f"**kwargs: {self.others}"] if self.others is not None else []


class Functions:
    """Writes the protocols of procedures and events.

    Args:
        hints: Writes type hints.
        names: Gives names.
    """

    def __init__(self, hints: Hints, names: Names) -> None:
        self.texts: list[str] = []
        self._hints = hints
        self._names = names

    def procedure(self, api: str, name: str, entry: Mapping[str, Any]) -> str:
        """Write the protocol of a procedure, and return its name."""
        parameters = self._parameters(api, entry["parameters"], sent=True)
        response = entry["response"]
        place = Place(api, response if isinstance(response, dict) else {}, f"{camel(name)}Result")
        result = self._hints.of(response, place)
        returns = response.get("description") if isinstance(response, dict) else None
        cls = self._names.new(f"{camel(api)}Api_{name if name.isidentifier() else camel(name)}")
        options = [f"bus_options: {self._names.imported(_OPTIONS, 'CallOptions')} | None = None"]
        taken = ["self", "/", "*", *parameters.signature(), *options, *parameters.rest]
        docs = docstring(parameters.text, 8, parameters.docs, returns if isinstance(returns, str) else "")
        lines = [f"class {cls}({self._base('ProcedureView')}):"]
        for start, doc in (("def __call__", docs), ("def call", []), ("async def call_async", docs)):
            lines += [*_function(f"    {start}", taken, result, doc), ""]
        self.texts.append("\n".join(lines[:-1]))
        return cls

    def event(self, api: str, name: str, entry: Mapping[str, Any]) -> str:
        """Write the protocols of an event and of its listeners, and return the name of the first."""
        names, parameters = self._names, self._parameters(api, entry["parameters"], sent=True)
        cls = names.new(f"{camel(api)}Api_{name if name.isidentifier() else camel(name)}")
        arguments = self._arguments(cls, parameters)
        listener = self._listener(cls, self._parameters(api, entry["parameters"], sent=False))
        message, iterable = (
            names.imported("lightbus", "EventMessage"),
            names.imported("collections.abc", "Iterable"),
        )
        fire, many = (names.imported(_OPTIONS, f"Fire{which}Options") for which in ("", "Many"))
        taken = [
            "self",
            "/",
            "*",
            *parameters.signature(),
            f"bus_options: {fire} | None = None",
            *parameters.rest,
        ]
        several = ["self", f"events: {iterable}[{arguments}]", "*", f"bus_options: {many} | None = None"]
        messages = f"{names.imported('builtins', 'list')}[{message}]"
        docs = docstring(parameters.text, 8, parameters.docs)
        lines = [f"class {cls}({self._base('EventView')}):"]
        lines += [*_function("    def fire", taken, message, docs), ""]
        lines += [*_function("    async def fire_async", taken, message, docs), ""]
        lines += [*_function("    def fire_many", several, messages, []), ""]
        lines += [*_function("    async def fire_many_async", several, messages, []), ""]
        lines += _function(
            "    def listen",
            self._listening(listener),
            names.imported("lightbus.declared.listener", "Listener"),
            [],
        )
        self.texts.append("\n".join(lines))
        return cls

    def _base(self, view: str) -> str:
        return f"{self._names.imported(_VIEWS, view)}, {self._names.imported('typing', 'Protocol')}"

    def _arguments(self, cls: str, parameters: Parameters) -> str:
        name = self._names.new(f"{cls}_arguments")
        is_total = all(field.is_required for field in parameters.fields)
        base = self._names.imported("typing", "TypedDict")
        optional = "" if is_total else self._hints.not_required
        self.texts.append(typed_dict_text(name, base, optional, parameters.fields))
        return name

    def _listener(self, cls: str, parameters: Parameters) -> str:
        name = self._names.new(f"{cls}_listener")
        message = self._names.imported("lightbus", "EventMessage")
        given = parameters.signature(all_given=True)
        taken = [
            "self",
            f"event_message: {message}",
            "/",
            *(["*"] if given else []),
            *given,
            *parameters.rest,
        ]
        function = _function("    def __call__", taken, self._names.imported("typing", "Any"), [])
        base = self._names.imported("typing", "Protocol")
        self.texts.append("\n".join([f"class {name}({base}):", *function]))
        return name

    def _listening(self, listener: str) -> list[str]:
        imported = self._names.imported
        text, anything = imported("builtins", "str"), imported("typing", "Any")
        messages = f"{imported('builtins', 'list')}[{imported('lightbus', 'EventMessage')}]"
        of_batches = f"{imported('collections.abc', 'Callable')}[[{messages}], {anything}]"
        on_error = f"{imported('lightbus', 'OnError')} | {imported('lightbus', 'DeliveryPolicy')}"
        return [
            "self",
            f"listener: {listener} | {of_batches}",
            "*",
            f"listener_name: {text} | None = None",
            f"bus_options: {imported('collections.abc', 'Mapping')}[{text}, {anything}] | None = None",
            f"on_error: {on_error} = ...",
        ]

    def _parameters(self, api: str, schema: Any, *, sent: bool) -> Parameters:
        if not isinstance(schema, dict) or not isinstance(schema.get("properties", {}), dict):
            return Parameters((), self._names.imported("typing", "Any"), "", {})
        required, place = schema.get("required", ()), Place(api, schema)
        fields, docs = [], {}
        others: Any = schema.get("additionalProperties", True)
        for name, inner in schema.get("properties", {}).items():
            if not is_parameter(name):
                # A word of Python: it can be given by ** alone.
                others = True
                continue
            hint, default = self._hints.of(inner, place, sent=sent), self._hints.shown_default(inner)
            fields.append(FieldText(name, hint, name in required, default))
            if isinstance(inner, dict) and isinstance(inner.get("description"), str):
                docs[name] = inner["description"]
        text = schema.get("description")
        rest = None if others is False else self._hints.of(others, place, sent=sent)
        return Parameters(tuple(fields), rest, text if isinstance(text, str) else "", docs)


def _function(start: str, parameters: list[str], result: str, doc: list[str]) -> list[str]:
    """Return a function that only says what it is, with a line for each parameter if it is long."""
    indent = " " * (len(start) - len(start.lstrip()))
    end = f") -> {result}:{'' if doc else ' ...'}"
    body = [*doc, f"{indent}    ..."] if doc else []
    line = f"{start}({', '.join(parameters)}{end}"
    if len(line) <= _WIDTH:
        return [line, *body]
    return [f"{start}(", *(f"{indent}    {each}," for each in parameters), f"{indent}{end}", *body]
