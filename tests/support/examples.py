"""The examples of README and documentation, run against a server that stands for their service."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
from dataclasses import dataclass
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

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
        self.pets = ["Ada", "Bo", "Cleo"]

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
        elif path.startswith("/pets"):
            writer.write(self.of_pets(request))
        else:
            writer.write(as_json({"name": "Ada"}))

    def of_pets(self, request: Received) -> bytes:
        """Pets 1 to 3, and those that are made; a new one is at home at the second look."""
        if request.method == "POST":
            self.pets.append(json.loads(request.body)["name"])
            return as_json(self.pet(len(self.pets)), 201)
        if request.path == "/pets":
            query = dict(parse_qsl(urlsplit(request.target).query))
            start = int(query.get("offset", 0))
            items = [self.pet(number) for number in range(1, len(self.pets) + 1)][start : start + int(query["limit"])]
            return as_json({"items": items, "total": len(self.pets)})
        number = int(request.path.rpartition("/")[2])
        return as_json(self.pet(number)) if number <= len(self.pets) else as_json({"detail": "no such pet"}, 404)

    def pet(self, number: int) -> dict[str, Any]:
        return {"id": number, "name": self.pets[number - 1], "status": "at home" if self.asked > 2 else "on its way"}


def as_json(value: Any, status: int = 200) -> bytes:
    return answer(status, json.dumps(value), {"Content-Type": "application/json"})


def run(block: Block, server: Server, names: dict[str, Any] | None = None, place: str = "README.md") -> dict[str, Any]:
    """Executes an example, inside an event loop and with a client if it awaits; what it defines, besides `names`."""
    with mock.patch.dict(os.environ, {"PETS_URL": server.url}):  # by which its typed clients find the service
        return executed(block, server, {} if names is None else names, place)


def executed(block: Block, server: Server, names: dict[str, Any], place: str) -> dict[str, Any]:
    source = block.text.replace(SERVICE, server.url)
    code = compile(source, f"{place}, line {block.line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
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
