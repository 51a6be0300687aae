"""Plugins for the bus: each is a class with hooks, and a frozen dataclass of its options."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.options import option

from .hooks import HOOKS, PLUGIN_HOOKS, Callback

__all__ = ["LightbusPlugin", "PluginOptions", "callbacks_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOptions:
    """The options of every plugin."""

    enabled: bool = option(False, "Whether it runs.")


class LightbusPlugin:
    """Base of every plugin: override the hooks that it needs; the others cost nothing.

    A package offers one by an entry point of the group ``lightbus_plugins``, and a manifest switches it on
    with ``plugins.<name>.enabled: true``.
    """

    #: A frozen dataclass derived from :class:`PluginOptions`, whose fields are made by
    #: :func:`lightbus.options.option`: what the manifest may say below ``plugins.<name>``.
    options: ClassVar[type[PluginOptions]] = PluginOptions
    #: Plugins with a smaller number go first; of those with the same, by name.
    priority: ClassVar[int] = 1000

    @classmethod
    def from_config(cls, *args: Any, **options: Any) -> Self:
        """Make the plugin; it is called as ``from_config(config=..., **options)``.

        Args:
            args: None; here so that type checkers let a plugin name its own options.
            options: ``config``, the manifest, with the names of the service and the process; and the fields
                of the plugin's options, save for ``enabled``. This one hands the latter to the class.
        """
        return cls(*args, **{name: value for name, value in options.items() if name != "config"})

    def __str__(self) -> str:
        return f"{type(self).__module__}.{type(self).__name__}"

    # The command line

    async def before_parse_args(self, *, parser: Any, subparsers: Mapping[str, Any]) -> None:
        """Add options or commands to the command line.

        Args:
            parser: The ``click.Group`` of the command ``lightbus``.
            subparsers: Its ``click.Command`` objects by name, such as ``run``.
        """

    async def receive_args(self, args: Namespace) -> None:
        """Take what the command line said.

        Args:
            args: The values of the command's options by name, and ``subcommand``, such as ``run``.
        """

    # The life of a process

    async def before_worker_start(self, *, client: Any) -> None:
        """Act in a host before it takes anything."""

    async def after_worker_stopped(self, *, client: Any) -> None:
        """Act in a host after it has finished everything."""

    async def before_close(self, *, client: Any) -> None:
        """Act before a bus closes its connections, with or without a host."""

    async def exception(self, *, e: BaseException) -> None:
        """Learn what a procedure, a listener, recurring work or the host itself has raised."""

    # Calls

    async def before_rpc_call(self, *, rpc_message: RpcMessage, client: Any) -> None:
        """Act before a call is sent; what this raises goes to the caller."""

    async def after_rpc_call(
        self, *, rpc_message: RpcMessage, result_message: ResultMessage, client: Any
    ) -> None:
        """Act after a call was answered."""

    async def before_rpc_execution(self, *, rpc_message: RpcMessage, client: Any) -> None:
        """Act before a procedure runs; what this raises is the answer."""

    async def after_rpc_execution(
        self, *, rpc_message: RpcMessage, result_message: ResultMessage, client: Any
    ) -> None:
        """Act after a procedure ran, or failed."""

    # Events

    async def before_event_sent(self, *, event_message: EventMessage, client: Any) -> None:
        """Act before an event is fired; what this raises goes to who fires."""

    async def after_event_sent(self, *, event_message: EventMessage, client: Any) -> None:
        """Act after an event was stored."""

    async def before_event_execution(self, *, event_message: EventMessage, client: Any) -> None:
        """Act before a listener runs; what this raises counts as if the listener had."""

    async def after_event_execution(self, *, event_message: EventMessage, client: Any) -> None:
        """Act after a listener ran."""

    # The whole of it: what is awaited happens within the context manager, errors included

    def around_rpc_call(self, *, rpc_message: RpcMessage, client: Any) -> AbstractContextManager[Any]:
        """Return what holds from before a call is sent until its caller has the result or the error."""
        return nullcontext()

    def around_rpc_execution(self, *, rpc_message: RpcMessage, client: Any) -> AbstractContextManager[Any]:
        """Return what holds while a procedure and the hooks before it run."""
        return nullcontext()

    def around_event_sent(self, *, event_message: EventMessage, client: Any) -> AbstractContextManager[Any]:
        """Return what holds while an event is fired."""
        return nullcontext()

    def around_event_execution(
        self, *, event_message: EventMessage, client: Any, listener_name: str
    ) -> AbstractContextManager[Any]:
        """Return what holds while a listener and its hooks run."""
        return nullcontext()


def callbacks_of(plugins: Mapping[str, LightbusPlugin]) -> dict[str, list[Callback]]:
    """Return, for each hook, the methods of the plugins that override it, in the order in which they run."""
    ordered = sorted(plugins.items(), key=lambda item: (item[1].priority, item[0]))
    return {
        hook: [
            getattr(plugin, hook)
            for _, plugin in ordered
            if getattr(type(plugin), hook) is not getattr(LightbusPlugin, hook)
        ]
        for hook in (*HOOKS, *PLUGIN_HOOKS)
    }
