"""What a crew returns, as JSON."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

__all__ = ["NoJSONError", "as_json"]


class NoJSONError(ValueError):
    """A result cannot be written as JSON; the message says why, without showing it."""


def as_json(result: object) -> str:
    """A result as JSON text. Models of pydantic are written as they write themselves.

    Raises:
        NoJSONError: it is no JSON.
    """
    try:
        text = json.dumps(result, default=_model, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise NoJSONError("it contains half of a surrogate pair, which is no character") from None
    except RecursionError:
        raise NoJSONError("it is nested too deep") from None
    except (TypeError, ValueError) as error:
        raise NoJSONError(str(error)) from error
    return text


def _model(value: object) -> Any:
    if not isinstance(value, BaseModel):
        raise TypeError(f"an object of the class {type(value).__name__}")
    try:
        return value.model_dump(mode="json")
    except Exception as error:
        # A serializer may be the user's, and its message may hold anything.
        raise TypeError(f"a model {type(value).__name__} that fails with {type(error).__name__}") from error
