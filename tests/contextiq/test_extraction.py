"""What counts as said in a session, and the facts that the rules find in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from holdfast.contextiq import Event, Fact, RuleBasedExtractionEngine, utterances


def event(data: dict[str, object], kind: str = "message", event_id: str = "e1") -> Event:
    return Event(id=event_id, session_id="s1", event_type=kind, data=data)


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        ("Hi! I prefer Python and I live in Berlin.", ["User prefers Python", "User lives in Berlin"]),
        ("I'm allergic to peanuts", ["User is allergic to peanuts"]),
        ("My dog is called Rex. Do I like it?", ["User's dog is called Rex"]),
        ("Please remember that my deadline is Friday", ["User's deadline is Friday"]),
        ("Remember: water the plants", ["User asked to remember: water the plants"]),
        ("I don\u2019t like noise, but I really love my bike", ["User does not like noise", "User loves their bike"]),
        ("I am a software engineer at Acme; I'm a bit tired", ["User is a software engineer at Acme"]),
        ("I have a question. I want to know if it works. I like it.", []),
        ("I'd like to visit Rome", ["User wants to visit Rome"]),
        ("Oh, my favourite tea is green. I'm 31 years old", ["User's favourite tea is green", "User is 31 years old"]),
        ("I study law\nI work for myself", ["User studies law", "User works for themselves"]),
        ("User: I use vim\nAssistant: I prefer emacs", ["User uses vim"]),
        ("Ada Lovelace lives in London. The weather is nice.", ["Ada Lovelace lives in London"]),
        ("I prefer tea. i PREFER tea!", ["User prefers tea"]),
        ("My name is Ada", ["User's name is Ada"]),
        ("", []),
        ("I prefer ...", []),
    ],
)  # fmt: skip
def test_statements_that_the_rules_find(said, facts):
    assert [fact.text for fact in RuleBasedExtractionEngine().facts_in(said)] == facts


def test_what_is_to_be_remembered_is_important():
    (plain,) = RuleBasedExtractionEngine().facts_in("I use vim")
    (asked,) = RuleBasedExtractionEngine().facts_in("Please note that I use vim")
    assert plain.text == asked.text and asked.importance == 0.9 > (plain.importance or 0)


def test_facts_name_their_subject_and_their_event():
    engine = RuleBasedExtractionEngine("Ada")
    found = engine.extract(
        [event({"content": "I like tea"}, event_id="e1"), event({"text": "I use vim"}, event_id="e2")]
    )
    assert [(fact.text, fact.source, fact.topic) for fact in found] == [
        ("Ada likes tea", "e1", "preferences"),
        ("Ada uses vim", "e2", "background"),
    ]


@pytest.mark.parametrize(
    ("data", "kind", "role", "text"),
    [
        ({"content": " Hello "}, "message", "", "Hello"),
        ({"message": "Hello", "sender": "Human "}, "message", "human", "Hello"),
        ({"content": "Hello"}, "assistant_message", "assistant", "Hello"),
        ({"content": [{"type": "text", "text": "one"}, {"type": "image"}, "two"]}, "message", "", "one\ntwo"),
        ({"content": "", "text": "Hello", "role": "user"}, "tool_call", "user", "Hello"),
    ],
)
def test_where_an_event_has_its_text_and_its_speaker(data, kind, role, text):
    (found,) = utterances([event(data, kind)])
    assert (found.source, found.role, found.text) == ("e1", role, text)


@pytest.mark.parametrize("data", [{}, {"content": " "}, {"content": 7}, {"content": [{"text": 1}, None]}])
def test_events_without_text_say_nothing(data):
    assert utterances([event(data)]) == []


def test_an_assistant_has_no_preferences():
    said = [event({"role": "assistant", "content": "I prefer tea"}), event({"content": "I prefer tea"}, "bot_message")]
    assert RuleBasedExtractionEngine().extract(said) == []


@given(st.text(max_size=300))
def test_any_text_can_be_read(text):
    for fact in RuleBasedExtractionEngine().facts_in(text):
        assert fact.text.strip() == fact.text != ""


def test_a_text_made_to_be_slow_is_not():
    # Each of these would take minutes with a pattern that backtracks.
    for text in (
        "my " * 50_000,
        " " * 200_000 + ";",
        "I am a " + "word " * 50_000,
        "I " + "really " * 50_000,
        "a" * 500_000,
    ):
        assert RuleBasedExtractionEngine().facts_in(text) == []


def test_a_fact_can_be_called_text_or_fact():
    assert Fact.model_validate({"fact": " likes tea ", "extra": 1}) == Fact(text="likes tea")


@pytest.mark.parametrize(
    ("field", "value"), [("text", " "), ("confidence", 1.5), ("importance", -0.1), ("topic", "x" * 201)]
)
def test_a_fact_keeps_to_the_limits_of_the_service(field, value):
    with pytest.raises(ValidationError, match=field):
        Fact.model_validate({"text": "likes tea", field: value})
