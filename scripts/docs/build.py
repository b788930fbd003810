"""Builds the documentation into build/site: warnings are errors, and nothing in it is fetched from elsewhere.

python -m scripts.docs.build [--check]     with --check, does not write what the code says into the sources
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from scripts.docs import generate
from scripts.docs.parts import commands

SITE = generate.ROOT / "build" / "site"
PARTS = generate.ROOT / "build" / "docs"

_LOADED = {("a", "href"), ("link", "canonical"), ("form", "action")}
"""Where an address of another host is only a link."""


class _Addresses(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name in ("src", "href", "data", "poster", "action"):
            value = given.get(name) or ""
            kind = given.get("rel") if tag == "link" and given.get("rel") == "canonical" else name
            if (tag, kind) not in _LOADED and _is_foreign(value):
                self.loaded.append(f"<{tag} {name}={value}>")


def _is_foreign(address: str) -> bool:
    return bool(re.match(r"(?:https?:)?//", address))


def foreign(site: Path) -> list[str]:
    """What the pages and styles of a site load from other hosts, file by file."""
    found: list[str] = []
    for path in sorted(site.rglob("*")):
        place = path.relative_to(site)
        if path.suffix == ".html":
            page = _Addresses()
            page.feed(path.read_text())
            found += [f"{place}: {one}" for one in page.loaded]
        elif path.suffix == ".css":
            found += [f"{place}: {one}" for one in re.findall(r"url\((?:https?:)?//[^)]*\)", path.read_text())]
    return found


def build(site: Path) -> list[str]:
    """Builds the sources as they are into a folder.

    Returns:
        What was wrong: warnings of the build, and what is loaded from elsewhere; empty if all is well.
    """
    PARTS.mkdir(parents=True, exist_ok=True)
    (PARTS / "commands.md").write_text(commands())
    # Not --quiet: that takes the warnings away before they are counted.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    # The theme announces its successor on every build.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=generate.ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return [done.stdout + done.stderr]
    (site / "llms-full.txt").write_text("\n\n".join(_whole(page) for page in generate.pages()))
    return [f"loaded from elsewhere: {one}" for one in foreign(site)]


def main() -> int:
    """Runs the command."""
    if generate.main():
        return 1
    problems = build(SITE)
    print("\n".join(problems) or f"built: {SITE / 'index.html'} (to search in it: python3 -m http.server -d {SITE})")
    return 1 if problems else 0


def _whole(page: Path) -> str:
    """A page in one piece, with what it includes."""
    text = re.sub(r"<!-- (?:generated: [\w\- ]+|end) -->\n?", "", page.read_text()).partition("\n---\n\n")[2]

    def included(found: re.Match[str]) -> str:
        path = generate.ROOT / found[1]
        return "" if path.suffix == ".svg" else path.read_text()

    return re.sub(r'^--8<-- "([^"]+)"$', included, text, flags=re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main())
