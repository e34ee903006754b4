"""Adapts an SVG drawing to the page: no inline styles, and the colours of the page."""

import re
from xml.etree import ElementTree as ET

from archon_batch.untrusted_text import escape_control

#: Placeholders for the colours of the page, which has a light and a dark theme.
INK, MUTED, LINE = "#010101", "#020202", "#030303"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005", "#0a0006")
_PAGE = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"} | {
    colour: f"var(--s{number})" for number, colour in enumerate(SERIES, 1)
}

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
#: Style properties to keep as attributes.
_ATTRIBUTE_STYLES = {
    "fill", "stroke", "stroke-width", "stroke-opacity", "stroke-linecap", "text-anchor", "font-size",
}  # fmt: skip


def apply_theme(svg: str, title: str) -> str:
    """The drawing for use inside HTML, in the colours of the page.

    Styles become attributes, since the content security policy forbids inline styles. Unreferenced
    ids are removed.
    """
    root = ET.fromstring(svg)  # noqa: S314  (matplotlib has just written it)
    referenced = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag not in {_SVG + name for name in ("g", "defs", "path", "use", "text")}:
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if element.get("id") not in referenced:
            element.attrib.pop("id", None)
        if _LINK in element.attrib:
            element.set("href", element.attrib.pop(_LINK))
        style = element.attrib.pop("style", "")
        for name, _, value in (part.partition(":") for part in style.split(";")):
            if name.strip() in _ATTRIBUTE_STYLES:
                element.set(name.strip(), _PAGE.get(value.strip(), value.strip()))
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update(
        {"viewBox": box, "class": "chart", "role": "img", "aria-label": escape_control(title)}
    )
    return ET.tostring(root, encoding="unicode")
