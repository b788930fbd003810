"""The JSON Schema of what a settings file may hold."""

from __future__ import annotations

from typing import Any, NoReturn

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticOmit

from holdfast.config import ClientConfig

__all__ = ["settings_schema"]


class _WithoutCode(GenerateJsonSchema):
    """Leaves out what takes Python: callables and SSL contexts."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> NoReturn:
        raise PydanticOmit


def settings_schema() -> dict[str, Any]:
    """Returns a schema (draft 2020-12) by which editors complete and check a file."""
    made = ClientConfig.model_json_schema(schema_generator=_WithoutCode)
    made["$schema"] = _WithoutCode.schema_dialect
    for part, name in (("RetryConfig", "retry_if"), ("CircuitBreakerConfig", "key"), ("RateLimitConfig", "key")):
        made["$defs"][part]["properties"].pop(name, None)
    return made
