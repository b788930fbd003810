"""The command `holdfast`. It needs the extra `cli`; commands that start servers also need `servers`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line. Always leaves through SystemExit.

    A missing optional dependency ends in one line that says what to install, not in a traceback.
    """
    try:
        from holdfast.cli.app import app

        app(prog_name="holdfast")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "holdfast":
            raise
        sys.exit(
            f'holdfast: the package "{error.name}" is missing. Install it with: pip install "holdfast[cli,servers]"'
        )
