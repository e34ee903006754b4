"""What an architecture must be, and what the paper says that it should be."""

from typing import Any, ClassVar

import pytest
from hypothesis import given

from archon_batch.archon import (
    Answer,
    Architecture,
    CountRange,
    Reply,
    layer_flows,
    rule_warnings,
    run_item,
    validate_architecture,
)
from archon_batch.archon.components.generator import Generator
from archon_batch.errors import ArchitectureError
from tests.builders import a_component, a_question, an_architecture, architectures

FIVE = {"type": "generator", "samples": 5}
VOTER = {"type": "voter", "extract": "number"}
TESTS, EVALUATOR = "unit_test_generator", "unit_test_evaluator"


def best(top_k: int) -> dict[str, Any]:
    return {"type": "ranker", "top_k": top_k}


def critical(kind: str) -> dict[str, Any]:
    """Has to have critiques."""
    return {"type": kind, "use_critiques": True}


@pytest.mark.parametrize(
    ("layers", "place", "why"),
    [
        ([[]], "layers[0]", "the layer is empty"),
        ([FIVE, []], "layers[1]", "the layer is empty"),
        (
            ["fuser"],
            "layers[0][0]",
            "a fuser needs candidates, and no layer before it produces any; a generator makes some",
        ),
        (["verifier", "generator"], "layers[0][0]", "a verifier needs candidates"),
        ([VOTER, "generator"], "layers[0][0]", "a voter needs candidates"),
        (["critic", "generator"], "layers[0][0]", "a critic needs candidates"),
        (["ranker", "generator"], "layers[0][0]", "a ranker needs candidates"),
        ([TESTS, EVALUATOR, "generator"], "layers[1][0]", "evaluator needs candidates"),
        ([["generator", "critic"]], "layers[0][1]", "a critic needs candidates"),
        (
            [FIVE, EVALUATOR],
            "layers[1][0]",
            (
                "a unit_test_evaluator needs unit tests, and no layer before it produces any; "
                "a unit_test_generator writes some"
            ),
        ),
        ([FIVE, [TESTS, EVALUATOR]], "layers[1][1]", "needs unit tests"),
        (
            [FIVE, critical("ranker")],
            "layers[1][0]",
            (
                "a ranker with these keys needs critiques, and no layer before it produces any; "
                "a critic right before it writes some"
            ),
        ),
        ([FIVE, critical("fuser")], "layers[1][0]", "a fuser with these keys needs critiques"),
        ([FIVE, ["critic", critical("ranker")]], "layers[1][1]", "needs critiques"),
        ([FIVE, "critic", "fuser", critical("ranker")], "layers[3][0]", "needs critiques"),
        ([FIVE, "critic", "generator", critical("fuser")], "layers[3][0]", "needs critiques"),
        ([FIVE, ["critic", "fuser"], critical("fuser")], "layers[2][0]", "needs critiques"),
        ([TESTS], "layers", "no layer produces a candidate for the answer"),
        ([TESTS, TESTS], "layers", "no layer produces a candidate for the answer"),
        ([FIVE, best(6)], "layers[1][0].top_k", "6 is more than the 5 candidates that can arrive"),
        ([FIVE, best(3), [best(2), best(4)]], "layers[2][1].top_k", "4 is more than the 3"),
        ([FIVE, "fuser", best(2)], "layers[2][0].top_k", "2 is more than the 1 candidates"),
        (
            [FIVE, {"type": "verifier", "first_k": 6}],
            "layers[1][0].first_k",
            "6 is more than the 5",
        ),
        (
            [FIVE, TESTS, VOTER, {"type": EVALUATOR, "first_k": 2}],
            "layers[3][0].first_k",
            "2 is more than the 1",
        ),
        (
            [FIVE, TESTS, {"type": EVALUATOR, "top_k": 6}],
            "layers[2][0].top_k",
            "6 is more than the 5",
        ),
        (
            [[{"type": "generator", "samples": 1000}] * 11],
            "layers[0]",
            "up to 11,000 calls; the most allowed is 10,000",
        ),
        ([[{"type": "generator", "samples": 1000}] * 10, "critic"], "layers[1]", "up to 10,001"),
        (
            [[{"type": "generator", "samples": 1000}] * 4, {"type": "verifier", "first_k": 1}],
            "layers[1]",
            "up to 12,000 calls",
        ),
        (
            [
                [FIVE] * 2,
                {"type": "verifier", "samples": 100},
                {"type": "fuser", "samples": 1000},
                {"type": "verifier", "samples": 4},
            ],
            "layers[3]",
            "up to 11,010 calls",
        ),
    ],
)
def test_a_broken_architecture_is_rejected_with_its_path(layers, place, why):
    architecture = an_architecture(*layers)

    with pytest.raises(ArchitectureError) as refusal:
        validate_architecture(architecture)

    assert refusal.value.path == place
    assert why in refusal.value.why


class Wisher(Generator):
    """Produces nothing."""

    produces: ClassVar[frozenset[str]] = frozenset()

    def output_count(self, candidates: int) -> CountRange:
        return CountRange(candidates, candidates)


class Planner(Wisher):
    """Produces what another component of its package requires."""

    produces: ClassVar[frozenset[str]] = frozenset({"plans"})


class Follower(Generator):
    requires: ClassVar[frozenset[str]] = frozenset({"plans"})


def of(*layers: Any) -> Architecture:
    written = [layer if isinstance(layer, tuple) else (layer,) for layer in layers]
    return Architecture("tested", {}, tuple(written))


def a(kind: type[Generator]) -> Generator:
    return kind(type="generator", model="scripted/plausible")


def test_a_first_layer_that_produces_nothing_is_rejected():
    with pytest.raises(ArchitectureError) as refusal:
        validate_architecture(of(a(Wisher), a(Generator)))

    assert (refusal.value.path, refusal.value.why) == (
        "layers[0]",
        "the first layer produces nothing that a later layer could use",
    )


def test_components_of_another_package_can_require_each_other_s_products():
    with pytest.raises(
        ArchitectureError, match=r"needs plans, and no layer before it produces any\Z"
    ) as refusal:
        validate_architecture(of(a(Generator), a(Follower)))

    assert refusal.value.path == "layers[1][0]"
    validate_architecture(of(a(Planner), a(Follower)))


def test_an_architecture_without_layers_is_rejected():
    with pytest.raises(ArchitectureError, match="layers: there is no layer"):
        validate_architecture(of())


@pytest.mark.parametrize(
    "layers",
    [
        ["generator"],
        [FIVE, best(5)],
        [FIVE, "critic", "ranker", "fuser"],
        [[FIVE, "generator"], best(6), best(1)],
        [[{"type": "generator", "samples": 1000}] * 10],
        [FIVE, "critic", critical("ranker"), critical("fuser")],
        [FIVE, "critic", "verifier", VOTER, critical("fuser")],
        [FIVE, "critic", ["ranker", "generator"], critical("fuser")],
        [FIVE, ["critic", "ranker"], critical("fuser")],
        [TESTS, FIVE, "fuser", EVALUATOR],
        [FIVE, "verifier", {"type": "verifier", "first_k": 5}],
        [TESTS, FIVE, {"type": EVALUATOR, "first_k": 3, "top_k": 1}, best(3)],
    ],
)
def test_a_valid_architecture_is_accepted(layers):
    validate_architecture(an_architecture(*layers))


@pytest.mark.parametrize(
    ("layers", "along"),
    [
        (["generator"], [1]),
        ([[FIVE, "generator"], "critic", best(4), "fuser"], [6, 6, 4, 1]),
        ([FIVE, {"type": "fuser", "samples": 3}, "ranker"], [5, 3, 3]),
        ([FIVE, ["critic", best(2)]], [5, 2]),
        ([FIVE, ["critic", "fuser"]], [5, 1]),
        ([FIVE, [best(2), best(1)]], [5, CountRange(2, 3)]),
        ([FIVE, [best(4), best(3)]], [5, CountRange(4, 5)]),
        ([FIVE, ["ranker", "fuser"]], [5, 6]),
        ([FIVE, [best(2), "fuser"], "critic"], [5, 3, 3]),
        ([FIVE, "verifier", [best(1), "generator"]], [5, CountRange(1, 5), 2]),
        ([FIVE, "verifier", best(3), VOTER], [5, CountRange(1, 5), CountRange(1, 3), 1]),
        ([TESTS, FIVE, [VOTER, EVALUATOR]], [0, 5, 5]),
        ([TESTS, FIVE, {"type": EVALUATOR, "first_k": 3, "top_k": 1}], [0, 5, CountRange(1, 3)]),
        ([TESTS, FIVE, {"type": EVALUATOR, "first_k": 1, "top_k": 3}], [0, 5, CountRange(1, 3)]),
    ],
)
def test_candidates_are_counted_from_layer_to_layer(layers, along):
    counted = list(layer_flows(an_architecture(*layers)))

    expected = [CountRange(n, n) if isinstance(n, int) else n for n in along]
    assert [flow.candidates_out for flow in counted] == expected
    assert [flow.candidates_in for flow in counted] == [CountRange(0, 0), *expected[:-1]]


@pytest.mark.parametrize(
    ("layers", "shown"),
    [
        ([FIVE, "critic", best(2), "critic", ["fuser"] * 3, "ranker"], [0, 5, 5, 2, 2, 3]),
        ([FIVE, [best(2), "generator"], "critic", VOTER, "fuser"], [0, 5, 3, 0, 1]),
        ([FIVE, TESTS, {"type": EVALUATOR, "top_k": 3}, "ranker"], [0, 0, 1, 3]),
    ],
)
def test_the_number_of_shown_candidates_equals_the_predicted_number(layers, shown):
    counted = dict.fromkeys(range(len(layers)), 0)

    def answer(call):
        marks = call.messages[-1].content.count("\n<<<end of response ")
        counted[call.key.layer] = max(marks, counted[call.key.layer])
        return Reply(call.reply_format.example if call.reply_format else f"text {call.key}")

    run_item(an_architecture(*layers), a_question(), answer)

    assert list(counted.values()) == shown


@given(architecture=architectures())
def test_a_valid_architecture_answers_if_nothing_fails(architecture):
    end, _ = run_item(
        architecture,
        a_question(),
        lambda call: Reply(
            call.reply_format.example if call.reply_format else f"1 text {call.key}"
        ),
    )

    assert isinstance(end, Answer)
    # A voter may find no answer in such texts.
    assert {warning.why.partition(" (")[0] for warning in end.warnings} <= {"no answer"}


@pytest.mark.parametrize(
    "layers",
    [
        ["generator"],
        [[FIVE, "generator"], "fuser"],
        [FIVE, best(1)],
        [FIVE, "fuser"],
        [FIVE, "critic", "fuser"],
        [FIVE, "critic", best(1)],
        [FIVE, best(3), "critic", "fuser"],
        [FIVE, "critic", "ranker", "fuser"],
        [FIVE, "critic", best(5), ["fuser"] * 3, "fuser"],
        [FIVE, "critic", ["fuser"] * 3, "critic", ["fuser"] * 2, "fuser"],
        [FIVE, "verifier", "fuser"],
        [FIVE, "critic", "verifier", "fuser"],
        [FIVE, TESTS, EVALUATOR, "fuser"],
        [FIVE, "critic", TESTS, EVALUATOR, "fuser"],
        [FIVE, TESTS, {"type": EVALUATOR, "top_k": 1}],
        [["generator"] * 10, "critic", "ranker", ["fuser"] * 6, "verifier", "fuser"],
        [["generator"] * 6, ["fuser"] * 6, ["fuser"] * 6, "fuser"],
        [FIVE, VOTER],
        [FIVE, "critic", VOTER, "fuser"],
    ],
)
def test_an_architecture_by_the_papers_rules_gives_no_warning(layers):
    architecture = an_architecture(*layers)

    validate_architecture(architecture)
    assert list(rule_warnings(architecture)) == []


def mixed(*types: str) -> str:
    return (
        f"the paper has one type of component in a layer, here are {', '.join(types)}; "
        "all of them see the same candidates, and not each other's results"
    )


def alone(kind: str) -> str:
    return f"the paper has one {kind} in a layer, and nothing beside it"


def first(kind: str) -> str:
    return f"the paper begins with generators; its {kind} comes after them"


UNREAD = "no ranker or fuser reads these critiques before their candidates are replaced"
LATE = "the paper has generators in the first layer only"
LOST = f"{LATE}; the candidates before are lost"
NO_EVALUATOR = "the paper has a unit_test_evaluator in the layer right after a unit_test_generator"
NO_TESTS = "the paper has a unit_test_generator in the layer right before a unit_test_evaluator"


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        # One type per layer.
        ([["generator", TESTS]], [mixed("generator", TESTS), first(TESTS), alone(TESTS), NO_EVALUATOR]),
        ([FIVE, ["critic", "fuser"]], [mixed("critic", "fuser"), alone("critic"), UNREAD]),
        ([FIVE, ["fuser", VOTER], "fuser"], [mixed("fuser", "voter")]),
        ([FIVE, ["ranker", VOTER], "fuser"], [mixed("ranker", "voter"), alone("ranker")]),
        # Generators in the first layer only.
        ([FIVE, "generator"], [LOST]),
        ([TESTS, "generator"], [first(TESTS), NO_EVALUATOR, LATE]),
        ([FIVE, ["generator", best(2)], "fuser"], [mixed("generator", "ranker"), LATE, alone("ranker")]),
        # A critic before a component that reads critiques.
        (["generator", "critic"], [UNREAD]),
        ([FIVE, "critic", "generator"], [UNREAD, LOST]),
        ([FIVE, "critic", {"type": "fuser", "use_critiques": False}], [UNREAD]),
        ([FIVE, "critic", {"type": "ranker", "use_critiques": False}, "fuser"], []),
        ([FIVE, "fuser", "critic"], [UNREAD]),
        ([FIVE, "critic", "fuser", "critic"], [UNREAD]),
        ([FIVE, "critic", "critic", "fuser"], []),
        ([FIVE, ["critic", "fuser"], "fuser"], [mixed("critic", "fuser"), alone("critic"), UNREAD]),
        ([FIVE, "critic", "verifier", VOTER], [UNREAD]),
        # Alone in their layers.
        ([FIVE, [best(1), best(1)], "fuser"], [alone("ranker")]),
        ([FIVE, ["critic", "critic"], "fuser"], [alone("critic")]),
        ([FIVE, ["verifier", "verifier"], "fuser"], [alone("verifier")]),
        ([FIVE, [TESTS, TESTS], EVALUATOR, "fuser"], [alone(TESTS)]),
        ([FIVE, TESTS, [EVALUATOR, EVALUATOR], "fuser"], [alone(EVALUATOR)]),
        # Unit tests directly followed by their evaluator.
        ([TESTS, FIVE, EVALUATOR, "fuser"], [first(TESTS), NO_EVALUATOR, LATE, NO_TESTS]),
        ([FIVE, TESTS, "fuser", EVALUATOR], [NO_EVALUATOR, NO_TESTS]),
        ([FIVE, TESTS, EVALUATOR, EVALUATOR, "fuser"], [NO_TESTS]),
        ([FIVE, TESTS, "fuser"], [NO_EVALUATOR]),
    ],
)  # fmt: skip
def test_broken_rules_of_the_paper_give_warnings(layers, told):
    architecture = an_architecture(*layers)

    validate_architecture(architecture)
    assert sorted(why for place, why in rule_warnings(architecture) if place != "layers") == sorted(
        told
    )


@pytest.mark.parametrize(
    ("layers", "place", "why"),
    [
        (["generator", "critic"], "layers[1]", UNREAD),
        ([FIVE, "critic", "generator", VOTER], "layers[1]", UNREAD),
        ([FIVE, "critic", "critic", VOTER], "layers[2]", UNREAD),
        ([FIVE, "generator"], "layers[1]", LOST),
        ([TESTS, FIVE, EVALUATOR, "fuser"], "layers[0]", NO_EVALUATOR),
        ([TESTS, FIVE, EVALUATOR, "fuser"], "layers[2]", NO_TESTS),
        ([FIVE, "ranker"], "layers", "up to 5 candidates are left at the end"),
        ([FIVE, "verifier"], "layers", "up to 5 candidates are left at the end"),
        (
            [FIVE, {"type": "fuser", "samples": 2}],
            "layers",
            (
                "up to 2 candidates are left at the end, and the first is the answer; "
                "a ranker with top_k: 1, a voter or a fuser leaves one"
            ),
        ),
    ],
)
def test_a_rule_warning_has_its_path(layers, place, why):
    told = [said for at, said in rule_warnings(an_architecture(*layers)) if at == place]

    assert any(why in said for said in told)


@given(architecture=architectures())
def test_every_rule_warning_has_a_path_and_is_given_once(architecture):
    told = list(rule_warnings(architecture))

    assert len(set(told)) == len(told)
    assert all(place == "layers" or place.startswith("layers[") for place, _ in told)


def test_requirements_and_products_depend_on_fields():
    assert a_component("ranker").effective_requires() == {"candidates"}
    assert a_component("ranker", use_critiques=False).effective_requires() == {"candidates"}
    assert a_component("ranker", use_critiques=True).effective_requires() == {
        "candidates",
        "critiques",
    }
