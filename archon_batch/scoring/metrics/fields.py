"""An answer in JSON, field by field."""

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from archon_batch.archon import number, plain
from archon_batch.scoring.score import Metric, Score, unread

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


class Fields(Metric):
    """The share of the reference's fields that the answer's JSON object has alike.

    Texts are compared as ``normalized`` does, numbers as numbers; of lists order counts. Fields
    that the reference does not have are no matter.
    """

    name: ClassVar[str] = "json"
    wants: ClassVar[str] = "an object with at least one field, or one written as JSON"

    def prepared(self, reference: object) -> Mapping[str, Any]:
        if isinstance(reference, str):
            try:
                reference = json.loads(reference)
            except (ValueError, RecursionError):
                raise ValueError(self.wants) from None
        if not isinstance(reference, dict) or not reference:
            raise ValueError(self.wants)
        return reference

    def score(self, answer: str, reference: Mapping[str, Any]) -> Score:
        found = _object_in(answer)
        if found is None:
            return unread("there is no JSON object in the answer")
        alike = sum(name in found and _alike(found[name], of) for name, of in reference.items())
        told = json.dumps({name: found.get(name) for name in reference}, ensure_ascii=False)
        return Score(alike / len(reference), told)


def _object_in(answer: str) -> Mapping[str, Any] | None:
    """The object that the answer is, or the last one in a fence, or from first brace to last."""
    first, last = answer.find("{"), answer.rfind("}")
    for text in (answer, *reversed(_FENCE.findall(answer)), answer[first : last + 1]):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def _alike(found: Any, reference: Any) -> bool:  # noqa: ANN401
    match reference:
        case bool() | None:
            return found is reference
        case int() | float():
            if isinstance(found, bool) or not isinstance(found, int | float | str):
                return False
            return number(str(found)) == number(str(reference))
        case str():
            return isinstance(found, str | int | float) and plain(str(found)) == plain(reference)
        case list():
            return (
                isinstance(found, list)
                and len(found) == len(reference)
                and all(map(_alike, found, reference))
            )
        case _:
            return (
                isinstance(found, dict)
                and found.keys() == reference.keys()
                and all(_alike(found[name], reference[name]) for name in reference)
            )
