"""Which event loops the programs of this package run on: uvloop's where it is installed, else asyncio's.

A library runs on the loop that its user chose. `holdfast serve` and the other commands choose one themselves, here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

logger = logging.getLogger(__name__)


def loop_factory() -> LoopFactory | None:
    """What makes event loops: for `asyncio.Runner(loop_factory=...)`, where None stands for asyncio's own."""
    try:
        # The extra `uvloop` brings it. A broken installation raises ImportError too, and is no reason not to run.
        import uvloop
    except ImportError as error:
        logger.debug("event loops are asyncio's: %s", error)
        return None
    logger.debug("event loops are uvloop's")
    factory: LoopFactory = uvloop.new_event_loop
    return factory


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on the loop of `loop_factory`."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)
