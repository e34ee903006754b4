"""Problems of each benchmark from our own rows in the published format."""

from typing import Any

import pytest

from archon_batch.errors import DatasetError
from archon_batch.evaluation.benchmarks import BENCHMARKS
from archon_batch.evaluation.benchmarks.benchmark import Problem, sample_problems
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord


def records(*rows: dict[str, Any], file: str = "test.jsonl") -> list[BenchmarkRecord]:
    return [BenchmarkRecord(file, line, row) for line, row in enumerate(rows, start=1)]


def problems(name: str, seed: int = 0, **parts: list[BenchmarkRecord]) -> list[Problem]:
    benchmark = BENCHMARKS[name]()
    given = {part.name: parts.get(part.name.replace("-", "_"), []) for part in benchmark.file_sets}
    return list(benchmark.problems(given, seed))


def test_gsm8k_uses_the_number_after_the_solution() -> None:
    (one,) = problems("gsm8k", problems=records({"question": "2 + 2?", "answer": "So.\n#### 4"}))
    metric = BENCHMARKS["gsm8k"]().make_metric()
    assert one.turns[0].startswith("2 + 2?\n\n")
    assert metric.score("Answer: 4", metric.parse_reference(one.reference)).value == 1


def test_math_uses_the_boxed_answer_of_the_solution() -> None:
    published = {
        "problem": "Half of one?",
        "level": "Level 3",
        "type": "Algebra",
        "solution": r"It is $\boxed{\frac{1}{2}}$.",
    }
    (one,) = problems("math", problems=records(published, file="test/algebra/7.json"))
    assert (one.id, one.reference) == ("algebra/7.json", "1/2")
    assert one.groups == {"subject": "Algebra", "level": "3"}


def test_math_500_has_a_field_with_the_answer() -> None:
    published = {
        "problem": "?",
        "solution": "no box",
        "answer": "p - q",
        "subject": "Algebra",
        "level": 5,
        "unique_id": "test/algebra/1.json",
    }
    (one,) = problems("math-500", problems=records(published))
    assert (one.id, one.reference, one.groups["level"]) == ("test/algebra/1.json", "p - q", "5")


def test_mmlu_is_read_in_both_editions() -> None:
    csv = {"question": "Q?", "A": "a", "B": "b", "C": "c", "D": "d", "answer": "C"}
    (old,) = problems("mmlu", questions=records(csv, file="test/college_physics_test.csv"))
    hub = {"question": "Q?", "subject": "college_physics", "choices": list("abcd"), "answer": 2}
    (new,) = problems("mmlu", questions=records(hub))
    assert old.turns == new.turns
    assert "A. a\nB. b\nC. c\nD. d" in old.turns[0]
    assert old.reference == new.reference == "C"
    assert old.groups == new.groups == {"subject": "college_physics"}


def test_mmlu_pro_drops_padding_options() -> None:
    published = {
        "question_id": 70,
        "question": "Q?",
        "options": ["a", "b", "c", "N/A"],
        "answer": "B",
        "category": "law",
    }
    (one,) = problems("mmlu-pro", questions=records(published))
    assert (one.id, one.reference) == ("70", "B")
    assert "D. " not in one.turns[0]
    with pytest.raises(DatasetError, match=r"test.jsonl:1: answer: expected the letter"):
        problems("mmlu-pro", questions=records({**published, "answer": "D"}))


def test_gpqa_shuffles_each_question_by_seed_and_id() -> None:
    rows = [
        {
            "Record ID": f"rec{n}",
            "Question": "Q?",
            "Correct Answer": "right",
            **{f"Incorrect Answer {k}": f"wrong {k}" for k in (1, 2, 3)},
            "High-level domain": "Physics",
        }
        for n in range(40)
    ]
    all_of_them = problems("gpqa", questions=records(*rows))
    for one in all_of_them:
        assert f"{one.reference}. right" in one.turns[0]
    assert {one.reference for one in all_of_them} == set("ABCD")
    (last,) = problems("gpqa", questions=records(rows[-1]))
    assert last == all_of_them[-1]
    assert problems("gpqa", seed=1, questions=records(*rows)) != all_of_them


def test_ifeval_rejects_unknown_instructions() -> None:
    published = {
        "key": 1000,
        "prompt": "Say it without commas.",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{"num_words": None}],
    }
    (one,) = problems("ifeval", prompts=records(published))
    assert one.reference["kwargs"] == [{}]
    wrongs: list[dict[str, Any]] = [
        {"instruction_id_list": ["punctuation:no_full_stop"]},
        {"instruction_id_list": ["keywords:existence"]},
        {"kwargs": [{}, {}]},
    ]
    for wrong in wrongs:
        with pytest.raises(DatasetError, match="instruction_id_list"):
            problems("ifeval", prompts=records({**published, **wrong}))


def test_code_problems_have_their_published_tests() -> None:
    human = {
        "task_id": "HumanEval/0",
        "prompt": "def f():\n",
        "entry_point": "f",
        "test": "def check(candidate): ...",
    }
    (one,) = problems("humaneval", problems=records(human))
    assert one.reference == {key: human[key] for key in ("prompt", "entry_point", "test")}
    text = {"task_id": 11, "text": "Do it.", "test_list": ["assert f() == 1"], "code": "..."}
    shown, untested = text, {**text, "task_id": 10}
    (two,) = problems("mbpp", problems=records(shown, untested))
    assert two.id == "11"
    assert two.turns[0].endswith("```python\nassert f() == 1\n```")


def test_code_contests_joins_all_tests_and_skips_images() -> None:
    row = {
        "name": "1_A. Sum",
        "description": "Add.",
        "public_tests": {"input": ["1 2"], "output": ["3"]},
        "private_tests": {"input": ["2 2"], "output": ["4"]},
        "generated_tests": {"input": [], "output": []},
    }
    image = {**row, "name": "1_B. See", "description": "See <image>"}
    (one,) = problems("codecontests", problems=records(row, image))
    assert one.reference == {"input": ["1 2", "2 2"], "output": ["3", "4"]}
    wrong = {**row, "private_tests": {"input": ["2 2"], "output": []}}
    with pytest.raises(DatasetError, match="private_tests: expected as many"):
        problems("codecontests", problems=records(wrong))


def test_mt_bench_shows_the_judge_the_reference_of_the_turn() -> None:
    question = {"question_id": 101, "category": "math", "turns": ["One?", "Two?"]}
    known = {"question_id": 101, "choices": [{"index": 0, "turns": ["1", "2"]}]}
    (one,) = problems("mt-bench", questions=records(question), references=records(known))
    benchmark = BENCHMARKS["mt-bench"]()
    first = benchmark.judge_case(one, ("first", "second"), 0)
    second = benchmark.judge_case(one, ("first", "second"), 1)
    assert (first.answer, first.reference) == ("first", "1")
    assert [m.content for m in second.messages] == ["One?", "first", "Two?"]
    assert second.reference == "To the request before: 1\n\nTo this request: 2"
    with pytest.raises(DatasetError, match="no reference answer for 101"):
        problems("mt-bench", questions=records(question))
    (free,) = problems("mt-bench", questions=records({**question, "category": "writing"}))
    assert benchmark.judge_case(free, ("first",), 0).reference is None


def test_arena_hard_uses_the_baseline_of_the_category() -> None:
    rows = records(
        {"uid": "a", "category": "hard_prompt", "subcategory": "math", "prompt": "Q"},
        {"uid": "b", "category": "creative_writing", "prompt": "Q"},
    )
    answers = records(
        *(
            {
                "uid": uid,
                "model": model,
                "messages": [{"role": "user"}, {"content": {"answer": f"{model} on {uid}"}}],
            }
            for uid in "ab"
            for model in ("o3-mini-2025-01-31", "gemini-2.0-flash-001")
        )
    )
    found = problems("arena-hard-2", questions=rows, baseline=answers)
    assert [one.baseline_answer for one in found] == [
        "o3-mini-2025-01-31 on a",
        "gemini-2.0-flash-001 on b",
    ]
    assert found[0].groups == {"category": "hard_prompt", "subcategory": "math"}
    # A baseline of the user's serves all categories under any model name.
    mine = records(
        *(
            {"question_id": uid, "model_id": "mine", "choices": [{"turns": [{"content": uid}]}]}
            for uid in "ab"
        )
    )
    assert [p.baseline_answer for p in problems("arena-hard-2", questions=rows, baseline=mine)] == [
        "a",
        "b",
    ]
    with pytest.raises(DatasetError, match="no baseline answer for a"):
        problems("arena-hard-2", questions=rows)


def test_the_first_edition_of_arena_hard_has_turns() -> None:
    row = {"question_id": "a", "category": "arena-hard-v0.1", "turns": [{"content": "Q"}]}
    answer = {
        "question_id": "a",
        "model_id": "gpt-4-0314",
        "choices": [{"turns": [{"content": "A"}]}],
    }
    (one,) = problems("arena-hard", questions=records(row), baseline=records(answer))
    assert (one.turns, one.baseline_answer) == (("Q",), "A")


def test_alpaca_eval_matches_baselines_by_instruction() -> None:
    row = {"dataset": "vicuna", "instruction": "Do.", "output": "Done.", "generator": "gpt4"}
    (one,) = problems("alpaca-eval", instructions=records(row), baseline=records(row))
    assert (one.turns, one.baseline_answer, one.groups) == (
        ("Do.",),
        "Done.",
        {"dataset": "vicuna"},
    )
    with pytest.raises(DatasetError, match="no baseline answer for it"):
        problems("alpaca-eval", instructions=records(row))


def test_mixeval_has_a_free_form_and_a_multiple_choice_part() -> None:
    free = {
        "problem_type": "free-form",
        "context": None,
        "prompt": "Who?",
        "target": ["Ann", "Ann", "Anna"],
        "benchmark_name": "TriviaQA",
    }
    choice = {
        "context": "There was light.",
        "prompt": "Was there?",
        "options": ["yes", "no"],
        "target": [0],
        "benchmark_name": "BoolQ",
    }
    one, two = problems("mixeval", free_form=records(free), multiple_choice=records(choice))
    benchmark = BENCHMARKS["mixeval"]()
    assert (benchmark.needs_judge(one), benchmark.needs_judge(two)) == (True, False)
    assert benchmark.judge_case(one, ("Ann",), 0).reference == "Any one of these:\n- Ann\n- Anna"
    assert two.turns[0].startswith("There was light.\n\nWas there?\n\nA. yes\nB. no")
    assert two.reference == "A"


def test_an_unexpected_record_is_rejected_with_its_location() -> None:
    with pytest.raises(DatasetError, match=r"test.jsonl:1: question: missing; keys found: q"):
        problems("gsm8k", problems=records({"q": "2 + 2?"}))


def test_a_sample_of_problems_keeps_their_order() -> None:
    every = [Problem(str(n), ("?",)) for n in range(100)]
    some = sample_problems(every, 10, seed=1)
    assert [int(one.id) for one in some] == sorted(int(one.id) for one in some)
    assert some == sample_problems(every, 10, seed=1) != sample_problems(every, 10, seed=2)
    assert sample_problems(every, None, seed=1) == sample_problems(every, 200, seed=1) == every
