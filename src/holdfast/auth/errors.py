"""What is raised where credentials cannot be had."""

from __future__ import annotations

from holdfast.exceptions import HoldfastError

__all__ = ["SigningKeyError", "TokenError"]


class TokenError(HoldfastError):
    """No token could be obtained, so the call was not sent.

    It is also what kept the token from being obtained: an AuthenticationError where the credentials were refused, an
    APITimeoutError where the token endpoint took too long, and so on. `endpoint`, `request_id` and `attempts` are those
    of the call; `status_code` is that of the token endpoint's answer.

    Attributes:
        error: the code by which a token endpoint refused (RFC 6749, section 5.2), such as ``"invalid_client"``.
        error_description: its own words for that. None, like the code, where there was no such answer.
    """

    error: str | None = None
    error_description: str | None = None


class SigningKeyError(ValueError):
    """A key that tokens cannot, or must not, be signed with: too short, not of the algorithm, unreadable, missing."""
