"""Plugins on the command line: what they add to it, and what it says to them."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import click

from lightbus.bus.client import BusClient
from lightbus.exceptions import ConfigurationError, LightbusException
from lightbus.host.user_code import located, run_located
from lightbus.manifest.model import Manifest
from lightbus.manifest.plugins import enabled_plugins
from lightbus.messages import EventMessage, RpcMessage
from lightbus.plugins import LightbusPlugin, PluginOptions
from lightbus.plugins.hooks import Hooks
from lightbus.plugins.installed import find_plugin, make_plugin
from lightbus.runtime.portal import run

from .manifest_options import read

T = TypeVar("T")


def extend(group: click.Group, ctx: click.Context, words: list[str]) -> None:
    """Let plugins add options and commands, before the words of the command line are read.

    Args:
        group: The command ``lightbus``.
        ctx: Its context.
        words: The words that were typed, from the command's name on.

    Raises:
        ConfigurationError: A plugin fails.
    """
    manifest = _manifest(group, ctx, words)
    if manifest is None:
        return
    for name, options in manifest.plugins.items():
        if options.enabled:
            plugin = _make(name, options, manifest)
            if plugin is None:
                continue
            try:
                asyncio.run(plugin.before_parse_args(parser=group, subparsers=_Subcommands(group, ctx)))
            except Exception as e:
                what = f"before_parse_args() of the plugin {name} failed: {type(e).__name__}: {e}"
                raise ConfigurationError(what) from e


def spoken() -> Namespace:
    """Return what the command line said: the values of its options by name, and ``subcommand``."""
    ctx = click.get_current_context()
    return Namespace(**{**ctx.params, "subcommand": ctx.info_name})


def act(client: BusClient, manifest: Manifest, action: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do something with a bus whose plugins the manifest names and the command line speaks to, and close it.

    Raises:
        ConfigurationError: A plugin fails.
    """
    client.use_plugins(enabled_plugins(manifest, client.service_name))
    said = spoken()

    async def acted() -> T:
        try:
            await hand_over(client, said)
            hooks = client.parts.hooks
            if hooks.before_rpc_call:
                hooks.before_rpc_call = partial(_tell, hooks, "before_rpc_call")
            if hooks.before_event_sent:
                hooks.before_event_sent = partial(_tell, hooks, "before_event_sent")
            return await action()
        finally:
            await client.close_async()

    return run(acted())


async def hand_over(client: BusClient, arguments: Namespace) -> None:
    """Tell the plugins of a bus what the command line said.

    Raises:
        ConfigurationError: A plugin fails.
    """
    await run_located(client.parts.hooks, "receive_args", "receive_args() of a plugin", arguments)


async def _tell(hooks: Hooks, name: str, message: RpcMessage | EventMessage) -> None:
    """Run a hook in such a way that errors in it are told in a sentence."""
    try:
        for callback in hooks.callbacks(name):
            what = f"{name} ({callback.__module__}.{getattr(callback, '__qualname__', callback)})"
            with located(callback, what):
                await hooks.run(name, (callback,), message)
    except ConfigurationError as e:
        raise click.ClickException(str(e)) from e


def _make(name: str, options: PluginOptions, manifest: Manifest) -> LightbusPlugin | None:
    """Make a plugin that has to do with the command line; None for others, and for one that can't be made."""
    try:
        if find_plugin(name).before_parse_args is LightbusPlugin.before_parse_args:
            return None
        return make_plugin(name, options, manifest)
    except ConfigurationError:
        # The command itself tells that, and where.
        return None


def _manifest(group: click.Group, ctx: click.Context, words: list[str]) -> Manifest | None:
    """Read the manifest that the command is going to read; None if it reads none, or can't."""
    command = group.get_command(ctx, words[0])
    options: dict[str, object] = {}
    try:
        if command is not None:
            if not any(param.name == "config" for param in command.params):
                return None
            # Options of plugins are not known yet.
            lenient = {"resilient_parsing": True, "ignore_unknown_options": True}
            with command.make_context(words[0], words[1:], parent=ctx, **lenient) as sub:
                options = sub.params
        names = ("modules", "service_name", "process_name", "log_level", "transport", "trust_remote")
        lists = {name: options.get(name) or () for name in ("config", "overrides")}
        return read(**{name: options.get(name) for name in names}, **lists)
    except (click.ClickException, LightbusException):
        return None


class _Subcommands(Mapping[str, click.Command]):
    """The commands by name, each of which is imported when it is asked for."""

    def __init__(self, group: click.Group, ctx: click.Context) -> None:
        self._group = group
        self._ctx = ctx

    def __getitem__(self, name: str) -> click.Command:
        command = self._group.get_command(self._ctx, name)
        if command is None:
            raise KeyError(name)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self._group.list_commands(self._ctx))

    def __len__(self) -> int:
        return len(self._group.list_commands(self._ctx))
