"""From the merged nodes to a :class:`Manifest`, and what in it refers to what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lightbus.declared.listener import ListenerOptions, is_former_name, shares_group
from lightbus.declared.policy import DeliveryPolicy, OnError
from lightbus.declared.schedule import ScheduleOptions
from lightbus.manifest.keys.scalars import exception_type
from lightbus.manifest.model import Manifest, Policy
from lightbus.manifest.problems import Problems, shown
from lightbus.manifest.text.merge import merge
from lightbus.manifest.text.nodes import Broken, Node

from .apis import Apis
from .placeholders import resolve
from .records import Blocks

_MOST_EXTENDED = 10
_ON_ERROR = {e.value: e for e in OnError}


def build(
    root: Node, problems: Problems, *, trust_remote: bool = False, transport: str | None = None
) -> Manifest:
    """Make the manifest.

    Args:
        root: Everything merged, with every expression replaced.
        problems: Takes what is wrong; where that is an error, the result is not to be used.
        trust_remote: Whether manifests from the network may name code.
        transport: The transport to use for everything, whatever is named.
    """
    blocks = Blocks(problems, trust_remote=trust_remote)
    apis = Apis(blocks, root.get("bus"), transport)
    bus = apis.bus()
    default, records = apis.records(root.get("apis"))
    policies, merged = _policies(blocks, root.get("policies"))
    modules = root.get("modules")
    listeners = blocks.named(root.get("listeners"), "listeners", partial(_listener, blocks, policies))
    _check_former_names(problems, root.get("listeners"), listeners)
    given = {
        "bus": bus,
        "apis": records,
        "default_api": default,
        "policies": policies,
        "listeners": listeners,
        "schedules": blocks.named(root.get("schedules"), "schedules", partial(_schedule, blocks)),
        "plugins": blocks.plugins(root.get("plugins"), "plugins"),
        "modules_given": modules is not None and modules.value is not None,
        "redis_configured": apis.redis_configured,
    }
    manifest: Manifest = blocks.make(Manifest, root, "", given=given)
    service = manifest.service_name
    return replace(
        manifest,
        service_name=service and resolve(service, root.get("service_name"), "service_name", problems),
        process_name=resolve(manifest.process_name, root.get("process_name"), "process_name", problems),
        tree=merge(apis.effective(root), Node({"policies": merged}, root.place) if merged else None),
    )


def _policies(blocks: Blocks, node: Node | None) -> tuple[Mapping[str, Policy], Node | None]:
    """Make the policies; the second value holds their nodes, with those that they extend laid beneath."""
    problems = blocks.problems
    own = {name: child for name, child in node.items() if isinstance(child.value, dict)} if node else {}

    merged: dict[str, Node] = {}

    def beneath(name: str, above: tuple[str, ...]) -> Node | None:
        extends = own[name].get("extends")
        base = extends.value if extends else None
        if extends is None or not isinstance(base, str):
            return own[name]
        if base in (*above, name):
            problems.add(extends.place, f"policies.{name}.extends", "goes round in a circle")
        elif base not in own:
            advice = problems.suggest(base, own.keys() - {name})
            problems.add(extends.place, f"policies.{name}.extends", f"no policy {shown(base)!r}{advice}")
        elif len(above) >= _MOST_EXTENDED:
            what = f"extends more than {_MOST_EXTENDED} policies in a row"
            problems.add(extends.place, f"policies.{name}.extends", what)
        else:
            return merge(beneath(base, (*above, name)), own[name])
        return own[name]

    def make(child: Node, path: str) -> Policy | None:
        name = path.removeprefix("policies.")
        if name in _ON_ERROR:
            problems.add(child.where, path, "is what on_error already calls something; choose another name")
        merged[name] = beneath(name, ()) or child
        policy: Policy | None = blocks.make(Policy, merged[name], path)
        return _with_exceptions(policy) if policy else None

    for name in own.keys() & {
        n.value for c in own.values() if (n := c.get("extends")) and isinstance(n.value, str)
    }:
        # Those that lie beneath alone first, so that a problem is told of the policy that has it.
        blocks.make(Policy, own[name], f"policies.{name}")
    made = blocks.named(node, "policies", make)
    return made, node and replace(node, value=merged)


def _with_exceptions(policy: Policy) -> Policy:
    """Part what needs an import from Python's own exceptions."""
    names: tuple[Any, ...] = policy.give_up_on
    found = [exception_type(name) for name in names]
    return replace(
        policy,
        give_up_on=tuple(cls for cls in found if cls),
        give_up_on_names=tuple(name for name, cls in zip(names, found, strict=True) if not cls),
    )


def _listener(
    blocks: Blocks, policies: Mapping[str, Policy], node: Node, path: str
) -> ListenerOptions | None:
    made: ListenerOptions | None = blocks.make(ListenerOptions, node, path)
    written = node.get("on_error")
    name = written.value if written else None
    if (
        written
        and isinstance(name, str)
        and not isinstance(name, Broken)
        and name not in {*policies, *_ON_ERROR}
    ):
        advice = blocks.problems.suggest(name, {*policies, *_ON_ERROR})
        blocks.problems.add(written.place, f"{path}.on_error", f"no policy of that name{advice}")
    events = node.get("events")
    if events and events.value == []:
        blocks.problems.add(
            events.place, f"{path}.events", "is empty; name at least one event, such as auth.*"
        )
    if made is None:
        return None
    wait = node.get("batch_wait")
    if wait and made.batch_wait is not None and made.batch is None:
        blocks.problems.add(wait.place, f"{path}.batch_wait", "means nothing without batch; give that, too")
    keep = node.get("inbox_keep")
    if keep and made.inbox_keep is not None and made.inbox is None:
        what = "means nothing without inbox; give that, too, or @inbox(keep=...) in code"
        blocks.problems.add(keep.place, f"{path}.inbox_keep", what)
    if isinstance(name, str) and name in _ON_ERROR:
        return replace(made, on_error=DeliveryPolicy.of(_ON_ERROR[name]))
    return replace(made, on_error=policies[name]) if isinstance(name, str) and name in policies else made


def _check_former_names(
    problems: Problems, node: Node | None, listeners: Mapping[str, ListenerOptions]
) -> None:
    """Refuse names that listeners had before where two listeners would have the same group."""
    for name, options in listeners.items():
        written = node.find(f"{name}.renamed_from") if node else None
        if options.renamed_from is None or written is None:
            continue
        path = f"listeners.{name}.renamed_from"
        if not is_former_name(options.renamed_from, name):
            problems.add(written.place, path, "must be the other name that the listener had before")
        for other, of_other in listeners.items():
            if other != name and shares_group(name, options, other, of_other):
                problems.add(written.place, path, f"{other} would have what waits there, too")


def _schedule(blocks: Blocks, node: Node, path: str) -> ScheduleOptions | None:
    made: ScheduleOptions | None = blocks.make(ScheduleOptions, node, path)
    given = {key for key in ("every", "cron", "timezone") if (n := node.get(key)) and n.value is not None}
    if not given & {"every", "cron"}:
        blocks.problems.add(node.where, path, "says neither how often nor when; give it every or cron")
    elif {"every", "cron"} <= given:
        blocks.problems.add(node.where, path, "has both every and cron; keep one")
    elif "timezone" in given and "cron" not in given:
        blocks.problems.add(node.where, path, "has a timezone, which means nothing without cron")
    missed = node.get("missed")
    if made and missed and made.missed == "run_once" and made.scope == "process":
        what = "run_once needs scope: service, since the broker remembers the last time of a service alone"
        blocks.problems.add(missed.place, f"{path}.missed", what)
    return made
