"""What was typed after `holdfast request`, as the client's method, URL and keywords. Nothing is sent here.

Everything that can be wrong is refused with the option at fault; no message repeats the value of a header.
"""

from __future__ import annotations

import math
import mimetypes
import os
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from holdfast import checks
from holdfast.cli.body import is_json
from holdfast.cli.exits import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "body",
    "credentials",
    "headers",
    "limit",
    "method_and_url",
    "own_origin",
    "seconds",
    "target_origin",
    "with_query",
]

_METHOD = re.compile(r"[A-Za-z!#$%&'*+.^_`|~0-9-]+")
_TEXT = "text/plain; charset=utf-8"
_BYTES = "application/octet-stream"
_JSON = "application/json"


def method_and_url(first: str | None, second: str | None) -> tuple[str | None, str]:
    """The method, None if it was left out, and the URL."""
    if first is None:
        refuse("is missing; for examples see holdfast request --help", "URL")
    if second is None:
        if "/" not in first and first.isupper():
            refuse(f"is missing after {first}", "URL")
        return None, first
    if not _METHOD.fullmatch(first):
        refuse(f"{first!r} is not a method such as GET" + ("; the URL comes last" if "/" in first else ""), "METHOD")
    return first.upper(), second


def own_origin(url: str) -> str:
    """The origin of an absolute URL."""
    from holdfast.http.origins import BadURL, Origins

    scheme, separator, rest = url.partition("://")
    if not separator or "/" in scheme:
        refuse(f"the URL {url!r} has no scheme: write http:// or https:// before it", "URL")
    if "@" in re.split(r"[/?#\\]", rest, maxsplit=1)[0]:
        refuse("has a user name or password in it, which ends up in logs: use --basic-env or --bearer-env", "URL")
    try:
        return Origins(url).own
    except BadURL as error:
        refuse(str(error), "URL")


def target_origin(url: str, base_url: str) -> str:
    """The origin that a URL, absolute or below the base URL, leads to; refuses one that nothing can be sent to."""
    from holdfast.http.origins import BadURL, Origins

    try:
        return Origins(base_url).target(url).origin
    except BadURL as error:
        refuse(str(error), "URL")


def with_query(url: str, pairs: Sequence[str]) -> str:
    """The URL with ``name=value`` pairs, quoted, after the query that it has."""
    if not pairs:
        return url
    quoted = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            refuse(f"{pair!r} is not name=value", "--query")
        quoted.append(f"{quote(name, safe='')}={quote(value, safe='')}")
    head, hash_sign, fragment = url.partition("#")
    joint = "" if head.endswith(("?", "&")) else "&" if "?" in head else "?"
    return f"{head}{joint}{'&'.join(quoted)}{hash_sign}{fragment}"


def headers(given: Sequence[str]) -> list[tuple[str, str]]:
    """Header lines as pairs; ``@FILE`` stands for the lines of a file."""
    found: list[tuple[str, str]] = []
    for one in given:
        if one.startswith("@"):
            for number, line in enumerate(_file_lines(one[1:], "--header"), start=1):
                if line.strip():
                    found.append(_header(line, f" in line {number} of {one[1:]!r}"))
        else:
            found.append(_header(one, ""))
    return found


def _header(line: str, where: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        # What stands there may be a secret whose name was forgotten.
        refuse(f"a header{where} has no colon: write 'Name: value'", "--header")
    try:
        name = checks.header_name(name.strip())
        value = checks.header_value(name, value.strip())
        value.encode("ascii")
    except UnicodeEncodeError:
        refuse(f"the value of {name}{where} contains a character outside ASCII", "--header")
    except ValueError as error:
        refuse(f"{error}{where}", "--header")
    return name, value


def credentials(
    bearer_env: str | None, basic_env: str | None, given: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """The Authorization header that environment variables give."""
    if bearer_env is None and basic_env is None:
        return []
    if bearer_env is not None and basic_env is not None:
        refuse("give --bearer-env or --basic-env, not both")
    option, name = ("--bearer-env", bearer_env) if bearer_env is not None else ("--basic-env", basic_env or "")
    if any(known.lower() == "authorization" for known, _ in given):
        refuse("there is an Authorization header already", option)
    secret = os.environ.get(name, "").strip()
    if not secret:
        refuse(f"the environment variable {name!r} is not set, or empty", option)
    if bearer_env is not None:
        if not secret.isascii() or not secret.isprintable():
            refuse(f"the environment variable {name!r} holds no token: only visible ASCII characters can be", option)
        return [("Authorization", f"Bearer {secret}")]
    from base64 import b64encode

    if ":" not in secret:
        refuse(f"the environment variable {name!r} is not user:password", option)
    return [("Authorization", f"Basic {b64encode(secret.encode()).decode()}")]


def body(data: str | None, json_body: str | None, fields: Sequence[str], files: ExitStack) -> dict[str, Any]:
    """The keyword for the body, and under "type" its Content-Type where the client cannot know it.

    What is read from a pipe is kept in memory, so that it can be sent again.

    Args:
        data: text, ``@FILE``, or ``-`` for standard input.
        json_body: the same, for JSON.
        fields: a form, ``name=value`` or ``name=@FILE``.
        files: closes what is opened here.
    """
    given = [
        name
        for name, one in (("--data", data), ("--json-body", json_body), ("--form", fields or None))
        if one is not None
    ]
    if len(given) > 1:
        refuse(f"{' and '.join(given)} cannot be given together: a request has one body")
    if data is not None:
        content, kind = _content(data, "--data", files)
        return {"content": content, "type": kind}
    if json_body is not None:
        return {"content": _json(json_body, files), "type": _JSON}
    return _form(fields, files) if fields else {}


def _json(given: str, files: ExitStack) -> bytes:
    content, _ = _content(given, "--json-body", files)
    data = content if isinstance(content, bytes) else content.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse(f"not JSON: byte {error.start} is not UTF-8", "--json-body")
    if not is_json(text):
        refuse(f"not JSON: {_why_not(text)}", "--json-body")
    return text.encode()


def _why_not(text: str) -> str:
    import json

    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"{error.msg} (at line {error.lineno}, column {error.colno})"
    except RecursionError:
        return "it is nested too deeply"
    return "NaN and Infinity are no numbers there"


def _form(fields: Sequence[str], files: ExitStack) -> dict[str, Any]:
    """A form; with files in it, a multipart one."""
    data: dict[str, list[str]] = {}
    uploads: list[tuple[str, tuple[str, Any, str]]] = []
    for field in fields:
        name, equals, value = field.partition("=")
        if not name or not equals:
            refuse(f"{field!r} is not name=value", "--form")
        if value.startswith("@"):
            content, kind = _content(value, "--form", files)
            uploads.append((name, (Path(value[1:]).name, content, kind)))
        else:
            data.setdefault(name, []).append(value)
    return {"data": data, "files": uploads} if uploads else {"data": data}


def _content(given: str, option: str, files: ExitStack) -> tuple[bytes | IO[bytes], str]:
    """Text, a file, or standard input; and the Content-Type that it probably has."""
    if given == "-":
        if sys.stdin is None:
            refuse("standard input is closed", option)
        return sys.stdin.buffer.read(), _BYTES
    if not given.startswith("@"):
        return given.encode("utf-8", "surrogateescape"), _TEXT
    file = _opened(given[1:], option, files)
    kind = mimetypes.guess_type(given[1:])[0] or _BYTES
    return (file if file.seekable() else file.read()), kind


def _opened(name: str, option: str, files: ExitStack) -> IO[bytes]:
    try:
        return files.enter_context(Path(name).open("rb"))
    except (OSError, ValueError) as error:
        refuse(f"cannot read the file {name!r}: {_strerror(error)}", option)


def _file_lines(name: str, option: str) -> list[str]:
    with ExitStack() as files:
        file = _opened(name, option, files)
        try:
            return file.read().decode("utf-8").splitlines()
        except UnicodeDecodeError:
            refuse(f"the file {name!r} is not UTF-8", option)


def _strerror(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def seconds(text: str | None, option: str) -> float | None:
    """Seconds above zero; None for "none"."""
    if text is None or text.lower() == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        refuse(f"{text!r} is not a number of seconds, nor none", option)
    if not 0 < value < math.inf:
        refuse(f"{text} is not a number of seconds above 0; none is for no limit", option)
    return value


def limit(text: str, option: str) -> int | None:
    """A number of bytes above zero; None for "none"."""
    if text.lower() == "none":
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        refuse(f"{text!r} is not a number of bytes above 0, nor none", option)
    return int(text)
