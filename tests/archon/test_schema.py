"""From plain data to an architecture, or to the place of the first thing wrong."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given

from archon_batch.archon import COMPONENT_TYPES, ListPrice, Model, ModelComponent, read_architecture
from archon_batch.errors import ArchitectureError
from tests.builders import MODEL, an_architecture, architectures

GENERATOR = {"type": "generator", "model": MODEL}
CRITIC = {"type": "critic", "model": MODEL}
RANKER = {"type": "ranker", "model": MODEL}
VERIFIER = {"type": "verifier", "model": MODEL}
TESTS = {"type": "unit_test_generator", "model": MODEL}
EVALUATOR = {"type": "unit_test_evaluator", "model": MODEL}
VOTER = {"type": "voter", "extract": "number"}


def file_with(*layers, **top):
    return {"name": "small", "layers": list(layers or [GENERATOR])} | top


def generator(**knobs):
    return file_with([{**GENERATOR, **knobs}])


def model(**knobs):
    return file_with(models={"cheap": {"model": MODEL} | knobs})


def refused(data):
    with pytest.raises(ArchitectureError) as refusal:
        read_architecture(data)
    assert refusal.value.file == ""
    return refusal.value.path, refusal.value.why


@pytest.mark.parametrize(
    ("data", "place", "why"),
    [
        (None, "", "expected a mapping with layers, found nothing"),
        ([GENERATOR], "", "found a list"),
        ("layers", "", "found 'layers'"),
        (7, "", "found 7"),
        ({}, "layers", "missing"),
        ({"layer": []}, "layer", "did you mean 'layers'?"),
        (file_with(budget=3), "budget", "known are name, models, defaults, layers"),
        ({"layers": [GENERATOR]}, "name", "expected text, found ''"),
        (file_with(name=7), "name", "found 7"),
        (file_with(name=None), "name", "found nothing"),
        (file_with(layers=None), "layers", "expected a list of layers, found nothing"),
        (file_with(layers={"generator": 1}), "layers", "found a mapping"),
        (file_with(layers="generator"), "layers", "found 'generator'"),
        (file_with("generator"), "layers[0]", "expected components, found 'generator'"),
        (file_with(GENERATOR, None), "layers[1]", "found nothing"),
        (file_with([GENERATOR, "critic"]), "layers[0][1]", "expected a mapping, found 'critic'"),
        (file_with([GENERATOR, [CRITIC]]), "layers[0][1]", "found a list"),
    ],
)
def test_a_wrong_structure_is_rejected_with_its_path(data, place, why):
    found, told = refused(data)

    assert found == place
    assert why in told


@pytest.mark.parametrize(
    ("data", "place", "why"),
    [
        (
            file_with({"model": MODEL}),
            "layers[0][0].type",
            (
                "known are generator, fuser, critic, ranker, verifier, unit_test_generator, "
                "unit_test_evaluator, voter"
            ),
        ),
        (file_with(GENERATOR, [CRITIC, {}]), "layers[1][1].type", "missing"),
        (
            file_with({"type": "generater", "model": MODEL}),
            "layers[0][0].type",
            "no component 'generater'; did you mean 'generator'?",
        ),
        (file_with({"type": "zzz"}), "layers[0][0].type", "known are"),
        (file_with({"type": ["generator"]}), "layers[0][0].type", "no component ['generator']"),
        (file_with({"type": None}), "layers[0][0].type", "no component None"),
        (file_with({"type": "generator"}), "layers[0][0].model", "missing"),
        (generator(model=True), "layers[0][0].model", "found yes (true); put it in quotes"),
        (generator(model=False), "layers[0][0].model", "found no (false); put it in quotes"),
        (generator(model=None), "layers[0][0].model", "expected a valid string, found nothing"),
        (generator(model=""), "layers[0][0].model", "at least 1 character"),
        (generator(model="m" * 201), "layers[0][0].model", "at most 200 characters"),
        (
            generator(model=dt.date(2024, 1, 1)),
            "layers[0][0].model",
            "found a date; put it in quotes",
        ),
        (generator(temprature=1), "layers[0][0].temprature", "did you mean 'temperature'?"),
        (generator(top_k=1), "layers[0][0].top_k", "unknown key"),
        (generator(temperature=-0.1), "layers[0][0].temperature", "greater than or equal to 0"),
        (generator(temperature=2.1), "layers[0][0].temperature", "less than or equal to 2"),
        (generator(temperature=float("nan")), "layers[0][0].temperature", "found nan"),
        (generator(temperature=float("inf")), "layers[0][0].temperature", "found inf"),
        (generator(temperature="1e3"), "layers[0][0].temperature", "found '1e3'"),
        (generator(temperature=True), "layers[0][0].temperature", "found yes (true)"),
        (generator(max_tokens=0), "layers[0][0].max_tokens", "greater than or equal to 1"),
        (generator(max_tokens=1_000_001), "layers[0][0].max_tokens", "less than or equal to"),
        (generator(max_tokens=None), "layers[0][0].max_tokens", "found nothing"),
        (generator(retries=11), "layers[0][0].retries", "less than or equal to 10"),
        (generator(samples=True), "layers[0][0].samples", "expected a valid integer"),
        (generator(samples="3"), "layers[0][0].samples", "found '3'"),
        (generator(samples=3.5), "layers[0][0].samples", "found 3.5"),
        (generator(samples=0), "layers[0][0].samples", "found 0"),
        (generator(samples=1001), "layers[0][0].samples", "less than or equal to 1000"),
        (generator(samples=[3]), "layers[0][0].samples", "found a list"),
        (generator(samples={"of": 3}), "layers[0][0].samples", "found a mapping"),
        (generator(no_system="yes"), "layers[0][0].no_system", "found 'yes'"),
        (file_with(GENERATOR, RANKER | {"top_k": 0}), "layers[1][0].top_k", "found 0"),
        (file_with(GENERATOR, RANKER | {"top_k": "2"}), "layers[1][0].top_k", "found '2'"),
        (file_with(RANKER | {"top_k": 1001}), "layers[0][0].top_k", "or equal to 1000"),
        (file_with(RANKER | {"first_k": 1}), "layers[0][0].first_k", "unknown key"),
        (file_with(RANKER | {"samples": 1}), "layers[0][0].samples", "unknown key"),
        (file_with(RANKER | {"use_critiques": 1}), "layers[0][0].use_critiques", "found 1"),
        (file_with(RANKER | {"shuffle": "yes"}), "layers[0][0].shuffle", "found 'yes'"),
        (file_with(CRITIC | {"samples": 101}), "layers[0][0].samples", "or equal to 100"),
        (file_with(CRITIC | {"use_critiques": True}), "layers[0][0].use_critiques", "unknown"),
        (
            file_with(CRITIC | {"format": "yaml"}),
            "layers[0][0].format",
            "expected 'text' or 'json', found 'yaml'",
        ),
        (generator(format="json"), "layers[0][0].format", "unknown key"),
        (
            generator(overflow="drop"),
            "layers[0][0].overflow",
            "expected 'error', 'drop_last' or 'truncate', found 'drop'",
        ),
        (file_with(VERIFIER | {"first_k": 0}), "layers[0][0].first_k", "found 0"),
        (file_with(VERIFIER | {"top_k": 1}), "layers[0][0].top_k", "unknown key"),
        (file_with(VERIFIER | {"batch_num": 1}), "layers[0][0].batch_num", "unknown key"),
        (file_with(TESTS | {"unit_test_cap": 0}), "layers[0][0].unit_test_cap", "found 0"),
        (file_with(TESTS | {"unit_test_cap": 101}), "layers[0][0].unit_test_cap", "equal to 100"),
        (file_with(TESTS | {"unit_tests_cap": 5}), "layers[0][0].unit_tests_cap", "unit_test_cap"),
        (file_with(EVALUATOR | {"first_pass": True}), "layers[0][0].first_pass", "unknown key"),
        (
            file_with({"type": "fuser", "model": MODEL, "length_contorl": True}),
            "layers[0][0].length_contorl",
            "did you mean 'length_control'?",
        ),
        (file_with({"type": "voter"}), "layers[0][0].extract", "missing"),
        (file_with(VOTER | {"model": MODEL}), "layers[0][0].model", "unknown key"),
        (file_with(VOTER | {"retries": 1}), "layers[0][0].retries", "unknown key"),
        (file_with({"type": "voter", "extract": "digit"}), "layers[0][0].extract", "'number'"),
        (file_with(VOTER | {"pattern": ""}), "layers[0][0].pattern", "at least 1 character"),
    ],
)
def test_a_wrong_component_is_rejected_with_its_path(data, place, why):
    found, told = refused(data)

    assert found == place
    assert why in told


@pytest.mark.parametrize(
    "knobs",
    [
        {"extract": "regex"},
        {"extract": "text", "pattern": "a"},
        {"extract": "regex", "pattern": "(a"},
    ],
)
def test_a_wrong_combination_of_keys_is_rejected_at_the_component(knobs):
    place, why = refused(file_with(GENERATOR, {"type": "voter"} | knobs))

    assert place == "layers[1][0]"
    assert why.startswith("expected a pattern ")
    assert "found a mapping" not in why


@pytest.mark.parametrize(
    ("data", "place", "why"),
    [
        (file_with(models=[]), "models", "expected a mapping, found a list"),
        (file_with(models=["cheap"]), "models", "expected a mapping, found a list"),
        (file_with(models={7: {"model": MODEL}}), "models", "an alias is text, found 7"),
        (file_with(models={"": {"model": MODEL}}), "models", "an alias is text"),
        (file_with(models={"cheap": MODEL}), "models.cheap", "expected a mapping"),
        (file_with(models={"cheap": {}}), "models.cheap.model", "missing"),
        (model(model=4), "models.cheap.model", "found 4; put it in quotes"),
        (model(rmp=9), "models.cheap.rmp", "did you mean 'rpm'?"),
        (model(rpm=0), "models.cheap.rpm", "found 0"),
        (model(max_in_flight="8"), "models.cheap.max_in_flight", "found '8'"),
        (model(api_base=""), "models.cheap.api_base", "at least 1 character"),
        (model(context=1.5), "models.cheap.context", "found 1.5"),
        (model(context=0), "models.cheap.context", "found 0"),
        (model(json_schema="yes"), "models.cheap.json_schema", "found 'yes'"),
        (model(price=0.15), "models.cheap.price", "found 0.15"),
        (model(price={"input": 0.15}), "models.cheap.price.output", "missing"),
        (model(price={"input": 1, "output": "x"}), "models.cheap.price.output", "USD per million"),
        (model(price={"input": 1, "output": True}), "models.cheap.price.output", "such as 0.15"),
        (model(price={"input": -1, "output": 1}), "models.cheap.price.input", "equal to 0"),
        (model(price={"input": "nan", "output": 1}), "models.cheap.price.input", "finite"),
        (model(price={"input": 10**7, "output": 1}), "models.cheap.price.input", "1000000"),
        (model(price={"input": 1, "output": 1, "cached": 0}), "models.cheap.price.cached", ""),
    ],
)
def test_a_wrong_model_is_rejected_with_its_path(data, place, why):
    found, told = refused(data)

    assert found == place
    assert why in told


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000",
        "ftp://host/v1",
        "http://",
        "http://host:0/v1",
        "http://host:port/v1",
        "http://host/v1#models",
        "http://ho st/v1",
        "http://h\u043est/v1",
        "http://[::1/v1",
        "http://a,b/v1",
    ],
)
def test_an_invalid_address_is_rejected(address):
    assert refused(model(api_base=address)) == (
        "models.cheap.api_base",
        f"expected an address such as http://localhost:8000/v1, found {address!r}",
    )


@pytest.mark.parametrize(
    "address", ["http://localhost:8000/v1", "https://api.host-1.example", "http://[::1]:80/v1"]
)
def test_a_valid_address_is_accepted(address):
    assert read_architecture(model(api_base=address)).models["cheap"].api_base == address


@pytest.mark.parametrize(
    ("data", "place", "why"),
    [
        (file_with(defaults=[]), "defaults", "expected a mapping, found a list"),
        (file_with(defaults="warm"), "defaults", "expected a mapping"),
        (file_with(defaults={"temprature": 1}), "defaults.temprature", "'temperature'"),
        (file_with(defaults={"type": "critic"}), "defaults.type", "unknown key"),
        (file_with(defaults={"temperature": 9}), "defaults.temperature", "equal to 2"),
    ],
)
def test_wrong_defaults_are_rejected_with_their_path(data, place, why):
    found, told = refused(data)

    assert found == place
    assert why in told


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (file_with(api_key="hush"), "api_key"),
        (model(api_key="hush"), "models.cheap.api_key"),
        (model(apikey="hush"), "models.cheap.apikey"),
        (model(OPENAI_API_KEY="hush"), "models.cheap.OPENAI_API_KEY"),
        (generator(Authorization="hush"), "layers[0][0].Authorization"),
        (file_with([GENERATOR | {"auth_token": "hush"}]), "layers[0][0].auth_token"),
        (file_with(defaults={"password": "hush"}), "defaults.password"),
        (
            file_with([GENERATOR, CRITIC | {"client_secret": ["hush"]}]),
            "layers[0][1].client_secret",
        ),
        (generator(model="sk-hushhushhush"), "layers[0][0].model"),
        (model(api_base="https://sk-hushhushhush@host"), "models.cheap.api_base"),
    ],
)
def test_an_api_key_in_a_file_is_rejected_and_not_quoted(data, place):
    found, told = refused(data)

    assert found == place
    assert "keys do not belong in files" in told
    assert "hush" not in told


@pytest.mark.parametrize("name", ["sk-short", "task-force-of-models", "openai/max-tokens"])
def test_a_value_that_only_resembles_an_api_key_is_accepted(name):
    assert read_architecture(generator(model=name)).model_names == (name,)


def test_a_single_component_may_be_written_without_a_list():
    alone = read_architecture(file_with(GENERATOR, CRITIC))

    assert alone == read_architecture(file_with([GENERATOR], [CRITIC]))


def test_a_file_without_a_name_gets_the_default_name():
    data = {"layers": [GENERATOR]}

    assert read_architecture(data, name="math").name == "math"
    assert read_architecture(file_with(), name="math").name == "small"


def test_defaults_reach_the_components_that_have_the_key():
    defaults = {"model": MODEL, "temperature": 0.1, "samples": 3, "top_k": 2, "format": "json"}
    layers = [
        {"type": "generator"}, {"type": "ranker", "temperature": 0}, {"type": "critic"}, VOTER,
    ]  # fmt: skip

    architecture = read_architecture(file_with(*layers, defaults=defaults))

    ((generator,), (ranker,), (critic,), (voter,)) = architecture.layers
    assert generator.model_dump() == {
        "type": "generator", "model": MODEL, "temperature": 0.1, "max_tokens": 2048, "retries": 2,
        "samples": 3, "no_system": False, "overflow": "drop_last",
    }  # fmt: skip
    assert ranker.model_dump(include={"temperature", "top_k", "format"}) == {
        "temperature": 0, "top_k": 2, "format": "json",
    }  # fmt: skip
    assert critic.model_dump(include={"temperature", "samples"}) == {
        "temperature": 0.1, "samples": 3,
    }  # fmt: skip
    assert voter.model_dump() == VOTER | {"pattern": None}


def test_only_model_components_have_a_model():
    architecture = read_architecture(file_with(GENERATOR, VOTER, {**CRITIC, "model": "other"}))

    assert architecture.model_names == (MODEL, "other")
    assert [(depth, place) for depth, place, _ in architecture.model_components] == [(0, 0), (2, 0)]
    assert not issubclass(COMPONENT_TYPES["voter"], ModelComponent)


def test_context_windows_are_keyed_by_the_names_that_components_use():
    models = {"small": {"model": MODEL, "context": 4096}, "large": {"model": "openai/gpt-4o"}}
    pair = [{"type": "generator", "model": name} for name in ("small", "large", MODEL)]

    architecture = read_architecture(file_with(pair, models=models))

    assert architecture.context_windows == {"small": 4096}


def test_a_price_is_the_exact_decimal():
    architecture = read_architecture(model(price={"input": 0.15, "output": "0.60"}, rpm=9))

    assert architecture.models["cheap"] == Model(
        model=MODEL, rpm=9, price=ListPrice(input=Decimal("0.15"), output=Decimal("0.60"))
    )


def test_a_component_names_an_alias_or_the_model_itself():
    pair = [{"type": "generator", "model": "cheap"}, {"type": "critic", "model": "openai/gpt"}]

    architecture = read_architecture(file_with(*pair, models={"cheap": {"model": MODEL, "rpm": 9}}))

    assert architecture.model_names == ("cheap", "openai/gpt")
    assert architecture.model("cheap") == Model(model=MODEL, rpm=9)
    assert architecture.model("openai/gpt") == Model(model="openai/gpt")


@pytest.mark.parametrize(
    ("name", "provider"),
    [("openai/gpt-4o", "openai"), ("together/meta/llama", "together"), ("gpt-4o", "")],
)
def test_a_models_provider_is_the_part_before_the_first_slash(name, provider):
    assert Model(model=name).provider == provider


@given(architecture=architectures())
def test_an_architecture_survives_to_dict_and_back(architecture):
    again = read_architecture(architecture.to_dict())

    assert again == architecture


def test_models_survive_to_dict_and_back():
    models = {
        "cheap": {
            "model": MODEL, "api_base": "http://localhost:8000/v1", "rpm": 1, "tpm": 2,
            "max_in_flight": 3, "price": {"input": 0.15, "output": "1E-7"}, "context": 4,
            "json_schema": False,
        },
    }  # fmt: skip
    architecture = an_architecture(models=models)

    assert read_architecture(architecture.to_dict()) == architecture


def test_the_former_name_of_the_transport_is_accepted():
    def transport(**model):
        models = {"small": {"model": "openai/m", "api_base": "http://localhost:8000/v1", **model}}
        layers = [[{"type": "generator", "model": "small"}]]
        return (
            read_architecture({"name": "a", "models": models, "layers": layers})
            .models["small"]
            .transport
        )

    assert transport(lane="direct") == transport(transport="direct") == "direct"
