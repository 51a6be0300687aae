"""The whole site in a real browser, wide and narrow, light and dark: ``make site-check``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from .checks import SCHEMES, WIDTHS, browser, find_browser, found_by_search, opened, visit


def faults(site: Path, program: str) -> tuple[int, list[str]]:
    """Return how many pages there are, and what is wrong with them.

    Args:
        site: The folder of the built site.
        program: The browser.
    """
    files = [file for file in sorted(site.rglob("*.html")) if file.name != "404.html"]
    with browser(program) as chromium:
        seen = visit(chromium, files, WIDTHS, SCHEMES)
        for width in WIDTHS:
            with opened(chromium, "light", seen.faults, width) as page:
                page.goto((site / "index.html").resolve().as_uri())
                if not found_by_search(page, "retry", "how-to/retries.html"):
                    seen.faults.append(f"search for 'retry' at {width} does not find the page on retries")
    return len(files), seen.faults + seen.broken()


def main() -> None:
    """Tell what is wrong, and end with status 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", nargs="?", type=Path, default=Path("site"))
    site = parser.parse_args().site
    program = find_browser()
    if program is None:
        sys.exit("no Chromium is installed: apt-get install chromium")
    begun = time.monotonic()
    number, found = faults(site, program)
    print("\n".join(found or ["nothing is wrong"]))
    print(f"{number} pages, {len(found)} faults, {time.monotonic() - begun:.0f} s")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
