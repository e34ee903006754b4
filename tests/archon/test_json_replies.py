"""Replies as JSON: what a model is held to, and what is read of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from archon_batch.archon import JsonReply, ReplyParseError, json_reply_format, parse_json_reply
from archon_batch.archon.components import critic, unit_test_evaluator, verifier
from tests.archon.components.hostile_texts import slow


class Word(JsonReply):
    text: str
    count: int


class Words(JsonReply):
    words: list[Word]


ONE = '{"text": "so", "count": 1}'
KIND = TypeAdapter(Word)


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        f"\n {ONE} \n",
        f"```json\n{ONE}\n```",
        f"```\n{ONE}\n```",
        f"\n```JSON  \r\n{ONE}\r\n  ```  \n",
        f"```json\n\n{ONE}\n\n```",
        '{\n"count": 1,\n"text": "so"\n}',
    ],
)
def test_json_is_parsed_with_or_without_a_code_block(text):
    assert parse_json_reply(KIND, text) == Word(text="so", count=1)


def test_a_code_block_in_a_string_is_kept():
    text = json.dumps({"text": "```\nso\n```", "count": 1})

    assert parse_json_reply(KIND, f"```\n{text}\n```").text == "```\nso\n```"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the JSON: invalid json"),
        (f"{ONE}\n{ONE}", "several replies in JSON"),
        (f"```\n{ONE}\n```\n```\n{ONE}\n```", "several replies in JSON"),
        (f"Such as {ONE}, but with {ONE.replace('1', '2')}", "several replies in JSON"),
        (f"Here it is: {ONE[:-1]}", "the JSON: invalid json"),
        ("```\n```", "the JSON: invalid json"),
        ("```", "the JSON: invalid json"),
        ('{"text": "so"}', "^count: field required"),
        ('{"text": "so", "count": "1"}', "^count: input should be a valid integer"),
        ('{"text": "so", "count": true}', "^count: input should be a valid integer"),
        ('{"text": "so", "count": 1.0}', "^count: input should be a valid integer"),
        ('{"text": 1, "count": 1}', "^text: input should be a valid string"),
        ('{"text": "so", "count": 1, "more": 2}', "^more: extra inputs are not permitted"),
        ('{"text": "\\ud800", "count": 1}', "^the JSON: invalid json"),
        ("[" * 9999, "^the JSON: invalid json"),
        (f'{{"text": "so", "count": {"9" * 9999}}}', "^the JSON: invalid json"),
        ("null", "^the JSON: input should be an object"),
        ("\ud800", "^the JSON: invalid json"),
    ],
)
def test_other_text_is_rejected_with_path_and_reason(text, why):
    with pytest.raises(ReplyParseError, match=why):
        parse_json_reply(KIND, text)


@pytest.mark.parametrize(
    "text",
    [
        f"Here it is: {ONE}",
        f"Here is my reply:\n\n```json\n{ONE}\n```\n\nI hope that it helps.",
        f"```\n{ONE}\nand more",
        f"```{ONE}```",
        # Other brackets and other JSON are no replies.
        f"Of [1] and {{x}}, as in {{}}, I say: {ONE} [2]",
    ],
)
def test_a_single_reply_after_a_sentence_is_parsed(text):
    assert parse_json_reply(KIND, text) == parse_json_reply(KIND, ONE)


def test_the_path_in_a_list_is_reported():
    with pytest.raises(ReplyParseError, match=r"^words\.1\.count: field required$"):
        parse_json_reply(TypeAdapter(Words), f'{{"words": [{ONE}, {{"text": ""}}]}}')


@given(key=st.text().filter(lambda key: key not in ("text", "count")))
def test_a_key_from_the_model_is_shortened_and_printable_in_the_reason(key):
    text = json.dumps({"text": "so", "count": 1, key * 99: 2})

    with pytest.raises(ReplyParseError) as refused:
        parse_json_reply(KIND, text)

    told = str(refused.value)
    assert len(told) <= 200
    assert told.endswith(": extra inputs are not permitted")
    assert told.isascii()
    assert told.isprintable()


@pytest.mark.parametrize("kind", [KIND, TypeAdapter(list[str]), TypeAdapter(Words)])
def test_every_text_is_processed_quickly(kind):
    assert slow(lambda text: parse_json_reply(kind, text)) == []


def test_a_format_has_a_schema_and_examples_that_are_parsed():
    form = json_reply_format(Word(text="so", count=1), Word(text="no", count=0))

    assert form.grammar is None
    assert json.loads(form.schema or "")["title"] == "Word"
    assert parse_json_reply(KIND, form.example) == Word(text="so", count=1)
    assert parse_json_reply(KIND, form.costliest_example or "") == Word(text="no", count=0)
    assert parse_json_reply(KIND, form.padded_example(99)) == Word(
        text="x" * (99 - len(form.example)) + "so", count=1
    )
    assert len(form.padded_example(99, costliest=True)) == 99
    assert form.padded_example(0) == form.example


def test_a_format_without_a_string_cannot_be_padded():
    assert json_reply_format(Words(words=[])).padded_example(99) == '{"words":[]}'


@pytest.mark.parametrize(
    "form",
    [critic.json_format(2), unit_test_evaluator.json_format(2), verifier._JSON_FORMAT],
)
def test_every_object_has_all_its_keys_and_no_others(form):
    schema = json.loads(form.schema)

    objects = [schema, *schema.get("$defs", {}).values()]
    assert all(one["additionalProperties"] is False for one in objects)
    assert all(sorted(one["required"]) == sorted(one["properties"]) for one in objects)
