"""Forms that are posted to token endpoints, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from holdfast.exceptions import HoldfastError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a token endpoint answered: a token, or a refusal."""

    status: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Undelivered:
    """What kept an answer from coming. `local`: it came of the one call that asked, and another may fare better.

    The error is not shown to anybody as it is: it may hold the form, and with it a secret.
    """

    error: HoldfastError
    local: bool


def form_options(form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    """The options of the call that posts a form (see `holdfast.http.options.BodyOptions`)."""
    return {
        "headers": {**headers, "Content-Type": "application/x-www-form-urlencoded"},
        "content": urlencode(form),
        "auth": None,
        "follow_redirects": False,  # what is sent is for this endpoint alone
        "idempotency_key": False,
        "server_deduplicates": True,  # asking twice does no harm: at worst there are two tokens
    }


def is_refusal(status: int) -> bool:
    """Whether a status is an answer to what was asked, rather than something that may pass."""
    return 400 <= status < 500 and status not in (408, 429)
