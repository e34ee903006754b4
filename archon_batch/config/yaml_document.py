"""The plain data of a YAML or JSON file, with the line of every value."""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from archon_batch.archon import validate_no_secrets
from archon_batch.errors import ArchitectureError, JobFileError, PoolFileError, combine_errors
from archon_batch.untrusted_text import TextFileError, read_text

#: The error class of each kind of file; the arguments are (file, key path, why).
FileErrorType = type[ArchitectureError] | type[JobFileError] | type[PoolFileError]

#: A float needs a point or an exponent: ``012`` is text, neither 12 nor YAML 1.1's 10.
_FLOAT_PATTERN = (
    r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,40}|\.[0-9]{1,40}|[0-9]{1,18}(?=[eE]))(?:[eE][-+]?[0-9]{1,4})?"
)

_MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 64
_ALIAS_ERROR = "anchors and aliases are not allowed; put text that begins with & or * in quotes"


@dataclass(frozen=True, slots=True)
class YamlDocument:
    path: Path
    #: Mappings with text keys, lists, text, numbers, booleans, None.
    value: object
    #: The line of every key path; the first line is 1.
    lines: Mapping[str, int]

    def line_of(self, key_path: str) -> int | None:
        """The line of a key path such as ``layers[2][0].top_k``, or of its nearest parent."""
        while key_path:
            # A layer with one component may be written without its list.
            for at in (key_path, key_path.replace("][0]", "]")):
                if at in self.lines:
                    return self.lines[at]
            key_path = key_path[: max(key_path.rfind("."), key_path.rfind("["), 0)]
        return None

    def location(self, key_path: str) -> str:
        """The file and, if known, the line of the key path: ``math.yaml:14``."""
        line = self.line_of(key_path)
        return str(self.path) if line is None else f"{self.path}:{line}"

    @contextmanager
    def locate_errors(self, error_type: FileErrorType) -> Iterator[None]:
        """Add file and line to errors that are raised in the body."""
        try:
            yield
        except ArchitectureError as error:
            located = [e for e in (error, *error.other_errors) if isinstance(e, ArchitectureError)]
            raise combine_errors(
                [error_type(self.location(one.path), one.path, one.why) for one in located],
                error.omitted_count,
            ) from None


def load_document(path: Path, error_type: FileErrorType = ArchitectureError) -> YamlDocument:
    """Read a configuration file.

    Numbers are decimal; dates, times and keys are text, since YAML 1.1 would convert ``012``,
    ``1:30`` and ``on:`` to other values. Aliases, tags and several documents are rejected, and so
    is a file that contains a provider's key.

    Raises:
        ArchitectureError: the file cannot be read or is invalid; or ``error_type``.
    """
    text = _read_text(path, error_type)
    if path.suffix == ".json":
        # JSON allows tabs between values; YAML does not.
        text = text.replace("\t", " ")
    lines: dict[str, int] = {}
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            value = None if node is None else _plain_value(node, "", lines)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        why = ", ".join(part for part in (error.context, error.problem) if part)
        if why.startswith(("while scanning an alias", "while scanning an anchor")):
            # An unquoted cron schedule such as "* 2 * * *" also raises this error.
            why = _ALIAS_ERROR
        raise error_type(at, "", why) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise error_type(
            f"{path}:{line}", "", f"U+{ord(text[error.position]):04X} is not allowed"
        ) from None
    except (ValueError, OverflowError):
        raise error_type(
            str(path), "", "not YAML: an escape or a directive is out of range"
        ) from None
    document = YamlDocument(path, value, lines)
    with document.locate_errors(error_type):
        validate_no_secrets(value, "")
    return document


def file_kind(path: Path) -> Literal["architecture", "job", "pool", "space"]:
    """The kind of the file, recognised by its keys.

    Raises:
        ArchitectureError: it cannot be read, or is none of them.
    """
    document = load_document(path)
    value = document.value
    keys = value if isinstance(value, dict) else {}
    if "layers" in keys:
        return "architecture"
    if "dataset" in keys:
        return "job"
    if "queues" in keys:
        return "pool"
    if "axes" in keys:
        return "space"
    why = (
        "it has no layers (an architecture), no dataset (a job), no queues (a pool), no axes (a "
        "search space)"
    )
    for key in keys:
        if meant := difflib.get_close_matches(key, ("layers", "dataset", "queues", "axes"), n=1):
            why = f"unknown key; did you mean {meant[0]!r}?"
            raise ArchitectureError(f"{path}:{document.lines[key]}", key, why)
    raise ArchitectureError(str(path), "", why)


class _Loader(yaml.SafeLoader):
    """YAML without aliases and tags; plain words are those of JSON, and yes, no, on, off."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem=_ALIAS_ERROR, problem_mark=event.start_mark)
        if getattr(event, "tag", None) is not None:
            why = "tags are not allowed; put text that begins with ! in quotes"
            raise yaml.MarkedYAMLError(problem=why, problem_mark=event.start_mark)
        if self._depth == _MAX_DEPTH:
            why = f"nested deeper than {_MAX_DEPTH}"
            raise yaml.MarkedYAMLError(problem=why, problem_mark=event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    # YAML 1.1 reads these words as booleans; reading them as text would be a silent error.
    ("bool", r"(?i:yes|no|true|false|on|off)", "yYnNtTfFoO"),
    # No valid number has more than 18 digits; a longer one stays text and is then rejected.
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,17})", "-+0123456789"),
    ("float", _FLOAT_PATTERN, "-+.0123456789"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), list(_first))


def _read_text(path: Path, error_type: FileErrorType) -> str:
    try:
        return read_text(path, _MAX_BYTES)
    except TextFileError as error:
        file = f"{path}:{error.line}" if error.line else str(path)
        raise error_type(file, "", error.why) from None


def _plain_value(node: yaml.Node, key_path: str, lines: dict[str, int]) -> object:
    """The plain data of a node; fills in ``lines``."""
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, key_path, lines)
    if isinstance(node, yaml.SequenceNode):
        values = []
        for index, inner in enumerate(node.value):
            at = f"{key_path}[{index}]"
            lines[at] = inner.start_mark.line + 1
            values.append(_plain_value(inner, at, lines))
        return values
    text = str(node.value)
    match node.tag:
        case "null":
            return None
        case "bool":
            return text.lower() in ("yes", "true", "on")
        case "int":
            return int(text)
        case "float" if math.isfinite(float(text)):
            return float(text)
        case "float":
            raise yaml.MarkedYAMLError(problem="too large a number", problem_mark=node.start_mark)
    return _join_surrogates(text, node)


def _mapping(node: yaml.MappingNode, key_path: str, lines: dict[str, int]) -> dict[str, object]:
    mapping: dict[str, object] = {}
    for key_node, inner in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key is text", problem_mark=key_node.start_mark)
        key = _join_surrogates(str(key_node.value), key_node)
        at = f"{key_path}.{key}" if key_path else key
        line = key_node.start_mark.line + 1
        if key in mapping:
            both = (
                f"on line {lines[at]}" if lines[at] == line else f"on lines {lines[at]} and {line}"
            )
            why = f"the key {key!r:.60} appears twice, {both}"
            raise yaml.MarkedYAMLError(problem=why, problem_mark=key_node.start_mark)
        lines[at] = line
        mapping[key] = _plain_value(inner, at, lines)
    return mapping


def _join_surrogates(text: str, node: yaml.Node) -> str:
    """The text with surrogate pairs joined, since JSON escapes characters as such pairs."""
    try:
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        joined = "\0"
    if "\0" in joined:
        why = "U+0000 and unpaired surrogates are not allowed"
        raise yaml.MarkedYAMLError(problem=why, problem_mark=node.start_mark)
    return joined
