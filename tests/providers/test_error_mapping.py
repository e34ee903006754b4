"""The error class and billing of statuses and messages."""

import pytest

from archon_batch import errors
from archon_batch.archon import Call, CallKey, Message, Model
from archon_batch.errors import Billing
from archon_batch.providers.classify_error import ErrorClassifier
from archon_batch.providers.error_bodies import ErrorBody, error_from_body, error_from_json
from archon_batch.providers.error_mapping import classify_refusal, error_class_of_status
from archon_batch.providers.message_patterns import (
    CONTENT_FILTER,
    CONTEXT_LENGTH,
    CREDENTIALS,
    NOT_SENT,
    OVERLOADED,
    QUOTA,
    RATE_LIMIT,
    UNKNOWN_MODEL,
)

STATUSES = {
    errors.BadCallError: "300 307 308 400 406 418 422 423 501 505",
    errors.CredentialsError: "401 403 407",
    errors.QuotaError: "402",
    errors.UnknownModelError: "404 405 410",
    errors.PromptTooLongError: "413",
    errors.RefusedError: "451",
    errors.RateLimitError: "429",
    errors.CallTimeoutError: "408 504 524 598 599",
    errors.ProviderFailedError: "409 424 499 500 502 503 507 520 522 527 561",
    errors.ProviderDownError: "421 425 498 511 521 523 525 526 529 530",
    errors.BrokenReplyError: "200 204 299",
}
IN_DOUBT = {errors.CallTimeoutError, errors.ProviderFailedError, errors.BrokenReplyError}

TOO_LONG, REFUSED = errors.PromptTooLongError, errors.RefusedError
KEYS, QUOTAS, MODELS = errors.CredentialsError, errors.QuotaError, errors.UnknownModelError
DOWN, FAILED = errors.ProviderDownError, errors.ProviderFailedError

#: Messages of real servers.
SAID = {
    "OpenAI's window": (400, TOO_LONG, "This model's maximum context length is 8192 tokens."),
    "OpenAI's limit": (400, TOO_LONG, "Input tokens exceed the configured limit of 272000 tokens."),
    "OpenAI's filter": (400, REFUSED, "Invalid prompt: flagged as potentially violating our usage policy"),
    "OpenAI's account": (429, QUOTAS, '{"error": {"code": "billing_not_active"}}'),
    "OpenAI's country": (403, KEYS, '{"error": {"code": "unsupported_country_region_territory"}}'),
    "OpenAI's models": (403, KEYS, "Project `p` does not have access to model `gpt-9`"),
    "OpenAI under load": (503, DOWN, "The engine is currently overloaded, please try again later"),
    "Azure's filter": (400, REFUSED, '{"error": {"code": "content_filter", "message": "Rejected."}}'),
    "Anthropic's window": (400, TOO_LONG, "prompt is too long: 210000 tokens > 200000 maximum"),
    "Anthropic's limit": (400, TOO_LONG, "input length and `max_tokens` exceed context limit: 190000 + 20000"),
    "Anthropic's filter": (400, REFUSED, "Output blocked by content filtering policy"),
    "Anthropic's account": (400, QUOTAS, "Your credit balance is too low to access the Anthropic API."),
    "Anthropic under load": (500, DOWN, '{"type": "error", "error": {"type": "overloaded_error"}}'),
    "Gemini's window": (400, TOO_LONG, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048575)."),
    "Gemini's filter": (400, REFUSED, "The request was blocked: PROHIBITED_CONTENT"),
    "Gemini's key": (400, KEYS, "API key not valid. Please pass a valid API key."),
    "Gemini's place": (400, KEYS, "User location is not supported for the API use."),
    "Gemini under load": (503, DOWN, "The model is overloaded. Please try again later."),
    "Google's rights": (403, KEYS, '{"error": {"status": "PERMISSION_DENIED"}}'),
    "Mistral's window": (400, TOO_LONG, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    "Mistral's models": (400, MODELS, "Invalid model: mistral-huge"),
    "Groq's window": (400, TOO_LONG, "Please reduce the length of the messages or completion."),
    "Groq's account": (400, KEYS, "Organization has been restricted. Please reach out to support."),
    "Groq's models": (400, MODELS, '{"error": {"code": "model_decommissioned"}}'),
    "Together's window": (400, TOO_LONG, "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000"),
    "Together's account": (429, QUOTAS, "Credit limit exceeded, please navigate to billing"),
    "Together's models": (400, MODELS, '{"error": {"code": "model_not_available"}}'),
    "Fireworks' window": (400, TOO_LONG, "The prompt is too long: 40000, model maximum context length: 32767"),
    "DeepSeek's filter": (400, REFUSED, "Content Exists Risk"),
    "DeepSeek's models": (400, MODELS, "Model Not Exist"),
    "xAI's key": (400, KEYS, "Incorrect API key provided: xa***."),
    "xAI's window": (400, TOO_LONG, "This model's maximum prompt length is 131072 but the request contains 140000 tokens."),
    "xAI's filter": (403, REFUSED, "Content violates usage guidelines."),
    "TGI's window": (422, TOO_LONG, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096."),
    "vLLM's window": (400, TOO_LONG, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
    "vLLM's newer window": (400, TOO_LONG, "max_tokens must be at least 1, got -500."),
    "SGLang's window": (400, TOO_LONG, "The input (40000 tokens) is longer than the model's context length (32768 tokens)."),
    "llama.cpp's window": (400, TOO_LONG, "the request exceeds the available context size, try increasing it"),
    "llama.cpp's window of before": (500, TOO_LONG, "the request exceeds the available context size."),
    "llama.cpp at its start": (503, DOWN, "Loading model"),
    "LM Studio's window": (400, TOO_LONG, "Trying to keep the first 5000 tokens when context the overflows."),
    "LM Studio's models": (400, MODELS, "No models loaded. Please load a model in the developer page."),
    "Ollama's window": (400, TOO_LONG, "the input length exceeds the context length"),
    "Ollama under load": (503, DOWN, "server busy, please try again.  maximum pending requests exceeded"),
    "Cohere's window": (400, TOO_LONG, "too many tokens: total number of tokens in the prompt cannot exceed 4081"),
    "DashScope's filter": (400, REFUSED, '{"error": {"code": "data_inspection_failed"}}'),
    "DashScope's window": (400, TOO_LONG, "Range of input length should be [1, 30720]"),
    "DashScope's account": (400, QUOTAS, '{"error": {"code": "Arrearage"}}'),
    "Moonshot's filter": (400, REFUSED, "The request was rejected because it was considered high risk"),
    "Moonshot's window": (400, TOO_LONG, "Your request exceeded model token limit: 8192"),
    "Zhipu's filter": (400, REFUSED, "系统检测到输入或生成内容可能包含不安全或敏感内容"),
    "Bedrock's window": (400, TOO_LONG, "Input is too long for requested model."),
    "OpenRouter's filter": (403, REFUSED, "Your input was flagged by moderation"),
    "OpenRouter's models": (400, MODELS, "org/x is not a valid model ID"),
    "OpenRouter without a provider": (503, DOWN, "There is no available model provider that meets your routing requirements"),
    "behind OpenRouter": (400, errors.RateLimitError, "Provider returned error: 429 Too Many Requests"),
    "Envoy without a server": (503, DOWN, "no healthy upstream"),
    "Envoy before a connection": (503, DOWN, "upstream connect error or disconnect/reset before headers. reset reason: connection failure"),
    "Envoy after one": (503, FAILED, "upstream connect error or disconnect/reset before headers. reset reason: connection termination"),
    "HAProxy without a server": (503, DOWN, "No server is available to handle this request."),
    "nginx": (502, FAILED, "<html><h1>502 Bad Gateway</h1><hr>nginx</html>"),
    "more than a minute's tokens": (429, TOO_LONG, "Request too large for gpt-4o in organization o on tokens per min (TPM): Limit 30000, Requested 40000."),
    "a quota of a minute": (429, errors.RateLimitError, "You exceeded your current quota, please check your plan and billing details."),
    "a wrong role": (400, errors.BadCallError, "System role not supported"),
    "a firewall": (403, None, "Attention Required! | Cloudflare. Sorry, you have been blocked"),
    "a key alone": (401, KEYS, "content_filter"),
}  # fmt: skip


def a_call(prompt="Why?"):
    model = Model(model="openai/m", api_base="http://127.0.0.1:9/v1")
    return Call(CallKey(0, 0, 0, 0), "ranker", model, (Message("user", prompt),), 0, 0.0, 64, None)


@pytest.mark.parametrize(
    ("kind", "status"), [(k, s) for k in STATUSES for s in STATUSES[k].split()]
)
def test_every_status_has_an_error_class_and_billing(kind, status):
    assert error_class_of_status(int(status)) is kind
    assert kind.billing is (Billing.IN_DOUBT if kind in IN_DOUBT else Billing.NOT_BILLED)


@pytest.mark.parametrize("sentence", SAID)
def test_the_message_refines_the_status(sentence):
    status, kind, words = SAID[sentence]
    assert classify_refusal(status, words, ["Why?"]) is kind


@pytest.mark.parametrize("status", [None, 400, 403, 422, 429, 500, 503])
def test_a_quoted_prompt_does_not_change_the_class(status):
    for table in (
        CONTENT_FILTER,
        CREDENTIALS,
        UNKNOWN_MODEL,
        RATE_LIMIT,
        QUOTA,
        NOT_SENT,
        OVERLOADED,
        CONTEXT_LENGTH,
    ):
        for saying in table:
            plain = classify_refusal(status, "No luck.", [])
            assert (
                classify_refusal(status, f"No luck: {saying.upper()}", [f"What is {saying}?"])
                is plain
            )


@pytest.mark.parametrize(
    ("served", "status", "words"),
    [
        ({"error": {"message": "No.", "code": 429}}, 429, "No."),
        ({"error": {"message": "No.", "code": "429"}}, 429, "No."),
        ({"error": {"message": "No.", "code": "rate_limit_exceeded"}}, 429, "No."),
        ({"error": {"message": "No.", "code": None, "type": "server_error"}}, 500, "No."),
        ({"error": {"message": "No.", "code": 429.5, "status": "UNAVAILABLE"}}, 503, "No."),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "No."}}, 529, "No."),
        ([{"error": {"message": "No.", "code": 400}}], 400, "No."),
        ({"error": "No."}, None, "No."),
        ({"error": ["No.", "Not."]}, None, "No."),
        ({"errors": [{"code": 7003, "message": "No."}], "success": False}, None, "No."),
        ({"error": "No.", "code": 503}, 503, "No."),
        ({"error": {"error": {"message": "No.", "code": 503}}}, 503, "No."),
        ({"object": "error", "message": "No.", "code": 400}, 400, "No."),
        ({"code": "InvalidApiKey", "message": "No."}, None, "No."),
        ({"detail": "No."}, None, "No."),
        ({"detail": [{"loc": ["body"], "msg": "No."}]}, None, "No."),
        ({"error": {"code": 502}}, 502, '{"error": {"code": 502}}'),
        (
            {"error": {"message": "No.", "code": 502, "metadata": {"raw": "Gone."}}},
            502,
            "No.: Gone.",
        ),
    ],
)
def test_an_error_is_parsed_in_every_form(served, status, words):
    found = error_from_json(served)
    assert found
    assert (found.status, found.message) == (status, words)


@pytest.mark.parametrize(
    "served",
    [
        {},
        [],
        "error",
        None,
        {"error": None},
        {"error": ""},
        {"error": {}},
        {"choices": [{}], "detail": "No."},
        {"content": [{"text": "4"}], "type": "message", "message": "x"},
        {"message": {"content": "4"}},
    ],
)
def test_a_body_without_error_gives_none(served):
    assert error_from_json(served) is None


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"<html>Bad</html>", b"[" * 60_000, b"null"])
def test_a_body_that_is_no_json_is_the_message(body):
    assert error_from_body(body).status is None


def test_an_error_in_place_of_a_reply_is_not_billed():
    def error_class(status, **more):
        return type(
            ErrorClassifier().classify(a_call(), None, {}, ErrorBody(status, "No.", **more))
        )

    assert error_class(502) is errors.ProviderDownError
    assert error_class(504) is errors.CallTimeoutError
    assert error_class(None) is errors.ProviderDownError
    assert error_class(502, has_choices=True) is errors.ProviderFailedError
    assert error_class(429, has_choices=True) is errors.RateLimitError
    assert error_class(429, has_choices=True, is_partial=True) is errors.BrokenReplyError


def test_a_message_shows_both_statuses_and_not_the_prompt():
    body = ErrorBody(429, "Slow down.", "")
    assert ErrorClassifier().classify(a_call(), None, {}, body).why == "200, error 429: Slow down."
    prompt = "Which of the seven bridges of Koenigsberg did you cross?"
    assert (
        "bridges"
        not in ErrorClassifier().classify(a_call(prompt), 400, {}, ErrorBody(None, prompt)).why
    )
