"""Sends the one call of `holdfast request` and shows what it came to."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli import arguments
from holdfast.cli.body import show, write_json
from holdfast.cli.exits import Exit, refuse
from holdfast.cli.output import Out
from holdfast.cli.report import exit_code, head_lines, machine_report
from holdfast.cli.settings import SettingsError, merged, read_file, validated
from holdfast.cli.timeline import Timeline
from holdfast.client import ResilientClient
from holdfast.redaction import is_secret_header, redact_headers, redact_url

if TYPE_CHECKING:
    import httpx2

    from holdfast.config import ClientConfig
    from holdfast.exceptions import HoldfastError

__all__ = ["Errand", "configured"]

_OPTIONS = {
    "follow_redirects": "--follow",
    "http2": "--http2",
    "proxy": "--proxy",
    "verify_ssl": "--ca-file",
    "server_deduplicates": "--server-deduplicates",
    "deadline": "--deadline",
    "max_response_bytes": "--max-bytes",
    "timeout.connect": "--timeout",
    "timeout.read": "--timeout",
    "timeout.write": "--timeout",
    "retry.max_attempts": "--attempts",
    "retry.min_wait_seconds": "--min-wait",
    "retry.max_wait_seconds": "--max-wait",
    "retry.replay": "--replay",
}
_ALWAYS_SAID = frozenset({"tls-not-verified", "credentials-in-clear"})


def configured(file: Path | None, overrides: Mapping[str, Any], url: str) -> tuple[ClientConfig, str]:
    """The settings of a file with those of the options in front, and the URL, checked.

    A lone call cannot multiply an outage: the retry budget is off unless the file sets it.
    """
    try:
        given = read_file(file, "--config") if file is not None else {}
    except SettingsError as error:
        refuse(f"{file}: {error}", "--config")
    if given.get("base_url") is None:
        given["base_url"] = arguments.own_origin(url)
    settings = merged(given, {**overrides, "logging": {"level": "CRITICAL"}})
    retry = settings.get("retry")
    if isinstance(retry, dict):
        retry.setdefault("budget", None)
        _order(retry, overrides.get("retry", {}))
    try:
        config = validated(settings)
    except SettingsError as error:
        for problem in error.problems:
            if _is_in(problem.field, overrides):
                refuse(problem.message, _OPTIONS.get(problem.field))
        refuse(f"{file}: {error}", "--config")
    for package, needed, option in (
        ("h2", config.http2, "http2"),
        ("socksio", (config.proxy or "").startswith("socks"), "socks"),
    ):
        if needed and find_spec(package) is None:
            refuse(f'the package "{package}" is missing; install it with: pip install "holdfast[{option}]"')
    arguments.target_origin(url, config.base_url or "")
    return config, url


def _order(retry: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Lets one wait that was given move the other, which was not."""
    low, high = retry.get("min_wait_seconds", 1.0), retry.get("max_wait_seconds", 60.0)
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and high < low and len(given) > 0:
        if "min_wait_seconds" not in given:
            retry["min_wait_seconds"] = high
        elif "max_wait_seconds" not in given:
            retry["max_wait_seconds"] = low


def _is_in(field: str, settings: Any) -> bool:
    for step in field.split("."):
        if not isinstance(settings, Mapping) or step not in settings:
            return False
        settings = settings[step]
    return True


class Errand:
    """One call, from settings to exit code.

    Args:
        config: the settings.
        method, url: of the request.
        options: further keywords of the client's `request`.
    """

    def __init__(self, config: ClientConfig, method: str, url: str, options: Mapping[str, Any]) -> None:
        self._config = config
        self._method = method
        self._url = url
        self._options = options
        self._out = Out(error=False)
        self._notes = Out(error=True)
        self._secret = frozenset(config.headers)

    def warn(self, *, everything: bool) -> None:
        """Says what is unsafe about the settings and headers; what else does not fit together only if asked to."""
        secrets = {name.lower(): value for name, value in self._options.get("headers", ()) if is_secret_header(name)}
        origin = arguments.target_origin(self._url, self._config.base_url or "")
        known = {warning.code: warning for warning in self._config.lint()}
        sent = self._config.model_copy(update={"base_url": origin, "headers": secrets})
        known.update({warning.code: warning for warning in sent.lint() if warning.code in _ALWAYS_SAID})
        for code, warning in known.items():
            if everything or code in _ALWAYS_SAID:
                self._notes.line(f"warning: {warning}", "yellow")

    def run(self, target: Path | None, *, raw: bool, as_json: bool, verbose: bool, quiet: bool) -> Exit:
        """Sends the request, shows what happens and what came of it, and returns the exit code.

        Args:
            target: the file for the body of a good answer; None for standard output.
            raw: writes the body byte for byte.
            as_json: prints the report for machines, and nothing else.
            verbose: shows headers.
            quiet: shows no timeline.
        """
        timeline = Timeline(None if quiet else self._notes.line)
        try:
            response, error = self._send(timeline)
        except ssl.SSLError as failure:  # the client was not made; what fails on the wire is an error of ours
            refuse(
                f"certificates cannot be used: {failure.reason or failure}",
                "--ca-file" if self._config.cert is None else None,
            )
        except KeyboardInterrupt:
            self._notes.line(f"holdfast request: {self._interrupted(timeline)}", "red")
            return Exit.INTERRUPTED
        code = exit_code(error)
        if code is Exit.BAD_INPUT:
            refuse(str(error))
        saved = target if target is not None and error is None and response is not None else None
        if saved is not None and response is not None:
            try:
                saved.write_bytes(response.content)
            except OSError as failure:
                refuse(f"the answer came, but cannot be written to {str(saved)!r}: {failure.strerror}", "--output")
        if as_json:
            report = machine_report(
                timeline,
                response,
                error,
                method=self._method,
                url=self._url,
                secret=self._secret,
                saved_to=str(saved) if saved is not None else None,
            )
            if self._out.is_terminal:
                write_json(report, self._out)
            else:
                self._out.raw(f"{report}\n".encode())
            return code
        if response is not None and not quiet:
            self._tell(timeline, response, verbose=verbose)
        if error is not None:
            self._notes.line(f"holdfast request: {error}", "red")
        if saved is not None and response is not None:
            if not quiet:
                self._notes.line(f"{len(response.content)} bytes written to {saved}")
        elif response is not None:
            if self._method == "HEAD":
                self._out.line("\n".join(head_lines(response, self._secret)))
            show(response, self._out, self._notes, raw=raw)
        return code

    def _send(self, timeline: Timeline) -> tuple[httpx2.Response | None, HoldfastError | None]:
        # Not on uvloop: closing its loop waits for a name that is being looked up. For one call it gains nothing.
        with asyncio.Runner() as runner:
            runner.get_loop().set_default_executor(_Unjoined())
            return runner.run(self._call(timeline))

    async def _call(self, timeline: Timeline) -> tuple[httpx2.Response | None, HoldfastError | None]:
        from holdfast.exceptions import HoldfastError

        async with ResilientClient(self._config, observers=[timeline]) as client:
            try:
                call = client.request(self._method, self._url, **self._options)
            except ValueError as error:
                option = {"idempotency_key": "--key", "request_id": "--request-id"}.get(str(error).partition(" ")[0])
                refuse(str(error).partition(" ")[2] if option else str(error), option)
            timeline.start()
            try:
                return await call, None
            except HoldfastError as error:
                return error.response, error

    def _tell(self, timeline: Timeline, response: httpx2.Response, *, verbose: bool) -> None:
        for hop in response.history:
            self._notes.line(f"            redirected by {hop.status_code} from {redact_url(hop.url)}", "dim")
        if not verbose:
            return
        request = response.request
        self._notes.line(f"> {request.method} {redact_url(request.url)}", "cyan")
        for name, value in redact_headers(request.headers.multi_items(), self._secret):
            self._notes.line(f"> {name}: {value}", "cyan")
        for line in head_lines(response, self._secret):
            self._notes.line(f"< {line}", "cyan")

    def _interrupted(self, timeline: Timeline) -> str:
        text = f"interrupted after {timeline.seconds:.1f} s"
        if not timeline.attempts:
            return f"{text}, before anything was sent"
        attempt = timeline.attempts[-1].number
        if timeline.in_flight:
            return f"{text}, during attempt {attempt}: the server may have executed it"
        return f"{text}, after attempt {attempt}"


class _Unjoined(ThreadPoolExecutor):
    """Runs each function on a thread that nobody waits for.

    The event loop looks names up in its executor. No deadline and no Ctrl-C can end a look-up, and a common executor
    would hold the command until the resolver gives up.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  # the future passes it on
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Waits for nobody."""
