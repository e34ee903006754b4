"""Redaction removes quoted prompts and keys, in bounded time for any text."""

import json
import time
from html import escape

import pytest

from archon_batch.providers.redaction import redact

#: A prompt of the longest length that is compared.
LONG = 200_000
PROMPT = 'The patient Jonathan Doe (born 1970) complains of "headaches" & dizziness since Monday.'
TEXTS = {
    "backslashes": "\\" * LONG,
    "an end in backslashes": "a story " * (LONG // 16) + "\\" * 60_000,
    "halves of escapes": "\\u" * (LONG // 2),
    "escapes": "\\u0041" * (LONG // 6),
    "backslashes before escapes": ("\\" * 1_000 + "u004") * (LONG // 1_004),
    "bytes": "\\x41" * (LONG // 4),
    "halves of bytes": "\\x4" * (LONG // 3),
    "breaks": "\\n" * (LONG // 2),
    "ampersands": "&" * LONG,
    "escaped ampersands": "&amp;" * (LONG // 5),
    "unknown entities": "&abcdefghijklmnopqrstuvwxyzabcdefg" * (LONG // 34),
    "a number": "&#" + "9" * (LONG - 2),
    "a hexadecimal number": "&#x" + "f" * (LONG - 3),
    "one letter": "a" * LONG,
    "parts of the words": "limit reachedlimit reache" * (LONG // 25),
    "one word": "_" * LONG,
    "many words": " ".join(map(str, range(LONG // 7))),
    "lines": "\n" * LONG,
    "halves of pairs": "\ud800" * LONG,
    "capitals": "\u0130" * LONG,
}
WORDS = "Rate limit reached for requests xxxxxxxxxx"


def took(words: str, prompt: str) -> float:
    """The best of three runs, in seconds of CPU."""
    return min(_took(words, prompt) for _ in range(3))


def _took(words: str, prompt: str) -> float:
    begun = time.process_time()
    redact(words, [prompt])
    return time.process_time() - begun


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_takes_much_longer_than_plain_text(text: str) -> None:
    plain = took(WORDS, "the quick brown fox " * (LONG // 20))

    assert took(WORDS, text) < 40 * plain + 0.02
    assert took(text, PROMPT) < 40 * plain + 0.02
    assert took(text, text) < 40 * plain + 0.02


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_prompt_of_a_megabyte_drops_the_message(text: str) -> None:
    text *= 5
    redacted = redact(WORDS + text[:100], [text])

    assert redacted == "(message dropped: it may quote the long prompt)"
    assert took(WORDS + text, text) < 0.005


def test_the_limit_applies_to_all_prompts_together() -> None:
    assert "long" in redact("the end of it", ["a" * 150_000, "the end of it" * 10_000])


@pytest.mark.parametrize("at", range(40))
@pytest.mark.parametrize("length", [20, 21, 31, 40])
def test_a_quotation_is_found_at_every_offset(at: int, length: int) -> None:
    quoted = PROMPT[at : at + length]

    assert (
        redact(f"400: bad input near '{quoted}'", [PROMPT])
        == "(message dropped: it quotes the prompt)"
    )


@pytest.mark.parametrize(
    "wrapped",
    [PROMPT, json.dumps(PROMPT), json.dumps(json.dumps(PROMPT)), escape(PROMPT), PROMPT.upper(), repr(PROMPT.encode())],
    ids=["plain", "JSON", "JSON twice", "HTML", "capitals", "bytes"],
)  # fmt: skip
def test_a_quotation_is_found_in_every_escaping(wrapped: str) -> None:
    assert redact(f"cannot read: {wrapped}", [PROMPT]) == "(message dropped: it quotes the prompt)"


def test_long_words_of_the_prompt_are_removed_and_other_words_stay() -> None:
    redacted = redact("no user called Jonathan is allowed here", [PROMPT])

    assert redacted == "no user called [...] is allowed here"


def test_a_short_prompt_counts_as_a_quotation_only_as_a_whole() -> None:
    assert (
        redact("cannot do: what is 2+2", ["what is 2+2"])
        == "(message dropped: it quotes the prompt)"
    )
    assert redact("hi there", ["hi"]) == "hi there"


def test_a_key_that_is_cut_off_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "s3cret+" * 50
    monkeypatch.setenv("SOME_API_KEY", key)

    assert "s3cret" not in redact(" ".join([key] * 20), ["hi"])
