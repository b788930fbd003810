"""Two crews for `crew_under_faults.py`: one that must not run twice for an order, and one that tells."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from holdfast.servers.crews import crew

_booked: Counter[str] = Counter()


@crew("book_order")
async def book_order(inputs: dict[str, Any]) -> dict[str, Any]:
    """Books an order. If it runs twice, somebody pays twice."""
    await asyncio.sleep(0.01)
    _booked[inputs["order"]] += 1
    return {"order": inputs["order"], "booked": True}


@crew("booked_orders")
def booked_orders(inputs: dict[str, Any]) -> dict[str, int]:
    """How often each order of a batch was booked."""
    return {order: times for order, times in _booked.items() if order.startswith(inputs["batch"])}
