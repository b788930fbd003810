"""What there is to say about one port, as a page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from holdfast.servers.pages.assets import PREFIX
from holdfast.servers.pages.markup import document, h

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from holdfast.servers.pages.about import About, Endpoint, Health

__all__ = ["render"]


def render(about: About) -> str:
    """The page, complete without any script; its script only keeps the health up to date."""
    title = f"{about.service} · Holdfast"
    return document(
        h(
            "html",
            {"lang": "en"},
            h(
                "head",
                {},
                h("meta", {"charset": "utf-8"}),
                h("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
                h("title", {}, title),
                h("link", {"rel": "icon", "href": f"{PREFIX}/icon.svg", "type": "image/svg+xml"}),
                h("link", {"rel": "stylesheet", "href": f"{PREFIX}/style.css"}),
                h("script", {"type": "module", "src": f"{PREFIX}/about.js"}),
            ),
            h(
                "body",
                {},
                h("a", {"class": "skip", "href": "#main"}, "Skip to content"),
                h("header", {"class": "top about"}, _brand(about)),
                h(
                    "main",
                    {"id": "main", "class": "about"},
                    h("h1", {}, about.service),
                    _page(about),
                    _health(about.health),
                    _neighbours(about),
                    _faults(about),
                    _endpoints(about),
                ),
            ),
        )
    )


def _brand(about: About) -> Element:
    return h("p", {"class": "brand"}, "Holdfast ", h("span", {}, about.version))


def _page(about: About) -> Element | None:
    if about.page is None:
        return None
    return h("p", {}, h("a", {"class": "button primary", "href": about.page}, "Open the live page"))


def _health(health: Health) -> Element:
    look = "good" if health.ok else "bad"
    details = [h("div", {}, h("dt", {}, _words(name)), h("dd", {}, _text(it))) for name, it in health.details.items()]
    return h(
        "section",
        {"aria-labelledby": "health", "id": "health-section"},
        h("h2", {"id": "health"}, "Health"),
        h("p", {"role": "status", "class": f"state {look}", "id": "health-status"}, health.status.capitalize()),
        h("dl", {"class": "facts", "id": "health-details"}, *details),
    )


def _endpoints(about: About) -> Element:
    by_name: dict[str, list[Endpoint]] = {}
    for endpoint in about.endpoints:
        by_name.setdefault(endpoint.group, []).append(endpoint)
    groups = [part for name, endpoints in by_name.items() for part in _group(name, endpoints)]
    if not groups:
        groups = [h("p", {}, "This server does not describe its endpoints.")]
    links = None
    if about.openapi is not None:
        links = h(
            "p",
            {"class": "soft"},
            "The same for programs: ",
            h("a", {"href": about.openapi}, "OpenAPI document"),
            ". To try them out: ",
            h("a", {"href": "/docs"}, "Swagger UI"),
            ", which loads its scripts from the internet.",
        )
    return h("section", {"aria-labelledby": "endpoints"}, h("h2", {"id": "endpoints"}, "Endpoints"), *groups, links)


def _group(name: str, endpoints: Sequence[Endpoint]) -> list[Element]:
    rows = [
        h(
            "li",
            {},
            h("span", {"class": f"method {one.method.lower()}"}, one.method),
            " ",
            h("code", {}, h("a", {"href": one.path}, one.path) if one.opens else one.path),
            " ",
            h("span", {"class": "soft"}, one.summary),
        )
        for one in endpoints
    ]
    heading = [h("h3", {}, _words(name))] if name else []
    return [*heading, h("ul", {"class": "endpoints"}, *rows)]


def _faults(about: About) -> Element:
    if about.faults is None:
        said = h("p", {}, "Off. Start the servers with ", h("code", {}, "holdfast serve --faults"), " to switch it on.")
    else:
        said = h(
            "p",
            {},
            "On: this port fails when it is told to. ",
            h("a", {"href": about.faults}, "Rules in force"),
            " · ",
            h("a", {"href": f"{about.faults}/stats"}, "How often they struck"),
        )
    heading = h("h2", {"id": "faults"}, "Failure injection")
    return h("section", {"aria-labelledby": "faults"}, heading, said)


def _neighbours(about: About) -> Element | None:
    if not about.neighbours:
        return None
    links = [
        h("li", {}, h("a", {"href": one.url}, one.name), " ", h("span", {"class": "soft"}, one.url))
        for one in about.neighbours
    ]
    return h(
        "nav",
        {"aria-labelledby": "neighbours", "class": "card"},
        h("h2", {"id": "neighbours"}, "Other ports of this process"),
        h("ul", {}, *links),
    )


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, dict):
        return ", ".join(f"{_words(str(name))}: {_text(inner)}" for name, inner in value.items()) or "none"
    return json.dumps(value, ensure_ascii=False)
