"""Which crews there are: the decorator that makes one, and where their names are kept."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from holdfast.servers.crews.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.servers.slots import Slot

__all__ = ["DECORATED", "Crew", "CrewError", "CrewRegistrationError", "Registry", "crew"]

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class CrewError(Exception):
    """Raised by a crew to fail with a message that its caller may read.

    Of any other exception the caller gets to know the class alone: its message may hold what is none of their business.
    """


class CrewRegistrationError(ValueError):
    """Something cannot be a crew under this name; the message says why."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Something that takes a JSON object and gives JSON.

    Attributes:
        name: by which it is asked for.
        target: a function, plain or async, of the inputs; or an object, or a class of objects, with `kickoff(inputs)`
            or `akickoff(inputs)`. Of a class, every execution has an object of its own.
        description: for people.
    """

    name: str
    target: Any
    description: str

    @property
    def class_name(self) -> str:
        """The name of its function or class."""
        return str(getattr(self._definition, "__name__", type(self.target).__name__))

    @property
    def module(self) -> str:
        """Where that is defined."""
        return str(getattr(self._definition, "__module__", None) or type(self.target).__module__)

    @property
    def _definition(self) -> Any:
        return self.target if hasattr(self.target, "__name__") else type(self.target)

    async def execute(self, inputs: dict[str, Any], slot: Slot) -> Any:
        """The result of one execution. What is not async has a thread, which holds the slot for as long as it runs.

        Raises:
            BaseException: whatever the crew raises.
        """
        target = self.target
        made = target() if inspect.isclass(target) else target
        method: Any = getattr(made, "akickoff", None) or getattr(made, "kickoff", None) or made
        if _is_async(method):
            return await method(inputs)
        result = await in_thread(self.name, lambda: method(inputs), slot)
        # As of a lambda around an async function.
        return await result if inspect.isawaitable(result) else result


class Registry:
    """Crews by name."""

    def __init__(self) -> None:
        self._crews: dict[str, Crew] = {}

    def add(self, name: str, target: Any, description: str | None = None) -> None:
        """Make something known as a crew. To say the same twice is no mistake.

        Args:
            name: letters, digits, `_`, `.` and `-`, at most 100.
            target: see `Crew`.
            description: for people; None takes the first line of the target's docstring.

        Raises:
            CrewRegistrationError: it is no crew, or the name is wrong or another one's.
        """
        if not _NAME.fullmatch(name):
            raise CrewRegistrationError(
                f"{name!r} cannot be the name of a crew: it takes letters, digits, _, . and -, at most 100"
            )
        kicks = any(callable(getattr(target, method, None)) for method in ("akickoff", "kickoff"))
        if not kicks and (inspect.isclass(target) or not callable(target)):
            raise CrewRegistrationError(
                f"{name}: {target!r} is no crew: that is a function, or an object or class with kickoff(inputs) or"
                " akickoff(inputs)"
            )
        known = self._crews.get(name)
        if known is not None and known.target is not target:
            raise CrewRegistrationError(
                f"there is a crew {name!r} already, {known.class_name} in {known.module}: give this one another name"
            )
        text = description if description is not None else (inspect.getdoc(target) or "").partition("\n")[0]
        self._crews[name] = Crew(name, target, text)

    def get(self, name: str) -> Crew | None:
        """The crew of a name, if there is one."""
        return self._crews.get(name)

    def __iter__(self) -> Iterator[Crew]:
        return iter(sorted(self._crews.values(), key=lambda one: one.name))


DECORATED = Registry()
"""What `crew` has decorated."""


@overload
def crew(name: str | None = None, /, *, description: str | None = None) -> Callable[[T], T]: ...
@overload
def crew(target: T, /) -> T: ...
def crew(target: Any = None, /, *, description: str | None = None) -> Any:
    """Makes a function, a class or an object known as a crew.

    It is known under its own name, or another one::

        @crew
        async def greeter(inputs):
            return f"Hello, {inputs['name']}"

        @crew("weekly_report", description="What happened this week.")
        class ReportCrew:
            def kickoff(self, inputs):
                ...

    `holdfast serve` knows it once its module is imported there, see `holdfast.servers.crews.discovery`. What it returns
    has to be JSON, or a pydantic model. To fail with a message for its caller, it raises `CrewError`.

    An execution that takes too long is ended: what is async is cancelled. What is not async runs in a thread, and
    nothing can stop that: its caller gets an answer in time, but the thread goes on, its result is thrown away when it
    comes, and until then it counts as one of the crews that may run at the same time.

    Raises:
        CrewRegistrationError: it is no crew, or there is one of that name.
    """

    def register(given: Any, name: str | None = None) -> Any:
        DECORATED.add(name or str(getattr(given, "__name__", type(given).__name__)), given, description)
        return given

    if target is None or isinstance(target, str):
        return lambda given: register(given, target)
    return register(target)


def _is_async(method: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(method) or inspect.iscoroutinefunction(getattr(method, "__call__", None))  # noqa: B004 - of an object, whether its call is async
