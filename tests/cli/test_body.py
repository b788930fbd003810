"""How bodies are laid out."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.body import is_json, pretty
from holdfast.cli.output import visible

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([None, 1, 4]), st.booleans())
def test_json_is_laid_out_as_the_standard_library_does(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert pretty(text) == json.dumps(value, indent=2, ensure_ascii=ascii_only)
    assert pretty(text, None) == json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only)


def test_no_token_is_changed():
    text = '{"a":1.50,"a":-0,"b":1E400,"c":"\\u00e9\\/\\"","d":123456789012345678901234567890.1}'
    assert is_json(text)
    assert pretty(text, None) == text
    assert re.sub(r"\s", "", pretty(text)) == text


def test_what_is_no_json():
    assert not any(map(is_json, ("", "NaN", "[Infinity]", "{'a': 1}", "[1,]", "[" * 100_000, '"\x01"')))


@given(st.text())
def test_visible_text_holds_no_control_characters(text):
    shown = visible(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)
    assert re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text) or shown == text
