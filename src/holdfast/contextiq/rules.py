"""Statements about a person, found in plain English sentences by regular expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Statement", "statements"]

_STRESSED = 0.9  # importance of what a person asks to remember
_LONGEST = 300  # characters of a clause; what is longer is no statement but a story


@dataclass(frozen=True, slots=True)
class Statement:
    """What was found: a sentence in the third person, with the topic, confidence and importance of its rule."""

    text: str
    topic: str | None
    confidence: float
    importance: float


def statements(text: str, subject: str) -> Iterator[Statement]:
    """The statements in what a person says, or in a transcript with lines such as ``User: I prefer tea``.

    Args:
        text: it may be long.
        subject: what the person is called in the statements.
    """
    for clause, stressed in _clauses(text):
        found = _statement(clause, subject)
        if found is None and stressed:
            yield Statement(f"{subject} asked to remember: {clause}", None, 0.8, _STRESSED)
        elif found is not None and stressed:
            yield Statement(found.text, found.topic, found.confidence, max(found.importance, _STRESSED))
        elif found is not None:
            yield found


# Clauses

_LINE = re.compile(r"[\r\n]+")
_SENTENCE = re.compile(r"(?<=[.!?]) ")
_JOINED = re.compile(r" ?; ?|,? (?:and|but|because|so) (?=(?:I|I'm|I've|I'd|my|please)\b)", re.IGNORECASE)
_SPEAKER = re.compile(r"([A-Za-z][\w ]{0,20}): (.*)")
_LISTENER = frozenset({"assistant", "ai", "bot", "system", "agent", "tool"})
_REQUEST = frozenset({"remember", "note", "please remember", "please note"})
_FILLER = re.compile(
    r"(?:(?:well|so|oh|hi|hello|hey|yes|no|ok|okay|also|and|but|actually|by the way|fyi|in fact|honestly)\b[,!]? )+",
    re.IGNORECASE,
)
_REMEMBER = re.compile(r"(?:please )?(?:remember|note|keep in mind|don't forget)(?: that)?[:,]? ", re.IGNORECASE)
_AROUND = " \t.,!-*\"'"


def _clauses(text: str) -> Iterator[tuple[str, bool]]:
    """The clauses of a text that are no questions, and whether each was asked to be remembered."""
    for line in _LINE.split(text.replace("\u2019", "'")):
        # Single spaces: with runs of them, the patterns would take time that grows with their square.
        said = " ".join(line.split())
        speaker = _SPEAKER.fullmatch(said)
        if speaker is not None and speaker[1].lower() not in _REQUEST:
            if speaker[1].strip().lower() in _LISTENER:
                continue
            said = speaker[2]
        for sentence in _SENTENCE.split(said):
            if sentence.endswith("?"):
                continue
            for part in _JOINED.split(sentence):
                clause = _FILLER.sub("", part.strip(_AROUND), count=1)
                plain = _REMEMBER.sub("", clause, count=1) if _REMEMBER.match(clause) else clause
                if plain and len(plain) <= _LONGEST:
                    yield plain, plain != clause


# Rules

_OFTEN = r"(?:(?:really|usually|always|also|mostly|still|currently|now|just|generally|strongly|absolutely) )*"
_I_AM = rf"I(?:'m| am) {_OFTEN}"
_I = rf"I {_OFTEN}"
_WHAT = r"(?P<what>.+)"
_NAME = r"(?P<name>(?:the user|(?-i:[A-Z])[\w'-]+(?: (?-i:[A-Z])[\w'-]+){0,2}))"
_JOB = (
    r"(?P<what>an? (?!bit|little|lot)(?:[\w-]+ ){0,3}[\w-]*(?:er|or|ist|ian|ant|ent|nurse|chef)(?: (?:at|for|in) .+)?)"
)
_SOME = r"(?P<what>(?:an?|one|two|three|four|five|\d+|no) .+)"
_ABOUT_NAME = (
    r"is allergic to|is called|lives in|works (?:as|at|for|in|with)|comes from|does not like|prefers|likes|loves|hates|"
    r"speaks|uses"
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A pattern of a whole clause, and the statement that a clause which fits stands for.

    `template` has ``{s}`` for the subject, and the names of the pattern's groups. Of these, ``verb`` is put into the
    third person, and ``what`` is what has to have a content.
    """

    template: str
    pattern: re.Pattern[str]
    topic: str
    confidence: float
    importance: float


def _rule(template: str, pattern: str, topic: str, confidence: float, importance: float) -> _Rule:
    return _Rule(template, re.compile(pattern, re.IGNORECASE), topic, confidence, importance)


# The first that fits counts: what is special stands before what is general.
_RULES = (
    _rule("{s} is allergic to {what}", rf"{_I_AM}allergic to {_WHAT}", "health", 0.95, 0.95),
    _rule("{s}'s name is {what}", rf"(?:my name is|call me|{_I_AM}called) {_WHAT}", "identity", 0.95, 0.9),
    _rule(
        "{s}'s favourite {of} is {what}",
        rf"my favou?rite (?P<of>[\w -]{{1,60}}?) (?:is|are) {_WHAT}",
        "preferences",
        0.9,
        0.7,
    ),
    _rule(
        "{s} does not {verb_of} {what}",
        rf"{_I}(?:do not|don't|can't|cannot) (?P<verb_of>like|eat|drink|use|want|speak) {_WHAT}",
        "preferences",
        0.9,
        0.75,
    ),
    _rule("{s} {verb} {what}", rf"{_I}(?P<verb>prefer) {_WHAT}", "preferences", 0.9, 0.7),
    _rule("{s} {verb} {what}", rf"{_I}(?P<verb>like|love|enjoy|hate|dislike) {_WHAT}", "preferences", 0.85, 0.6),
    _rule(
        "{s} lives in {what}",
        rf"(?:{_I_AM}(?:living|based) in|{_I}live in|I(?:'ve| have)? (?:just )?moved to) {_WHAT}",
        "location",
        0.9,
        0.7,
    ),
    _rule("{s} comes from {what}", rf"(?:{_I_AM}from|{_I}come from) {_WHAT}", "location", 0.85, 0.6),
    _rule(
        "{s} works {how} {what}",
        rf"(?:{_I}work|{_I_AM}working) (?P<how>as|at|for|in|with) {_WHAT}",
        "work",
        0.9,
        0.7,
    ),
    _rule(
        "{s} is {doing} {what}",
        rf"{_I_AM}(?P<doing>working on|building|writing|learning|studying) {_WHAT}",
        "projects",
        0.8,
        0.6,
    ),
    _rule("{s} is {what}", rf"{_I_AM}{_JOB}", "work", 0.8, 0.65),
    _rule("{s} is {age} years old", rf"{_I_AM}(?P<age>\d{{1,3}})(?: years old)?", "identity", 0.85, 0.6),
    _rule("{s} {verb} {what}", rf"{_I}(?P<verb>study|speak|use|own|play|drive) {_WHAT}", "background", 0.8, 0.5),
    _rule("{s} wants to {what}", rf"(?:{_I}(?:want|need|plan|hope)|I(?:'d| would) like) to {_WHAT}", "goals", 0.6, 0.5),
    _rule("{s} has {what}", rf"(?:{_I}have(?: got)?|I've got) {_SOME}", "background", 0.75, 0.5),
    _rule(
        "{s}'s {of} {is_} {what}",
        rf"my (?P<of>[\w' -]{{2,40}}?) (?P<is_>is|are) (?!not\b){_WHAT}",
        "background",
        0.75,
        0.5,
    ),
    _rule("{name} {does} {what}", rf"{_NAME} (?P<does>{_ABOUT_NAME}) {_WHAT}", "background", 0.8, 0.6),
)

_EMPTY = re.compile(
    r"(?:it|that|this|them|these|those|him|her|you|one|so"
    r"|(?:to )?(?:know|ask|see|say|hear|understand)\b.*"
    r"|(?:an? |some |another |the )?(?:question|problem|issue|idea|feeling|bit|lot|few|minute|moment)s?\b.*"
    r"|(?:how|that|when|what) .*)",
    re.IGNORECASE,
)
_THIRD = {"study": "studies"}


def _statement(clause: str, subject: str) -> Statement | None:
    for rule in _RULES:
        match = rule.pattern.fullmatch(clause)
        if match is None:
            continue
        parts = {name: value.strip() for name, value in match.groupdict("").items()}
        what = parts.get("what")
        if what is not None:
            if _EMPTY.fullmatch(what) or not re.search(r"\w", what):
                continue
            parts["what"] = _theirs(what)
        if "verb" in parts:
            verb = parts["verb"].lower()
            parts["verb"] = _THIRD.get(verb, f"{verb}s")
        text = rule.template.format(s=subject, **parts)
        return Statement(text[:1].upper() + text[1:], rule.topic, rule.confidence, rule.importance)
    return None


# Persons

_THEIRS = {
    "i": "they",
    "i'm": "they are",
    "i've": "they have",
    "i'd": "they would",
    "me": "them",
    "my": "their",
    "mine": "theirs",
    "myself": "themselves",
    "am": "are",
}
_MINE = re.compile(r"\b(?:i'm|i've|i'd|i|me|my|mine|myself|am)\b(?!')", re.IGNORECASE)


def _theirs(text: str) -> str:
    """What somebody says about themselves, as others say it."""
    return _MINE.sub(lambda match: _THEIRS[match[0].lower()], text)
