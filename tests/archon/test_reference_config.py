"""Configurations of the paper's reference implementation: what is read from them, and told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import (
    Architecture,
    Model,
    count_calls,
    is_reference_config,
    read_architecture,
    read_reference_config,
    validate_architecture,
)
from archon_batch.errors import ArchitectureError
from tests.builders import architectures


def reference(kind, **knobs):
    """A component of the reference, with the keys that it requires of every component."""
    asked = {"model": "acme/big", "model_type": "Together_API"}
    return {"type": kind, **asked, "temperature": 0.7, "max_tokens": 2048, **knobs}


def configuration(*layers, **top):
    return {"name": "old", "layers": list(layers), **top}


FIVE = [reference("generator", samples=5)]
CRITIC = [reference("critic", samples=1)]
TESTS = [reference("unit_test_generator", samples=1, unit_test_cap=3)]


def ranker(**knobs):
    return [reference("ranker", **knobs)]


def evaluator(**knobs):
    kept = {"samples": 1, "remove_unit_tests_from_prompt": True}
    return [reference("unit_test_evaluator", **kept, **knobs)]


def read(*layers, **top):
    return read_reference_config(configuration(*layers, **top))


def last(*layers):
    """The only component of the last layer, and what is told."""
    architecture, told = read(*layers)
    (component,) = architecture.layers[-1]
    return component, list(told)


def refused(*layers, **top):
    with pytest.raises(ArchitectureError) as refusal:
        read(*layers, **top)
    return refusal.value.path, refusal.value.why


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (configuration(FIVE), True),
        (configuration(reference("generator")), True),
        (configuration([{"type": "generator", "model": "a"}], FIVE), True),
        (configuration({"models": [{"type": "generator", "model": "a"}], "branches": 1}), True),
        (configuration([{"type": "generator", "model": "a"}]), False),
        (configuration({"type": "generator", "model": "a"}), False),
        (configuration({"type": "odd", "models": ["a"]}), False),
        (configuration(["model_type"], "models", None, 1), False),
        ({"layers": {"model_type": "tgi", "models": []}}, False),
        ({"model_type": "tgi"}, False),
        ([FIVE], False),
        (None, False),
    ],
)
def test_a_configuration_is_recognised_by_model_type_or_old_layers(data, is_one):
    assert is_reference_config(data) == is_one


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("Together_API", "acme/big", "together_ai/acme/big"),
        ("Together_API", "openai/gpt-oss", "together_ai/openai/gpt-oss"),
        ("Together_API", "together_ai/acme/big", "together_ai/acme/big"),
        ("OpenAI_API", "gpt-4o", "openai/gpt-4o"),
        ("OpenAI_API", "openai/gpt-4o", "openai/gpt-4o"),
        ("Anthropic_API", "claude-3", "anthropic/claude-3"),
        ("Groq_API", "llama", "groq/llama"),
        ("Google_API", "gemini-pro", "gemini/gemini-pro"),
        ("Bedrock_API", "bedrock/meta.llama3", "bedrock/meta.llama3"),
        ("vLLM", "acme/small", "hosted_vllm/acme/small"),
    ],
)
def test_a_model_gets_its_litellm_name(provider, model, name):
    component, _ = last([reference("generator", model=model, model_type=provider)])

    assert component.model == name


def test_an_in_process_vllm_model_becomes_a_server_with_a_note_about_its_address():
    layer = [reference("generator", model="acme/small", model_type="vLLM")]
    name = "hosted_vllm/acme/small"
    spec = {"model": name, "api_base": "http://localhost:8000/v1"}

    _, told = read(layer)
    addressed, nothing = read(layer, models={name: spec})

    ((place, why),) = told
    assert place == "layers[0][0].model"
    assert f"give {name} under models, with its api_base" in why
    assert nothing == ()
    assert addressed.model(name) == Model.model_validate(spec)


@pytest.mark.parametrize(
    ("url", "api_base"),
    [
        ("http://localhost:8080", "http://localhost:8080/v1"),
        ("https://tgi.example/", "https://tgi.example/v1"),
        ("https://tgi.example/v1", "https://tgi.example/v1"),
        ("https://tgi.example/v1/", "https://tgi.example/v1"),
    ],
)
def test_a_text_generation_server_becomes_an_alias_with_its_address(url, api_base):
    architecture, told = read([reference("generator", model=url, model_type="tgi")])

    assert architecture.models == {"tgi": Model(model="huggingface/tgi", api_base=api_base)}
    assert architecture.model_names == ("tgi",)
    assert told == ()


def test_each_server_has_its_own_alias():
    def at(url):
        return reference("generator", model=f"http://{url}", model_type="tgi")

    own = {"tgi": {"model": "openai/gpt-4o"}}
    layer = [at("a"), at("b"), at("a/v1"), at("b/")]

    architecture, _ = read(layer, models=own)
    two, _ = read(layer)

    assert [c.model for c in architecture.layers[0]] == ["tgi-2", "tgi-3", "tgi-2", "tgi-3"]
    assert architecture.model("tgi-3").api_base == "http://b/v1"
    assert architecture.models["tgi"] == Model(model="openai/gpt-4o")
    assert set(two.models) == {"tgi", "tgi-2"}


@pytest.mark.parametrize(
    ("component", "place", "why"),
    [
        ({"model_type": ""}, "model_type", "no provider ''; known are Together_API"),
        ({"model_type": "Togther_API"}, "model_type", "did you mean 'Together_API'?"),
        ({"model_type": "mine"}, "model_type", "give its model and api_base under models"),
        ({"model_type": None}, "model_type", "no provider None"),
        ({"model_type": ["tgi"]}, "model_type", "no provider ['tgi']"),
        ({"model_type": "tgi"}, "model", "an address such as http://localhost:8080"),
        ({"model": "llm-blender/PairRM"}, "model", "a ranker with a model that answers would do"),
        ({"model": "llm-blender/PairRM", "model_type": ""}, "model", "takes no messages"),
        ({"model": ""}, "model", "at least 1 character"),
        ({"model": None}, "model", "found nothing"),
        ({"samples": 0}, "samples", "greater than or equal to 1"),
        ({"type": "rank"}, "type", "did you mean 'ranker'?"),
    ],
)
def test_a_model_that_cannot_be_called_is_rejected_with_an_alternative(component, place, why):
    at, told = refused(FIVE, [reference("fuser") | component])

    assert at == f"layers[1][0].{place}"
    assert why in told


def test_custom_components_are_rejected_with_how_to_register_them():
    place, why = refused(FIVE, custom=True)
    _, told = read(FIVE, custom=False)

    assert place == "custom"
    assert "archon_batch.components" in why
    assert told == ()


@pytest.mark.parametrize("models", [["a"], "a", {"a": 1}])
@pytest.mark.parametrize("url", ["http://a", "acme"])
def test_wrong_models_are_rejected_as_in_our_format(models, url):
    provider = "tgi" if url.startswith("http") else "OpenAI_API"

    place, _ = refused([reference("generator", model=url, model_type=provider)], models=models)

    assert place.startswith("models")


def test_an_unknown_component_type_is_rejected_as_in_our_format():
    assert refused(FIVE, ["ranker"])[0] == "layers[1][0]"
    assert refused(FIVE, "ranker")[0] == "layers[1]"
    assert refused(FIVE, {"models": "ranker"})[0] == "layers[1]"
    assert refused(FIVE, defaults={"colour": "red"})[0] == "defaults.colour"


@pytest.mark.parametrize(
    ("knobs", "first_k"),
    [
        ({"first_pass": True}, 1),
        ({"first_pass": False}, None),
        ({"first_pass": True, "first_k": 3}, 3),
        ({"first_pass": True, "first_k": None}, 1),
        ({"first_k": 2}, 2),
        ({}, None),
    ],
)
def test_first_pass_becomes_first_k_1(knobs, first_k):
    component, told = last(TESTS, FIVE, evaluator(top_k=1, **knobs))

    assert (component.first_k, component.top_k) == (first_k, 1)
    assert told == []


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("generator", "top_k", 1),
        ("generator", "checkpoint", ""),
        ("fuser", "ranker_config", {"ranker_batch_size": 16}),
        ("fuser", "top_k_generations", 2),
        ("fuser", "fuse_generations_count", 1),
        ("fuser", "remove_unit_tests_from_prompt", True),
        ("critic", "ranker_batch_size", 16),
        ("ranker", "samples", 1),
        ("verifier", "batch_num", 2),
        ("verifier", "first_pass", True),
        ("unit_test_evaluator", "unit_test_cap", 5),
        ("unit_test_generator", "max_context_length", 2048),
    ],
)
def test_a_key_without_effect_is_dropped_with_a_note(kind, key, value):
    plain, nothing = last(TESTS, FIVE, [reference(kind)])
    component, told = last(TESTS, FIVE, [reference(kind, **{key: value})])

    assert component == plain
    assert nothing == []
    assert told == [(f"layers[2][0].{key}", f"{key} means nothing on a {kind}; it is left out")]


def test_a_misspelled_key_is_dropped_with_a_note_and_a_suggestion():
    component, told = last(FIVE, [reference("fuser", length_contorl=True)])

    assert not component.length_control
    assert told == [
        (
            "layers[1][0].length_contorl",
            "unknown key, which the reference leaves out as well; did you mean 'length_control'?",
        )
    ]


def test_a_top_level_key_without_effect_is_dropped_with_a_note():
    architecture, told = read(FIVE, save_path="out")

    assert architecture == read(FIVE)[0]
    assert told == (("save_path", "save_path means nothing here; it is left out"),)


def test_common_keys_have_the_same_meaning():
    knobs = {"samples": 3, "temperature": 1.25, "max_tokens": 4096}

    generator, told = last([reference("generator", no_system=True, **knobs)])
    fuser, _ = last(FIVE, [reference("fuser", length_control=True, **knobs)])
    tests, _ = last(FIVE, [reference("unit_test_generator", unit_test_cap=10, samples=1)])

    assert told == []
    assert generator.model_dump(exclude_defaults=True) == {
        "type": "generator", "model": "together_ai/acme/big", "no_system": True, **knobs,
    }  # fmt: skip
    assert fuser.length_control
    assert fuser.samples == 3
    assert tests.unit_test_cap == 10


def test_missing_keys_have_our_defaults():
    component, _ = last([{"type": "generator", "model": "big", "model_type": "OpenAI_API"}])

    assert (component.temperature, component.max_tokens, component.samples) == (0.7, 2048, 1)


def test_the_name_is_that_of_the_configuration_or_of_the_file():
    nameless = {"layers": [FIVE]}

    assert read_reference_config(configuration(FIVE), name="file")[0].name == "old"
    assert read_reference_config(nameless, name="file")[0].name == "file"


def test_without_model_type_a_model_has_our_name():
    own = {"type": "fuser", "model": "small"}

    architecture, told = read(
        FIVE, own, models={"small": {"model": "openai/gpt-4o"}}, defaults={"temperature": 0.1}
    )

    assert architecture.layers[1][0].model == "small"
    assert architecture.layers[1][0].temperature == 0.1
    assert architecture.layers[0][0].temperature == 0.7
    assert told == ()


def test_a_layer_may_be_a_list_or_a_mapping_of_models_or_a_component():
    pair = [reference("generator", samples=2), reference("generator")]
    fuser = reference("fuser")

    plain, nothing = read(pair, [fuser])
    old, told = read({"branches": 1, "models": pair}, fuser)

    assert old == plain
    assert told == nothing == ()


def test_branches_without_effect_get_a_note():
    plain, _ = read(FIVE)
    old, told = read({"branches": 5, "models": FIVE, "note": "wide"})

    assert old == plain
    assert told == (
        (
            "layers[0].branches",
            "branches means nothing of a layer: each component stands there once",
        ),
        ("layers[0].note", "note means nothing of a layer: each component stands there once"),
    )


@pytest.mark.parametrize(
    ("layers", "key", "value", "why"),
    [
        ([FIVE, ranker(top_k=5)], "top_k", 5, None),
        ([FIVE, ranker(top_k=6)], "top_k", 5, "6 is more than the 5 candidates that can arrive"),
        ([TESTS, FIVE, evaluator(top_k=9)], "top_k", 5, "9 is more than the 5 candidates"),
        ([FIVE, ranker(top_k=2), ranker(top_k=3)], "top_k", 2, "3 is more than the 2 candidates"),
        ([FIVE, [reference("verifier", first_k=5)]], "first_k", 5, None),
        ([FIVE, [reference("verifier", first_k=6)]], "first_k", None, "it is left out"),
        ([TESTS, FIVE, evaluator(first_k=6)], "first_k", None, "it is left out"),
    ],
)
def test_a_count_above_the_incoming_candidates_has_the_meaning_of_the_reference(
    layers, key, value, why
):
    component, told = last(*layers)
    validate_architecture(read(*layers)[0])

    assert getattr(component, key) == value
    if why is None:
        assert told == []
    else:
        ((place, said),) = told
        assert place == f"layers[{len(layers) - 1}][0].{key}"
        assert why in said


def test_a_count_is_compared_with_candidates_after_earlier_adjustments():
    # Without its first_k, which five candidates never reach, the evaluator keeps two.
    architecture, told = read(
        TESTS, FIVE, evaluator(first_k=6, top_k=2), evaluator(first_k=3), ranker(top_k=4)
    )
    validate_architecture(architecture)

    _, _, (first,), (second,), (ranked,) = architecture.layers
    assert (first.first_k, second.first_k, ranked.top_k) == (None, None, 2)
    assert [place for place, _ in told] == [
        "layers[2][0].first_k", "layers[3][0].first_k", "layers[4][0].top_k",
    ]  # fmt: skip


def test_a_ranker_without_candidates_is_not_adjusted():
    architecture, told = read(ranker(top_k=3))

    assert architecture.layers[0][0].top_k == 3
    assert told == ()
    with pytest.raises(ArchitectureError, match="a ranker needs candidates"):
        validate_architecture(architecture)


@pytest.mark.parametrize(
    ("layers", "value", "taken", "why"),
    [
        ([FIVE, CRITIC], True, True, None),
        ([FIVE], False, False, None),
        ([FIVE, CRITIC], False, False, "the reference shows critiques all the same"),
        ([FIVE], True, None, "there are no critiques here"),
        # The critiques are lost with their candidates.
        ([FIVE, CRITIC, [reference("fuser")]], True, None, "there are no critiques here"),
        ([FIVE, CRITIC, ranker(top_k=3)], True, True, None),
        ([FIVE, CRITIC, ranker(top_k=3), FIVE], False, False, None),
    ],
)
def test_use_critiques_is_kept_if_possible(layers, value, taken, why):
    component, told = last(*layers, ranker(use_critiques=value))
    validate_architecture(read(*layers, ranker(use_critiques=value))[0])

    assert component.use_critiques == taken
    assert [place for place, _ in told] == (
        [f"layers[{len(layers)}][0].use_critiques"] if why else []
    )
    assert all(why in said for _, said in told)


@pytest.mark.parametrize(
    ("layers", "low", "high"),
    [
        ([FIVE, ranker(top_k=3), CRITIC, [reference("fuser")]], 8, 8),
        ([FIVE, [reference("verifier", samples=1)], [reference("fuser")]], 16, 16),
        ([FIVE, [reference("verifier", samples=1, first_k=1)]], 7, 15),
        ([TESTS, FIVE, evaluator(first_pass=True, top_k=1)], 7, 11),
        ([{"branches": 2, "models": [*FIVE, *FIVE]}, [reference("fuser", samples=3)]], 13, 13),
    ],
)
def test_a_configuration_makes_the_calls_of_the_reference(layers, low, high):
    architecture, _ = read(*layers)

    assert (count_calls(architecture).low, count_calls(architecture).high) == (low, high)


def as_theirs(architecture: Architecture) -> dict[str, Any]:
    """An architecture of ours in the reference's form, its models those of one provider."""
    data = architecture.to_dict()
    layers: Any = data["layers"]
    for component in [component for layer in layers for component in layer]:
        if "model" in component:
            component["model_type"] = "OpenAI_API"
    layers[0] = {"branches": 1, "models": layers[0]}
    return {"name": data["name"], "layers": layers}


def named_for_litellm(architecture: Architecture) -> Architecture:
    data = architecture.to_dict()
    layers: Any = data["layers"]
    for component in [component for layer in layers for component in layer]:
        if "model" in component:
            component["model"] = f"openai/{component['model']}"
    return read_architecture({"name": data["name"], "layers": layers})


@given(architecture=architectures())
def test_equivalent_configurations_give_equal_architectures(architecture):
    again, told = read_reference_config(as_theirs(architecture))

    # It may hide critiques, which the reference cannot; and no count exceeds the incoming candidates.
    assert again == named_for_litellm(architecture)
    assert all(place.endswith(".use_critiques") for place, _ in told)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | st.sampled_from(
        ["generator", "ranker", "fuser", "unit_test_evaluator", "tgi", "vLLM", "http://a", "a", ""]
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "model", "model_type", "models", "branches", "samples", "top_k", "first_k",
             "first_pass", "use_critiques", "checkpoint", "a"]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip


@given(
    layers=st.lists(_JSON, max_size=3),
    top=st.dictionaries(st.sampled_from(["name", "models", "defaults", "custom", "a"]), _JSON),
)
def test_any_configuration_is_an_architecture_or_an_architecture_error(layers, top):
    try:
        architecture, told = read_reference_config({**top, "layers": [*layers, FIVE]})
    except ArchitectureError:
        return

    assert len(architecture.layers) == len(layers) + 1
    assert all(place and why for place, why in told)
