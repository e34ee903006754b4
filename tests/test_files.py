import json
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archon_batch.archon import COMPONENT_TYPES, read_architecture
from archon_batch.config import (
    JobFile,
    PoolFile,
    architecture_yaml,
    component_types,
    file_kind,
    find_architecture,
    load_architecture,
    load_document,
    read_architecture_file,
    read_job_file,
    read_pool_file,
)
from archon_batch.errors import ArchitectureError, InputError, JobFileError, PoolFileError
from tests.builders import architectures

TODAY = date(2026, 1, 2)

MATH = """\
# The paper's order.
models:
  small:
    model: openai/gpt-4o-mini
    price: {input: 0.15, output: 0.60}
layers:
  - - {type: generator, model: small, samples: 5}
  - - type: ranker
      model: small
      top_k: 3
  - type: fuser
    model: small
"""


@pytest.fixture
def file(tmp_path: Path):
    """Writes a file and returns its path."""

    def write(content: bytes | str, name: str = "math.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def value(path: Path) -> object:
    return load_document(path).value


def why(path: Path, read=load_document) -> str:
    """What is wrong with the file, without its folder."""
    with pytest.raises(InputError) as caught:
        read(path)
    return str(caught.value).replace(f"{path.parent}/", "")


# Documents


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("a: {b: [1, x], c: }", {"a": {"b": [1, "x"], "c": None}}),
        ("a: 012", {"a": "012"}),
        ("a: 1:30", {"a": "1:30"}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: 0x1F", {"a": "0x1F"}),
        ("a: 2026-01-02", {"a": "2026-01-02"}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: .5", {"a": 0.5}),
        ("a: -1.5", {"a": -1.5}),
        ("a: +7", {"a": 7}),
        ("a: .inf", {"a": ".inf"}),
        ("a: " + "9" * 5000, {"a": "9" * 5000}),
        ("a: no", {"a": False}),
        ("a: 'no'", {"a": "no"}),
        ("a: On", {"a": True}),
        ("on: 1", {"on": 1}),
        ("1: 1", {"1": 1}),
        ("a: ~", {"a": None}),
        ("a: =", {"a": "="}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("\ufeffa: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
    ],
)
def test_a_document_is_plain_data_without_the_surprises_of_yaml(file, text, expected):
    assert value(file(text)) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x 1", ("math.yaml:1:4: anchors and aliases are not allowed; put text that begins "
         "with & or * in quotes")),
        ("a: 1\nb: *a", ("math.yaml:2:4: anchors and aliases are not allowed; put text that begins "
         "with & or * in quotes")),
        ("when: * 2 * * *", ("math.yaml:1:8: anchors and aliases are not allowed; put text that "
         "begins with & or * in quotes")),
        ("a: !!python/object:os.system x", ("math.yaml:1:4: tags are not allowed; put text that "
         "begins with ! in quotes")),
        ("a: !!str 1", "math.yaml:1:4: tags are not allowed; put text that begins with ! in quotes"),
        ("a: 1\n---\nb: 2", ("math.yaml:2:1: expected a single document in the stream, but found "
         "another document")),
        ("a: 1\nb: 2\n\na: 3", "math.yaml:4:1: the key 'a' appears twice, on lines 1 and 4"),
        ("{a: 1, a: 2}", "math.yaml:1:8: the key 'a' appears twice, on line 1"),
        ("{[a]: 1}", "math.yaml:1:2: a key is text"),
        ("a:\n\t- 1", ("math.yaml:2:1: while scanning for the next token, found character '\\t' "
         "that cannot start any token")),
        ("a: [1", ("math.yaml:1:6: while parsing a flow sequence, expected ',' or ']', but got "
         "'<stream end>'")),
        ("a: x: 1", "math.yaml:1:5: mapping values are not allowed here"),
        ("[" * 65 + "]" * 65, "math.yaml:1:65: nested deeper than 64"),
        ("- " * 3000 + "a", "math.yaml:1:129: nested deeper than 64"),
        ("a: 1e999", "math.yaml:1:4: too large a number"),
        ("a: \x07", "math.yaml:1: U+0007 is not allowed"),
        ("a:\n- '\x00'", "math.yaml:2: has the byte 0x00; if it is UTF-16, save it as UTF-8"),
        ('a: "\\0"', "math.yaml:1:4: U+0000 and unpaired surrogates are not allowed"),
        ('a: "\\ud800"', "math.yaml:1:4: U+0000 and unpaired surrogates are not allowed"),
        ('a: "\\UFFFFFFFF"', "math.yaml: not YAML: an escape or a directive is out of range"),
        (b"a: 1\nb: \xff", "math.yaml:2: not UTF-8 at byte 9 (0xff); save it as UTF-8"),
        ("a: 1".encode("utf-16"), "math.yaml:1: not UTF-8 at byte 1 (0xff): it is UTF-16; save it as UTF-8"),
        (" " * (1024 * 1024 + 1), "math.yaml: larger than 1 MiB"),
        ("a: {api_key: x}", ("math.yaml:1: a.api_key: keys do not belong in files; set the "
         "provider's variable, such as OPENAI_API_KEY, in the environment or in .env")),
    ],
    ids=count(),
)  # fmt: skip
def test_a_document_that_is_refused_names_the_line(file, text, reason):
    assert why(file(text)) == reason


def test_a_file_that_is_not_there_or_no_file_is_said_to_be_so(tmp_path):
    assert why(tmp_path / "none.yaml") == "none.yaml: no such file"
    assert why(tmp_path) == f"{tmp_path.name}: cannot be read: is a directory"


def test_json_is_read_as_it_is(file):
    data = {"a\t😀": [1, -2.5e-3, True, None, "x/\ud83d\ude00"], "b": {}}
    text = json.dumps(data, indent="\t").replace("/", "\\/")

    assert value(file(text, "a.json")) == {"a\t😀": [1, -0.0025, True, None, "x/😀"], "b": {}}


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("models", 2),
        ("models.small.price.output", 5),
        ("models.small.rpm", 3),
        ("layers", 6),
        ("layers[0][0].samples", 7),
        ("layers[1][0]", 8),
        ("layers[1][0].top_k", 10),
        ("layers[2][0].model", 12),
        ("layers[2][0].samples", 11),
        ("layers[7]", 6),
        ("name", None),
        ("", None),
    ],
)
def test_a_place_has_a_line_or_that_of_what_is_around_it(file, place, line):
    document = load_document(file(MATH))

    assert document.line_of(place) == line
    assert document.location(place).endswith("math.yaml" if line is None else f"math.yaml:{line}")


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=5),
            st.sampled_from(
                ["layers:", "\n", "  ", "- ", ": ", "{", "}", "[", "]", ",", '"', "'", "&a", "*a",
                 "!", "%", "? ", "| ", "> ", "\\", "\\u", "0", "type", "model", "generator", "#",
                 "--- ", "...", "1.5", "e9", "\t"]
            ),
        ),
        max_size=30,
    ).map("".join)
)  # fmt: skip
def test_any_text_is_an_architecture_or_an_architecture_error(file, text):
    path = file(text.encode("utf-8", "surrogatepass"))

    try:
        architecture = read_architecture_file(str(path), component_types=COMPONENT_TYPES)
    except ArchitectureError:
        return

    assert architecture.layers


# Architectures


def test_an_architecture_is_read_with_the_name_of_its_file(file):
    architecture = read_architecture_file(str(file(MATH)), component_types=COMPONENT_TYPES)

    assert architecture.name == "math"
    assert [[c.type for c in layer] for layer in architecture.layers] == [
        ["generator"], ["ranker"], ["fuser"],
    ]  # fmt: skip
    assert architecture.models["small"].price is not None
    assert architecture.models["small"].price.output == Decimal("0.6")


@pytest.mark.parametrize("name", ["math", "math.yaml", "old", "old.json", "v1.2"])
def test_an_architecture_is_found_by_its_name_in_the_folder(file, tmp_path, name):
    file(MATH)
    file('{"layers": [{"type": "generator", "model": "m"}]}', "old.json")
    file(MATH, "v1.2.yml")

    assert read_architecture_file(name, tmp_path, COMPONENT_TYPES).layers


def test_a_name_that_is_not_there_lists_those_that_are(file, tmp_path):
    for name in ("math.yaml", "code.yml", "README.md"):
        file("", name)

    with pytest.raises(ArchitectureError) as caught:
        find_architecture("maths", tmp_path)

    assert str(caught.value) == f"maths: no such file; {tmp_path} has code, math"


def test_a_name_is_just_not_there_when_there_is_no_folder(tmp_path):
    with pytest.raises(ArchitectureError, match=r"^math: no such file$"):
        find_architecture("math", tmp_path / "none")
    with pytest.raises(ArchitectureError, match=r"is a folder$"):
        find_architecture(str(tmp_path), tmp_path / "none")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("top_k: 3", "topk: 3", ("math.yaml:10: layers[1][0].topk: unknown key; "
         "did you mean 'top_k'?")),
        ("top_k: 3", "top_k: 9", ("math.yaml:10: layers[1][0].top_k: 9 is more than the 5 "
         "candidates that can arrive")),
        ("samples: 5", "samples: 010", ("math.yaml:7: layers[0][0].samples: expected a valid "
         "integer, found '010'")),
        ("model: openai/gpt-4o-mini", "model: no", ("math.yaml:4: models.small.model: expected a "
         "valid string, found no (false); put it in quotes")),
        ("0.60", "a", ("math.yaml:5: models.small.price.output: expected USD per million tokens, "
         "such as 0.15, found 'a'")),
        ("- type: fuser\n    model: small", "- type: fuser", ("math.yaml:11: layers[2][0].model: "
         "missing")),
        ("type: ranker", "type: rank", ("math.yaml:8: layers[1][0].type: no component 'rank'; "
         "did you mean 'ranker'?")),
        ("- - {type: generator, model: small, samples: 5}", "- []", ("math.yaml:7: layers[0]: "
         "the layer is empty")),
        (MATH, "", "math.yaml: expected a mapping with layers, found nothing"),
        (MATH, "- a", "math.yaml: expected a mapping with layers, found a list"),
        (MATH, "name: a", "math.yaml: layers: missing; an architecture is a list of layers"),
    ],
    ids=count(),
)  # fmt: skip
def test_what_is_wrong_with_an_architecture_names_its_line(file, old, new, reason):
    path = file(MATH.replace(old, new))

    assert (
        why(path, lambda p: read_architecture_file(str(p), component_types=COMPONENT_TYPES))
        == reason
    )


# Configurations of the reference implementation

OLD = """\
{
    "name": "old",
    "layers": [
        {
            "branches": 2,
            "models": [
                {
                    "type": "generator",
                    "model": "gpt-4o",
                    "model_type": "OpenAI_API",
                    "samples": 3
                },
                {
                    "type": "generator",
                    "model": "acme/big",
                    "model_type": "Together_API",
                    "top_k": 1
                }
            ]
        },
        [
            {
                "type": "ranker",
                "model": "gpt-4o",
                "model_type": "OpenAI_API",
                "top_k": 9
            }
        ],
        {
            "type": "fuser",
            "model": "gpt-4o",
            "model_type": "OpenAI_API",
            "length_contorl": true
        }
    ]
}
"""


def test_a_configuration_of_the_reference_is_read_as_it_is(file):
    found = load_architecture(str(file(OLD, "old.json")), kinds=COMPONENT_TYPES)

    assert found.architecture == read_architecture({
        "name": "old",
        "layers": [
            [
                {"type": "generator", "model": "openai/gpt-4o", "samples": 3},
                {"type": "generator", "model": "together_ai/acme/big"},
            ],
            {"type": "ranker", "model": "openai/gpt-4o", "top_k": 4},
            {"type": "fuser", "model": "openai/gpt-4o"},
        ],
    })  # fmt: skip


def test_a_configuration_in_yaml_is_read_with_the_name_of_its_file(file):
    layer = "[{type: generator, model: gpt-4o, model_type: OpenAI_API}]"

    architecture = read_architecture_file(
        str(file(f"layers: [{layer}]")), component_types=COMPONENT_TYPES
    )

    assert architecture.name == "math"
    assert architecture.model_names == ("openai/gpt-4o",)


def test_a_conversion_note_has_its_line(file):
    found = load_architecture(str(file(OLD, "old.json")), kinds=COMPONENT_TYPES)

    told = [
        (found.location(place).rpartition("/")[2], place) for place, _ in found.conversion_notes
    ]

    assert told == [
        ("old.json:5", "layers[0].branches"),
        ("old.json:17", "layers[0][1].top_k"),
        ("old.json:33", "layers[2][0].length_contorl"),
        ("old.json:26", "layers[1][0].top_k"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Together_API", "Elsewhere", "old.json:16: layers[0][1].model_type: no provider"),
        ('"samples": 3', '"samples": 0', "old.json:11: layers[0][0].samples: expected"),
        ('"type": "generator"', '"type": "fuser"', "old.json:7: layers[0][0]: a fuser needs"),
        ('"ranker"', '"rankr"', "old.json:23: layers[1][0].type: no component 'rankr'"),
        ('"fuser",', '"fuser"', "old.json:31:13: while parsing a flow mapping"),
        ('"model": "acme/big",', "", "old.json:13: layers[0][1].model: missing"),
        ('"old"', "[]", "old.json:2: name: expected text"),
    ],
    ids=count(),
)
def test_what_is_wrong_with_a_configuration_names_its_line(file, old, new, reason):
    path = file(OLD.replace(old, new), "old.json")

    assert why(
        path, lambda p: read_architecture_file(str(p), component_types=COMPONENT_TYPES)
    ).startswith(reason)


@pytest.mark.parametrize(
    ("place", "line"),
    [("layers[0][1].model", 15), ("layers[1][0].model", 24), ("layers[2][0].model", 31)],
)
def test_what_is_found_wrong_later_is_told_with_its_line(file, place, line):
    path = file(OLD, "old.json")
    found = load_architecture(str(path), kinds=COMPONENT_TYPES)

    with pytest.raises(ArchitectureError) as caught, found.locate_errors():
        raise ArchitectureError("", place, "nobody knows it")

    assert str(caught.value) == f"{path}:{line}: {place}: nobody knows it"


def test_the_models_of_a_component_of_a_package_are_no_layer(package, file):
    package("pool", ECHO.replace("echo", "pool") + "    models: list[str]\n")
    path = file("layers:\n- type: pool\n  model: m\n  models:\n  - a\n  - b")

    found = load_architecture(str(path))

    assert found.architecture.layers[0][0].type == "pool"
    assert found.location("layers[0][0].samples") == f"{path}:2"


# Architectures as YAML


def test_an_architecture_is_written_as_a_person_would(file):
    path = file(MATH.replace("samples: 5}", "samples: 5}\n    - {type: generator, model: other}"))

    text = architecture_yaml(
        read_architecture_file(str(path), component_types=COMPONENT_TYPES), "math.yaml"
    )

    assert (
        text
        == """\
# From math.yaml.
name: math
models:
  small: {model: openai/gpt-4o-mini, price: {input: 0.15, output: 0.6}}
layers:
  - - {type: generator, model: small, samples: 5}
    - {type: generator, model: other}
  - {type: ranker, model: small, top_k: 3}
  - {type: fuser, model: small}
"""
    )


def test_what_all_components_share_is_written_once():
    cold = {"type": "generator", "model": "m", "temperature": 0.0, "retries": 2}
    voter = {"type": "voter", "extract": "number"}
    data = {"name": "cold", "layers": [cold, cold | {"type": "ranker"}, voter]}

    assert architecture_yaml(read_architecture(data)) == (
        "name: cold\n"
        "defaults: {model: m, temperature: 0}\n"
        "layers:\n"
        "  - {type: generator}\n"
        "  - {type: ranker}\n"
        "  - {type: voter, extract: number}\n"
    )


def test_a_name_that_can_be_printed_is_written_as_it_is():
    data = {"name": "Modèle 😀", "layers": [{"type": "generator", "model": "m"}]}

    assert architecture_yaml(read_architecture(data)).startswith('name: "Modèle 😀"\n')


def test_what_one_component_has_is_written_with_it():
    data = {"name": "a", "layers": [{"type": "generator", "model": "m", "temperature": 1.5}]}

    assert architecture_yaml(read_architecture(data)) == (
        "name: a\nlayers:\n  - {type: generator, model: m, temperature: 1.5}\n"
    )


def read_again(file, text: str) -> object:
    return read_architecture_file(str(file(text)), component_types=COMPONENT_TYPES)


_same = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@_same
@given(architecture=architectures(), source=st.text())
def test_an_architecture_that_is_written_is_read_as_the_same(file, architecture, source):
    text = architecture_yaml(architecture, source.encode("utf-8", "replace").decode())

    assert read_again(file, text) == architecture


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
AWKWARD = [
    "no", "Null", "~", "12", "1e3", "a:", "a: b", "a #b", "-", "? a", "{", "a,b", "&a", "*a", "!a",
    "'", '"', "\\", "\x7f", "\x85", "\u2028", "\ufeff", " a ", "\n", "\t", "😀", "=", "<<", "%",
    "http://localhost:8000/v1", "a" * 2000, "\U000e0001" * 200,
]  # fmt: skip


@pytest.mark.parametrize("text", AWKWARD, ids=count())
def test_an_awkward_name_is_written_so_that_it_is_read_as_the_same(file, text):
    spec = {"model": text[:200]}
    layers = [{"type": "generator", "model": text[:200]}]

    architecture = read_architecture({"name": text, "models": {text: spec}, "layers": layers})

    assert read_again(file, architecture_yaml(architecture, text)) == architecture


_PRICE = st.decimals(0, 1_000_000, allow_nan=False) | st.sampled_from(["1E-20", "0.10", "1E+1"])


@_same
@given(
    name=_TEXT,
    alias=_TEXT,
    price=st.none() | st.fixed_dictionaries({"input": _PRICE, "output": _PRICE}),
    base=st.sampled_from([None, "http://localhost:8000/v1", "https://[::1]/v1?version=1,2&b={"]),
    whole=st.integers(1, 10**18 - 1),
    temperature=st.floats(0, 2),
)
def test_any_name_and_number_is_written_so_that_it_is_read_as_the_same(
    file, name, alias, price, base, whole, temperature
):
    used = alias[:200]
    spec = {"model": used, "api_base": base, "rpm": whole, "price": price, "json_schema": False}
    data = {
        "name": name,
        "models": {alias: spec, "other": {"model": "m"}},
        "layers": [{"type": "generator", "model": used, "temperature": temperature}],
    }
    architecture = read_architecture(data)

    assert read_again(file, architecture_yaml(architecture)) == architecture


def test_a_configuration_that_is_written_is_read_as_the_same(file):
    found = load_architecture(str(file(OLD, "old.json")), kinds=COMPONENT_TYPES)

    assert read_again(file, architecture_yaml(found.architecture, "old.json")) == found.architecture


# Components of installed packages


@pytest.fixture
def package(tmp_path: Path, monkeypatch):
    """Installs a package that registers one component, and returns its module's name."""
    numbers = count()

    def install(entry: str, code: str) -> str:
        number = next(numbers)
        module = f"a_package_of_a_test_{tmp_path.name}_{number}".replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"acme_{number}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: acme-{number}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(
            f"[archon_batch.components]\n{entry} = {module}:Echo\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        return module

    return install


ECHO = """
from typing import Literal
from archon_batch.archon import COMPONENT_TYPES, read_architecture

class Echo(COMPONENT_TYPES["generator"]):
    type: Literal["echo"]
"""


def test_the_component_of_a_package_is_known_by_its_type(package, file):
    module = package("echo", ECHO)
    path = file("layers: [{type: echo, model: m}]")

    kinds = component_types()
    architecture = read_architecture_file(str(path))

    assert {**COMPONENT_TYPES, "echo": kinds["echo"]} == kinds
    assert kinds["echo"].__module__ == module
    assert architecture.layers[0][0].type == "echo"


ODD = f"""{ECHO}
    size: float = 0.0
    parts: list[dict[str, str | None]] = []
    on: bool | None = True
"""


def test_what_a_package_s_component_has_is_written_too(package, file):
    package("echo", ODD)
    odd = {"size": 1e300, "parts": [{"a b": None, "no": "on"}, {}], "on": None}
    data = {"name": "a", "layers": [{"type": "echo", "model": "m", **odd}]}

    architecture = read_architecture(data, component_types())

    assert read_architecture_file(str(file(architecture_yaml(architecture)))) == architecture


@pytest.mark.parametrize(
    ("entry", "code", "reason"),
    [
        ("echo", "1 / 0", ("acme-0: the component 'echo' cannot be imported: "
         "ZeroDivisionError('division by zero')")),
        ("echo", "", "acme-0: the component 'echo' cannot be imported: AttributeError"),
        ("echo", "Echo = int", "acme-0: the entry point 'echo' is no component: "),
        ("echo", "Echo = 1", "acme-0: the entry point 'echo' is no component: "),
        ("echo", ECHO.replace('COMPONENT_TYPES["generator"]', 'COMPONENT_TYPES["generator"].__base__'),
         "acme-0: the component 'echo' has no call_count, output_count, run: "),
        ("ekko", ECHO, "acme-0: the entry point 'ekko' has the type 'echo': "),
        ("ranker", ECHO, "acme-0: the component 'ranker' exists already in archon_batch.archon."),
    ],
    ids=count(),
)  # fmt: skip
def test_a_component_that_cannot_be_used_names_its_package(package, entry, code, reason):
    package(entry, code)

    with pytest.raises(ArchitectureError) as caught:
        component_types()

    assert str(caught.value).startswith(reason)


def test_two_packages_cannot_register_the_same_component(package):
    package("echo", ECHO)
    package("echo", ECHO)

    with pytest.raises(ArchitectureError, match=r"acme-\d: the component 'echo' exists already"):
        component_types()


# Job files

JOB = """\
dataset: data/{date}/*.jsonl
architecture: label.yaml
name: labels-{date}
budget_usd: 25.10
when: "0 2 * * MON-FRI"
export: data/labels/{name}.jsonl
template: "Label: {text}"
id_field: uid
limit: 100
"""


def read_job(path: Path) -> JobFile:
    return read_job_file(path, TODAY)


def test_a_job_file_is_filled_with_the_day_and_its_name(file):
    assert read_job(file(JOB)) == JobFile(
        dataset="data/2026-01-02/*.jsonl",
        architecture="label.yaml",
        name="labels-2026-01-02",
        budget_usd=Decimal("25.10"),
        when="0 2 * * MON-FRI",
        export="data/labels/labels-2026-01-02.jsonl",
        template="Label: {text}",
        id_field="uid",
        limit=100,
    )


def test_a_job_file_needs_a_dataset_and_an_architecture_only(file):
    job = read_job(file("dataset: 2026-01-02\narchitecture: math\nname:\nbudget_usd:"))

    assert (job.dataset, job.architecture, job.name) == ("2026-01-02", "math", None)
    assert (job.budget_usd, job.when, job.export) == (None, None, None)
    assert (job.template, job.prompt_field, job.id_field, job.limit) == (None, None, None, None)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("dataset:", "datasets:", "job.yaml:1: datasets: unknown key; did you mean 'dataset'?"),
        ("architecture: label.yaml\n", "", "job.yaml: architecture: missing"),
        ("label.yaml", "''", "job.yaml:2: architecture: expected some text, found ''"),
        ("label.yaml", "no", ("job.yaml:2: architecture: expected a valid string, found no (false); "
         "put it in quotes")),
        ("25.10", "10 EUR", ("job.yaml:4: budget_usd: expected USD, such as 25 or 0.50, "
         "found '10 EUR'")),
        ("25.10", "yes", ("job.yaml:4: budget_usd: expected USD, such as 25 or 0.50, "
         "found yes (true)")),
        ("25.10", "'nan'", ("job.yaml:4: budget_usd: expected USD, such as 25 or 0.50, "
         "found 'nan'")),
        ("25.10", "0", "job.yaml:4: budget_usd: expected greater than 0, found 0"),
        ("25.10", "1e9", ("job.yaml:4: budget_usd: expected less than or equal to 1000000, "
         "found 1000000000.0")),
        ("0 2 * * MON-FRI", "0 2 * *", ("job.yaml:5: when: expected five fields of cron in UTC, "
         "such as \"0 2 * * *\", found '0 2 * *'")),
        ("0 2 * * MON-FRI", "at two in the night", ("job.yaml:5: when: expected minutes from 0 to "
         "59 in its place, found 'at two in the night'")),
        ("0 2 * * MON-FRI", "0 24 * * *", ("job.yaml:5: when: expected hours from 0 to 23 in its "
         "place, found '0 24 * * *'")),
        ("0 2 * * MON-FRI", "0 2 30 feb *", ("job.yaml:5: when: expected a day that one of its "
         "months has, found '0 2 30 feb *'")),
        ("name: labels-{date}", "name: labels", ("job.yaml:5: when: it needs a name with {date}, "
         "or every run after the first is the same job")),
        ("limit: 100", "on_failure: tell me", ("job.yaml:9: on_failure: expected a command as a "
         "list, such as [notify, oncall], or a URL of http or https, found 'tell me'")),
        ("limit: 100", "on_failure: []", ("job.yaml:9: on_failure: expected a command as a "
         "list, such as [notify, oncall], or a URL of http or https, found a list")),
        ("limit: 100", "on_failure: [ls, 1]", ("job.yaml:9: on_failure: expected a command as a "
         "list, such as [notify, oncall], or a URL of http or https, found a list")),
        ("limit: 100", "on_failure: file:///x", ("job.yaml:9: on_failure: expected a command as a "
         "list, such as [notify, oncall], or a URL of http or https, found 'file:///x'")),
        ("limit: 100", "limit: 0", ("job.yaml:9: limit: expected greater than or equal to 1, "
         "found 0")),
        ("limit: 100", "api_key: x", ("job.yaml:9: api_key: keys do not belong in files; set the "
         "provider's variable, such as OPENAI_API_KEY, in the environment or in .env")),
        ("labels-{date}", "labels-{hour}", ("job.yaml:3: name: nothing fills {hour}; "
         "known here: {date}")),
        ("name: labels-{date}\n", "", ("job.yaml:5: export: nothing fills {name}; "
         "known here: {date}")),
        (JOB, "- a", "job.yaml: expected a mapping, found a list"),
        (JOB, "a: [", ("job.yaml:1:5: while parsing a flow node, expected the node content, "
         "but found '<stream end>'")),
    ],
    ids=count(),
)  # fmt: skip
def test_what_is_wrong_with_a_job_file_names_its_line(file, old, new, reason):
    path = file(JOB.replace(old, new), "job.yaml")

    with pytest.raises(JobFileError):
        read_job(path)
    assert why(path, read_job) == reason


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("[notify, --to, oncall]", ("notify", "--to", "oncall")),
        ("https://hooks.example.org/night", "https://hooks.example.org/night"),
    ],
)
def test_a_job_file_names_the_failure_hook(file, written, read):
    job = read_job(file(JOB.replace("limit: 100", f"on_failure: {written}")))

    assert job.on_failure == read


@pytest.mark.parametrize(
    "when", ["0 22-4 * nov-feb SAT-SUN", "*/5 8-18/2 1,15 * mon-fri", "59 23 31 * 0", "0 0 29 2 *"]
)
def test_a_schedule_that_celery_accepts_is_accepted(file, when):
    assert read_job_file(file(JOB.replace("0 2 * * MON-FRI", when), "job.yaml"), TODAY).when == when


@pytest.mark.parametrize(
    ("when", "field"),
    [
        ("60 * * * *", "minutes"),
        ("* 24 * * *", "hours"),
        ("* 1- * * *", "hours"),
        ("* */0 * * *", "hours"),
        ("* * 0 * *", "days of the month"),
        ("* * * 13 *", "months"),
        ("* * * * 7", "days of the week"),
        ("0 0 31 2,4,6 *", "a day"),
    ],
)
def test_a_schedule_with_a_wrong_field_is_rejected_by_the_field_s_name(file, when, field):
    with pytest.raises(JobFileError, match=f"when: expected {field}"):
        read_job_file(file(JOB.replace("0 2 * * MON-FRI", when), "job.yaml"), TODAY)


# Pool files

POOL = """\
queues: [calls, joins]
concurrency: 8
processes: 2
max_in_flight: 128
"""


def test_a_pool_file_says_what_is_drained_and_how_wide(file):
    assert read_pool_file(file(POOL)) == PoolFile(
        queues=("calls", "joins"), concurrency=8, processes=2, max_in_flight=128
    )


def test_a_pool_file_needs_queues_only(file):
    pool = read_pool_file(file("queues: [calls.openai/gpt-4o-mini]\npool: threads"))

    assert (pool.queues, pool.pool) == (("calls.openai/gpt-4o-mini",), "threads")
    assert (pool.concurrency, pool.processes, pool.max_in_flight) == (64, 1, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("processes: 2", "pool.yaml: queues: missing"),
        ("queues: calls", ("pool.yaml:1: queues: expected a list of queues, each once, such as "
         "[calls], found 'calls'")),
        ("queues: []", ("pool.yaml:1: queues: expected a list of queues, each once, such as "
         "[calls], found a list")),
        ("queues: [calls, calls]", ("pool.yaml:1: queues: expected a list of queues, each once, such as "
         "[calls], found a list")),
        ("queues:\n- joins\n- call", ("pool.yaml:3: queues[1]: expected joins, calls, or the calls "
         "of a provider or a model, such as calls.openai, found 'call'")),
        ("queues: [no]", ("pool.yaml:1: queues[0]: expected a valid string, found no (false); "
         "put it in quotes")),
        ("queues: [calls]\npool: prefork", "pool.yaml:2: pool: expected 'threads', found 'prefork'"),
        ("queues: [calls]\nprocesses: 0", ("pool.yaml:2: processes: expected greater than or equal "
         "to 1, found 0")),
        ("queues: [calls]\nconcurrency: yes", ("pool.yaml:2: concurrency: expected a valid integer, "
         "found yes (true)")),
        ("queues: [calls]\nqueue: [b]", "pool.yaml:2: queue: unknown key; did you mean 'queues'?"),
    ],
    ids=count(),
)  # fmt: skip
def test_what_is_wrong_with_a_pool_file_names_its_line(file, text, reason):
    path = file(text, "pool.yaml")

    with pytest.raises(PoolFileError):
        read_pool_file(path)
    assert why(path, read_pool_file) == reason


# Kinds of files


@pytest.mark.parametrize(("text", "kind"), [(MATH, "architecture"), (JOB, "job"), (POOL, "pool")])
def test_the_keys_of_a_file_tell_what_it_is(file, text, kind):
    assert file_kind(file(text)) == kind


@pytest.mark.parametrize("text", ["", "a: 1", "[layers]"])
def test_a_file_of_no_kind_is_refused(file, text):
    assert why(file(text), file_kind) == (
        "math.yaml: it has no layers (an architecture), no dataset (a job), no queues (a pool), "
        "no axes (a search space)"
    )
