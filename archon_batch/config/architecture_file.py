"""Architectures as files, and the components that installed packages add to ours."""

import importlib.metadata
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from archon_batch.archon import (
    COMPONENT_TYPES,
    Architecture,
    Component,
    ConversionNote,
    is_reference_config,
    read_architecture,
    read_reference_config,
    validate_architecture,
)
from archon_batch.config.yaml_document import YamlDocument, load_document
from archon_batch.errors import ArchitectureError

#: Where a name without a folder is looked for.
ARCHITECTURE_FOLDER = Path("jobs/architectures")
#: Where packages register components, each under its type.
COMPONENT_ENTRY_POINTS = "archon_batch.components"

_SUFFIXES = (".yaml", ".yml", ".json")
#: A component in a layer that is a mapping.
_MODELS_KEY_PATH = re.compile(r"^(layers\[\d+\])\.models(\[\d+\])")


@dataclass(frozen=True, slots=True)
class ArchitectureFile:
    """An architecture, and the document that it was read from."""

    architecture: Architecture
    document: YamlDocument
    #: What is taken otherwise than it is written, with its place: of configurations of the
    #: reference implementation only.
    conversion_notes: tuple[ConversionNote, ...] = ()

    def location(self, key_path: str) -> str:
        """The file, and the line of a place if it is known: ``math.yaml:14``."""
        return self.document.location(key_path)

    def locate_errors(self) -> AbstractContextManager[None]:
        """Have what is found wrong with the architecture later told with its file and line."""
        return self.document.locate_errors(ArchitectureError)


def read_architecture_file(
    name: str,
    folder: Path = ARCHITECTURE_FOLDER,
    component_types: Mapping[str, type[Component]] | None = None,
) -> Architecture:
    """The architecture of a path, or of a name in the folder: see ``load_architecture``."""
    return load_architecture(name, folder, component_types).architecture


def load_architecture(
    name: str,
    folder: Path = ARCHITECTURE_FOLDER,
    kinds: Mapping[str, type[Component]] | None = None,
) -> ArchitectureFile:
    """The architecture of a path, or of a name in the folder; data can flow through it.

    It may be written as ours are, or as those of the paper's reference implementation.

    Args:
        name: ``jobs/architectures/math.yaml``, ``math.yaml`` or ``math``.
        folder: where names are looked for.
        kinds: the components by their type; None is ours and those of installed packages.

    Raises:
        ArchitectureError: there is no such file, or something in it is wrong; ``file`` has the line.
    """
    path = find_architecture(name, folder)
    document = load_document(path)
    kinds = component_types() if kinds is None else kinds
    told: tuple[ConversionNote, ...] = ()
    theirs = document.value if is_reference_config(document.value) else None
    document = document if theirs is None else _with_native_key_paths(document)
    with document.locate_errors(ArchitectureError):
        if theirs is not None:
            architecture, told = read_reference_config(theirs, kinds, path.stem)
        else:
            architecture = read_architecture(document.value, kinds, path.stem)
        validate_architecture(architecture)
    return ArchitectureFile(architecture, document, told)


def find_architecture(name: str, folder: Path = ARCHITECTURE_FOLDER) -> Path:
    """The file that ``name`` stands for.

    Raises:
        ArchitectureError: there is none; what is there instead is listed.
    """
    given = Path(name)
    for path in (given, folder / given, *(folder / f"{name}{suffix}" for suffix in _SUFFIXES)):
        try:
            if path.is_file():
                return path
        except OSError as error:
            why = f"cannot be read: {(error.strerror or str(error)).lower()}"
            raise ArchitectureError(name, "", why) from None
    if given.is_dir():
        raise ArchitectureError(str(given), "", "is a folder")
    if given.exists():
        raise ArchitectureError(name, "", "is not a regular file")
    there = sorted({p.stem for p in folder.glob("*") if p.suffix in _SUFFIXES})
    raise ArchitectureError(
        name, "", f"no such file; in {folder} are {', '.join(there)}" if there else "no such file"
    )


def component_types() -> Mapping[str, type[Component]]:
    """Our components and those that installed packages register, by their type.

    Raises:
        ArchitectureError: one cannot be imported, is no whole component, or takes the name of another.
    """
    kinds = dict(COMPONENT_TYPES)
    for entry in importlib.metadata.entry_points(group=COMPONENT_ENTRY_POINTS):
        package = entry.dist.name if entry.dist else entry.value
        try:
            found = entry.load()
        except Exception as error:  # a package may do anything when it is imported
            why = f"the component {entry.name!r} cannot be imported: {error!r}"
            raise ArchitectureError(package, "", why) from error
        if not (isinstance(found, type) and issubclass(found, Component)):
            why = f"what it registers as {entry.name!r} is no component: {entry.value}"
            raise ArchitectureError(package, "", why)
        if lacking := ", ".join(sorted(found.__abstractmethods__)):
            why = f"the component {entry.name!r} has no {lacking}: {entry.value}"
            raise ArchitectureError(package, "", why)
        if entry.name in kinds:
            why = f"there is a component {entry.name!r} already: {kinds[entry.name].__module__}"
            raise ArchitectureError(package, "", why)
        types = get_args(found.model_fields["type"].annotation)
        if types and entry.name not in types:
            why = f"what it registers as {entry.name!r} has the type {types[0]!r}: {entry.value}"
            raise ArchitectureError(package, "", why)
        kinds[entry.name] = found
    return kinds


def _with_native_key_paths(document: YamlDocument) -> YamlDocument:
    """With the lines of ``layers[1].models[2]`` as those of ``layers[1][2]``, where it is read to."""
    lines = {_MODELS_KEY_PATH.sub(r"\1\2", place): line for place, line in document.lines.items()}
    return replace(document, lines={**lines, **document.lines})
