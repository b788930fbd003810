"""How much work a JSON Schema makes of a value, told before it is done.

Schemas can make more of it than their size shows: twenty definitions that each apply the next one twice apply the last
one a million times, and a schema that applies itself twice to each member does so 2^n times at depth n. A check cannot
be interrupted, so what would take too long has to be refused beforehand.

A *place* is one value within a value. What is counted is how often subschemas are applied to a place, at most, by its
depth. Within a place, subschemas pass it on to others (`allOf`, `$ref`, ...); to the places inside of it they apply
those of `properties`, `items` and so on. Counts go from one depth to the next, each as large as it can be. What a
subschema compares a place with (`enum`, ...) weighs besides.

Only what is understood here without doubt can be counted, so references lead to places of the same document: `#`,
`#/pointer`, `#anchor`. A schema within the schema that has an `$id` of its own would give `#` another meaning, and the
schemas of schemas refer to whatever is called as their parts are; neither is needed for an action.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from holdfast.servers.fields import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Growth", "GrowthError", "Path", "growth"]

Path = tuple[str | int, ...]

MOST_APPLIED = 2_000
"""Subschemas applied to one place. Large schemas of practice stay below some hundred."""

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_SAME_ONE = ("not", "if", "then", "else")
_SAME_LIST = ("allOf", "anyOf", "oneOf")
_SAME_MAP = ("dependentSchemas", "dependencies")
_MEMBERS = ("additionalProperties", "unevaluatedProperties", "propertyNames")
_ITEMS = ("items", "additionalItems", "unevaluatedItems", "contains")

_COMPARED = ("enum", "const", "required", "dependentRequired", "dependencies")

SCALARS_PER_UNIT = 10
CONTAINER_SCALARS = 40
"""What is compared with a place weighs as much as that part of an applied subschema: so it was measured."""

MULTIPLES = (1e-30, 1e30)
"""Within which a `multipleOf` may be: it is computed exactly, with numbers of as many digits as that takes."""


class GrowthError(Exception):
    """The schema cannot be used.

    Attributes:
        path: where in it.
    """

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Growth:
    """What a schema makes of a value.

    Attributes:
        applied: the weight of the subschemas that are applied to a place at most, by its depth from 0; the last number
            holds for all deeper places. One that compares with little weighs 1.
        deepest: the depth beyond which more than `MOST_APPLIED` would be applied; None if there is none.
        patterns: how many regular expressions there are.
        multiples: whether there is a `multipleOf`.
    """

    applied: tuple[int, ...]
    deepest: int | None
    patterns: int
    multiples: bool = False

    def at_most(self, depth: int) -> int:
        """What a place of a value of this depth has applied at most."""
        return max(self.applied[: depth + 1])


@dataclass(slots=True)
class _Node:
    """A subschema that is reached, and where it leads: to the same place, to members by name, to items by index."""

    weight: int = 1
    same: Counter[int] = field(default_factory=Counter)
    named: dict[str | int, Counter[int]] = field(default_factory=dict)
    members: Counter[int] = field(default_factory=Counter)
    items: Counter[int] = field(default_factory=Counter)


def growth(schema: Any) -> Growth:
    """What a schema makes of a value.

    Raises:
        GrowthError: it would apply too much, it refers to itself for the same place, or to another document.
    """
    graph = _Graph(schema)
    order = graph.order()
    counts: Counter[int] = Counter({graph.root: 1})
    applied: list[int] = []
    seen: list[Counter[int]] = []
    while counts and len(applied) <= MAX_DEPTH:
        for number in order:
            times = counts[number]
            if times:
                for other, edges in graph.nodes[number].same.items():
                    counts[other] += times * edges
        total = counts.total()
        if total > MOST_APPLIED:
            if not applied:
                message = (
                    f"applies {_figure(total)} subschemas to one value, and may not apply more than {MOST_APPLIED}"
                )
                raise GrowthError((), message)
            return Growth(tuple(applied), len(applied) - 1, graph.patterns, graph.multiples)
        applied.append(sum(times * graph.nodes[number].weight for number, times in counts.items()))
        if seen and counts == seen[-1]:
            break
        seen = [counts]
        counts = _inside(graph.nodes, counts)
    return Growth((*applied, 0) if not counts else tuple(applied), None, graph.patterns, graph.multiples)


def _figure(number: int) -> str:
    return str(number) if number < 10**9 else "more than a thousand million"


def _inside(nodes: Mapping[int, _Node], counts: Counter[int]) -> Counter[int]:
    """What is applied to a place inside, at most: the worst of all names and indexes, for each subschema."""
    members: Counter[int] = Counter()
    items: Counter[int] = Counter()
    named: dict[str | int, Counter[int]] = {}
    for number, times in counts.items():
        node = nodes[number]
        _add(members, node.members, times)
        _add(items, node.items, times)
        for name, edges in node.named.items():
            _add(named.setdefault(name, Counter()), edges, times)
    worst = members | items
    for name, found in named.items():
        everywhere = members if isinstance(name, str) else items
        for number, times in found.items():
            worst[number] = max(worst[number], times + everywhere[number])
    return worst


def _add(to: Counter[int], edges: Counter[int], times: int) -> None:
    for number, count in edges.items():
        to[number] += times * count


class _Graph:
    """The subschemas that can be reached from the root, numbered by identity.

    Attributes:
        root: number of the root.
        nodes: all of them.
        patterns: how many regular expressions they have.
        multiples: whether they have a `multipleOf`.
    """

    def __init__(self, schema: Any) -> None:
        self.root = id(schema)
        self.nodes: dict[int, _Node] = {}
        self.patterns = 0
        self.multiples = False
        self._schema = schema
        self._anchors: dict[str, list[Any]] = {}
        self._paths: dict[int, Path] = {self.root: ()}
        self._scan(schema)
        waiting: list[tuple[Any, Path]] = [(schema, ())]
        while waiting:
            waiting += self._visit(*waiting.pop())

    def order(self) -> list[int]:
        """The numbers such that every subschema stands before those that it passes its place on to.

        Raises:
            GrowthError: one passes it on to itself.
        """
        state: dict[int, bool] = {}
        done: list[int] = []
        for first in self.nodes:
            if first in state:
                continue
            state[first] = False
            stack = [(first, iter(self.nodes[first].same))]
            while stack:
                number, others = stack[-1]
                other = next(others, None)
                if other is None:
                    stack.pop()
                    state[number] = True
                    done.append(number)
                elif other not in state:
                    state[other] = False
                    stack.append((other, iter(self.nodes[other].same)))
                elif not state[other]:
                    raise GrowthError(self._paths[other], "applies itself to the same value, without end")
        return done[::-1]

    def _scan(self, schema: Any) -> None:
        """Finds out what can be referred to, wherever it is: validators differ in where they look for it.

        Raises:
            GrowthError: something in the schema has an `$id` of its own.
        """
        dialect = schema.get("$schema") if isinstance(schema, dict) else None
        names = ("$id", "id") if isinstance(dialect, str) and "draft-04" in dialect else ("$id",)
        waiting: list[tuple[Any, Path]] = [(schema, ())]
        while waiting:
            item, path = waiting.pop()
            if isinstance(item, dict):
                for name in names:
                    if path and isinstance(item.get(name), str):
                        message = f"{name!r} may only be where the schema begins: refer to '#/...', or use $anchor"
                        raise GrowthError((*path, name), message)
                for keyword in ("$anchor", "$dynamicAnchor"):
                    if isinstance(item.get(keyword), str):
                        self._anchors.setdefault(item[keyword], []).append(item)
                waiting += [(inner, (*path, name)) for name, inner in item.items()]
            elif isinstance(item, list):
                waiting += [(inner, (*path, index)) for index, inner in enumerate(item)]

    def _visit(self, schema: Any, path: Path) -> list[tuple[Any, Path]]:
        """Makes the node of a subschema; those it leads to, with their paths."""
        if id(schema) in self.nodes:
            return []
        node = self.nodes[id(schema)] = _Node()
        self._paths[id(schema)] = path
        if not isinstance(schema, dict):
            return []
        found: list[tuple[Any, Path]] = []
        for keyword in _REFERENCES:
            reference = schema.get(keyword)
            if isinstance(reference, str):
                for target in self._targets(keyword, reference, path):
                    node.same[id(target)] += 1
                    found.append((target, (*path, keyword)))
        for inner, where in _inner(schema, _SAME_ONE, _SAME_LIST, _SAME_MAP):
            node.same[id(inner)] += 1
            found.append((inner, (*path, *where)))
        for inner, where in _inner(schema, _MEMBERS, (), ("patternProperties",)):
            node.members[id(inner)] += 1
            found.append((inner, (*path, *where)))
        for inner, where in _inner(schema, _ITEMS, (), ()):
            node.items[id(inner)] += 1
            found.append((inner, (*path, *where)))
        for inner, where in _inner(schema, (), ("prefixItems", "items"), ("properties",)):
            node.named.setdefault(where[-1], Counter())[id(inner)] += 1
            found.append((inner, (*path, *where)))
        by_pattern = schema.get("patternProperties")
        patterns = isinstance(schema.get("pattern"), str) + (len(by_pattern) if isinstance(by_pattern, dict) else 0)
        self.patterns += patterns
        node.weight += patterns + _compared(schema)
        multiple = schema.get("multipleOf")
        if isinstance(multiple, int | float):
            self.multiples = True
            if not MULTIPLES[0] <= multiple <= MULTIPLES[1]:
                message = f"multipleOf must be between {MULTIPLES[0]:g} and {MULTIPLES[1]:g}"
                raise GrowthError((*path, "multipleOf"), message)
        return found

    def _targets(self, keyword: str, reference: str, path: Path) -> list[Any]:
        if not reference.startswith("#"):
            where = "is somewhere else, and nothing is fetched: put it below $defs, and refer to '#/$defs/...'"
            raise GrowthError((*path, keyword), f"{reference!r} {where}")
        name = unquote(reference[1:])
        if keyword == "$recursiveRef" or not name:
            return [self._schema]
        if not name.startswith("/"):
            # More than one can only be a mistake; which of them is meant is not ours to know.
            return self._anchors.get(name, [])
        target = _pointed_at(self._schema, name)
        # What leads nowhere is told by the validator, in its own words.
        return [] if target is None else [target]


def _compared(schema: dict[str, Any]) -> int:
    """The weight of what is compared with a place, and of the names that are looked for in it."""
    properties = schema.get("properties")
    scalars = len(properties) if isinstance(properties, dict) else 0
    waiting = [schema[keyword] for keyword in _COMPARED if keyword in schema]
    while waiting:
        item = waiting.pop()
        scalars += CONTAINER_SCALARS if isinstance(item, dict | list) else 1
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return scalars // SCALARS_PER_UNIT


def _inner(
    schema: dict[str, Any], ones: tuple[str, ...], lists: tuple[str, ...], maps: tuple[str, ...]
) -> Iterator[tuple[Any, Path]]:
    """The subschemas below keywords that hold one, a list or a map of them, and where they are."""
    for keyword in ones:
        inner = schema.get(keyword)
        if isinstance(inner, dict | bool):
            yield inner, (keyword,)
    for keyword in lists:
        inner = schema.get(keyword)
        if isinstance(inner, list):
            for index, one in enumerate(inner):
                yield one, (keyword, index)
    for keyword in maps:
        inner = schema.get(keyword)
        if isinstance(inner, dict):
            for name, one in inner.items():
                if isinstance(one, dict | bool):
                    yield one, (keyword, name)


def _pointed_at(document: Any, pointer: str) -> Any:
    """What a JSON Pointer names that is not empty (RFC 6901, section 4); None if there is nothing."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and len(name) < 6 and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document
