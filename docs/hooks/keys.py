"""The reference of the manifest: a heading for each key at the top, and an anchor for each one below.

``apis.default.rpc_timeout`` is ``configuration.html#apis-rpc_timeout``: names that a user gives are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.pages import Page

PAGE = "reference/configuration.md"

_REFERENCE = Path(__file__).parents[2] / "config" / "reference" / "lightbus.yaml"
_PLACE = re.compile(r'^```yaml\n--8<-- "config/reference/lightbus\.yaml"\n```$', re.MULTILINE)
#: A key at the beginning of a line, also one of a block that is commented out; never a sentence.
_KEY = re.compile(r"^(?P<indent>(?: |# )*)(?P<name>[a-z_0-9]+):(?= |$)")
_CODE = re.compile(r"(?<=<pre><span></span><code>)(.*?)(?=</code>)", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
#: Names that stand where a user's own are.
_GIVEN = {("apis", "default"), ("policies", "example"), ("listeners", "example"), ("schedules", "example")}


def on_page_markdown(markdown: str, **rest: Any) -> str:
    """Return the page with a section for each key at the top, in place of the reference as one text."""
    if rest["page"].file.src_uri != PAGE:
        return markdown
    return _PLACE.sub(lambda _: "\n".join(_sections(_REFERENCE.read_text())), markdown)


def on_page_content(html: str, **rest: Any) -> str:
    """Return the page with an anchor before each key, and tell MkDocs of them."""
    page: Page = rest["page"]
    if page.file.src_uri != PAGE:
        return html
    known = page.present_anchor_ids
    assert known is not None, "the page has been rendered"

    def with_anchors(code: re.Match[str]) -> str:
        lines = code[1].split("\n")
        found = dict(anchors([_TAG.sub("", line) for line in lines]))
        known.update(found.values())
        return "\n".join(
            f'<a class="key" id="{found[number]}" href="#{found[number]}"></a>{line}'
            if number in found
            else line
            for number, line in enumerate(lines)
        )

    before, mark, reference = html.partition('id="every-key"')
    return before + mark + _CODE.sub(with_anchors, reference)


def anchors(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Go through the keys below the top in some lines of YAML: the number of the line, and the anchor."""
    path: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        key = _KEY.match(line)
        if key is None:
            continue
        indent = len(key["indent"].replace("# ", ""))
        path = [each for each in path if each[0] < indent]
        path.append((indent, key["name"]))
        names = [name for _, name in path]
        if tuple(names[:2]) in _GIVEN:
            del names[1]
        if len(names) > 1:
            yield number, "-".join(names)


def _sections(reference: str) -> Iterator[str]:
    """Go through the lines of a section for each key at the top, which begins with its comment."""
    _, *blocks = reference.split("\n\n")
    for block in blocks:
        lines = block.strip().split("\n")
        comment = [line[2:] for line in lines if line.startswith("# ")]
        code = [line for line in lines if not line.startswith("# ")]
        name = code[0].partition(":")[0]
        yield from (f"### {name}", "", *comment, "", "```yaml", *code, "```", "")
