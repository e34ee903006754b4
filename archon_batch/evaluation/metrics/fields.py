"""An answer in JSON, field by field."""

import importlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from archon_batch.archon import PatternError, json_values, number, plain, user_pattern
from archon_batch.evaluation.metric import Metric, Score, unread

#: Characters that are told of an object, or of what is wrong with it.
_LONGEST = 500
#: Fences that are looked into.
_FENCES = 10


class Fields(Metric):
    """The share of the reference's fields that the answer's JSON object has alike.

    Texts are compared as ``normalized`` does, numbers as numbers; of lists order counts. Fields
    that the reference does not have are no matter. With ``json:SCHEMA`` an object that breaks the
    schema is worth nothing, and without a reference one that keeps it is worth 1.
    """

    name: ClassVar[str] = "json"
    wants: ClassVar[str] = "an object with at least one field, or one written as JSON"

    def __init__(self, schema: Any = None) -> None:  # noqa: ANN401  (a validator has no types)
        self._schema = schema
        self.needs_reference = schema is None

    @classmethod
    def of(cls, argument: str | None = None) -> Metric:
        return cls() if argument is None else cls(_validator(argument))

    def prepared(self, reference: object) -> Mapping[str, Any]:
        if reference is None and not self.needs_reference:
            return {}
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
        try:
            broken = next(self._schema.iter_errors(found), None) if self._schema else None
        except PatternError as error:
            return unread(str(error))
        if broken:
            return Score(0.0, f"{broken.json_path}: {broken.message}"[:_LONGEST])
        if not reference:
            return Score(1.0, json.dumps(found, ensure_ascii=False)[:_LONGEST])
        alike = sum(name in found and _alike(found[name], of) for name, of in reference.items())
        told = json.dumps({name: found.get(name) for name in reference}, ensure_ascii=False)
        return Score(alike / len(reference), told)


def _validator(text: str) -> Any:  # noqa: ANN401
    """What checks objects by the JSON schema that the text is; it fetches nothing.

    Raises:
        ValueError: it is none.
    """
    # It takes a tenth of a second to import.
    jsonschema: Any = importlib.import_module("jsonschema")
    registry: Any = importlib.import_module("referencing").Registry()
    try:
        schema = json.loads(text)
        kind = jsonschema.validators.validator_for(schema)
        kind.check_schema(schema)
    except (ValueError, RecursionError, jsonschema.exceptions.SchemaError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(f"a JSON schema, or @FILE that holds one ({first})") from None
    bounded = {"pattern": _pattern(jsonschema), "patternProperties": _pattern_properties}
    return jsonschema.validators.extend(kind, bounded)(schema, registry=registry)


def _pattern(jsonschema: Any) -> Any:  # noqa: ANN401
    """A schema's patterns are its user's: their searches end in time."""

    def checked(validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Any]:  # noqa: ANN401
        if validator.is_type(value, "string") and user_pattern(pattern).first(value) is None:
            yield jsonschema.exceptions.ValidationError(f"{value!r} does not match {pattern!r}")

    return checked


def _pattern_properties(
    validator: Any,  # noqa: ANN401
    patterns: Mapping[str, Any],
    value: Any,  # noqa: ANN401
    _schema: Any,  # noqa: ANN401
) -> Iterator[Any]:
    for pattern, schema in patterns.items() if validator.is_type(value, "object") else ():
        for name, inner in value.items():
            if user_pattern(pattern).first(name) is not None:
                yield from validator.descend(inner, schema, path=name, schema_path=pattern)


def _object_in(answer: str) -> Mapping[str, Any] | None:
    """The object that the answer is, or the last one in a fence, or the only one there is."""
    first, last = answer.find("{"), answer.rfind("}")
    for text in (answer, *_fenced(answer), answer[first : last + 1]):
        if (found := _object(text)) is not None:
            return found
    # By its text: of two that differ neither is known to be meant.
    among = {text: found for text in json_values(answer) if (found := _object(text)) is not None}
    return next(iter(among.values())) if len(among) == 1 else None


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _fenced(answer: str) -> Iterator[str]:
    """What the answer's last fences hold, the last first."""
    parts = answer.split("```")[-2 * _FENCES - 1 :]
    for inside in reversed(parts[1::2] if len(parts) % 2 else parts[0::2]):
        yield inside.strip().removeprefix("json")


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
