"""What an agent run comes to: no agent works here, so prompt and clock decide everything, and the same every time.

A run is PENDING for a third of its time and ACTIVE for the rest. Its end is written in its prompt: COMPLETE, or what a
marker says, the first one in the prompt, in any case of letters:

- `[fail]`: FAILED, and the result says why;
- `[pause]`: PAUSED, until it is resumed;
- `[cancel]`: CANCELLED.

A run that completes and has a repository opens one pull request there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from holdfast.servers.codegen.schemas import Repo

__all__ = ["Outcome", "Step", "Timeline", "pull_request", "status_at", "timeline"]

Outcome = Literal["COMPLETE", "FAILED", "PAUSED", "CANCELLED"]

_OUTCOMES: dict[str, Outcome] = {"fail": "FAILED", "pause": "PAUSED", "cancel": "CANCELLED"}
_MARKER = re.compile(r"\[(fail|pause|cancel)\]", re.IGNORECASE)

_PENDING_SHARE = 1 / 3
_TITLE = 80
"""Characters of a prompt that stand for it in titles."""


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the log.

    Attributes:
        at: when it is there to be read.
    """

    at: datetime
    message_type: str
    tool_name: str | None = None
    thought: str | None = None
    observation: dict[str, Any] | str | None = None
    tool_input: dict[str, Any] | None = None
    tool_output: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """What will become of a prompt."""

    active_at: datetime
    ends_at: datetime
    outcome: Outcome
    result: str | None
    summary: str
    steps: tuple[Step, ...]


def timeline(prompt: str, repo: Repo | None, now: datetime, seconds: float) -> Timeline:
    """What becomes of a prompt that a run is given now, to work on for so long."""
    active_at = now + timedelta(seconds=seconds * _PENDING_SHARE)
    ends_at = now + timedelta(seconds=seconds)
    marker = _MARKER.search(prompt)
    outcome = _OUTCOMES[marker[1].lower()] if marker else "COMPLETE"
    title = _title(prompt)
    where = repo.full_name if repo else "no repository"
    results = {
        "COMPLETE": f"Done: {title}",
        "FAILED": f"Failed, because the prompt has the marker {marker[0] if marker else ''}: {title}",
        "PAUSED": None,
        "CANCELLED": None,
    }
    half = active_at + (ends_at - active_at) / 2
    found = {"matches": len(prompt.split())}
    last = Step(ends_at, "FINAL_ANSWER" if outcome == "COMPLETE" else "ERROR", observation=results[outcome])
    steps = (
        Step(now, "USER_MESSAGE", observation=prompt),
        Step(active_at, "ACTION", "plan", f"I begin with: {title}", {"steps": ["look", "change", "check"]}),
        Step(
            half,
            "ACTION",
            "search",
            "I look for what this is about.",
            f"Looked in {where}.",
            {"query": title},
            found,
        ),
        *([last] if outcome in {"COMPLETE", "FAILED"} else []),
    )
    return Timeline(active_at, ends_at, outcome, results[outcome], f"{outcome.capitalize()}: {title}", steps)


def status_at(now: datetime, active_at: datetime, ends_at: datetime, outcome: str) -> str:
    """The status of a run at a time."""
    if now < active_at:
        return "PENDING"
    return "ACTIVE" if now < ends_at else outcome


def pull_request(run_id: int, prompt: str, repo: Repo, at: datetime) -> dict[str, Any]:
    """The pull request that a run opens, as JSON."""
    return {
        "id": 10_000 + run_id,
        "title": _title(prompt),
        "url": f"https://github.acme.example/{repo.full_name}/pull/{10_000 + run_id}",
        "created_at": at.isoformat(),
        "head_branch_name": f"codegen/run-{run_id}",
    }


def _title(prompt: str) -> str:
    line = " ".join(_MARKER.sub("", prompt).split()) or "(nothing but a marker)"
    return line if len(line) <= _TITLE else f"{line[: _TITLE - 1]}…"
