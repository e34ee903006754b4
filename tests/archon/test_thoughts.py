"""What is taken out of a reply's text, and what is left in it."""

from time import process_time

import pytest

from archon_batch.archon import without_thoughts

THOUGHTS = {
    "a pair": ("<think>17?</think>42", "42"),
    "white space before": ("\n <think>\n17?\n</think>\n\n42", "42"),
    "no opening mark": ("Let me think: 17.\n</think>\n\n42", "42"),
    "no opening mark and one line": ("Let me think: 17.</think>42", "42"),
    "a lone mark at the very start": ("</think>\n\n42", "42"),
    "two pairs": ("<think>a</think>\n<think>b</think>42", "42"),
    "a pair, then a lone mark": ("<think>a</think>b\n</think>\n42", "42"),
    "a thought that quotes the mark": ("<think>So `</think>` ends it.\n</think>\n42", "42"),
    "a thought whose code is not closed": ("<think>\n```py\nx = 1\n</think>\n42", "42"),
    "nothing said after": ("<think>17?</think>\n", ""),
    "never closed": ("<think>\nmaybe 17", ""),
    "never closed the second time": ("<think>a</think><think>b", ""),
    "an answer about marks": (
        "<think>Hm.</think>R1 writes <think>its thoughts</think> first.",
        "R1 writes <think>its thoughts</think> first.",
    ),
    "thinking": ("<thinking>17?</thinking>\n\n42", "42"),
    "thought": ("<thought>17</thought>42", "42"),
    "reasoning": ("<reasoning>\n17\n</reasoning>\n<answer>42</answer>", "<answer>42</answer>"),
    "Seed": ("<seed:think>17</seed:think>42", "42"),
    "Magistral": ("[THINK]17?[/THINK]42", "42"),
    "Kimi": ("◁think▷17◁/think▷42", "42"),
    "OpenThinker": ("<|begin_of_thought|>\n17\n<|end_of_thought|>\n\n42", "42"),
    "Command A": ("<|START_THINKING|>17<|END_THINKING|>42", "42"),
    "gpt-oss": (
        "<|channel|>analysis<|message|>17?<|end|><|start|>assistant<|channel|>final<|message|>42<|return|>",
        "42",
    ),
    "gpt-oss held to JSON": (
        "<|channel|>analysis<|message|>?<|end|><|channel|>final <|constrain|>json<|message|>[42]",
        "[42]",
    ),
    "gpt-oss cut in its thoughts": ("<|channel|>analysis<|message|>17? Or", ""),
    "gpt-oss without its special tokens": ("analysisWe add: 42.assistantfinal42", "42"),
}
ANSWERS = [
    "",
    "42",
    "  42\n",
    "Its thoughts stand between <think> and </think>, and the answer after.",
    "Write `</think>` to end them.",
    'The mark "</think>" ends them.',
    "A template:\n\n```\n{{ thoughts }}\n</think>\n{{ answer }}\n```\n\nThat is all.",
    "~~~\n<think>\n</think>\n~~~",
    "First the pair <think>a</think>\nand then the rest.",
    "To open: <think>",
    "In `<|channel|>final<|message|>` the answer stands.",
    "analysis of the case: assistantfinal is no word",
]


@pytest.mark.parametrize("case", THOUGHTS)
def test_thoughts_are_taken_out(case):
    text, left = THOUGHTS[case]
    assert without_thoughts(text) == left


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_that_has_no_thoughts_or_is_about_them_stays_as_it_is(text):
    assert without_thoughts(text) == text


@pytest.mark.parametrize(
    "part",
    [
        "<think>", "</think>", "<think></think>", "`</think>`", "x </think> ", "</think>\n", "```\n",
        "<|channel|>", "<|channel|>final", "<think>`</think>", "analysisA", "[THINK]</think>",
    ],
)  # fmt: skip
def test_a_text_of_marks_alone_takes_no_longer_than_its_length(part):
    def seconds(size):
        text = f"<think>{part * (size // len(part))}"
        began = process_time()
        without_thoughts(text)
        without_thoughts(text[7:])
        return process_time() - began

    # Were it by the square, it would be minutes.
    assert seconds(200_000) < 4
