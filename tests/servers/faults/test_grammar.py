"""How rules are written, and what is said about those that cannot be used."""

from __future__ import annotations

import json
import random
import string
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.servers.faults import FaultRuleError, parse_rules
from holdfast.servers.faults.kinds import KINDS
from tests.support.faulty import virtually

# The short form and JSON


@pytest.mark.parametrize(
    ("short", "rule"),
    [
        ("status=503", {"kind": "status", "status": 503}),
        ("status=503;rate=0.3;count=2", {"kind": "status", "status": 503, "rate": 0.3, "count": 2}),
        (" status = 503 ; rate = .5 ", {"kind": "status", "status": 503, "rate": 0.5}),
        ("status=503;from=1;for=2.5", {"kind": "status", "status": 503, "from": 1, "for": 2.5}),
        ("kind=status;status=503", {"kind": "status", "status": 503}),
        ("rate_limit", {"kind": "rate_limit"}),
        ("rate_limit=86400", {"kind": "rate_limit", "retry_after": 86400}),
        ("latency=0.1;distribution=pareto", {"kind": "latency", "seconds": 0.1, "distribution": "pareto"}),
        ("reset", {"kind": "reset"}),
        ("reset=body;keep=0", {"kind": "reset", "at": "body", "keep": 0}),
        ("truncate=7;framing=chunked", {"kind": "truncate", "keep": 7, "framing": "chunked"}),
        ("trickle=head;bytes=5", {"kind": "trickle", "part": "head", "bytes": 5}),
        ('garbage="a; b, \\"c\\" \\\\"', {"kind": "garbage", "line": 'a; b, "c" \\'}),
        ("garbage=not HTTP at all", {"kind": "garbage", "line": "not HTTP at all"}),
        ("garbage= a b ; at=before", {"kind": "garbage", "line": "a b", "at": "before"}),
        ("garbage=a=b", {"kind": "garbage", "line": "a=b"}),
        ("wrong_length=-3", {"kind": "wrong_length", "by": -3}),
        ("broken_gzip=plain", {"kind": "broken_gzip", "how": "plain"}),
        ("silence=5;method=POST;path=/a/*/b", {"kind": "silence", "seconds": 5, "method": "POST", "path": "/a/*/b"}),
    ],
)
def test_the_short_form_says_the_same_as_json(short, rule):
    assert parse_rules(short) == parse_rules(short.encode()) == parse_rules(json.dumps(rule))


def test_several_rules():
    rules = [{"kind": "status", "status": 503}, {"kind": "reset", "at": "after"}]
    assert parse_rules("status=503, reset=after") == parse_rules(json.dumps(rules))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_main_value_belongs_to_a_field(kind):
    assert kind.main in kind.field_names()


# What cannot be used. In JSON: the rule, and the field that is named.

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no kind": ({"status": 500}, "kind"),
    "unknown kind": ({"kind": "meteor"}, "kind"),
    "kind as a number": ({"kind": 7}, "kind"),
    "no status": ({"kind": "status"}, "status"),
    "good status": ({"kind": "status", "status": 200}, "status"),
    "status too high": ({"kind": "status", "status": 600}, "status"),
    "status as text": ({"kind": "status", "status": "500"}, "status"),
    "no seconds": ({"kind": "latency"}, "seconds"),
    "negative seconds": ({"kind": "latency", "seconds": -1}, "seconds"),
    "seconds without end": ({"kind": "latency", "seconds": 1e300}, "seconds"),
    "seconds with a unit": ({"kind": "latency", "seconds": "100ms"}, "seconds"),
    "bounds the wrong way round": ({"kind": "latency", "seconds": 2, "up_to": 1}, "up_to"),
    "a fixed latency with a bound": ({"kind": "latency", "seconds": 2, "distribution": "fixed", "up_to": 3}, "up_to"),
    "a uniform latency without one": ({"kind": "latency", "seconds": 2, "distribution": "uniform"}, "up_to"),
    "unknown distribution": ({"kind": "latency", "seconds": 2, "distribution": "normal"}, "distribution"),
    "sigma of another": ({"kind": "latency", "seconds": 2, "distribution": "pareto", "sigma": 1}, "sigma"),
    "alpha of another": ({"kind": "latency", "seconds": 2, "alpha": 1}, "alpha"),
    "alpha too small": ({"kind": "latency", "seconds": 2, "distribution": "pareto", "alpha": 0}, "alpha"),
    "latency inside": ({"kind": "latency", "seconds": 2, "at": "body"}, "at"),
    "fraction of a second": ({"kind": "rate_limit", "retry_after": 0.5}, "retry_after"),
    "negative retry_after": ({"kind": "rate_limit", "retry_after": -1}, "retry_after"),
    "rate below zero": ({"kind": "rate_limit", "rate": -0.1}, "rate"),
    "rate above one": ({"kind": "rate_limit", "rate": 1.1}, "rate"),
    "rate in percent": ({"kind": "rate_limit", "rate": "30%"}, "rate"),
    "count zero": ({"kind": "rate_limit", "count": 0}, "count"),
    "count true": ({"kind": "rate_limit", "count": True}, "count"),
    "unknown method": ({"kind": "rate_limit", "method": "get"}, "method"),
    "relative path": ({"kind": "rate_limit", "path": "msg"}, "path"),
    "seed as text": ({"kind": "rate_limit", "seed": "1"}, "seed"),
    "window before the start": ({"kind": "rate_limit", "from": -1}, "from"),
    "window of no time": ({"kind": "rate_limit", "for": 0}, "for"),
    "window by its name in Python": ({"kind": "rate_limit", "lasting": 1}, "lasting"),
    "misspelt field": ({"kind": "rate_limit", "retryafter": 1}, "retryafter"),
    "field of another kind": ({"kind": "rate_limit", "seconds": 1}, "seconds"),
    "reset elsewhere": ({"kind": "reset", "at": "end"}, "at"),
    "a reset with keep before": ({"kind": "reset", "keep": 1}, "keep"),
    "negative keep": ({"kind": "truncate", "keep": -1}, "keep"),
    "unknown framing": ({"kind": "truncate", "framing": "close"}, "framing"),
    "no bytes": ({"kind": "trickle", "bytes": 0}, "bytes"),
    "no interval": ({"kind": "trickle", "interval": 0}, "interval"),
    "unknown part": ({"kind": "trickle", "part": "tail"}, "part"),
    "garbage of two lines": ({"kind": "garbage", "line": "a\nb"}, "line"),
    "garbage that ends its line": ({"kind": "garbage", "line": "a\n"}, "line"),
    "no garbage": ({"kind": "garbage", "line": ""}, "line"),
    "the right length": ({"kind": "wrong_length", "by": 0}, "by"),
    "nothing to hold for": ({"kind": "wrong_length", "by": -1, "seconds": 1}, "seconds"),
    "nothing to hold": ({"kind": "wrong_length", "form": "twice", "seconds": 1}, "seconds"),
    "unknown damage": ({"kind": "broken_gzip", "how": "badly"}, "how"),
    "silence without end": ({"kind": "silence", "seconds": 1e9}, "seconds"),
}


@pytest.mark.parametrize(("rule", "field"), BAD.values(), ids=BAD)
def test_a_bad_rule_names_the_field(rule, field):
    with pytest.raises(FaultRuleError) as caught:
        parse_rules(json.dumps(rule))
    assert caught.value.errors[0]["loc"] == (field,)
    assert str(caught.value).startswith(f"{field}: ")
    with pytest.raises(FaultRuleError) as caught:
        parse_rules(json.dumps([{"kind": "rate_limit"}, rule]))
    assert caught.value.errors[0]["loc"] == (1, field)
    assert str(caught.value).startswith(f"rule 2: {field}: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("meteor", "kind: there is no fault 'meteor'; there are status, rate_limit, latency"),
        ("meteor=5;rate=1", "kind: there is no fault 'meteor'"),
        ("status", "status: is required"),
        ("status=", "status: must be a valid integer"),
        ("latency=100ms", "seconds: must be a plain number of seconds, not '100ms'"),
        ("rate_limit=1.5", "retry_after: must be a plain whole number of seconds, not '1.5'"),
        ("status=503;rate=30%", "rate: must be a plain number, not '30%'"),
        ("status=503;rate=nan", "rate: must be a finite number"),
        ("status=503;rate", "rate: has no value"),
        ("status=503;rate=1;rate=1", "rate: is given twice"),
        ("status=503;status=503", "status: is given twice"),
        ("status=503;", "cannot be read from '' on"),
        ("status=503,,reset", "cannot be read from ',reset' on"),
        ("status=503 rate=1", "status: must be a valid integer"),
        ('garbage="open', "cannot be read from 'garbage=\"open' on"),
        (
            "status=503;hurry=1",
            "hurry: status has no such field; it has kind, rate, count, from, for, method, path, seed",
        ),
        ("reset, status=200", "rule 2: status: must be greater than or equal to 400, not '200'"),
        ("reset;keep=1", "keep: goes with at=body only"),
        ("{", "Invalid JSON"),
        ("[]", "the list has no rule in it"),
        ("[5]", "rule 1: must be "),
        ("null", "kind: there is no fault 'null'"),
        ("status=503;rate=2;count=0", "rate: must be less than or equal to 1, not '2'; count: must be greater than"),
        ('{"kind": "status", "status": 500, "a\\nb": 1}', "'a\\nb': status has no such field"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, says):
    with pytest.raises(FaultRuleError) as caught:
        parse_rules(text)
    said = str(caught.value)
    assert said.startswith(says) and said.isprintable()


def test_a_long_wrong_value_is_not_repeated_in_full():
    with pytest.raises(FaultRuleError) as caught:
        parse_rules("latency=" + "9" * 5000 + "s")
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("text", ["a=" + " " * 60_000 + 'x"', " " * 60_000 + '"', 'garbage="' + "\\" * 60_000])
def test_reading_takes_no_longer_than_there_is_to_read(text):
    before = time.monotonic()
    with pytest.raises(FaultRuleError):
        parse_rules(text)
    assert time.monotonic() - before < 2


# Whatever is written


def values():
    """Values of fields, many of them wrong."""
    words = st.sampled_from(["before", "after", "body", "head", "GET", "/", "chunked", "pareto", "off", "plain"])
    return st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=20)


NAMES = sorted({name for kind in KINDS.values() for name in kind.field_names()})


def written():
    """Rules as somebody might write them."""
    kinds = st.sampled_from([*KINDS, "meteor"])
    fields = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=10), values(), max_size=5)
    rule = st.builds(lambda kind, more: {"kind": kind, **more}, kinds, fields)
    as_json = (rule | st.lists(rule, max_size=3) | values()).map(json.dumps)
    items = st.builds("{}={}".format, st.sampled_from([*KINDS, *NAMES]), values())
    short = st.lists(items, min_size=1, max_size=5).map(";".join)
    return as_json | short | st.text(alphabet=string.printable, max_size=40)


def is_one_line(error: FaultRuleError) -> None:
    assert str(error) and str(error).isprintable()
    assert json.dumps(error.errors)


@given(written())
def test_any_text_is_rules_or_one_line(text):
    try:
        rules = parse_rules(text)
    except FaultRuleError as error:
        is_one_line(error)
        return
    for rule in rules:
        # What is shown of a rule is that rule.
        assert parse_rules(json.dumps(rule.shown())) == [rule]
        assert 0 <= rule.draw(random.Random(1)) <= 3600


@given(st.binary(max_size=60))
def test_any_bytes_are_rules_or_one_line(data):
    try:
        parse_rules(data)
    except FaultRuleError as error:
        is_one_line(error)


@given(written())
def test_no_rule_makes_a_500(text):
    """The client of these stories raises what the server would answer with a 500."""
    header = text.encode().replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b" ")

    async def story(client):
        assert (await client.post("/_faults", content=text.encode())).status_code in {201, 422}
        assert (await client.get("/_faults/stats")).status_code == 200
        async with client.stream("GET", "/msg", headers={b"X-Holdfast-Fault": header}) as reply:
            assert reply.status_code >= 200

    virtually(story)
