"""What the responses of the native engines tell of their connections."""

from __future__ import annotations

from typing import Any, Protocol


class Telling(Protocol):
    """A connection, of either colour."""

    def told_of(self, name: str) -> Any:
        """See `NetworkStream.get_extra_info`."""
        ...


class NetworkStream:
    """The ``network_stream`` of a response: tells of its connection, which goes on serving others."""

    def __init__(self, connection: Telling) -> None:
        self._connection = connection

    def get_extra_info(self, info: str) -> Any:
        """What httpcore2's streams tell of themselves: ``ssl_object``, ``socket``, ``client_addr`` and the like."""
        return self._connection.told_of(info)
