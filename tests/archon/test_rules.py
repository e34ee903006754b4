"""What an architecture must be, and what the paper says that it should be."""

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import (
    Answer,
    Architecture,
    Reply,
    arrivals,
    refuse_broken,
    run,
    warnings,
)
from archon_batch.archon.components.generator import Generator
from archon_batch.archon.rules import leaving_at_end
from archon_batch.errors import ArchitectureError
from tests.builders import a_question, an_architecture, answers, architectures

FIVE = {"type": "generator", "samples": 5}


def best(top_k):
    return {"type": "ranker", "top_k": top_k}


@pytest.mark.parametrize(
    ("layers", "place", "why"),
    [
        ([[]], "layers[0]", "the layer is empty"),
        ([FIVE, []], "layers[1]", "the layer is empty"),
        (["fuser"], "layers[0][0]", "a fuser needs candidates"),
        ([["generator", "critic"]], "layers[0][1]", "a critic needs candidates"),
        (["ranker", "generator"], "layers[0][0]", "no layer before it makes any"),
        ([FIVE, best(6)], "layers[1][0].top_k", "6 is more than the 5 candidates that arrive"),
        ([FIVE, best(3), [best(2), best(4)]], "layers[2][1].top_k", "4 is more than the 3"),
        ([FIVE, "fuser", best(2)], "layers[2][0].top_k", "2 is more than the 1 candidates"),
        (
            [[{"type": "generator", "samples": 1000}] * 11],
            "layers[0]",
            "up to 11,000 calls; the most allowed is 10,000",
        ),
        (
            [*[{"type": "generator", "samples": 1000}] * 10, "critic"],
            "layers[10]",
            "up to 10,003 calls",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(layers, place, why):
    architecture = an_architecture(*layers)

    with pytest.raises(ArchitectureError) as refusal:
        refuse_broken(architecture)

    assert refusal.value.place == place
    assert why in refusal.value.why


class Wisher(Generator):
    """Needs no candidates and makes none."""

    makes_candidates: ClassVar[bool] = False

    def leaves(self, candidates: int) -> int:
        return candidates


def test_an_architecture_that_makes_no_candidate_is_refused():
    wisher = Wisher(type="generator", model="scripted/plausible")

    with pytest.raises(ArchitectureError, match="no layer makes a candidate to answer with"):
        refuse_broken(Architecture("empty", {}, ((wisher,),)))


def test_an_architecture_without_layers_is_refused():
    with pytest.raises(ArchitectureError, match="layers: there is no layer"):
        refuse_broken(Architecture("empty", {}, ()))


@pytest.mark.parametrize(
    "layers",
    [
        ["generator"],
        [FIVE, best(5)],
        [FIVE, "critic", "ranker", "fuser"],
        [[FIVE, "generator"], best(6), best(1)],
        [[{"type": "generator", "samples": 1000}] * 10],
    ],
)
def test_what_can_work_is_let_through(layers):
    refuse_broken(an_architecture(*layers))


@pytest.mark.parametrize(
    ("layers", "arriving", "left"),
    [
        (["generator"], [0], 1),
        ([[FIVE, "generator"], "critic", best(4), "fuser"], [0, 6, 6, 4], 1),
        ([FIVE, {"type": "fuser", "samples": 3}, "ranker"], [0, 5, 3], 3),
        ([FIVE, ["critic", best(2)]], [0, 5], 2),
        ([FIVE, ["critic", "fuser"]], [0, 5], 1),
        ([FIVE, [best(2), best(1)]], [0, 5], 3),
        ([FIVE, ["ranker", "fuser"]], [0, 5], 6),
        ([FIVE, [best(2), "fuser"], "critic"], [0, 5, 3], 3),
    ],
)
def test_candidates_are_counted_from_layer_to_layer(layers, arriving, left):
    architecture = an_architecture(*layers)

    assert list(arrivals(architecture)) == arriving
    assert leaving_at_end(architecture) == left


@given(architecture=architectures(), seed=st.integers())
def test_no_more_candidates_are_left_than_are_counted(architecture, seed):
    shown: dict[int, int] = {}

    def answer(call):
        if call.kind == "fuser":
            marks = call.messages[-1].content.count("\n<<<end of response ")
            shown[call.key.layer] = max(marks, shown.get(call.key.layer, 0))
        return answers(seed)(call)

    run(architecture, a_question(), answer)

    counted = list(arrivals(architecture))
    assert all(marks <= counted[layer] for layer, marks in shown.items())


@given(architecture=architectures())
def test_whatever_is_let_through_comes_to_an_answer_when_nothing_fails(architecture):
    end, _ = run(
        architecture,
        a_question(),
        lambda call: Reply(call.form.example if call.form else f"text {call.key}"),
    )

    assert isinstance(end, Answer)
    assert end.notes == ()


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (["generator"], []),
        ([FIVE, "fuser"], []),
        ([FIVE, "critic", best(1)], []),
        ([FIVE, "critic", "fuser"], []),
        (["generator", "critic"], [("layers", "no ranker or fuser reads the last critiques")]),
        (
            [FIVE, "ranker"],
            [("layers", "5 candidates are left at the end; the first is the answer")],
        ),
        (
            [FIVE, "generator"],
            [
                (
                    "layers[1]",
                    "the paper has generators in the first layer only; the candidates before are lost",
                )
            ],
        ),
        (
            [FIVE, ["critic", "fuser"]],
            [
                (
                    "layers[1]",
                    "the paper has one type of component in a layer, here are critic, fuser",
                ),
                ("layers[1]", "the paper has a critic alone in its layer"),
                ("layers", "no ranker or fuser reads the last critiques"),
            ],
        ),
        (
            [FIVE, [best(1), best(1)], "fuser"],
            [("layers[1]", "the paper has a ranker alone in its layer")] * 2,
        ),
    ],
)
def test_the_papers_rules_that_are_broken_are_told(layers, told):
    assert list(warnings(an_architecture(*layers))) == told
