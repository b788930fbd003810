"""JSON Schemas: which can be used, what violates them, and that no check takes long."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.servers.integration import jsonschemas
from holdfast.servers.integration.jsonschemas import check_schema, violations
from holdfast.servers.integration.schema_growth import GrowthError, growth
from tests.support.loopback import Loopback
from tests.support.registry import TEXT_IN

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
TOO_LONG = 20.0
"""Seconds; unbounded checks take hours."""


def doubling(times: int, last: Any, keyword: str = "allOf") -> dict[str, Any]:
    """Applies `last` 2 ** times."""
    both = [[{"$ref": f"#/$defs/d{n + 1}"}] * 2 for n in range(times)]
    return {"$ref": "#/$defs/d0", "$defs": {**{f"d{n}": {keyword: both[n]} for n in range(times)}, f"d{times}": last}}


def each(schema: dict[str, Any]) -> dict[str, Any]:
    """The same for the items of a list."""
    return {"items": {"$ref": schema["$ref"]}, "$defs": schema["$defs"]}


TREE = {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}, "type": "object"}
# Each member is looked at twice, by both of its parent's branches.
TWICE = {"anyOf": [{"properties": {"x": {"$ref": "#"}}, "minProperties": 9}, {"properties": {"x": {"$ref": "#"}}}]}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        False,
        TEXT_IN,
        TREE,
        TWICE,
        {"$schema": DRAFT_7, "definitions": {"a": {"type": "string"}}, "$ref": "#/definitions/a"},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [{}]},
        {"$id": "https://example.com/a", "$defs": {"b": {"$anchor": "c"}}, "$ref": "#c"},
        {"properties": {"$id": {"type": "string"}, "id": {}}, "default": {"id": "x"}},
        {"multipleOf": 0.01},
        {"$dynamicRef": "#node", "$defs": {"n": {"$dynamicAnchor": "node"}}},
        {"pattern": r"^(?!foo)\p{L}+$"},
        {"properties": {"$ref": {"type": "string"}}},
        {"unknownKeyword": {"$ref": "http://127.0.0.1:9/not-a-reference"}},
        doubling(8, {}),
    ],
)
def test_schemas_of_all_kinds_can_be_used(schema):
    assert check_schema(schema) == []


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ([], (), "is an object, or true or false"),
        ("string", (), "is an object, or true or false"),
        ({"type": "strin"}, ("type",), "strin"),
        ({"properties": {"a": {"minLength": -1}}}, ("properties", "a", "minLength"), "-1"),
        ({"required": "a"}, ("required",), "array"),
        ({"pattern": "("}, ("pattern",), "regex"),
        ({"pattern": "(a{1000}){1000}"}, ("pattern",), "regex"),
        ({"$schema": "http://example.com/mine"}, ("$schema",), "no dialect"),
        ({"$schema": 7}, ("$schema",), "no dialect"),
        ({"$ref": "#/$defs/nope"}, (), "/$defs/nope"),
        ({"items": {"$ref": "http://127.0.0.1:9/s"}}, ("items", "$ref"), "nothing is fetched"),
        ({"$ref": "file:///etc/passwd"}, ("$ref",), "nothing is fetched"),
        ({"$id": "http://example.com/a/", "$ref": "b"}, ("$ref",), "nothing is fetched"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, ("$ref",), "nothing is fetched"),
        ({"$id": "http://[", "$ref": "b"}, ("$ref",), "nothing is fetched"),
        ({"$id": "http://["}, (), "http://["),
        ({"$ref": "#/allOf/" + "1" * 5_000, "allOf": [{}]}, (), "1111"),
        ({"$ref": "#/enum/0", "enum": [{"multipleOf": "x"}]}, ("enum", 0, "multipleOf"), "number"),
        ({"items": {"multipleOf": 1e-31}}, ("items", "multipleOf"), "between"),
        ({"$ref": "#"}, (), "without end"),
        ({"anyOf": [{"not": {"$ref": "#"}}]}, (), "without end"),
        (doubling(11, {}), (), "applies 8190 subschemas"),
        (doubling(60, {}), (), "more than a thousand million"),
        ({"patternProperties": {f"a{n}": {} for n in range(101)}}, (), "101 regular expressions"),
        ({"description": "x" * 65_536}, (), "65554 bytes"),
    ],
)
def test_schemas_that_cannot_be_used_are_told_with_the_place(schema, path, message):
    (problem,) = check_schema(schema)
    assert problem.path == path and message in problem.message


INNER = doubling(30, True)


@pytest.mark.parametrize(
    "schema",
    [
        # `#/$defs/d0` is another place for who takes `urn:a:b` for a base, and for who does not.
        {"$ref": "urn:a:b", "$defs": {"n": {"$id": "urn:a:b", **INNER}, **dict.fromkeys(INNER["$defs"], True)}},
        # The one in `enum` is no schema, but is called as one.
        {
            "$ref": "http://h/a",
            "$defs": {"n": {"$id": "http://h/a", **INNER}},
            "not": {"enum": [{"$id": "http://h/a"}]},
        },
        {
            "$schema": DRAFT_7,
            "allOf": [{"$ref": "#d0"}],
            "definitions": {
                f"d{n}": {"$id": f"#d{n}", "allOf": [{"$ref": f"#d{n + 1}"}] * 2 if n < 30 else [{}]} for n in range(31)
            },
        },
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "allOf": [{"$ref": "#d0"}],
            "definitions": {
                f"d{n}": {"id": f"#d{n}", "allOf": [{"$ref": f"#d{n + 1}"}] * 2 if n < 30 else [{}]} for n in range(31)
            },
        },
    ],
    ids=["base", "enum", "draft 7", "draft 4"],
)
def test_what_a_reference_leads_to_is_never_in_doubt(schema):
    (problem,) = check_schema(schema)
    assert problem.path[-1] in {"id", "$id"} and "where the schema begins" in problem.message


def test_all_problems_of_a_schema_are_told():
    found = check_schema({"type": "strin", "properties": {"a": {"minimum": "x"}}, "required": 7})
    assert {problem.path for problem in found} == {("type",), ("properties", "a", "minimum"), ("required",)}


def test_nothing_is_fetched():
    with Loopback() as server:
        for schema in ({"$ref": f"{server.url}/s"}, {"$schema": f"{server.url}/s"}, {"$id": server.url, "$ref": "s"}):
            assert check_schema(schema)
            assert violations(schema, {})
        assert server.connections == 0


def test_violations_have_a_path_and_do_not_repeat_the_value():
    assert violations(TEXT_IN, {"url": "https://example.com/a"}) == []
    assert [one.path for one in violations(TEXT_IN, {"url": "not a uri"})] == [("url",)]
    assert "'url'" in violations(TEXT_IN, {})[0].message or '"url"' in violations(TEXT_IN, {})[0].message
    listed = {"properties": {"a": {"items": {"type": "string"}}}}
    found = violations(listed, {"a": ["x", "secret" * 100, 7, None]})
    assert [one.path for one in found] == [("a", 2), ("a", 3)]
    assert len(violations({"items": {"type": "string"}}, [1] * 1000)) == 20
    assert not any("secret" in one.message for one in violations({"type": "integer"}, "secret"))


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^(a+)+$"}, "a" * 50_000 + "b"),
        ({"items": {"pattern": r"^(x+)\1+(?!z)(x+x+)+y$"}}, ["x" * 3000] * 1000),
        ({"patternProperties": {r"^(x+x+)+(?!z)y$": False}}, {"x" * 5000: 1}),
        (TWICE, nested(90)),
        (doubling(9, {"type": "string"}, "anyOf"), [[[{}]]]),
        (each(doubling(8, {"type": "string"}, "anyOf")), [1] * 20_000),
        ({"uniqueItems": True}, [{"a": n} for n in range(50_000)]),
        ({"items": {"type": "string"}}, [1] * 300_000),
        ({"contains": {"type": "string"}, "unevaluatedItems": {"type": "null"}}, [1] * 100_000),
        ({"items": {"enum": [{"a": n} for n in range(5_000)]}}, [{"a": 4_999}] * 50_000),
        ({"items": {"enum": [[1] * 500 + [n] for n in range(50)]}}, [[1] * 500 + [49]] * 3_000),
        ({"items": {"dependentRequired": {f"p{n}": ["x"] for n in range(3_000)}}}, [{"a": 1}] * 200_000),
        ({"items": {"multipleOf": 0.01}}, [int("9" * 4_000)] * 2_000 + [1e-300] * 100_000),
        ({"not": {"pattern": "(?=a*b)a0"}}, "a" * 5_000_000),
        ({"patternProperties": {"(?=a*b)a0": {}}}, {"a" * 5_000_000: 1}),
    ],
)
def test_no_check_takes_long(schema, value):
    began = time.monotonic()
    check_schema(schema)
    violations(schema, value)
    assert time.monotonic() - began < TOO_LONG


def test_compiled_schemas_with_many_regular_expressions_are_not_all_kept():
    for number in range(10):
        assert check_schema({"$comment": str(number), "patternProperties": {f"a{n}": {} for n in range(100)}}) == []
    assert sum(one.growth.patterns for one in jsonschemas._cache.values()) <= 400
    for number in range(200):
        assert check_schema({"$comment": str(number)}) == []
    assert len(jsonschemas._cache) == 128


def test_a_long_name_is_not_repeated_in_every_violation():
    schema = {"additionalProperties": {"items": {"type": "string"}}}
    found = violations(schema, {"k" * 100_000: [1] * 30})
    assert len(found) == 20 and {len(str(one.path[0])) for one in found} == {200}


def test_what_would_take_too_long_is_refused_and_says_why():
    assert "nested 90 deep" in violations(TWICE, nested(90))[0].message
    assert violations(TREE, {"left": {"right": {}}}) == []
    assert "too many" in violations(each(doubling(8, {})), [1] * 200_000)[0].message
    assert "too many or too long" in violations({"pattern": "(?=a*b)a"}, "a" * 5_000_000)[0].message
    assert violations({"pattern": "a*b$"}, "a" * 5_000_000 + "b") == []
    assert violations({"pattern": "^(?=.*[0-9])(?=.*[a-z]).{8,}$"}, "a1" * 500) == []
    assert "too large to say where" in violations({"items": {"type": "string"}}, [1] * 300_000)[0].message


def test_a_member_may_be_meant_by_its_name_and_by_all_names():
    both: list[Any] = [{"properties": {"x": True}}, {"additionalProperties": True}]
    assert growth({"allOf": both}).applied == (3, 2, 0)
    items: list[Any] = [{"prefixItems": [True]}, {"items": True}]
    assert growth({"allOf": items}).applied == (3, 2, 0)


SUBSCHEMAS = st.recursive(
    st.sampled_from([{}, True, {"type": "string"}, {"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, {"$ref": "#"}]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"allOf": some}),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
        st.dictionaries(st.sampled_from("xy"), inner, max_size=2).map(lambda some: {"properties": some}),
        inner.map(lambda one: {"additionalProperties": one}),
        inner.map(lambda one: {"not": one}),
    ),
    max_leaves=8,
)


def applied(schema: Any, root: Any, value: Any, steps: list[int]) -> None:
    """Counts how often a subschema is applied to a value or what is in it, the long way."""
    steps[0] += 1
    if steps[0] > 50_000 or not isinstance(schema, dict):
        return
    same = [*schema.get("allOf", ()), *schema.get("anyOf", ()), *([schema["not"]] if "not" in schema else ())]
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        same.append(root if schema["$ref"] == "#" else root["$defs"][name])
    for inner in same:
        applied(inner, root, value, steps)
    for name, member in value.items():
        if name in schema.get("properties", {}):
            applied(schema["properties"][name], root, member, steps)
        elif "additionalProperties" in schema:
            applied(schema["additionalProperties"], root, member, steps)


VALUES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.just({}), lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=2), max_leaves=8
)


@given(st.tuples(SUBSCHEMAS, SUBSCHEMAS, SUBSCHEMAS), VALUES)
def test_what_is_predicted_is_never_less_than_what_happens(parts, value):
    first, a, b = parts
    schema = {"allOf": [first], "$defs": {"a": a, "b": b}}
    try:
        found = growth(schema)
    except GrowthError:
        return

    def extent(item: Any) -> tuple[int, int]:
        inner = [extent(one) for one in item.values()]
        return 1 + max([depth for depth, _ in inner], default=-1), 1 + sum(places for _, places in inner)

    depth, places = extent(value)
    if found.deepest is not None and depth > found.deepest:
        return
    steps = [0]
    applied(schema, schema, value, steps)
    assert steps[0] <= places * found.at_most(depth)
