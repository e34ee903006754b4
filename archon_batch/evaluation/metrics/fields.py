"""Answers in JSON, compared field by field."""

import importlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from archon_batch.archon import (
    PatternError,
    compile_pattern,
    extract_number,
    find_json_values,
    normalize_text,
)
from archon_batch.evaluation.metric import Metric, unparsed_score
from archon_batch.scores import Score

#: Characters of an object or of a schema error that a score stores.
_MAX_SHOWN_CHARS = 500
#: Code fences that are searched, from the last.
_MAX_FENCES = 10


class JsonMetric(Metric):
    """The share of the reference's fields that the answer's JSON object has with equal values.

    Texts are compared like ``normalized`` does, numbers by value, lists in order. Other fields are
    ignored. With ``json:SCHEMA`` an object that violates the schema scores 0; without a reference a
    valid object scores 1.
    """

    name: ClassVar[str] = "json"
    expected_reference: ClassVar[str] = "an object with at least one field, or one written as JSON"

    def __init__(self, schema: Any = None) -> None:  # noqa: ANN401  (a validator has no types)
        self._schema = schema
        self.needs_reference = schema is None

    @classmethod
    def from_argument(cls, argument: str | None = None) -> Metric:
        return cls() if argument is None else cls(_validator(argument))

    def parse_reference(self, reference: object) -> Mapping[str, Any]:
        if reference is None and not self.needs_reference:
            return {}
        if isinstance(reference, str):
            try:
                reference = json.loads(reference)
            except (ValueError, RecursionError):
                raise ValueError(self.expected_reference) from None
        if not isinstance(reference, dict) or not reference:
            raise ValueError(self.expected_reference)
        return reference

    def score(self, answer: str, reference: Mapping[str, Any]) -> Score:
        value = _find_object(answer)
        if value is None:
            return unparsed_score("there is no JSON object in the answer")
        try:
            violation = next(self._schema.iter_errors(value), None) if self._schema else None
        except PatternError as error:
            return unparsed_score(str(error))
        if violation:
            return Score(0.0, f"{violation.json_path}: {violation.message}"[:_MAX_SHOWN_CHARS])
        if not reference:
            return Score(1.0, json.dumps(value, ensure_ascii=False)[:_MAX_SHOWN_CHARS])
        equal = sum(name in value and _equal(value[name], of) for name, of in reference.items())
        compared = json.dumps({name: value.get(name) for name in reference}, ensure_ascii=False)
        return Score(equal / len(reference), compared)


def _validator(text: str) -> Any:  # noqa: ANN401
    """A validator for the JSON schema in the text; it fetches nothing.

    Raises:
        ValueError: the text is no JSON schema.
    """
    # The import takes a tenth of a second.
    jsonschema: Any = importlib.import_module("jsonschema")
    registry: Any = importlib.import_module("referencing").Registry()
    try:
        schema = json.loads(text)
        kind = jsonschema.validators.validator_for(schema)
        kind.check_schema(schema)
    except (ValueError, RecursionError, jsonschema.exceptions.SchemaError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(f"a JSON schema, or @FILE that holds one ({first})") from None
    bounded = {
        "pattern": _timed_pattern_check(jsonschema),
        "patternProperties": _timed_pattern_properties_check,
    }
    return jsonschema.validators.extend(kind, bounded)(schema, registry=registry)


def _timed_pattern_check(jsonschema: Any) -> Any:  # noqa: ANN401
    """Checks ``pattern`` with a time limit, since the user wrote the pattern."""

    def checked(validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Any]:  # noqa: ANN401
        if (
            validator.is_type(value, "string")
            and compile_pattern(pattern).first_match(value) is None
        ):
            yield jsonschema.exceptions.ValidationError(f"{value!r} does not match {pattern!r}")

    return checked


def _timed_pattern_properties_check(
    validator: Any,  # noqa: ANN401
    patterns: Mapping[str, Any],
    value: Any,  # noqa: ANN401
    _schema: Any,  # noqa: ANN401
) -> Iterator[Any]:
    for pattern, schema in patterns.items() if validator.is_type(value, "object") else ():
        for name, inner in value.items():
            if compile_pattern(pattern).first_match(name) is not None:
                yield from validator.descend(inner, schema, path=name, schema_path=pattern)


def _find_object(answer: str) -> Mapping[str, Any] | None:
    """The answer as an object, else the last object in a code fence, else the only object."""
    first, last = answer.find("{"), answer.rfind("}")
    for text in (answer, *_fenced_blocks(answer), answer[first : last + 1]):
        if (value := _parse_object(text)) is not None:
            return value
    # Keyed by text: of two different objects neither is known to be the answer.
    objects = {
        text: value
        for text in find_json_values(answer)
        if (value := _parse_object(text)) is not None
    }
    return next(iter(objects.values())) if len(objects) == 1 else None


def _parse_object(text: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _fenced_blocks(answer: str) -> Iterator[str]:
    """The contents of the last code fences, last first."""
    parts = answer.split("```")[-2 * _MAX_FENCES - 1 :]
    for inside in reversed(parts[1::2] if len(parts) % 2 else parts[0::2]):
        yield inside.strip().removeprefix("json")


def _equal(value: Any, reference: Any) -> bool:  # noqa: ANN401
    match reference:
        case bool() | None:
            return value is reference
        case int() | float():
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                return False
            return extract_number(str(value)) == extract_number(str(reference))
        case str():
            return isinstance(value, str | int | float) and normalize_text(
                str(value)
            ) == normalize_text(reference)
        case list():
            return (
                isinstance(value, list)
                and len(value) == len(reference)
                and all(map(_equal, value, reference))
            )
        case _:
            return (
                isinstance(value, dict)
                and value.keys() == reference.keys()
                and all(_equal(value[name], reference[name]) for name in reference)
            )
