"""Bytes that each take a way of their own through the parser of responses; ``scripts/fuzz`` found them.

What must be so of them is in `tests.support.fuzzing`; what they are is the first word of the file's name.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from holdfast.http.engines.h1 import Assembly
from tests.support import fuzzing
from tests.support.fuzzing import Finding, check, check_room
from tests.support.scrambled import scrambled

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.http"))
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_was_found_is_read_as_it_was(path: Path):
    data = path.read_bytes()
    assert check(data).name == path.stem.partition("-")[0]
    check_room(data)


def test_the_corpus_is_there_and_of_every_kind():
    assert len(CORPUS) >= 30
    assert {path.stem.partition("-")[0] for path in CORPUS} == {"whole", "open", "refused"}


def test_a_thousand_new_ones_are_read_as_they_must_be():
    names = {check(scrambled(random.Random(f"quick {number}"))).name for number in range(1_000)}
    assert names == {"whole", "open", "refused"}


class Raises(Assembly):
    """Raises something else."""

    def feed(self, data: bytes) -> bool:
        raise IndexError


class Forgets(Assembly):
    """Reads less when it is given less at a time."""

    def feed(self, data: bytes) -> bool:
        return len(data) > 20 and super().feed(data)


class Dawdles(Assembly):
    """Takes long."""

    def feed(self, data: bytes) -> bool:
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        return super().feed(data)


class Hoards(Assembly):
    """Keeps a lot."""

    def feed(self, data: bytes) -> bool:
        self.hoard = bytearray(1 << 20)
        return super().feed(data)


class Misreads(Assembly):
    """Understands something else than h11."""

    def taken(self) -> bytes:
        return super().taken().upper()


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [(Forgets, "pieces"), (Dawdles, "were taken for"), (Hoards, "of memory"), (Misreads, "h11 reads")],
)
def test_what_a_parser_does_wrong_is_found(monkeypatch: pytest.MonkeyPatch, kind: type[Assembly], complaint: str):
    monkeypatch.setattr(fuzzing, "Assembly", kind)
    with pytest.raises(Finding, match=complaint):
        for length in range(20):  # of some, the conditions are such that nothing can go wrong
            data = WHOLE.replace(b"OK", b"O" * length)
            check(data)
            check_room(data)


def test_another_exception_than_ours_comes_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fuzzing, "Assembly", Raises)
    with pytest.raises(IndexError):
        check(WHOLE)
