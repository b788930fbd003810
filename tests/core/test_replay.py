"""The replay table, row by row, in all modes. The expectations are written out here and not derived from the table."""

from __future__ import annotations

import pytest

from holdfast.core.outcome import Kind
from holdfast.core.replay import ANSWERED, BROKEN, IDEMPOTENT, TABLE, ReplayMode, may_have_executed, may_replay

Y, N = True, False

# kind: (idempotent, keyed, plain) for "answered", "when_safe", "always", and whether it may have been executed
EXPECTED: dict[Kind, tuple[tuple[bool, ...], tuple[bool, ...], tuple[bool, ...], bool]] = {
    Kind.UNSENT: ((Y, Y, Y), (Y, Y, Y), (Y, Y, Y), N),
    Kind.POOL: ((Y, Y, Y), (Y, Y, Y), (Y, Y, Y), N),
    Kind.THROTTLED: ((Y, Y, Y), (Y, Y, Y), (Y, Y, Y), N),
    Kind.UNAVAILABLE: ((Y, Y, Y), (Y, Y, Y), (Y, Y, Y), N),
    Kind.SERVER_TIMEOUT: ((Y, Y, Y), (Y, N, N), (Y, Y, Y), Y),
    Kind.SERVER_ERROR: ((Y, Y, Y), (Y, N, N), (Y, Y, Y), Y),
    Kind.LOST: ((Y, Y, N), (Y, Y, N), (Y, Y, Y), Y),
    Kind.TRUNCATED: ((Y, Y, N), (Y, Y, N), (Y, Y, Y), Y),
    Kind.UNDECODABLE: ((Y, Y, N), (Y, Y, N), (Y, Y, Y), Y),
    Kind.OK: ((N, N, N), (N, N, N), (N, N, N), Y),
    Kind.REJECTED: ((N, N, N), (N, N, N), (N, N, N), N),
    Kind.UNUSABLE: ((N, N, N), (N, N, N), (N, N, N), Y),
    Kind.REFUSED: ((N, N, N), (N, N, N), (N, N, N), N),
    Kind.LATE: ((N, N, N), (N, N, N), (N, N, N), Y),
}
MODES: tuple[ReplayMode, ...] = ("answered", "when_safe", "always")


def test_every_kind_is_expected_something_of():
    assert set(EXPECTED) == set(Kind)


@pytest.mark.parametrize("kind", EXPECTED)
@pytest.mark.parametrize("number", range(3), ids=MODES)
def test_row(kind, number):
    mode = MODES[number]
    idempotent, keyed, plain = EXPECTED[kind][:3][number]
    assert may_replay(kind, idempotent=True, keyed=False, mode=mode) is idempotent
    assert may_replay(kind, idempotent=True, keyed=True, mode=mode) is idempotent
    assert may_replay(kind, idempotent=False, keyed=True, mode=mode) is keyed
    assert may_replay(kind, idempotent=False, keyed=False, mode=mode) is plain


@pytest.mark.parametrize("kind", EXPECTED)
def test_may_have_executed(kind):
    assert may_have_executed(kind) is EXPECTED[kind][3]


def test_the_public_table_says_what_the_functions_do():
    for row in TABLE:
        for kind in row.kinds:
            for idempotent, keyed, cell in ((Y, N, row.idempotent), (N, Y, row.keyed), (N, N, row.plain)):
                assert may_replay(kind, idempotent=idempotent, keyed=keyed, mode="answered") is cell
            assert may_have_executed(kind) is row.may_have_executed


def test_rows_do_not_overlap_and_have_different_labels():
    kinds = [kind for row in TABLE for kind in row.kinds]
    assert len(kinds) == len(set(kinds)) == 9
    assert len({row.label for row in TABLE}) == len(TABLE) == 5


def test_the_rows_that_modes_change():
    assert ANSWERED.kinds == {Kind.SERVER_TIMEOUT, Kind.SERVER_ERROR}
    assert [row.kinds for row in BROKEN] == [{Kind.LOST}, {Kind.TRUNCATED, Kind.UNDECODABLE}]


def test_methods():
    assert {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"} == IDEMPOTENT
