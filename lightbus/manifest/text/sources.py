"""The layers of a manifest: files, folders, URLs, and all that they include."""

from __future__ import annotations

import base64
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from lightbus.manifest.problems import LONGEST_PATH, Place, Problems, shown
from lightbus.options import SecretUrl, misread

from .nodes import Broken, Node
from .variables import Variables, read_limited
from .yaml import LARGEST_SOURCE, Unreadable, parse

if TYPE_CHECKING:
    from urllib.request import Request

#: How long a URL may take in all, in seconds.
URL_SECONDS = 10.0
#: Files and URLs in all, those that are included counted.
MOST_SOURCES = 100
_DEEPEST_INCLUDE = 10


#: The name of a file or URL in problems, and its nodes, without ``include``.
Layer = tuple[str, Node]


@dataclass(slots=True)
class Sources:
    """Reads the layers, the weakest first.

    Args:
        cwd: The folder at which relative paths start.
        problems: Takes what can't be read.
        variables: Replaces expressions in what ``include`` names.
        trust_remote: Whether manifests from the network may include local files.
    """

    cwd: Path
    problems: Problems
    variables: Variables
    trust_remote: bool = False
    included: list[Layer] = field(default_factory=list)
    files: list[Layer] = field(default_factory=list)
    _read: int = 0

    def read(self, target: str) -> None:
        """Read a file, a folder or a URL that the command line or the environment names."""
        if is_url(target):
            self._layer(target, self.files, ())
            return
        for path in self._files_of(target, Place(shown(target, LONGEST_PATH), rank=self._read)):
            self._layer(str(path), self.files, ())

    def layers(self) -> list[Layer]:
        """Return all layers, the weakest first: what is included lies beneath every file."""
        return [*self.included, *self.files]

    def _files_of(self, target: str, place: Place, path: str = "") -> list[Path]:
        full = self.cwd / target
        try:
            if not full.is_dir():
                return [full]
            found = sorted(p for p in full.iterdir() if _is_manifest(p))
        except (OSError, ValueError) as e:
            self.problems.add(place, path, f"the folder can't be read: {getattr(e, 'strerror', e)}")
            return []
        if not found:
            what = "the folder has no *.yaml or *.yml file; folders in it are not entered"
            self.problems.add(place, path, what)
        return found[:MOST_SOURCES]

    def _layer(
        self,
        target: str,
        into: list[Layer],
        above: tuple[str, ...],
        place: Place | None = None,
        path: str = "",
    ) -> None:
        rank, self._read = self._read, self._read + 1
        name = self._display(target)
        place = place or Place(name, rank=rank)
        if self._read > MOST_SOURCES:
            self.problems.add(place, path, f"more than {MOST_SOURCES} files in all")
            return
        content = fetch(target) if is_url(target) else read_limited(Path(target), LARGEST_SOURCE)
        if isinstance(content, str):
            self.problems.add(place, path, f"{name} {content}" if path else content)
            return
        try:
            root, mistakes = parse(content, name, rank, remote=is_url(target))
        except Unreadable as e:
            self.problems.add(e.place, "", e.what)
            return
        for mistake in mistakes:
            self.problems.add(mistake.place, "", mistake.what)
        if isinstance(root.value, Broken):
            return
        if not isinstance(root.value, dict | None):
            self.problems.add(root.place, "", "must be a map of keys and values")
            return
        includes = root.get("include")
        if includes is not None:
            self._include(includes, target, (*above, target))
        children = {k: n for k, n in root.items() if k != "include"}
        into.append((name, Node(children, root.place)))

    def _include(self, node: Node, target: str, above: tuple[str, ...]) -> None:
        if node.value is None:
            return
        expanded = self.variables.expand(node, "include")
        if not isinstance(expanded.value, list):
            self.problems.add(
                node.place, "include", "must be a list of files, folders and URLs; put it in brackets"
            )
            return
        for index, item in enumerate(expanded.value):
            path = f"include[{index}]"
            if isinstance(item.value, Broken):
                continue
            if not isinstance(item.value, str) or not item.value:
                self.problems.add(item.place, path, "must be a file, a folder or a URL")
            elif len(above) > _DEEPEST_INCLUDE:
                self.problems.add(item.place, path, f"included more than {_DEEPEST_INCLUDE} levels deep")
            else:
                self._include_one(str(item.value), item, path, target, above)

    def _include_one(self, value: str, item: Node, path: str, target: str, above: tuple[str, ...]) -> None:
        if is_url(target) and not is_url(value) and self.trust_remote and value.startswith("/"):
            targets = [value]
        elif is_url(target) or is_url(value):
            targets = [urljoin(target, value) if is_url(target) else value]
        else:
            targets = [str(p) for p in self._files_of(str(Path(target).parent / value), item.place, path)]
        for one in targets:
            if is_url(target) and not is_url(one) and not self.trust_remote:
                what = "a manifest from a URL may include local files only with --trust-remote"
                self.problems.add(item.place, path, what)
            elif one in above:
                self.problems.add(item.place, path, "goes round in a circle")
            else:
                self._layer(one, self.included, above, item.place, path)

    def _display(self, target: str) -> str:
        if is_url(target):
            return shown(str(SecretUrl(target)), LONGEST_PATH)
        path = Path(os.path.normpath(target))
        seen = path.relative_to(self.cwd) if path.is_relative_to(self.cwd) else path
        return shown(str(seen), LONGEST_PATH)


def _is_manifest(path: Path) -> bool:
    """Tell whether a file of a folder is read; hidden ones belong to editors and to other systems."""
    return path.suffix in (".yaml", ".yml") and not path.name.startswith(".") and not path.is_dir()


def is_url(target: str) -> bool:
    """Tell whether a path is fetched over the network."""
    return target.lower().startswith(("http://", "https://"))


def fetch(url: str) -> bytes | str:
    """Fetch a manifest over the network.

    Returns:
        The content; or, as text, why it can't be had.
    """
    answer: list[bytes | str] = []
    # A server can stretch any step beyond the time limit of a socket; the thread is left to itself then.
    worker = threading.Thread(target=lambda: answer.append(_fetch(url)), daemon=True)
    worker.start()
    worker.join(URL_SECONDS)
    return answer[0] if answer else _too_slow()


def _too_slow() -> str:
    return f"gave no whole answer within {URL_SECONDS:g} s"


def _request(url: str) -> Request:
    """Return what asks for a URL; a user and password in it go where HTTP has them."""
    from urllib.request import Request

    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    request = Request(parts._replace(netloc=host).geturl())  # noqa: S310 - is_url() has seen to the scheme
    if at:
        credentials = base64.b64encode(unquote(user).encode()).decode()
        request.add_header("Authorization", f"Basic {credentials}")
    return request


def _fetch(url: str) -> bytes | str:
    import http.client
    import urllib.error
    import urllib.request

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args: object, **kwargs: object) -> None:
            return None

    try:
        if "@" in url and (problem := misread(url)):
            return f"can't be fetched: {problem}"
        if not urlsplit(url).hostname:
            return "is no URL with a host"
        opener = urllib.request.build_opener(NoRedirects())
        with opener.open(_request(url), timeout=URL_SECONDS) as response:
            data: bytes = response.read(LARGEST_SOURCE + 1)
            if len(data) <= LARGEST_SOURCE and response.length:
                return "was cut off before its end"
    except urllib.error.HTTPError as e:
        if 300 <= e.code < 400:
            return f"redirects ({e.code}), which is not followed; name the final URL"
        return f"was answered with status {e.code}"
    except TimeoutError:
        return _too_slow()
    except urllib.error.URLError as e:
        reason = e.reason
        if isinstance(reason, TimeoutError):
            return _too_slow()
        return f"can't be reached: {getattr(reason, 'strerror', None) or type(reason).__name__}"
    except (OSError, ValueError, http.client.HTTPException) as e:
        return f"can't be fetched: {type(e).__name__}"
    return f"is larger than {LARGEST_SOURCE // 1024} KiB" if len(data) > LARGEST_SOURCE else data
