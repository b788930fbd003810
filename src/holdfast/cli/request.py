"""`holdfast request`: one call through the whole client, told attempt by attempt."""

from __future__ import annotations

import os
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from holdfast.cli.exits import EXIT_CODES, refuse

__all__ = ["EXAMPLES", "RequestCommand", "request"]

EXAMPLES = (
    """\
[bold]Examples[/bold]
  holdfast request https://api.example.com/users/7
  holdfast request https://api.example.com/users -q name=Ada -H 'Accept: */*'
  holdfast request https://api.example.com/orders -j '{"id": 7}' --key o-7
  holdfast request PUT https://api.example.com/files/7 -d @report.pdf
  holdfast request https://api.example.com/me --bearer-env API_TOKEN
  holdfast request https://api.example.com/slow --attempts 5 --deadline 10
  holdfast request https://api.example.com/users --json | jq .attempts
  cat order.json | holdfast request https://api.example.com/orders -j -
  holdfast request --config billing.toml /users/7

[bold]Output[/bold]
  The body goes to standard output, JSON laid out. The timeline of the
  attempts goes to standard error. Secrets in headers and URLs are masked.

"""
    + EXIT_CODES
)

_CONTENT, _SURVIVAL, _WIRE, _OUTPUT = "What is sent", "Retries and time", "Connection", "Output"


class RequestCommand(TyperCommand):
    """Shows the arguments as they are read: what stands alone is the URL."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", "[METHOD]", "URL"]


class Replay(Enum):
    """The values of `RetryConfig.replay`."""

    ANSWERED = "answered"
    WHEN_SAFE = "when_safe"
    ALWAYS = "always"


def request(
    first: Annotated[
        str | None,
        typer.Argument(
            metavar="[METHOD]",
            help="Any method. If it is left out GET, or POST if there is a body.",
            show_default=False,
        ),
    ] = None,
    second: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="Absolute, or below the base_url of --config.", show_default=False),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="'NAME: VALUE'",
            help="A header; @FILE for the lines of a file, which keeps secrets off the command line. Repeatable.",
            rich_help_panel=_CONTENT,
        ),
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(
            "--query",
            "-q",
            metavar="NAME=VALUE",
            help="Added to the query of the URL, quoted. Repeatable.",
            rich_help_panel=_CONTENT,
        ),
    ] = None,
    json_body: Annotated[
        str | None,
        typer.Option(
            "--json-body",
            "-j",
            metavar="JSON|@FILE|-",
            help="A JSON body, checked and sent as it is; from a file, or from standard input.",
            rich_help_panel=_CONTENT,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            metavar="TEXT|@FILE|-",
            help="Any other body. Its Content-Type is guessed from the file's name, unless given as a header.",
            rich_help_panel=_CONTENT,
        ),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--form",
            "-f",
            metavar="NAME=VALUE",
            help="A field of a form; NAME=@FILE uploads a file. Repeatable.",
            rich_help_panel=_CONTENT,
        ),
    ] = None,
    bearer_env: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="Environment variable that holds a bearer token.",
            rich_help_panel=_CONTENT,
        ),
    ] = None,
    basic_env: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="Environment variable that holds user:password.",
            rich_help_panel=_CONTENT,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Idempotency-Key of a POST or PATCH. You vouch that the server deduplicates by it, and so it is "
            "repeated where a plain POST is not.",
            rich_help_panel=_SURVIVAL,
        ),
    ] = None,
    request_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="X-Request-ID, with the same promise.", rich_help_panel=_SURVIVAL),
    ] = None,
    server_deduplicates: Annotated[
        bool,
        typer.Option("--server-deduplicates", help="The same promise for a generated key.", rich_help_panel=_SURVIVAL),
    ] = False,
    attempts: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Attempts at most. Default: 3.", rich_help_panel=_SURVIVAL),
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help="For the whole call, waits included; or none. Default: 300.",
            rich_help_panel=_SURVIVAL,
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help="For connecting, and for each wait for more of the answer; or none. Default: 60 and 15.",
            rich_help_panel=_SURVIVAL,
        ),
    ] = None,
    min_wait: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Shortest wait before the second attempt. Default: 1.",
            rich_help_panel=_SURVIVAL,
        ),
    ] = None,
    max_wait: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="Longest wait before any attempt. Default: 60.", rich_help_panel=_SURVIVAL
        ),
    ] = None,
    replay: Annotated[
        Replay | None,
        typer.Option(
            help="Which failures of a POST or PATCH are repeated. Default: answered.",
            rich_help_panel=_SURVIVAL,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Settings of the client, TOML or JSON; see holdfast config. Options win.",
            rich_help_panel=_SURVIVAL,
        ),
    ] = None,
    follow: Annotated[
        bool | None,
        typer.Option("--follow/--no-follow", help="Follow redirects, the default.", rich_help_panel=_WIRE),
    ] = None,
    http2: Annotated[bool, typer.Option("--http2", help="Offer HTTP/2.", rich_help_panel=_WIRE)] = False,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Proxy, http, https or socks5. Default: as the environment says.",
            rich_help_panel=_WIRE,
        ),
    ] = None,
    ca_file: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Certificates to trust instead of the system's.", rich_help_panel=_WIRE),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Do not check the server's certificate: anyone on the way can read and change everything.",
            rich_help_panel=_WIRE,
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the body of a good answer to a file, byte for byte.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(
            metavar="BYTES", help="Largest body that is read; or none. Default: 64 MiB.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the body byte for byte.", rich_help_panel=_OUTPUT)] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object instead: attempts, outcome, status, headers, body, timings.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show the headers sent and received, too.", rich_help_panel=_OUTPUT),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-s", help="Show no timeline, only errors.", rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Send a request through the client: retries, deadline, idempotency key and all.

    Prints the attempts as they happen, why there were no more of them, and the body.
    """
    from holdfast.cli import arguments
    from holdfast.cli.sending import Errand, configured

    method, url = arguments.method_and_url(first, second)
    url = arguments.with_query(url, query or ())
    overrides: dict[str, Any] = {
        "follow_redirects": follow,
        "http2": http2 or None,
        "proxy": proxy,
        "verify_ssl": False if insecure else ca_file,
        "server_deduplicates": server_deduplicates or None,
        "retry": _given(
            max_attempts=attempts,
            min_wait_seconds=min_wait,
            max_wait_seconds=max_wait,
            replay=replay.value if replay is not None else None,
        ),
    }
    overrides = _given(**overrides)
    # "none" stands for None here, and is not the same as leaving the option out.
    if deadline is not None:
        overrides["deadline"] = arguments.seconds(deadline, "--deadline")
    if timeout is not None:
        overrides["timeout"] = dict.fromkeys(("connect", "read", "write"), arguments.seconds(timeout, "--timeout"))
    if max_bytes is not None:
        overrides["max_response_bytes"] = arguments.limit(max_bytes, "--max-bytes")
    if insecure and ca_file is not None:
        refuse("--insecure and --ca-file contradict each other")
    settings, url = configured(config, overrides, url)
    fields_of_head = arguments.headers(header or ())
    fields_of_head += arguments.credentials(bearer_env, basic_env, fields_of_head)
    target = _target(output)
    with ExitStack() as files:
        keywords = arguments.body(data, json_body, fields or (), files)
        kind = keywords.pop("type", None)
        if kind is not None and not any(name.lower() == "content-type" for name, _ in fields_of_head):
            fields_of_head.append(("Content-Type", kind))
        errand = Errand(
            settings,
            method or ("POST" if keywords else "GET"),
            url,
            {**keywords, **_given(headers=fields_of_head or None, request_id=request_id, idempotency_key=key)},
        )
        errand.warn(everything=verbose)
        raise typer.Exit(errand.run(target, raw=raw, as_json=as_json, verbose=verbose, quiet=quiet or as_json))


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _target(output: Path | None) -> Path | None:
    """The file for the body, known to be writable before anything is sent; None for standard output."""
    if output is None or str(output) == "-":
        return None
    if output.is_dir():
        refuse(f"{str(output)!r} is a directory", "--output")
    if not output.parent.is_dir():
        refuse(f"there is no directory {str(output.parent)!r}", "--output")
    if not os.access(output if output.exists() else output.parent, os.W_OK):
        refuse(f"the file {str(output)!r} may not be written", "--output")
    return output
