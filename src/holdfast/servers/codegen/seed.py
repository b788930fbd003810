"""The one organization that there is: the same people, repositories and first runs in every new database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.servers.codegen.schemas import Organization, OrganizationSettings, Repo, SourceType, User

__all__ = ["FIRST_RUNS", "ME", "USERS", "FirstRun", "organization", "repos"]

ME = 1
"""The user to whom every token belongs."""

_NAMES = (
    "Ada Lindqvist",
    "Bram Okafor",
    "Chiara Novak",
    "Dmitri Sato",
    "Elif Hansen",
    "Farid Moreau",
    "Greta Tanaka",
    "Hugo Almeida",
    "Ines Kowalski",
    "Jonas Mbeki",
    "Keiko Brandt",
    "Luca Petrov",
    "Mara Svensson",
    "Nils Achterberg",
    "Oona Castillo",
    "Pavel Dubois",
    "Quinn Farah",
    "Rosa Lehtinen",
    "Samir Jensen",
    "Tilda Rossi",
    "Umar Vogel",
    "Vera Nakamura",
    "Wim Oliveira",
    "Xenia Baker",
    "Yusuf Lang",
)


def _user(number: int, name: str) -> User:
    username = name.lower().replace(" ", "-")
    return User(
        id=number,
        email=f"{username}@acme.example",
        github_user_id=str(40_000 + number),
        github_username=username,
        avatar_url=f"https://avatars.acme.example/{username}.png",
        full_name=name,
        role="ADMIN" if number == ME else "MANAGER" if number <= 4 else "MEMBER",
        is_admin=number == ME,
    )


USERS = {number: _user(number, name) for number, name in enumerate(_NAMES, ME)}
"""By id, from 1 on without gaps."""

_REPOS = (
    ("storefront", "What customers see", "TypeScript", "private", "COMPLETE"),
    ("ledger", "Books every payment once", "Python", "private", "COMPLETE"),
    ("search", "Finds products", "Rust", "private", "PENDING"),
    ("handbook", "How things are done here", None, "public", "COMPLETE"),
    ("old-storefront", "The storefront before the rewrite", "JavaScript", "private", "FAILED"),
)


def organization(org_id: int) -> Organization:
    """The organization."""
    return Organization(id=org_id, name="Acme", settings=OrganizationSettings())


def repos(org_id: int) -> dict[int, Repo]:
    """Its repositories, by id."""
    return {
        number: Repo(
            id=number,
            name=name,
            full_name=f"acme/{name}",
            description=description,
            github_id=str(70_000 + number),
            organization_id=org_id,
            visibility=visibility,
            archived=name.startswith("old-"),
            setup_status=setup_status,
            language=language,
        )
        for number, (name, description, language, visibility, setup_status) in enumerate(_REPOS, 1)
    }


@dataclass(frozen=True, slots=True)
class FirstRun:
    """An agent run that is there from the beginning, and has ended.

    Attributes:
        age: how long before the first start it was created.
    """

    user_id: int
    source_type: SourceType
    prompt: str
    repo_id: int | None
    age: timedelta

    def created_at(self, now: datetime) -> datetime:
        return now - self.age


FIRST_RUNS = (
    FirstRun(2, "GITHUB", "Find out why the checks of the last release failed", 1, timedelta(days=3)),
    FirstRun(3, "LINEAR", "[fail] Move the ledger to the new database", 2, timedelta(days=2)),
    FirstRun(4, "SLACK", "[cancel] Rename every component of the old storefront", 5, timedelta(days=1)),
    FirstRun(ME, "CHAT", "[pause] Plan the next step of the search", 3, timedelta(hours=1)),
)
"""One for each end that a run can come to."""
