"""HTML as a tree: text and attributes are escaped because there is no other way to put them in."""

from __future__ import annotations

from xml.etree.ElementTree import Element, tostring

__all__ = ["Node", "document", "h"]

Node = Element | str


def h(tag: str, attributes: dict[str, str] | None = None, *children: Node | None) -> Element:
    """An element with its attributes and what is in it; None is nothing."""
    element = Element(tag, attributes or {})
    last: Element | None = None
    for child in children:
        if isinstance(child, str):
            if last is None:
                element.text = (element.text or "") + child
            else:
                last.tail = (last.tail or "") + child
        elif child is not None:
            element.append(child)
            last = child
    return element


def document(root: Element) -> str:
    """The whole file."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html")
