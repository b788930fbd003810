"""What one process carries out, and what it has room for."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from holdfast.servers.integration.executions import runs


def test_room_is_kept_for_what_is_about_to_begin():
    async def main() -> None:
        here, first, second = runs.Runs(1), uuid4(), uuid4()
        assert here.expect(first, 1)
        # As if both were asked for before the first has begun.
        assert not here.expect(second, 1)
        async with here.entered(first, 1):
            assert not here.expect(second, 1)
        assert here.expect(second, 1)

    asyncio.run(main())


def test_but_not_for_ever(monkeypatch):
    monkeypatch.setattr(runs, "EXPECTED_SECONDS", 0.0)

    async def main() -> None:
        here = runs.Runs(1)
        assert here.expect(uuid4(), 1)
        assert here.expect(uuid4(), 1)

    asyncio.run(main())
