"""HTML as elements. No text of a stranger is ever pasted into markup: the serialiser escapes all of it."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, tostring

from filterkit.untrusted import legible

Child = Element | str | None
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Content security policy of a page: its own style and nothing else. No script, image, font, frame or request."""


def el(tag: str, *children: Child | Iterable[Child], **attributes: str | float | None) -> Element:
    """An element. Of an attribute's name a trailing `_` goes and other `_` become `-`; one that is None is left out.

    Text loses what no person can read (control characters, bidi marks, lone surrogates). Children that are None are
    left out.
    """
    element = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            element.set(name.rstrip("_").replace("_", "-"), legible(str(value)))
    for child in children:
        append(element, child)
    return element


def append(element: Element, child: Child | Iterable[Child]) -> None:
    """Put `child` at the end of `element`."""
    if child is None:
        return
    if isinstance(child, Element):
        element.append(child)
    elif isinstance(child, str):
        if len(element):
            element[-1].tail = (element[-1].tail or "") + legible(child)
        else:
            element.text = (element.text or "") + legible(child)
    else:
        for one in child:
            append(element, one)


def clip(text: str, most: int) -> str:
    """`text` as people read it, in at most `most` characters; what was cut off is told by "…"."""
    readable = legible(text[: 4 * most])
    whole = len(text) <= 4 * most and len(readable) <= most
    return readable if whole else readable[: most - 1].rstrip() + "…"


def page(title: str, style: str, *body: Child) -> bytes:
    """A whole HTML file, UTF-8, that loads nothing. `style` is our own CSS and is not escaped."""
    root = el("html", lang="en")
    head = SubElement(root, "head")
    append(
        head,
        [
            el("meta", charset="utf-8"),
            el("meta", http_equiv="Content-Security-Policy", content=POLICY),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("meta", name="color-scheme", content="light dark"),
            el("meta", name="referrer", content="no-referrer"),
            el("meta", name="robots", content="noindex"),
            el("title", title),
        ],
    )
    sheet = SubElement(head, "style")
    sheet.text = style
    root.append(el("body", *body))
    return b"<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html").encode("utf-8") + b"\n"
