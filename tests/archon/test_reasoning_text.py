"""No candidate holds what its model thought."""

import pytest

from archon_batch.archon import (
    Answer,
    CallKey,
    CallsNeeded,
    Failed,
    Question,
    Reply,
    plan_item,
    strip_reasoning,
)
from archon_batch.archon.call import Message
from tests.archon.components.hostile_texts import slow
from tests.builders import an_architecture

QUESTION = Question("q", (Message("user", "3 + 4?"),))


@pytest.mark.parametrize(
    "text",
    [
        "<think>3 and 4, so 12?</think>7",
        "\n <think>\n12?\n</think>\n\n7",
        "<Thinking>12?</Thinking> 7",
        "<thought>12?</thought>\n7",
        "<reasoning>12?</reasoning>\n7",
        "<seed:think>12?</seed:think>7",
        "[THINK]12?[/THINK]7",
        "◁think▷12?◁/think▷7",
        "<|START_THINKING|>12?<|END_THINKING|><|START_RESPONSE|>7<|END_RESPONSE|>",
        "<|begin_of_thought|>12?<|end_of_thought|>\n<|begin_of_solution|>7<|end_of_solution|>",
        "<|inner_prefix|>12?<|inner_suffix|>7",
        "<|channel>thought\n12?<channel|>7",
        "<|channel|>analysis<|message|>12?<|end|><|start|>assistant<|channel|>final<|message|>7",
        "<|channel|>commentary<|message|>12?<|channel|>final <|constrain|>json<|message|>7<|return|>",
        "<|channel|>final<|message|>7<|return|>",
        "analysisWe add 3 and 4.assistantfinal7",
        "Here is my thought process: 12? Here is my response: 7",
        # The template puts the opening tag into the prompt.
        "12? No, 7.\n</think>\n\n7",
        "12?[/THINK]7",
        # It reasons twice, and mentions the tags in its reasoning.
        "<think>12?</think>\n<think>No.</think>7",
        "<think>I will close with </think>, then </think>7",
        "<think></think>7",
        "<think>Let me see.\n```python\n12?\n</think>\n7",
        "Let me see.\n```python\n3 + 4\n</think>7",
        "Sure.\n<think>12?</think>\n7",
    ],
)
def test_the_text_after_the_reasoning_is_returned(text):
    assert strip_reasoning(text) == "7"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>a</think>```python\nb\n```", "```python\nb\n```"),
        ("a\n```python\nb\n</think>\n```python\nc\n```", "```python\nc\n```"),
        ("<think>a</think>\nWrite:\n```\n</think>\n```", "Write:\n```\n</think>\n```"),
        ("a</think>`b` is it, and `c`", "`b` is it, and `c`"),
    ],
)
def test_code_in_the_answer_is_kept(text, said):
    assert strip_reasoning(text) == said


@pytest.mark.parametrize(
    "text",
    [
        *("7", "", " \n", "a < b, c > d", "</b>", "I think: 7", "[think] 7"),
        "The model ends its thoughts with `</think>`, as in `<think>a</think>b`.",
        "It prints:\n```\n<think>\na\n</think>\n```\nand then its answer.",
        "- one\n   ~~~text\n   a</think>\n   ~~~\n- two",
        'It prints "</think>" first.',
        "Between <think> and </think> there is nothing.",
        "Here is my thought process: first I add.",
        "analysis of the sum: 7",
    ],
)
def test_a_text_that_only_mentions_reasoning_tags_is_unchanged(text):
    assert strip_reasoning(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("<think>\nMaybe 12. Or", "\n<thinking>", "[THINK]12", "◁think▷", "<|START_THINKING|>12"),
        "<|channel|>analysis<|message|>12",
        *("12</think>", "<think>12</think>\n", "<think>12</think><think>7"),
    ],
)
def test_a_text_whose_reasoning_never_ends_is_none(text):
    assert strip_reasoning(text) is None


def test_every_text_is_processed_quickly():
    assert slow(strip_reasoning) == []
    assert slow(lambda text: strip_reasoning(f"<think>{text}</think>\n{text}")) == []


REPLIES = {
    CallKey(0, 0, 0, 0): Reply("<think>12</think>7"),
    CallKey(0, 0, 1, 0): Reply("12, no, 7</think>7"),
    CallKey(0, 0, 2, 0): Reply("12"),
}


def test_a_vote_ignores_reasoning():
    architecture = an_architecture(
        {"type": "generator", "samples": 3}, {"type": "voter", "extract": "text"}
    )

    end = plan_item(architecture, QUESTION, REPLIES)

    assert isinstance(end, Answer)
    assert (end.text, end.candidate_id) == ("7", "0.0.0")


def test_no_prompt_of_a_later_layer_has_reasoning():
    architecture = an_architecture({"type": "generator", "samples": 2}, {"type": "fuser"})

    ask = plan_item(architecture, QUESTION, REPLIES)

    assert isinstance(ask, CallsNeeded)
    shown = "".join(m.content for call in ask.calls for m in call.messages)
    assert "7" in shown
    assert "12" not in shown


def test_a_verdict_in_reasoning_is_ignored():
    architecture = an_architecture({"type": "generator"}, {"type": "verifier", "retries": 0})
    replies = {
        CallKey(0, 0, 0, 0): Reply("7"),
        CallKey(1, 0, 0, 0): Reply("<think>It is.</think>It holds."),
        CallKey(1, 0, 1, 0): Reply("<think>\n[Correct]"),
    }

    end = plan_item(architecture, QUESTION, replies)

    assert isinstance(end, Answer)
    assert "the reply was empty" in [warning.why for warning in end.warnings]


@pytest.mark.parametrize(
    ("finish", "why"),
    [("length", "the model used all of max_tokens for reasoning"), ("stop", "the reply was empty")],
)
def test_a_reply_whose_reasoning_never_ends_is_no_candidate(finish, why):
    architecture = an_architecture({"type": "generator", "retries": 0})

    end = plan_item(
        architecture, QUESTION, {CallKey(0, 0, 0, 0): Reply("<think>12", finish_reason=finish)}
    )

    assert isinstance(end, Failed)
    assert end.why == why


def test_a_reply_of_reasoning_only_is_asked_again():
    architecture = an_architecture({"type": "generator", "retries": 1})

    step = plan_item(architecture, QUESTION, {CallKey(0, 0, 0, 0): Reply("<think>12")})

    assert isinstance(step, CallsNeeded)
    assert [call.key for call in step.calls] == [CallKey(0, 0, 0, 1)]
