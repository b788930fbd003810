"""The body of an answer, as people and as machines want to see it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from holdfast.cli.output import visible

if TYPE_CHECKING:
    import httpx2

    from holdfast.cli.output import Out

__all__ = ["as_json", "is_json", "json_text", "pretty", "show", "write_json"]

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s"{}\[\],:]+')
_OPENING, _CLOSING = frozenset("{["), frozenset("}]")
_TEXT_TYPES = re.compile(r"text/|.*[/+](?:xml|javascript|x-www-form-urlencoded|x-ndjson|yaml|toml|graphql)\b")
_MOST_COLOURED = 256 * 1024  # characters; beyond, finding the colours takes longer than reading


def is_json(text: str) -> bool:
    """Whether this is JSON of RFC 8259: no NaN, no Infinity, and not nested too deeply to be looked at."""
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> Any:
    raise ValueError(name)


def pretty(text: str, indent: int | None = 2) -> str:
    """Lays out valid JSON anew; None for all on one line.

    No value is read and written again, so that numbers keep their digits, objects their repeated names and strings
    their escapes: this is for looking at what a server really sent.
    """
    written: list[str] = []
    depth, before = 0, ""
    for piece in _TOKEN.findall(text):
        if piece in _CLOSING:
            depth -= 1
        if indent is not None:
            if before == ":":
                written.append(" ")
            elif before == "," or (before in _OPENING) != (piece in _CLOSING):
                written.append("\n" + " " * (indent * depth))
        written.append(piece)
        if piece in _OPENING:
            depth += 1
        before = piece
    return "".join(written)


def json_text(response: httpx2.Response) -> str | None:
    """The body as text if it is JSON, by its content type or, where none is given, by its looks."""
    content = response.content
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if "json" not in kind and (kind or not content.lstrip().startswith((b"{", b"["))):
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return text if is_json(text) else None


def _text(response: httpx2.Response) -> str | None:
    """The body as text, None if it is none."""
    content = response.content
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if _TEXT_TYPES.match(kind):
        return response.text
    if b"\0" in content:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def as_json(response: httpx2.Response | None) -> tuple[str | None, str]:
    """How the body is given to machines: its encoding ("json", "text", "base64", or None without one), and JSON."""
    if response is None or not response.content:
        return None, "null"
    text = json_text(response)
    if text is not None:
        return "json", pretty(text, None)
    text = _text(response)
    if text is not None:
        return "text", json.dumps(text)
    from base64 import b64encode

    return "base64", json.dumps(b64encode(response.content).decode())


def show(response: httpx2.Response, out: Out, notes: Out, *, raw: bool) -> None:
    """Writes the body: JSON laid out, anything else as it is, and nothing to a terminal that could upset it.

    Args:
        response: has been read.
        out: where the body goes.
        notes: where it is said why it does not.
        raw: writes the very bytes.
    """
    if not response.content:
        return
    text = None if raw else json_text(response)
    if text is not None:
        write_json(text, out)
        return
    if raw or not out.is_terminal:
        out.raw(response.content)
        return
    text = _text(response)
    if text is None:
        kind = response.headers.get("content-type", "unknown type")
        notes.line(f"{len(response.content)} bytes of {kind} are not shown: use -o FILE, a pipe, or --raw")
    else:
        out.line(text.removesuffix("\n"))


def write_json(text: str, out: Out) -> None:
    """Writes valid JSON laid out, in colours if there are any."""
    text = pretty(text)
    if not out.is_terminal:
        out.raw(f"{text}\n".encode())
    elif not out.coloured or len(text) > _MOST_COLOURED:
        out.line(text)
    else:
        from rich.highlighter import JSONHighlighter
        from rich.text import Text

        coloured = Text(visible(text))
        JSONHighlighter().highlight(coloured)
        out.styled(coloured)
