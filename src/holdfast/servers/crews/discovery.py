"""Where crews come from that are not part of Holdfast.

By entry points, of packages that are installed::

    [project.entry-points."holdfast.crews"]
    weekly_report = "shop.reports:ReportCrew"

or by the environment variable `HOLDFAST_CREWS_MODULES`, of modules that can be imported, from the current folder too:
`shop.crews` for what is decorated in it with `holdfast.servers.crews.crew`, `shop.crews:greeter` for an object of it,
and `hello=shop.crews:greeter` for that under another name; more than one separated by commas.
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from importlib.metadata import entry_points
from operator import attrgetter
from pathlib import Path
from typing import Any

from holdfast.servers.crews.registry import DECORATED, CrewRegistrationError, Registry
from holdfast.servers.service import SettingsError

__all__ = ["GROUP", "discover"]

logger = logging.getLogger(__name__)

GROUP = "holdfast.crews"
"""Group of the entry points."""

VARIABLE = "HOLDFAST_CREWS_MODULES"


def discover(registry: Registry, modules: str) -> None:
    """Adds all crews that can be found.

    Args:
        registry: what is in it already keeps its name.
        modules: as in the environment variable. Whoever names a crew wants it, so one that cannot be had is an error;
            an entry point that is broken may be anybody's, so it is a warning.

    Raises:
        SettingsError: a module or crew that was named cannot be used.
    """
    for text in filter(None, map(str.strip, modules.split(","))):
        try:
            _add_named(registry, text)
        except (Exception, SystemExit) as error:
            raise SettingsError(f"{VARIABLE}: {text}: {_said(error)}") from error
    for one in DECORATED:
        try:
            registry.add(one.name, one.target, one.description)
        except CrewRegistrationError as error:
            raise SettingsError(f"a crew cannot be registered: {error}") from error
    for point in sorted(entry_points(group=GROUP), key=lambda found: (found.name, found.value)):
        try:
            registry.add(point.name, point.load())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - importing runs anybody's code
            whose = f" of {point.dist.name}" if point.dist is not None else ""
            logger.warning("the crew %r = %r%s cannot be used: %s", point.name, point.value, whose, _said(error))


def _add_named(registry: Registry, text: str) -> None:
    name, equals, place = text.rpartition("=")
    module_name, _, path = place.strip().partition(":")
    if equals and not (name.strip() and path):
        raise ValueError("write module, module:object or name=module:object")
    here = str(Path.cwd())
    # Behind all others: nothing in the current folder can stand in for an installed package.
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    module = import_module(module_name.strip())
    if path:
        target: Any = attrgetter(path.strip())(module)
        if not any(one.target is target for one in DECORATED) or equals:
            registry.add(name.strip() or path.strip().rpartition(".")[2], target)


def _said(error: BaseException) -> str:
    """What went wrong, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
