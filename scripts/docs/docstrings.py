"""A griffe extension: what docstrings write in reStructuredText for editors, the reference gets in Markdown."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

_BLOCK = re.compile(r"(::|\.\. code-block:: \w+)\n\n((?:[ ]{4}.*(?:\n|$)|\n)+)")


class Markdown(griffe.Extension):
    """Makes fenced blocks of literal ones."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """See `griffe.Extension`."""
        if obj.docstring is not None:
            obj.docstring.value = _BLOCK.sub(_fenced, obj.docstring.value)


def _fenced(found: re.Match[str]) -> str:
    colon, block = found.groups()
    code = textwrap.dedent(block).strip("\n")
    language = "text" if colon.startswith("..") else "python"
    return f"{':' if colon == '::' else ''}\n\n```{language}\n{code}\n```\n\n"
