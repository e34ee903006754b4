"""Search spaces as files."""

from pathlib import Path

from pydantic import BaseModel

from archon_batch.archon import COMPONENT_TYPES, validate_data
from archon_batch.config.yaml_document import YamlDocument, load_document
from archon_batch.errors import ArchitectureError
from archon_batch.search.architecture_builder import ArchitectureBuilder
from archon_batch.search.space import AxisOptions, Roles, Space, SpaceLimits

#: Where a name without a folder is looked for.
SPACE_FOLDER = Path("jobs/searches")

_SECTIONS: dict[str, type[BaseModel]] = {"roles": Roles, "axes": AxisOptions, "limits": SpaceLimits}
#: The roles that have to be filled for a choice.
_REVIEW_ROLES = {"critic": ("critic",), "ranker": ("ranker",), "both": ("critic", "ranker")}


def find_space(name: str, folder: Path = SPACE_FOLDER) -> Path:
    """The file that ``name`` stands for: a path, or a name in the folder.

    Raises:
        ArchitectureError: there is none.
    """
    for path in (Path(name), folder / name, folder / f"{name}.yaml"):
        if path.is_file():
            return path
    there = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
    raise ArchitectureError(name, "", f"no such file; in {folder} are {there or 'none'}")


def read_space(path: Path) -> tuple[Space, YamlDocument]:
    """The space in a file, and the document that it was read from.

    Raises:
        ArchitectureError: something in it is wrong; ``file`` has the line.
    """
    document = load_document(path)
    with document.locate_errors(ArchitectureError):
        named = document.value
        if isinstance(named, dict):
            named = {"name": path.stem, **named}
            for part, kind in _SECTIONS.items():
                # Each by itself, for its errors to name the nearest key.
                if part in named:
                    validate_data(kind, named[part], part)
        space = validate_data(Space, named, "")
        _validate_roles(space)
        # Keys of the defaults that do not suit a component are found now.
        for model in space.roles.generators:
            ArchitectureBuilder(space).single_model(model)
    return space, document


def _validate_roles(space: Space) -> None:
    roles, axes = space.roles, space.axes
    for key in space.defaults:
        if key == "type" or not any(key in kind.model_fields for kind in COMPONENT_TYPES.values()):
            raise ArchitectureError("", f"defaults.{key}", "no component has such a key")
    if axes.mix is not None and set(axes.mix) != set(roles.generators):
        raise ArchitectureError("", "axes.mix", "it has to name each generator of the roles")
    for count in axes.generators or ():
        if count > len(roles.generators):
            why = f"{count} is more than the {len(roles.generators)} generators of the roles"
            raise ArchitectureError("", "axes.generators", why)
    wanted = {role for review in axes.review for role in _REVIEW_ROLES.get(review, ())}
    wanted |= {evaluation for evaluation in axes.evaluation if evaluation != "none"}
    wanted |= {"fusers"} if max(axes.fusions) else set()
    for role in sorted(wanted):
        if getattr(roles, role) is None:
            raise ArchitectureError(
                "", "roles", f"nobody is {role}, and the axes have a use for it"
            )
