"""The examples of README and documentation, run against a server that stands for their service."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
from dataclasses import dataclass
from typing import Any

from holdfast import ClientConfig, ResilientClient
from tests.support.wire import CHUNKED, END, Received, Server, answer, chunk

SERVICE = "https://api.example.com"
"""Where the examples send to; a test puts a server on the loopback interface in its place."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the heading that it stands under, its line, and its title."""

    language: str
    text: str
    heading: str
    line: int
    title: str = ""


def blocks(text: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a text; without a language, all."""
    found: list[Block] = []
    heading = ""
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.lstrip().startswith("```"):
            indent = len(line) - len(line.lstrip())
            body: list[str] = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                body.append(inner[indent:])
            kind, _, rest = line.strip().removeprefix("```").partition(" ")
            title = re.search(r'title="([^"]*)"', rest)
            found.append(Block(kind, "\n".join(body), heading, number, title[1] if title else ""))
    return [block for block in found if language in (None, block.language)]


class Service:
    """What the examples take for api.example.com."""

    def __init__(self) -> None:
        self.orders: dict[str, int] = {}
        self.asked = 0

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        path = request.path
        if path == "/payments" or path == "/slow":
            await asyncio.sleep(60)
        elif path == "/export":
            writer.write(CHUNKED + b"".join(chunk(b"x" * 1000) for _ in range(50)) + END)
        elif path == "/flaky" and self.asked == 1:
            writer.write(answer(503))
        elif path == "/orders/8":
            writer.write(answer(404))
        elif path == "/orders":
            order = self.orders.setdefault(request.headers["idempotency-key"], len(self.orders) + 1)
            writer.write(as_json({"order": order}))
        elif path == "/rates":
            writer.write(as_json({"version": self.asked}))
        else:
            writer.write(as_json({"name": "Ada"}))


def as_json(value: Any) -> bytes:
    return answer(200, json.dumps(value), {"Content-Type": "application/json"})


def run(block: Block, server: Server, names: dict[str, Any] | None = None, place: str = "README.md") -> dict[str, Any]:
    """Executes an example, inside an event loop and with a client if it awaits; what it defines, besides `names`."""
    source = block.text.replace(SERVICE, server.url)
    code = compile(source, f"{place}, line {block.line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names = {} if names is None else names
    names["__name__"] = "example"
    if not code.co_flags & inspect.CO_COROUTINE:
        exec(code, names)
        return names

    async def main() -> None:
        async with ResilientClient(ClientConfig(base_url=server.url)) as client:
            names["client"] = client
            await eval(code, names)

    asyncio.run(main())
    return names
