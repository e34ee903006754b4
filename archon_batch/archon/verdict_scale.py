"""Verdicts of a judge: one tag of a scale, in double brackets, at the end of the reply."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from archon_batch.archon.answer_extraction import is_negated
from archon_batch.archon.requests import ReplyParseError

ScaleName = Literal["rating", "grade", "comparison", "preference"]

#: The tags of each scale with their values. A positive value prefers A to B. ``comparison`` is from
#: Arena-Hard (Li et al., arXiv 2406.11939), ``rating`` from MT-Bench (Zheng et al., arXiv 2306.05685),
#: ``grade`` from MixEval (Ni et al., arXiv 2406.06565).
SCALES: Mapping[ScaleName, Mapping[str, float]] = MappingProxyType({
    "rating": {str(n): float(n) for n in range(1, 11)},
    "grade": {f"{n / 10}": n / 10 for n in range(11)},
    "comparison": {"A>>B": 2.0, "A>B": 1.0, "A=B": 0.0, "B>A": -1.0, "B>>A": -2.0},
    "preference": {"A": 1.0, "B": -1.0},
})  # fmt: skip

_TAG = re.compile(r"\[\[([^\[\]\n]{1,40})\]\]")


def parse_tag(text: str, scale: ScaleName) -> str:
    """The tag that the text ends with.

    Raises:
        ReplyParseError: the last line does not end with exactly one tag of the scale, or the text
            has another tag of the scale, which a candidate may have written.
    """
    known = SCALES[scale]
    lines = [line for line in text.splitlines() if re.search(r"\w", line)]
    last = lines[-1] if lines else ""
    found = list(_TAG.finditer(last))
    tag = _normalize_tag(found[0]) if found else ""
    after = last[found[0].end() :] if found else ""
    if len(found) != 1 or tag not in known or re.search(r"\w", after):
        raise ReplyParseError(f"it must end with a line of one tag, {_describe_tags(scale)}")
    if is_negated(last[: found[0].start()]):
        raise ReplyParseError("its last line says what the verdict is not")
    others = {_normalize_tag(match) for match in _TAG.finditer(text)} & known.keys() - {tag}
    if others:
        raise ReplyParseError("it names more than one verdict; name yours alone, at the end")
    return tag


def contains_tag(text: str, scale: ScaleName) -> bool:
    """Whether the text has a tag of the scale anywhere."""
    return any(_normalize_tag(match) in SCALES[scale] for match in _TAG.finditer(text))


def _normalize_tag(found: re.Match[str]) -> str:
    return "".join(found.group(1).split())


def _describe_tags(scale: ScaleName) -> str:
    tags = [f"[[{tag}]]" for tag in SCALES[scale]]
    return f"{tags[0]} to {tags[-1]}" if scale in ("rating", "grade") else " or ".join(tags)
