"""Writes what the documentation takes from the code: pictures, the parts of pages between markers, and llms.txt.

    python -m scripts.docs.generate            writes what has changed
    python -m scripts.docs.generate --check    names it, and ends with 1 if there is any

In a page, what stands between ``<!-- generated: NAME -->`` and ``<!-- end -->`` is replaced; `parts` has the names.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # read once, in one place

from holdfast.core.backoff import Backoff
from scripts.docs import svg
from scripts.docs.machines import machines
from scripts.docs.parts import parts

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"

_MARKED = re.compile(r"(<!-- generated: ([\w\- ]+) -->\n)(?:(?!<!-- generated:).)*?(<!-- end -->)", re.DOTALL)


def generated() -> dict[Path, str]:
    """What every file should contain, as far as it is made from the code.

    Raises:
        KeyError: a page asks for a part that nothing makes.
    """
    made = {
        DOCS / "diagrams" / f"{name}.svg": svg.machine(one.name, one.edges, one.layout)
        for name, one in machines().items()
    }
    made[DOCS / "diagrams" / "backoff.svg"] = _backoff()
    makers = parts()

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}\n{makers[found[2]]()}\n\n{found[3]}"

    for page in pages():
        text = page.read_text()
        if "<!-- generated:" in text:
            made[page] = _MARKED.sub(part, text)
    made[DOCS / "llms.txt"] = llms()
    return made


def pages() -> list[Path]:
    """All pages, in the order of the navigation."""
    found: list[Path] = []

    def walk(entry: object) -> None:
        if isinstance(entry, str):
            found.append(DOCS / entry)
        elif isinstance(entry, list):
            for one in entry:
                walk(one)
        elif isinstance(entry, dict):
            for one in entry.values():
                walk(one)

    walk(_settings()["nav"])
    return found


def _settings() -> dict[str, object]:
    # Its tags for Python functions are not needed here.
    text = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text())
    settings: dict[str, object] = yaml.safe_load(text)
    return settings


def llms() -> str:
    """The index of the pages for language models, in the form of llmstxt.org."""
    sections: dict[str, list[str]] = {}
    for page in pages():
        place = page.relative_to(DOCS)
        text = page.read_text()
        section = place.parts[0].capitalize() if len(place.parts) > 1 else "Pages"
        sections.setdefault(section, []).append(f"- [{title(text)}]({place.as_posix()}): {description(text)}")
    lines = ["# Holdfast", "", f"> {description((DOCS / 'index.md').read_text())}", ""]
    lines.append("Paths are relative to this file. llms-full.txt has all pages in one.")
    for section, links in sections.items():
        lines += ["", f"## {section}", "", *links]
    return "\n".join(lines) + "\n"


def title(text: str) -> str:
    """The heading of a page."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError("a page has no heading")
    return found[1].strip("`")


def description(text: str) -> str:
    """What the head of a page says that it is about."""
    found = re.match(r'---\ndescription: "(.+)"\n---\n', text)
    if found is None:
        raise ValueError("a page has no description")
    return found[1]


def _backoff() -> str:
    retries, mean = 6, 0.5
    shown = []
    for jitter in ("off", "uniform", "full", "equal", "decorrelated"):
        backoff = Backoff("exponential", 1.0, 60.0, 2.0, jitter)
        least, most, means = [], [], []
        low = high = middle = None
        for retry in range(1, retries + 1):
            low = backoff.wait(retry, low, lambda: 0.0)
            high = backoff.wait(retry, high, lambda: 1.0)
            middle = backoff.wait(retry, middle, lambda: mean)
            least.append(low)
            most.append(high)
            means.append(middle)
        name = {"off": "jitter=False", "uniform": "jitter=True"}.get(jitter, jitter)
        shown.append(svg.Band(name, tuple(least), tuple(most), tuple(means)))
    return svg.bands("The waits before retries 1 to 6, with the default settings", shown, 60.0)


def main() -> int:
    """Runs the command."""
    check = "--check" in sys.argv[1:]
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'is out of date' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(generated()[path])
    if check and stale:
        print("run: make docs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
