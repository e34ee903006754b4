"""The score of each metric for an answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.evaluation.metric import ScoredRow
from archon_batch.evaluation.metrics import METRICS
from archon_batch.scores import Score

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def scored(name, answer, reference):
    metric = METRICS[name]()
    return metric.score(answer, metric.parse_reference(reference))


@pytest.mark.parametrize(
    ("metric", "answer", "reference", "value"),
    [
        ("exact", " Paris\n", "Paris", 1),
        ("exact", "paris", "Paris", 0),
        ("exact", "7", 7, 1),
        ("exact", "b", ["a", "b"], 1),
        ("normalized", "  THE   Seine. ", "the Seine", 1),
        ("normalized", "Cafe\u0301", "caf\u00e9", 1),
        ("normalized", "Seine", "the Seine", 0),
        ("contains", "It is the Seine, of course.", "Seine", 1),
        ("contains", "It is art.", "ar", 0),
        ("contains", "in C++ it is", ["C#", "C++"], 1),
        ("regex", "call 555-1234", r"\d{3}-\d{4}", 1),
        ("regex", "call me", r"\d", 0),
        ("choice", "The answer is (C).", "C", 1),
        ("choice", "The answer is (C).", "(c)", 1),
        ("choice", "C", 2, 1),
        ("choice", "C", 0, 0),
        ("number", "so it is $1,000.00.", "1000", 1),
        ("number", "0.5", "1/2", 1),
        ("number", "#### 18", "so he has 18 eggs\n#### 18", 1),
        ("number", "17", 18, 0),
        ("label", "Negative.", "negative", 1),
        ("label", "It is clearly negative", "negative", 1),
        ("json", 'Here:\n```json\n{"a": "X", "b": 2.0, "c": 1}\n```', {"a": "x", "b": 2}, 1),
        ("json", 'so {"a": "x", "b": 3} it is', '{"a": "x", "b": 2}', 0.5),
        ("json", '{"a": {"b": [1, null, true]}}', {"a": {"b": [1, None, True]}}, 1),
        ("json", '{"a": [2, 1]}', {"a": [1, 2]}, 0),
        ("json", '{"a": 1}', {"a": True}, 0),
    ],
)
def test_an_answer_is_compared_with_its_reference(metric, answer, reference, value):
    score = scored(metric, answer, reference)

    assert (score.value, score.unparsed_reason) == (value, None)


@pytest.mark.parametrize(
    ("metric", "answer", "reference"),
    [
        ("normalized", " \n", "a"),
        ("contains", "", "a"),
        ("choice", "no letter", "A"),
        ("number", "none", 3),
        ("number", '{"answer": "cannot be told, in 3 ways"} 3'.replace("3 ways", "ways"), 3),
        ("label", "who knows", "negative"),
        ("json", "a: x", {"a": "x"}),
        ("json", "[1]", {"a": "x"}),
        ("json", '{"a": "x"', {"a": "x"}),
    ],
)
def test_an_answer_without_anything_to_compare_scores_0_and_is_unparsed(metric, answer, reference):
    score = scored(metric, answer, reference)

    assert score.value == 0
    assert score.unparsed_reason


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("exact", None),
        ("exact", []),
        ("exact", ""),
        ("exact", ["a", True]),
        ("exact", {"a": 1}),
        ("regex", "("),
        ("regex", ""),
        ("regex", 3),
        ("choice", "K"),
        ("choice", "AB"),
        ("choice", 10),
        ("choice", -1),
        ("choice", True),
        ("number", "none"),
        ("number", True),
        ("number", None),
        ("number", "1/0"),
        ("label", None),
        ("label", ""),
        ("json", "a"),
        ("json", {}),
        ("json", [1]),
    ],
)
def test_an_invalid_reference_is_rejected_with_a_hint(metric, reference):
    with pytest.raises(ValueError, match=METRICS[metric].expected_reference.split("(")[0]):
        METRICS[metric]().parse_reference(reference)


SCHEMA = '{"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}'


@pytest.mark.parametrize(
    ("metric", "argument", "answer", "reference", "value"),
    [
        ("regex", r"code (\w+)", "code x1, no: code Y2.", "y2", 1),
        ("regex", r"\d+", "7 of 9", 7, 0),
        ("json", SCHEMA, 'so {"a": 3}', None, 1),
        ("json", SCHEMA, 'so {"a": "3"}', None, 0),
        ("json", SCHEMA, 'so {"b": 3}', None, 0),
        ("json", SCHEMA, '{"a": 3, "b": "x"}', {"a": 3, "b": "y"}, 0.5),
        ("json", SCHEMA, '{"a": "3", "b": "x"}', {"b": "x"}, 0),
    ],
)
def test_a_metric_uses_the_argument_after_its_name(metric, argument, answer, reference, value):
    found = METRICS[metric].from_argument(argument)

    assert found.score(answer, found.parse_reference(reference)).value == value


def test_an_object_that_violates_its_schema_scores_0_with_the_path():
    metric = METRICS["json"].from_argument(SCHEMA)

    assert (
        metric.score('{"a": "3"}', metric.parse_reference(None)).extracted
        == "$.a: '3' is not of type 'integer'"
    )


def test_a_schema_does_not_fetch_references():
    metric = METRICS["json"].from_argument('{"$ref": "https://example.org/schema.json"}')

    with pytest.raises(Exception, match=r"example\.org"):
        metric.score('{"a": 1}', metric.parse_reference(None))


@pytest.mark.parametrize(
    ("metric", "argument"),
    [("exact", "x"), ("math", ""), ("regex", "("), ("regex", ""), ("json", "[")],
)
def test_a_metric_rejects_an_invalid_argument(metric, argument):
    with pytest.raises(ValueError, match=r"no argument|regular expression|JSON schema"):
        METRICS[metric].from_argument(argument)


def test_an_answer_with_two_labels_is_unparsed():
    metric = METRICS["label"]()
    for label in ("negative", "positive", "very negative"):
        metric.parse_reference(label)

    assert metric.score("negative or positive", "negative").unparsed_reason
    # The longer label counts if it contains the shorter one.
    assert metric.score("this is very negative", "very negative").value == 1


def test_labels_give_macro_f1_and_a_confusion_matrix():
    metric = METRICS["label"]()
    pairs = [("a", "a"), ("a", "b"), ("b", "b"), ("b", "b"), ("c", "nothing")]
    references = [metric.parse_reference(of) for of, _ in pairs]
    rows = [
        ScoredRow(ix, str(ix), answer, reference, {}, metric.score(answer, reference))
        for ix, ((_, answer), reference) in enumerate(zip(pairs, references, strict=True))
    ]

    summary = metric.summary(rows)

    # F1 of a is 2/3, of b 4/5, of c 0.
    assert summary["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 3)
    assert summary["confusion"] == {"a": {"a": 1, "b": 1}, "b": {"b": 2}, "c": {"(none)": 1}}


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"code"}))
@given(answer=st.text(), reference=JSON)
def test_a_metric_scores_any_text_and_rejects_invalid_references(name, answer, reference):
    metric = METRICS[name]()
    try:
        prepared = metric.parse_reference(reference)
    except ValueError:
        return

    score = metric.score(answer, prepared)

    assert isinstance(score, Score)
    assert score.value is not None
    assert 0 <= score.value <= 1


@given(reference=st.dictionaries(st.text(min_size=1), JSON, min_size=1))
def test_a_reference_itself_is_a_correct_answer(reference):
    assert scored("json", json.dumps(reference), reference).value == 1
