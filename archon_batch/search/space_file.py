"""Reads search spaces from files."""

from pathlib import Path

from pydantic import BaseModel

from archon_batch.archon import COMPONENT_TYPES, validate_data
from archon_batch.config.yaml_document import YamlDocument, load_document
from archon_batch.errors import ArchitectureError
from archon_batch.search.architecture_builder import ArchitectureBuilder
from archon_batch.search.space import AxisOptions, Roles, Space, SpaceLimits

#: Where a space given by name is searched.
SPACE_FOLDER = Path("jobs/searches")

_SECTIONS: dict[str, type[BaseModel]] = {"roles": Roles, "axes": AxisOptions, "limits": SpaceLimits}
#: The roles that each value of ``review`` needs.
_REVIEW_ROLES = {"critic": ("critic",), "ranker": ("ranker",), "both": ("critic", "ranker")}


def find_space(name: str, folder: Path = SPACE_FOLDER) -> Path:
    """The file with that path, or with that name in the folder.

    Raises:
        ArchitectureError: there is no such file.
    """
    for path in (Path(name), folder / name, folder / f"{name}.yaml"):
        if path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
    raise ArchitectureError(name, "", f"no such file; {folder} has {names or 'none'}")


def read_space(path: Path) -> tuple[Space, YamlDocument]:
    """The space in the file, and the document that it was read from.

    Raises:
        ArchitectureError: the space is invalid; ``file`` has the line.
    """
    document = load_document(path)
    with document.locate_errors(ArchitectureError):
        data = document.value
        if isinstance(data, dict):
            data = {"name": path.stem, **data}
            for section, model in _SECTIONS.items():
                # Validate each section by itself, so that errors suggest the nearest key.
                if section in data:
                    validate_data(model, data[section], section)
        space = validate_data(Space, data, "")
        _validate_roles(space)
        # Building an architecture finds defaults that are invalid for a component.
        for name in space.roles.generators:
            ArchitectureBuilder(space).single_model(name)
    return space, document


def _validate_roles(space: Space) -> None:
    roles, axes = space.roles, space.axes
    for key in space.defaults:
        if key == "type" or not any(key in kind.model_fields for kind in COMPONENT_TYPES.values()):
            raise ArchitectureError("", f"defaults.{key}", "no component has this field")
    if axes.mix is not None and set(axes.mix) != set(roles.generators):
        raise ArchitectureError(
            "", "axes.mix", "expected exactly the generators of roles.generators"
        )
    for count in axes.generators or ():
        if count > len(roles.generators):
            why = f"{count} is more than the {len(roles.generators)} models in roles.generators"
            raise ArchitectureError("", "axes.generators", why)
    wanted = {role for review in axes.review for role in _REVIEW_ROLES.get(review, ())}
    wanted |= {evaluation for evaluation in axes.evaluation if evaluation != "none"}
    wanted |= {"fusers"} if max(axes.fusions) else set()
    for role in sorted(wanted):
        if getattr(roles, role) is None:
            raise ArchitectureError(
                "", "roles", f"roles.{role} is missing, but axes.{_axis_needing(role)} uses it"
            )


def _axis_needing(role: str) -> str:
    if role == "fusers":
        return "fusions"
    return "review" if role in ("critic", "ranker") else "evaluation"
