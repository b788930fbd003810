"""The README: every example is run against a loopback server, and every table compared with the code."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog

import holdfast
import holdfast.crews
from holdfast import ClientConfig, ResilientClient, RetryConfig
from holdfast.core.replay import IDEMPOTENT, TABLE
from holdfast.exceptions import HoldfastError
from holdfast.http.options import BodyOptions, RequestOptions
from tests.support.examples import SERVICE, Block, Service, blocks, run
from tests.support.wire import Server, serve

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()

PLAIN = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}

pytestmark = pytest.mark.loopback


def section(heading: str) -> str:
    return README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def table(text: str, number: int = 0) -> list[list[str]]:
    """The rows of a table without its headings, cell by cell."""
    tables: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            tables[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif tables[-1]:
            tables.append([])
    return tables[number][2:]


def headings(text: str, number: int = 0) -> list[str]:
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [cell.strip() for cell in rows[number].strip("|").split("|")]


# The examples


@dataclass(frozen=True)
class Ran:
    """What an example left behind."""

    names: dict[str, Any]
    out: str
    server: Server

    def paths(self) -> list[str]:
        return [one.path for one in self.server.requests]


def quick_start(ran: Ran) -> None:
    assert ran.out == "Ada\n" and ran.paths() == ["/users/7"]


def same_order(ran: Ran) -> None:
    first, second = ran.server.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == "order-2024-117"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert ran.names["order"].json() == {"order": 1}


def configured(ran: Ran) -> None:
    config = ran.names["config"]
    assert config.retry.max_attempts == 4 and config.base_url.endswith("/v2") and config.lint() == []
    assert ran.paths() == []


def per_call(ran: Ran) -> None:
    assert ran.paths() == ["/users/7", "/reports/2024"]
    assert [one.headers.get("x-team") for one in ran.server.requests] == [None, "reports"]


def preset(ran: Ran) -> None:
    config = ran.names["config"]
    assert config.retry.max_attempts == 5 and config.bulkhead.max_concurrency == 20


def from_environment(ran: Ran) -> None:
    config = ran.names["config"]
    assert config.base_url == ran.server.url
    assert (config.timeout.read, config.retry.max_attempts) == (5.0, 2)


def linted(ran: Ran) -> None:
    (shown,) = [block.text for block in blocks(README, "text") if block.heading == "Configuration"]
    assert ran.out == shown + "\n"


def handled(ran: Ran) -> None:
    assert ran.out == "no such order\n" and ran.paths() == ["/orders/8"]


def ambiguous(ran: Ran) -> None:
    message, advice = ran.out.splitlines()
    (shown,) = [block.text for block in blocks(README, "text") if block.text.startswith("POST /payments")]
    assert anonymous(message.replace(ran.server.url, SERVICE)) == anonymous(shown)
    assert re.fullmatch(r"look for \S+-1 before paying again; 1 request\(s\) sent", advice)


def anonymous(message: str) -> str:
    found, count = re.subn(r"Request id [0-9a-f]{24}-\d+\.", "Request id.", message)
    assert count == 1
    return found


def one_answer(ran: Ran) -> None:
    assert ran.names["response"].json() == {"name": "Ada"} and ran.paths() == ["/users/7"]


def handed_in(ran: Ran) -> None:
    one_answer(ran)
    assert ran.server.requests[0].headers["x-team"] == "billing"


def streamed(ran: Ran) -> None:
    assert ran.names["size"] == 50_000 and ran.names["response"].is_closed


def cached(ran: Ran) -> None:
    assert ran.paths() == ["/rates", "/rates"]
    assert [ran.names[name].json()["version"] for name in ("first", "second", "third")] == [1, 1, 2]


def late(ran: Ran) -> None:
    # Whether the server got to read the request in that time is up to the machine.
    assert ran.out == "None\n" and set(ran.paths()) <= {"/slow"}


def logged(ran: Ran) -> None:
    (line,) = [json.loads(line) for line in ran.out.splitlines()]
    assert line["level"] == "info" and line["status"] == 200 and line["route"] == "GET /users/7"


def counted(ran: Ran) -> None:
    assert re.fullmatch(r"1 calls, 0\.0% failed, 0 retries, p99 \d\.\d{3} s\n", ran.out)


def watched(ran: Ran) -> None:
    (event,) = ran.names["seen"]
    assert (event.attempt, event.cause) == (1, "503") and ran.paths() == ["/flaky", "/flaky"]


def correlated(ran: Ran) -> None:
    (request,) = ran.server.requests
    assert request.headers["x-correlation-id"] == "incoming-42" != request.headers["x-request-id"]


def typed(ran: Ran) -> None:
    (shown,) = [block.text for block in blocks(README, "text") if block.heading == "Typed clients"]
    assert ran.out == shown + "\n"
    assert sorted(ran.paths()) == ["/pets", "/pets", "/pets", "/pets/1", "/pets/2", "/pets/99"]


def received(ran: Ran) -> None:
    (shown,) = [block.text for block in blocks(README, "text") if block.heading == "Receiving webhooks"]
    assert ran.out == shown + "\n" and ran.paths() == []


def asserts_itself(ran: Ran) -> None:
    assert ran.paths() == []


EXAMPLES: list[tuple[str, Callable[[Ran], None]]] = [
    ("Quick start", quick_start),
    ("Quick start", quick_start),
    ("Idempotency", same_order),
    ("Configuration", configured),
    ("Configuration", per_call),
    ("Configuration", preset),
    ("Configuration", from_environment),
    ("Configuration", linted),
    ("Errors", handled),
    ("Errors", ambiguous),
    ("Coming from httpx and tenacity", one_answer),
    ("Coming from httpx and tenacity", handed_in),
    ("Streaming", streamed),
    ("Caching", cached),
    ("Deadlines", late),
    ("Seeing what happens", logged),
    ("Seeing what happens", counted),
    ("Seeing what happens", watched),
    ("Seeing what happens", correlated),
    ("Typed clients", typed),
    ("Receiving webhooks", received),
    ("Testing your code", asserts_itself),
    ("Testing your code", asserts_itself),
    ("Testing your code", asserts_itself),
]


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment and structlog as they were, whatever an example does to them."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("BILLING_BASE_URL", "BILLING_TIMEOUT_READ", "BILLING_RETRY_MAX_ATTEMPTS"):
        monkeypatch.setenv(name, "")
    yield
    structlog.reset_defaults()


def test_every_example_has_its_check():
    assert [block.heading for block in blocks(README, "python")] == [heading for heading, _ in EXAMPLES]


@pytest.mark.parametrize("number", range(len(EXAMPLES)), ids=lambda number: f"{number}-{EXAMPLES[number][1].__name__}")
def test_example(number, untouched):
    block = blocks(README, "python")[number]
    out = io.StringIO()
    with serve(Service()) as server, contextlib.redirect_stdout(out):
        names = run(block, server)
    EXAMPLES[number][1](Ran(names, out.getvalue(), server))


def test_an_example_that_fails_is_noticed(untouched):
    with serve(Service()) as server, pytest.raises(HoldfastError):
        run(Block("python", "await client.get('/orders/8')", "", 1), server)


# Commands


def commands_of(program: str) -> list[tuple[str, str]]:
    """The commands in the help of a program, with what they are for."""
    shown = subprocess.run(
        [Path(sys.executable).with_name(program), "--help"], capture_output=True, text=True, check=True, env=PLAIN
    )
    return re.findall(r"^\W*(\w+) {2,}(\w.*?)\W*$", shown.stdout.partition("Commands")[2], re.MULTILINE)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_make_target_exists(text):
    commands = [line for block in blocks(text, "bash") for line in block.text.splitlines()]
    commands += re.findall(r"`(make [^`]+)`", text) + re.findall(r"^    (make .+)", text, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        program, target, *_ = command.split()
        if program == ".venv/bin/python":
            assert (ROOT / target).is_file(), command
            continue
        known = {"make": targets(), "holdfast": {name for name, _ in commands_of("holdfast")}}
        assert target in known[program], command


def test_the_two_commands_come_first():
    first = re.search(r"```bash\n(.*?)\n```", README, re.DOTALL)
    assert first is not None and first[1].splitlines() == ["make demo", "make test"]
    assert README.index("```bash") < README.index("## ")


# Tables


def test_the_replay_table_is_that_of_the_code():
    text = section("What is sent again")
    methods, keyed, plain = headings(text)[1:4]
    assert set(methods.split()) == IDEMPOTENT
    assert (keyed, plain) == ("POST PATCH keyed", "POST PATCH")
    again, yes = {True: "again", False: "no"}, {True: "yes", False: "no"}
    expected = [
        [row.label, again[row.idempotent], again[row.keyed], again[row.plain], yes[row.may_have_executed]]
        for row in TABLE
    ]
    assert table(text) == expected


def test_the_defaults_are_those_of_the_code():
    config = ClientConfig(base_url=SERVICE)
    retry, budget, breaker, timeout = config.retry, config.retry.budget, config.circuit_breaker, config.timeout
    assert budget is not None and config.max_response_bytes is not None and config.rate_limit.rate is None
    assert config.cache.default_ttl is None and config.rate_limit.pace_from_headers
    assert retry.jitter is True and retry.backoff == "exponential"
    low, factor = retry.min_wait_seconds, retry.multiplier
    mebibytes = config.max_response_bytes // 2**20
    expected = {
        "deadline": f"{config.deadline:g} s",
        "cache": "off without a TTL (`cache`); "
        f"{config.cache.max_entries:,} entries, {config.cache.max_bytes // 2**20} MiB",
        "circuit breaker": f"opens after {breaker.failure_threshold} failed calls in a row, "
        f"probes with {breaker.half_open_probes} call after {breaker.recovery_timeout:g} s",
        "retry": f"{retry.max_attempts} attempts; waits {low:g} to {low * factor:g} s, "
        f"then {low:g} to {low * factor**2:g} s, and so on up to {retry.max_wait_seconds:g} s, at random",
        "retry budget": f"per origin in {budget.window:g} s: {budget.floor}, or {100 * budget.ratio:g} % of the calls",
        "rate limiter": "no rate of its own",
        "bulkhead": f"{config.bulkhead.max_concurrency} at a time, waits {config.bulkhead.acquisition_timeout:g} s",
        "timeouts": f"connect {timeout.connect:g} s, read {timeout.read:g} s, "
        f"write {timeout.write:g} s, pool {timeout.pool:g} s",
        "redirects": f"at most {config.max_redirects}",
        "body limit": f"{mebibytes} MiB",
    }
    rows = {name: default for name, _, default in table(section("What each layer does"))}
    assert list(rows) == list(expected)
    for name, default in expected.items():
        assert rows[name].startswith(default), name
    assert f"`Retry-After` of up to {retry.max_retry_after:g} s" in section("What each layer does")


def test_every_setting_that_is_named_exists():
    config = ClientConfig(base_url=SERVICE)
    named = re.findall(
        r"\(((?:`[a-z_.]+`(?:, )?)+)\)", "".join(row[2] for row in table(section("What each layer does")))
    )
    paths = [path.strip("`") for group in named for path in group.split(", ")]
    assert len(paths) == 11
    for path in paths:
        part: Any = config
        for step in path.split("."):
            assert step in type(part).model_fields, path
            part = getattr(part, step)


def test_the_keywords_are_those_of_the_code():
    text = section("Quick start").partition("They take")[2].partition(".\n")[0]
    theirs, ours = text.split("and ours:")
    named = [set(re.findall(r"`([a-z_]+)`", part)) for part in (theirs, ours)]
    known = set(RequestOptions.__annotations__) | set(BodyOptions.__annotations__)
    assert named[0] | named[1] == known and not named[0] & named[1]
    assert named[0] <= set(inspect.signature(httpx2.AsyncClient.request).parameters)


def test_the_tree_of_exceptions_is_that_of_the_code():
    (tree,) = [block.text for block in blocks(README, "text") if block.text.startswith("HoldfastError")]
    above: dict[int, type[BaseException]] = {-1: Exception}
    named = set()
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        cls = getattr(holdfast, line.split()[0])
        assert above[depth - 1] in cls.__bases__, line
        above[depth] = cls
        named.add(line.split()[0])
    public = {name for name in holdfast.__all__ if name.endswith("Error")}
    # For other parts than the resilient client: service clients and webhooks.
    assert public - named == {"MyAPIError", "MaxRetriesExceededError", "WebhookError"}


def test_every_name_of_ours_exists():
    for name in re.findall(r"`([A-Z]\w+Config|[A-Z]\w+Error)\b", README):
        assert hasattr(holdfast, name) or hasattr(holdfast.crews, name), name
    for module, name in re.findall(r"`(holdfast(?:\.\w+)*)\.([A-Z]\w+)`", README):
        assert hasattr(importlib.import_module(module), name), name
    for method in ("get", "head", "options", "post", "put", "patch", "delete", "request", "stream"):
        assert f"`{method}`" in section("Quick start") and hasattr(ResilientClient, method)
    for name in ("development", "production", "high_throughput"):
        assert f"`{name}`" in section("Configuration") and hasattr(ClientConfig, name)
    for replay in ("when_safe", "always"):
        assert f'replay="{replay}"' in README and RetryConfig(replay=replay).replay == replay


def test_every_link_leads_to_a_file():
    links = re.findall(r"\]\(([^):]+)\)", README)
    assert len(links) == 3 and all((ROOT / link).is_file() for link in links)


def test_lines_of_prose_are_closed_sentences():
    """A paragraph that was cut off while editing ends without a mark."""
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    for paragraph in prose.split("\n\n"):
        text = paragraph.strip()
        if text and not text.startswith(("#", "|", "prints")):
            assert text.endswith((".", ":", ")")), text


# The other two


def test_the_places_where_to_add_things_exist():
    later = {"client.py", "models.py", "config.py", "exceptions.py"}
    package = ROOT / "src" / "holdfast"
    for row in table(CONTRIBUTING):
        service = "service" in row[0] and "server" not in row[0]
        for name in re.findall(r"`([a-z_/0-9]+(?:\.(?:py|toml)|/))`", " ".join(row[1:])):
            if service and name in later:
                continue
            assert any((base / name).exists() for base in (package, ROOT)), (row[0], name)
    assert "`SERVICES`" in CONTRIBUTING and "SERVICES" in (package / "servers" / "app.py").read_text()
    assert "`AnyRule`" in CONTRIBUTING and "AnyRule" in (package / "servers" / "faults" / "kinds.py").read_text()
    assert "`SCENARIOS`" in CONTRIBUTING and "SCENARIOS" in (package / "testing" / "catalogue.py").read_text()


def test_the_changelog_has_this_version_or_an_unreleased_one():
    assert "## Unreleased" in CHANGELOG or f"## {holdfast.__version__}" in CHANGELOG
