"""What an editor is told by a language server about the code in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_SERVER = Path(sys.executable).with_name("basedpyright-langserver")


class LanguageServer:
    """A language server that has a folder open.

    Args:
        folder: The folder, with the code that is imported by what is asked about.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._problems: dict[str, list[dict[str, Any]]] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [str(_SERVER), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self._folder
        )
        folder = {"uri": self._folder.as_uri(), "name": self._folder.name}
        capabilities = {
            "workspace": {"configuration": True},
            "textDocument": {
                "signatureHelp": {"signatureInformation": {"documentationFormat": ["plaintext"]}}
            },
        }
        self._ask(
            "initialize", {"processId": None, "capabilities": capabilities, "workspaceFolders": [folder]}
        )
        self._send({"method": "initialized", "params": {}})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def completions(self, code: str) -> list[str]:
        """Return the names that may follow the end of the code, in an editor's order, without those in _."""
        found = self._ask_at_end("completion", code)
        items = sorted(found["items"], key=lambda item: str(item.get("sortText", item["label"])))
        return [item["label"] for item in items if not item["label"].startswith("_")]

    def signature(self, code: str) -> tuple[str, str]:
        """Return the signature of the call in whose brackets the code ends, and what its docstring says."""
        signature = self._ask_at_end("signatureHelp", code)["signatures"][0]
        said = signature.get("documentation") or ""
        return signature["label"], said if isinstance(said, str) else said["value"]

    def hover(self, code: str, word: str) -> str:
        """Return what is said of a word in the last line of the code."""
        document, lines = self._open(code), code.split("\n")
        place = {"line": len(lines) - 1, "character": lines[-1].index(word)}
        contents: Any = self._ask("textDocument/hover", {"textDocument": document, "position": place})[
            "contents"
        ]
        return str(contents["value"] if isinstance(contents, dict) else contents)

    def problems(self, code: str) -> list[tuple[int, int, str]]:
        """Return what is wrong in the last line of the code: from where to where, and the message."""
        uri = self._open(code)["uri"]
        while uri not in self._problems:
            self._take(self._read())
        last = code.count("\n")
        found = [each for each in self._problems[uri] if each["range"]["start"]["line"] == last]
        return [
            (each["range"]["start"]["character"], each["range"]["end"]["character"], each["message"])
            for each in found
        ]

    def _ask_at_end(self, what: str, code: str) -> Any:
        lines = code.split("\n")
        place = {"line": len(lines) - 1, "character": len(lines[-1])}
        return self._ask(f"textDocument/{what}", {"textDocument": self._open(code), "position": place})

    def _open(self, code: str) -> dict[str, str]:
        uri = (self._folder / f"code_{self._number}.py").as_uri()
        document = {"uri": uri, "languageId": "python", "version": 1, "text": code}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        return {"uri": uri}

    def _ask(self, method: str, params: Any) -> Any:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            message = self._read()
            if message.get("id") == self._number and "method" not in message:
                assert "error" not in message, message["error"]
                return message["result"]
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        """Note problems, and answer what the server asks for itself."""
        if message.get("method") == "textDocument/publishDiagnostics":
            self._problems[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif message.get("method") == "workspace/configuration":
            known = {"python": {"pythonPath": sys.executable}}
            items = [known.get(item.get("section"), {}) for item in message["params"]["items"]]
            self._send({"id": message["id"], "result": items})
        elif "id" in message and "method" in message:
            self._send({"id": message["id"], "result": None})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while (line := self._process.stdout.readline().strip()) or not length:
            assert line or self._process.poll() is None, "the language server has ended"
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return message
