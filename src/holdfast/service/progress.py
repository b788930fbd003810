"""`ProgressBar`: a bar on the terminal that shows how far a bulk is."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ProgressBar"]


class ProgressBar:
    """A progress bar, to be given to a bulk.

    ::

        with ProgressBar("users") as bar:
            result = await client.bulk(ids, client.get_user, progress=bar)

    It is drawn on standard error, and only if that is a terminal. Without a known number of items it shows how many are
    finished. It stays where it is when the block is left.

    Args:
        description: what the items are.
        console: a `rich.console.Console` to draw on instead.

    Raises:
        ImportError: the extra ``cli`` of Holdfast is not installed, which brings rich.
    """

    def __init__(self, description: str = "", *, console: Console | None = None) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError as error:
            raise ImportError(
                f"ProgressBar needs the extra 'cli' of Holdfast: pip install 'holdfast[cli]' ({error})"
            ) from None
        if console is None:
            console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress: Any = Progress(*columns, console=console, disable=not console.is_terminal)
        self._description = description
        self._task: Any = None

    def __call__(self, completed: int, total: int | None) -> None:
        """Shows that so many items are finished, of so many if that is known."""
        if self._task is None or completed == 0:
            self._task = self._progress.add_task(self._description, total=total)
        self._progress.update(self._task, completed=completed, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()
