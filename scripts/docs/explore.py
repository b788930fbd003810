"""Finds out how an object behaves, by trying every sequence of events on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TypeVar

World = TypeVar("World")


def explore(
    make: Callable[[], World],
    events: Mapping[str, Callable[[World], object]],
    label: Callable[[World], str],
    depth: int,
) -> dict[tuple[str, str], set[str]]:
    """Which state follows which after which event, over all sequences of up to `depth` events.

    Args:
        make: a new world.
        events: by name, what they do to the world; one that returns False cannot happen there.
        label: the state that the world is in, as far as anybody outside can tell. It may use the world up.
        depth: the length of the sequences.
    """
    found: dict[tuple[str, str], set[str]] = {}
    impossible: set[tuple[str, ...]] = set()
    for length in range(1, depth + 1):
        for sequence in itertools.product(events, repeat=length):
            if any(sequence[:end] in impossible for end in range(1, length)):
                continue
            world = _after(make, events, sequence[:-1])
            before = label(_after(make, events, sequence[:-1]))
            if events[sequence[-1]](world) is False:
                impossible.add(sequence)
                continue
            found.setdefault((before, sequence[-1]), set()).add(label(world))
    return found


def _after(
    make: Callable[[], World], events: Mapping[str, Callable[[World], object]], sequence: tuple[str, ...]
) -> World:
    world = make()
    for event in sequence:
        events[event](world)
    return world
