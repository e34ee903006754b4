"""A drawing as a part of the page: no style of its own, and the page's colours."""

import re
from xml.etree import ElementTree as ET

from archon_batch.untrusted_text import escape_control

#: Colours that stand for those of the page, which has two sets of them, light and dark.
INK, MUTED, LINE = "#010101", "#020202", "#030303"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005", "#0a0006")
_PAGE = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"} | {
    colour: f"var(--s{number})" for number, colour in enumerate(SERIES, 1)
}

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
#: What of a style is the drawing's, and not the page's.
_ATTRIBUTE_STYLES = {
    "fill", "stroke", "stroke-width", "stroke-opacity", "stroke-linecap", "text-anchor", "font-size",
}  # fmt: skip


def apply_theme(svg: str, title: str) -> str:
    """The drawing to stand in HTML, in the page's colours and under its policy.

    Styles become attributes, since a strict policy forbids them; ids that nothing points at go.
    """
    root = ET.fromstring(svg)  # noqa: S314  (matplotlib has just written it)
    pointed = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag not in {_SVG + name for name in ("g", "defs", "path", "use", "text")}:
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if element.get("id") not in pointed:
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
