from pathlib import Path

import pytest

from archon_batch.config import file_kind
from archon_batch.errors import ArchitectureError
from archon_batch.search.space_file import find_space, read_space
from tests.test_repository import ROOT

SPACE = """\
name: small
roles:
  generators: [scripted/plausible, scripted/rough]
axes:
  generators: [1, 2]
  fusions: 0
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("  fusions: 0", "  fusion: 0", "6: axes.fusion: unknown key; did you mean 'fusions'?"),
        ("  fusions: 0", "", "2: roles: roles.fusers is missing, but axes.fusions uses it"),
        ("[1, 2]", "[1, 3]", "5: axes.generators: 3 is more than the 2 models in roles.generators"),
        ("[1, 2]", "[1, 1]", "5: axes.generators: expected each value once, found a list"),
        ("[1, 2]", "[]", "5: axes.generators: expected at least one value, found a list"),
        ("  generators: [1, 2]\n", "", "4: axes: expected generators (with samples), or mix"),
        ("  fusions: 0", "  fusions: 0\n  review: both", "2: roles: roles.critic is missing"),
        ("  fusions: 0", "  fusions: 0\n  evaluation: voter", "2: roles: roles.voter is missing"),
        ("roles:", "defaults: {tokens: 3}\nroles:", "2: defaults.tokens: no component has"),
        ("roles:", "defaults: {max_tokens: x}\nroles:", "max_tokens: expected a valid integer"),
        ("  generators: [1, 2]", "  mix: {scripted/rough: 1}", "5: axes.mix: expected exactly"),
    ],
)
def test_an_invalid_space_is_rejected_with_its_line(
    tmp_path: Path, old: str, new: str, why: str
) -> None:
    path = written(tmp_path, SPACE.replace(old, new))

    with pytest.raises(ArchitectureError) as error:
        read_space(path)

    assert why in str(error.value)


def test_a_space_is_found_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, SPACE)

    assert file_kind(path) == "space"
    assert find_space("space", tmp_path) == path
    assert read_space(path)[0].axes.generators == (1, 2)
    with pytest.raises(ArchitectureError, match=r"no such file; .* has space"):
        find_space("other", tmp_path)


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "searches").glob("*.yaml")), ids=str)
def test_the_shipped_spaces_are_valid(path: Path) -> None:
    assert read_space(path)[0].name == path.stem
