"""Chat completions: the text of a body, the reason for no text, or the error."""

import json

import pytest

from archon_batch.archon import Call, CallKey, Message, Model, Reply
from archon_batch.providers.chat_completions import decode_reply
from archon_batch.providers.error_bodies import ErrorBody

PROMPT = "Which of the seven bridges of Koenigsberg did you cross last night?"
CALL = Call(
    CallKey(0, 0, 0, 0), "ranker", Model(model="openai/m", api_base="http://127.0.0.1:9/v1"),
    (Message("user", PROMPT),), 0, 0.0, 64, None,
)  # fmt: skip
TOOL = {"function": {"name": "f", "arguments": "{}"}}


def completion(message, finish="stop", **choice):
    return {"choices": [{"message": message, "finish_reason": finish, **choice}]}


def read(served, charset=None):
    return decode_reply(
        served if isinstance(served, bytes) else json.dumps(served).encode(), CALL, None, charset
    )


def stream(*events, end="data: [DONE]\n\n"):
    return ("".join(f"data: {json.dumps(event)}\n\n" for event in events) + end).encode()


def delta(finish=None, **said):
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


TEXTS = {
    "a text": (completion({"content": "42"}), "42"),
    "a part": (completion({"content": [{"type": "text", "text": "42"}]}), "42"),
    "parts": (
        completion(
            {"content": [{"type": "text", "text": "4"}, {"type": "output_text", "text": "2"}]}
        ),
        "42",
    ),
    "a part without a type, and a word": (completion({"content": [{"text": "4"}, "2"]}), "42"),
    "thinking": (
        completion(
            {"content": [{"type": "thinking", "thinking": "?"}, {"type": "text", "text": "42"}]}
        ),
        "42",
    ),
    "nothing": (completion({"content": None}), ""),
    "no content": (completion({"reasoning_content": "?"}), ""),
    "no message": (completion(None), ""),
    "no choice": ({"choices": []}, ""),
    "no choices": ({"choices": None, "object": "chat.completion"}, ""),
    "a text completion": ({"choices": [{"text": "42", "finish_reason": "stop"}]}, "42"),
    "a delta": ({"choices": [{"delta": {"content": "42"}}]}, "42"),
    "a text beside a refusal": (completion({"content": "42", "refusal": "Hm."}), "42"),
    "a text beside a tool": (completion({"content": "42", "tool_calls": [TOOL]}), "42"),
    "half a pair": (b'{"choices": [{"message": {"content": "4\\ud800"}}]}', "4\ufffd"),
    "a mark": (b"\xef\xbb\xbf" + json.dumps(completion({"content": "42"})).encode(), "42"),
    "UTF-16": (json.dumps(completion({"content": "42"})).encode("utf-16"), "42"),
    "UTF-16, no mark": (json.dumps(completion({"content": "42"})).encode("utf-16-le"), "42"),
    "UTF-32": (json.dumps(completion({"content": "42"})).encode("utf-32"), "42"),
    "white space": (b"\n\n \t" + json.dumps(completion({"content": "42"})).encode(), "42"),
    "a stream": (stream(delta(content="4"), delta(content="2"), delta("stop")), "42"),
    "a stream with comments": (
        b": OPENROUTER PROCESSING\n\n" + stream(delta(content="42"), delta("stop")),
        "42",
    ),
    "a stream with names": (
        stream(delta(content="42"), delta("stop")).replace(b"data:", b"event: x\r\ndata:"),
        "42",
    ),
    "a stream without its end": (stream(delta(content="42"), delta("stop"), end=""), "42"),
    "a stream of parts": (stream(delta("stop", content=[{"type": "text", "text": "42"}])), "42"),
    "a stream of one whole": (stream(completion({"content": "42"})), "42"),
    "a stream of nothing": (stream({"choices": []}), ""),
}
BROKEN = {
    "a word": b"42",
    "a list": b"[]",
    "nothing": b"",
    "no choices": b'{"object": "chat.completion"}',
    "choices that are none": b'{"choices": "42"}',
    "a choice that is none": b'{"choices": [42]}',
    "a number for a text": b'{"choices": [{"message": {"content": 42}}]}',
    "two": b'{"choices": []}\n{"choices": []}',
    "deep": b'{"choices": ' + b"[" * 100_000,
    "not UTF-8": b'{"choices": "\xff\xfe"}',
    "a stream that was cut": stream(delta(content="4"), end=""),
    "a stream that was cut in an event": stream(delta(content="4"), end='data: {"choi'),
    "a stream of no events": stream([], 42),
}
WHY = {
    "a filter": (completion({"content": None}, "content_filter"), "refused: the provider's filter"),
    "a filter by another name": (completion({"content": ""}, "SAFETY"), "refused: the provider's filter"),
    "a refusal": (completion({"content": None, "refusal": "I cannot."}), "refused: I cannot."),
    "a refusal in parts": (
        completion({"content": None, "refusal": [{"type": "text", "text": "I cannot."}]}),
        "refused: I cannot.",
    ),
    "a refusal that quotes": (
        completion({"content": None, "refusal": f"I cannot say {PROMPT}"}),
        "refused: (message dropped: it quotes the prompt)",
    ),
    "a refusal in a stream": (stream(delta(refusal="I can"), delta("stop", refusal="not.")), "refused: I cannot."),
    "a tool": (completion({"content": None, "tool_calls": [TOOL]}, "tool_calls"), "tool_call: it called"),
    "a function": (completion({"content": "", "function_call": TOOL}), "tool_call: it called"),
    "a tool in a stream": (stream(delta("tool_calls", tool_calls=[TOOL])), "tool_call: it called"),
}  # fmt: skip
FAULTS = {
    "aborted": (completion({"content": "4"}, "abort"), ErrorBody(None, "it ended with abort", "", True, True)),
    "aborted without a word": (completion({"content": ""}, "error"), ErrorBody(None, "it ended with error", "", True, True)),
    "aborted, SGLang's form": (completion({"content": "4"}, {"type": "abort"}), ErrorBody(None, "it ended with abort", "", True, True)),
    "DeepSeek's": (completion({"content": "4"}, "insufficient_system_resource"), ErrorBody(None, "it ended with insufficient_system_resource", "", True, True)),
    "an error of a choice": (completion({"content": ""}, "error", error={"code": 502, "message": "No."}), ErrorBody(502, "No.", "", True, False)),
    "an error after words": (completion({"content": "4"}, "error", error={"code": 502, "message": "No."}), ErrorBody(502, "No.", "", True, True)),
    "an error beside words": ({**completion({"content": "4"}), "error": {"code": 502, "message": "No."}}, ErrorBody(502, "No.", "", True, True)),
    "an error": ({"error": {"code": 502, "message": "No."}}, ErrorBody(502, "No.")),
    "an error beside no choices": ({"choices": [], "error": {"code": 429, "message": "No."}}, ErrorBody(429, "No.")),
    "an error in a stream": (stream({"error": {"code": 429, "message": "No."}}, end=""), ErrorBody(429, "No.")),
    "an error after a stream's words": (stream(delta(content="4"), {"error": {"code": 502, "message": "No."}}), ErrorBody(502, "No.", "", True, True)),
}  # fmt: skip


@pytest.mark.parametrize("body", TEXTS)
def test_the_text_is_parsed_in_every_form(body):
    served, text = TEXTS[body]
    result = read(served)
    assert isinstance(result, Reply)
    assert (result.text, result.failure) == (text, None)


@pytest.mark.parametrize("body", BROKEN)
def test_other_json_is_no_completion(body):
    with pytest.raises(ValueError):  # noqa: PT011  (of several kinds)
        read(BROKEN[body])


@pytest.mark.parametrize("body", WHY)
def test_a_reply_without_text_has_a_failure_reason(body):
    served, why = WHY[body]
    result = read(served)
    assert isinstance(result, Reply)
    assert result.text is None
    assert (result.failure or "").startswith(why)


@pytest.mark.parametrize("body", FAULTS)
def test_a_partial_reply_differs_from_an_error_without_a_reply(body):
    served, fault = FAULTS[body]
    result = read(served)
    assert isinstance(result, ErrorBody)
    assert (result.status, result.message) == (fault.status, fault.message)
    assert (result.has_choices, result.is_partial) == (fault.has_choices, fault.is_partial)


def test_the_charset_of_the_headers_is_the_last_resort():
    body = json.dumps(completion({"content": "caf\u00e9"}), ensure_ascii=False).encode("latin-1")
    assert read(body, "iso-8859-1").text == "caf\u00e9"
    for charset in (None, "utf-8", "no-such-encoding"):
        with pytest.raises(ValueError):  # noqa: PT011
            read(body, charset)


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("stop", "stop"), ("length", "length"), ("MAX_TOKENS", "length"), ("max_tokens", "length"),
        ("model_length", "length"), ("SAFETY", "content_filter"), ("sensitive", "content_filter"),
        ("tool_calls", "tool_calls"), ("eos", "eos"), (None, None), (7, None), ({}, None),
    ],
)  # fmt: skip
def test_finish_reasons_are_mapped_to_those_of_openai(word, finish):
    assert read(completion({"content": "42"}, word)).finish_reason == finish
