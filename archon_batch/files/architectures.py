"""Architectures as files, and the components that installed packages add to ours."""

import importlib.metadata
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from archon_batch.archon import KINDS, Architecture, Component, read_architecture, refuse_broken
from archon_batch.errors import ArchitectureError
from archon_batch.files.document import load

#: Where a name without a folder is looked for.
FOLDER = Path("jobs/architectures")
#: Where packages register components, each under its type.
GROUP = "archon_batch.components"

_SUFFIXES = (".yaml", ".yml", ".json")


def read_architecture_file(
    name: str, folder: Path = FOLDER, kinds: Mapping[str, type[Component]] | None = None
) -> Architecture:
    """The architecture of a path, or of a name in the folder; data can flow through it.

    Args:
        name: ``jobs/architectures/math.yaml``, ``math.yaml`` or ``math``.
        folder: where names are looked for.
        kinds: the components by their type; None is ours and those of installed packages.

    Raises:
        ArchitectureError: there is no such file, or something in it is wrong; ``file`` has the line.
    """
    path = find_architecture(name, folder)
    document = load(path)
    with document.blamed(ArchitectureError):
        architecture = read_architecture(
            document.value, component_kinds() if kinds is None else kinds, path.stem
        )
        refuse_broken(architecture)
    return architecture


def blaming(name: str, folder: Path = FOLDER) -> AbstractContextManager[None]:
    """Have what is found wrong with an architecture later told with its file and line."""
    return load(find_architecture(name, folder)).blamed(ArchitectureError)


def find_architecture(name: str, folder: Path = FOLDER) -> Path:
    """The file that ``name`` stands for.

    Raises:
        ArchitectureError: there is none; what is there instead is listed.
    """
    given = Path(name)
    for path in (given, folder / given, *(folder / f"{name}{suffix}" for suffix in _SUFFIXES)):
        if path.is_file():
            return path
    if given.is_dir():
        raise ArchitectureError(name, "", "is a folder")
    there = sorted({p.stem for p in folder.glob("*") if p.suffix in _SUFFIXES})
    raise ArchitectureError(
        name, "", f"no such file; in {folder} are {', '.join(there)}" if there else "no such file"
    )


def component_kinds() -> Mapping[str, type[Component]]:
    """Our components and those that installed packages register, by their type.

    Raises:
        ArchitectureError: one cannot be imported, is no component, or takes the name of another.
    """
    kinds = dict(KINDS)
    for entry in importlib.metadata.entry_points(group=GROUP):
        package = entry.dist.name if entry.dist else entry.value
        try:
            found = entry.load()
        except Exception as error:  # a package may do anything when it is imported
            why = f"the component {entry.name!r} cannot be imported: {error!r}"
            raise ArchitectureError(package, "", why) from error
        if not (isinstance(found, type) and issubclass(found, Component)):
            why = f"what it registers as {entry.name!r} is no component: {entry.value}"
            raise ArchitectureError(package, "", why)
        if entry.name in kinds:
            why = f"there is a component {entry.name!r} already: {kinds[entry.name].__module__}"
            raise ArchitectureError(package, "", why)
        kinds[entry.name] = found
    return kinds
