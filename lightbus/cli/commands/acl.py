"""``lightbus acl``: users of Redis who may do what their services do, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from lightbus.bus.client import BusClient
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, complete_files, format_option, manifest_options
from lightbus.cli.wording import complain, line_width, paragraph
from lightbus.host.checks import client_for, import_problems, origin_of
from lightbus.host.shutdown import EXIT_FAILED
from lightbus.host.uses import Accessed, accesses
from lightbus.insight.graph.declared import called, declared_by_all
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Problems, render
from lightbus.runtime.portal import run
from lightbus.transports.redis.acl.needs import everybody
from lightbus.transports.redis.acl.operators import roles_of_operators, runs_schedules
from lightbus.transports.redis.acl.roles import EVERYBODY, digest_of
from lightbus.transports.redis.acl.rules import Rule, rules_of
from lightbus.transports.redis.link.permissions import Need, NoSuchUser, NotKnown

#: The width of lines for people where there is no terminal.
_WIDTH = 80
#: The user of a connection that names none.
_DEFAULT = "default"


@dataclass
class _User:
    """One user of one Redis.

    Args:
        name: The name.
        address: The address of Redis.
        digest: The SHA-256 of the password; empty if there is none.
        is_on_cluster: Whether that Redis is a cluster.
        roles: The needs of each role.
    """

    name: str
    address: str
    digest: str = ""
    is_on_cluster: bool = False
    roles: dict[str, dict[Need, None]] = field(default_factory=dict)

    def add(self, role: str, needs: Iterable[Need]) -> None:
        """Note what a role needs."""
        self.roles.setdefault(role, {}).update(dict.fromkeys(needs))

    def rules(self) -> list[Rule]:
        """Return the rules of all its roles."""
        return rules_of(dict.fromkeys(need for needs in self.roles.values() for need in needs))

    def words(self) -> str:
        """Return all that makes the user, as Redis reads it."""
        password = [f"#{self.digest}"] if self.digest else []
        return " ".join([self.name, "on", *password, "resetchannels", *map(str, self.rules())])


@click.command("acl", cls=Command, epilog="Example: lightbus acl shop.yaml web.yaml > users.acl")
@click.argument("manifests", nargs=-1, metavar="[MANIFEST]...", shell_complete=complete_files)
@format_option(
    "aclfile",
    "setuser",
    "roles",
    help="A file for aclfile, commands for redis-cli, or for people: the rules of each role.",
)
@click.option("--check", is_flag=True, help="Write nothing; ask Redis whether the user may do all of it.")
@click.option("--calls", multiple=True, metavar="API", help="An API that is called besides; may be repeated.")
@click.option("--imports", is_flag=True, help="Import the modules, for what only the code declares.")
@click.option("--user", metavar="NAME", help="The user, if not bus.redis.username or the service's name.")
@click.option("--redis", "address", metavar="HOST:PORT/DB", help="Which Redis, where there are several.")
@click.option("--operator", metavar="NAME", help="A user more, who looks after the bus.")
@click.option(
    "--operator-password",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file with that user's password.",
)
@manifest_options
def command(manifests: tuple[str, ...], form: str, check: bool, **options: Any) -> int:
    """Write users for Redis 7 or Valkey, each with the least that its service needs.

    A service is described by its manifest; several can be given. Nothing is imported or connected to, unless
    it is asked for. Passwords are written as SHA-256 only.
    """
    own = {name: options.pop(name) for name in ("calls", "imports", "user", "address")}
    operator, password = options.pop("operator"), options.pop("operator_password")
    if password is not None and operator is None:
        raise click.UsageError("--operator-password is that of the user whom --operator names")
    if len(manifests) > 1 and (own["calls"] or own["imports"] or own["user"]):
        raise click.UsageError("--calls, --imports and --user are about one manifest; give one")
    read = [_read(options, each) for each in manifests or ("",)]
    known = declared_by_all(read).apis
    calls = own.pop("calls")
    services = [_Service(each, (*calls, *_called(each, known)), **own) for each in read]
    if check:
        return max(run(service.check()) for service in services)
    users = _together([user for service in services for user in run(service.users())])
    users = _of_one_redis(users, own["address"])
    if operator is not None:
        is_told = any(manifest.bus.remote_control for manifest in read)
        users.append(_operator(operator, users[0], password, runs=is_told))
    for note in _notes(users):
        complain(note)
    print(*_written(users, form), sep="\n")
    return 0


def _read(options: dict[str, Any], manifest: str) -> Manifest:
    return begin({**options, "config": (*options["config"], *filter(None, [manifest]))})


def _called(manifest: Manifest, known: Collection[str]) -> list[str]:
    """Return the APIs that a manifest's ``calls`` name, or of which they name procedures."""
    return sorted({called("", name, known).api for name in manifest.calls})


@dataclass(frozen=True)
class _Service:
    """One service, and what is asked about it.

    Args:
        manifest: Its manifest.
        calls: The APIs that it calls besides.
        imports: Whether to import its code.
        user: The name of its user; None for that of the manifest.
        address: The only Redis that is meant; None for all.
    """

    manifest: Manifest
    calls: tuple[str, ...]
    imports: bool
    user: str | None
    address: str | None

    async def users(self) -> list[_User]:
        """Return its user at each Redis."""
        client = self._client()
        try:
            found = []
            for accessed in self._accesses(client):
                access = accessed.access
                user = _User(self._name(accessed), access.address, access.digest, access.is_on_cluster)
                for roles in (access.roles, access.with_1x):
                    for role, needs in roles.items():
                        user.add(role, needs)
                found.append(user)
            return found
        finally:
            await client.close_async()

    async def check(self) -> int:
        """Ask each Redis whether the user may do all of it; say what is missing, and return the status."""
        client = self._client()
        problems = Problems()
        try:
            asked: dict[tuple[str, str], list[Accessed]] = {}
            for accessed in self._accesses(client):
                name = self.user or accessed.access.username or _DEFAULT
                asked.setdefault((name, accessed.access.address), []).append(accessed)
            for (name, address), uses in asked.items():
                path, place = origin_of(self.manifest, uses[0].kind, [*uses[0].api_names, "default"][0])
                for what in await _lacking(name, address, uses):
                    problems.add(place, path, what, "error", "permission")
        finally:
            await client.close_async()
        if problems.found:
            _print(render(problems.found))
            return EXIT_FAILED
        for (name, address), uses in asked.items():
            roles = dict.fromkeys(role for each in uses for role in each.access.roles if role != EVERYBODY)
            doing = f": it {', '.join(roles)}" if roles else ""
            _print(f"Redis at {address} allows the user {name!r} all that it needs{doing}")
        return 0

    def _client(self) -> BusClient:
        client = client_for(self.manifest)
        if self.imports:
            problems = Problems(import_problems(self.manifest, client, Path.cwd()))
            client.parts.declarations.discard_background()
            problems.raise_errors()
        return client

    def _accesses(self, client: BusClient) -> Iterator[Accessed]:
        found = [
            each
            for each in accesses(self.manifest, client, self.calls)
            if self.address in (None, each.access.address)
        ]
        if not found:
            raise click.UsageError("no such Redis is used, so that there is nobody to allow anything")
        return iter(found)

    def _name(self, accessed: Accessed) -> str:
        name = self.user or accessed.access.username or self.manifest.service_name
        if not name:
            raise click.UsageError("nothing names the user; write service_name, or give --user")
        return name


async def _lacking(user: str, address: str, uses: Sequence[Accessed]) -> list[str]:
    """Say what a user of one Redis lacks for some uses."""
    needs = dict.fromkeys(need for use in uses for needs in use.access.roles.values() for need in needs)
    try:
        return await uses[0].transport.lacking(needs, user)
    except NoSuchUser:
        return [f"Redis at {address} has no user {user!r}; make it by what lightbus acl writes"]
    except NotKnown as e:
        return [f"Redis at {address} does not say what the user {user!r} may do: {e}"]


def _together(users: Iterable[_User]) -> list[_User]:
    """Return each user of each Redis once, with all its roles."""
    found: dict[tuple[str, str], _User] = {}
    for user in users:
        same = found.setdefault((user.address, user.name), replace(user, roles={}))
        if same.digest and user.digest and same.digest != user.digest:
            raise click.UsageError(f"the user {user.name!r} has two passwords in these manifests")
        same.digest = same.digest or user.digest
        for role, needs in user.roles.items():
            same.add(role, needs)
    return list(found.values())


def _of_one_redis(users: Sequence[_User], address: str | None) -> list[_User]:
    """Return the users of one Redis: a file of users is that of one server."""
    addresses = dict.fromkeys(user.address for user in users)
    if address is None and len(addresses) > 1:
        which = ", ".join(addresses)
        raise click.UsageError(f"users are written for one Redis at a time; give --redis, one of: {which}")
    return [user for user in users if address in (None, user.address)]


def _operator(name: str, like: _User, password: Path | None, *, runs: bool) -> _User:
    """Return the user who looks after the Redis of another one, and may have schedules run."""
    text = password.read_text("utf-8").rstrip("\r\n") if password is not None else None
    user = _User(name, like.address, digest_of(text))
    # Whether it is a cluster, and which database: as for the services.
    user.add(EVERYBODY, like.roles.get(EVERYBODY, dict.fromkeys(everybody())))
    for role, needs in roles_of_operators(is_cluster=like.is_on_cluster).items():
        user.add(role, needs)
    if runs:
        user.add("runs schedules", runs_schedules(is_cluster=like.is_on_cluster))
    return user


def _notes(users: Sequence[_User]) -> Iterator[str]:
    for user in users:
        if not user.digest:
            yield (
                f"the user {user.name!r} has no password, so that nobody can log in as it; write "
                "bus.redis.password, such as ${file:/run/secrets/redis}"
            )


def _written(users: Sequence[_User], form: str) -> Iterator[str]:
    if form == "roles":
        for user in users:
            yield from _for_people(user)
    elif form == "aclfile":
        # A file stands for all users there are: without a word about it, everybody may do everything.
        yield from (f"user {_DEFAULT} off" for _ in [0] if all(user.name != _DEFAULT for user in users))
        yield from (f"user {user.words()}" for user in users)
    else:
        for user in users:
            name, rest = user.words().split(" ", 1)
            yield f"ACL SETUSER {name} reset {rest}"


def _for_people(user: _User) -> Iterator[str]:
    width = line_width() or _WIDTH
    yield f"user {user.name} at {user.address}"
    for role, needs in user.roles.items():
        yield f"  {role}"
        for rule in rules_of(needs):
            yield from paragraph(str(rule), width, "    ", "      ")


def _print(text: str) -> None:
    for line in text.splitlines():
        print("\n".join(paragraph(line, line_width(), rest="    ")))
