"""Architecture files, and the components of installed packages."""

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
#: The entry-point group in which packages register components, each under its type.
COMPONENT_ENTRY_POINTS = "archon_batch.components"

_SUFFIXES = (".yaml", ".yml", ".json")
#: A component in a layer that is a mapping.
_MODELS_KEY_PATH = re.compile(r"^(layers\[\d+\])\.models(\[\d+\])")


@dataclass(frozen=True, slots=True)
class ArchitectureFile:
    """An architecture, and the document that it was read from."""

    architecture: Architecture
    document: YamlDocument
    #: Values that were converted differently from how they are written, with their key paths; only
    #: for configurations of the reference implementation.
    conversion_notes: tuple[ConversionNote, ...] = ()

    def location(self, key_path: str) -> str:
        """The file and, if known, the line of a key path: ``math.yaml:14``."""
        return self.document.location(key_path)

    def locate_errors(self) -> AbstractContextManager[None]:
        """Add file and line to errors that are raised in the body."""
        return self.document.locate_errors(ArchitectureError)


def read_architecture_file(
    name: str,
    folder: Path = ARCHITECTURE_FOLDER,
    component_types: Mapping[str, type[Component]] | None = None,
) -> Architecture:
    """The architecture alone: see ``load_architecture``."""
    return load_architecture(name, folder, component_types).architecture


def load_architecture(
    name: str,
    folder: Path = ARCHITECTURE_FOLDER,
    kinds: Mapping[str, type[Component]] | None = None,
) -> ArchitectureFile:
    """Read and validate an architecture, in our format or the paper's reference configuration.

    Args:
        name: ``jobs/architectures/math.yaml``, ``math.yaml`` or ``math``.
        folder: the folder of names without a path.
        kinds: component classes by type; None uses ours and those of installed packages.

    Raises:
        ArchitectureError: the file is missing or invalid; ``file`` has the line.
    """
    path = find_architecture(name, folder)
    document = load_document(path)
    kinds = component_types() if kinds is None else kinds
    notes: tuple[ConversionNote, ...] = ()
    reference = document.value if is_reference_config(document.value) else None
    document = document if reference is None else _with_native_key_paths(document)
    with document.locate_errors(ArchitectureError):
        if reference is not None:
            architecture, notes = read_reference_config(reference, kinds, path.stem)
        else:
            architecture = read_architecture(document.value, kinds, path.stem)
        validate_architecture(architecture)
    return ArchitectureFile(architecture, document, notes)


def find_architecture(name: str, folder: Path = ARCHITECTURE_FOLDER) -> Path:
    """The path of the architecture file.

    Raises:
        ArchitectureError: there is no such file; the message lists the available names.
    """
    path_or_name = Path(name)
    for path in (
        path_or_name,
        folder / path_or_name,
        *(folder / f"{name}{suffix}" for suffix in _SUFFIXES),
    ):
        try:
            if path.is_file():
                return path
        except OSError as error:
            why = f"cannot be read: {(error.strerror or str(error)).lower()}"
            raise ArchitectureError(name, "", why) from None
    if path_or_name.is_dir():
        raise ArchitectureError(str(path_or_name), "", "is a folder")
    if path_or_name.exists():
        raise ArchitectureError(name, "", "is not a regular file")
    names = ", ".join(sorted({p.stem for p in folder.glob("*") if p.suffix in _SUFFIXES}))
    raise ArchitectureError(
        name, "", f"no such file; {folder} has {names}" if names else "no such file"
    )


def component_types() -> Mapping[str, type[Component]]:
    """Component classes by type: ours and those of installed packages.

    Raises:
        ArchitectureError: a component cannot be imported, is incomplete, or has a name that is taken.
    """
    kinds = dict(COMPONENT_TYPES)
    for entry in importlib.metadata.entry_points(group=COMPONENT_ENTRY_POINTS):
        package = entry.dist.name if entry.dist else entry.value
        try:
            loaded = entry.load()
        except Exception as error:  # an import may raise any error
            why = f"the component {entry.name!r} cannot be imported: {error!r}"
            raise ArchitectureError(package, "", why) from error
        if not (isinstance(loaded, type) and issubclass(loaded, Component)):
            why = f"the entry point {entry.name!r} is no component: {entry.value}"
            raise ArchitectureError(package, "", why)
        if missing := ", ".join(sorted(loaded.__abstractmethods__)):
            why = f"the component {entry.name!r} has no {missing}: {entry.value}"
            raise ArchitectureError(package, "", why)
        if entry.name in kinds:
            why = f"the component {entry.name!r} exists already in {kinds[entry.name].__module__}"
            raise ArchitectureError(package, "", why)
        types = get_args(loaded.model_fields["type"].annotation)
        if types and entry.name not in types:
            why = f"the entry point {entry.name!r} has the type {types[0]!r}: {entry.value}"
            raise ArchitectureError(package, "", why)
        kinds[entry.name] = loaded
    return kinds


def _with_native_key_paths(document: YamlDocument) -> YamlDocument:
    """Add the key path of our format, ``layers[1][2]``, to that of ``layers[1].models[2]``."""
    lines = {_MODELS_KEY_PATH.sub(r"\1\2", path): line for path, line in document.lines.items()}
    return replace(document, lines={**lines, **document.lines})
