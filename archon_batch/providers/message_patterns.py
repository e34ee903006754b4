"""Phrases in providers' error messages, in lower case, with the provider that uses each."""

from collections.abc import Iterable, Mapping

from archon_batch import errors
from archon_batch.errors import ProviderError

MessagePatterns = Mapping[str, type[ProviderError]]


def _patterns(error_class: type[ProviderError], *patterns: str) -> dict[str, type[ProviderError]]:
    return dict.fromkeys(patterns, error_class)


#: The account has no credit left.
QUOTA: MessagePatterns = _patterns(
    errors.QuotaError,
    "insufficient_quota",  # OpenAI, 429
    "billing_not_active",  # OpenAI, 429
    "billing hard limit",  # OpenAI, 400
    "credit balance is too low",  # Anthropic, 400
    "insufficient balance",  # DeepSeek, 402
    "insufficient credits",  # OpenRouter, 402
    "credit limit exceeded",  # Together, 429
    "arrearage",  # DashScope, 400
    "used all available credits",  # xAI, 429
    "monthly included credits",  # Hugging Face, 402
)
#: The key, the account or its location is not allowed.
CREDENTIALS: MessagePatterns = _patterns(
    errors.CredentialsError,
    "api key not valid",  # Gemini, 400
    "api_key_invalid",  # Gemini, 400
    "api key expired",  # Gemini, 400
    "user location is not supported",  # Gemini, 400
    "permission_denied",  # Google, 403
    "incorrect api key",  # OpenAI, 401; xAI, 400
    "invalid api key",  # Groq, Together, Fireworks
    "invalid_api_key",  # OpenAI, Groq, DashScope's OpenAI-compatible endpoint
    "invalidapikey",  # DashScope
    "unsupported_country_region_territory",  # OpenAI, 403
    "does not have access to",  # OpenAI, 403
    "permission_error",  # Anthropic, 403
    "no auth credentials",  # OpenRouter
    "organization has been restricted",  # Groq, 400
)
#: There is no such model or path.
UNKNOWN_MODEL: MessagePatterns = _patterns(
    errors.UnknownModelError,
    "model_not_found",  # OpenAI, Groq
    "model_decommissioned",  # Groq, 400
    "is not a valid model id",  # OpenRouter, 400
    "model not exist",  # DeepSeek, 400
    "invalid model:",  # Mistral, 400
    "unknown_model",  # GitHub, Azure's model inference
    "model_not_available",  # Together, 400
    "unexpected endpoint or method",  # LM Studio, 200
    "no models loaded",  # LM Studio
    "llm provider not provided",  # litellm
)
#: The content filter rejects this prompt.
CONTENT_FILTER: MessagePatterns = _patterns(
    errors.RefusedError,
    "content_policy_violation",  # OpenAI
    "our safety system",  # OpenAI
    "the safety system",  # OpenAI, Azure
    "flagged as potentially violating",  # OpenAI's reasoning models
    "content management policy",  # Azure
    "responsibleaipolicyviolation",  # Azure
    "content_filter",  # Azure, Moonshot
    "considered high risk",  # Moonshot
    "content filtering policy",  # Anthropic
    "prohibited_content",  # Gemini
    "blocked due to safety",  # Gemini
    "flagged by moderation",  # OpenRouter, 403
    "input flagged",  # OpenRouter, 403
    "requires moderation",  # OpenRouter, 403
    "content violates usage guidelines",  # xAI, 403
    "data_inspection_failed",  # DashScope's OpenAI-compatible endpoint
    "datainspectionfailed",  # DashScope
    "inappropriate content",  # DashScope
    "content exists risk",  # DeepSeek
    "new_sensitive",  # MiniMax
    "敏感内容",  # Zhipu
    "blocked by our content filters",  # Bedrock
    "blocked by guardrail",  # Bedrock, Databricks
)
#: The prompt, or prompt and max_tokens together, exceed the context window.
CONTEXT_LENGTH: MessagePatterns = _patterns(
    errors.PromptTooLongError,
    "context_length_exceeded",  # OpenAI, Groq, Cerebras
    "maximum context length",  # OpenAI, Azure, Mistral, OpenRouter, DeepSeek, Fireworks, vLLM
    "input tokens exceed the configured limit",  # OpenAI
    "expected a string with maximum length",  # OpenAI
    "prompt is too long",  # Anthropic, Fireworks
    "exceed context limit",  # Anthropic
    "input is too long",  # Bedrock
    "exceeds the maximum number of tokens allowed",  # Gemini
    "maximum prompt length",  # xAI
    "reduce the length of the messages",  # Groq, OpenAI
    "`inputs` tokens + `max_new_tokens` must be",  # TGI, Together
    "`inputs` must have less than",  # TGI, Together
    "longer than the maximum model length",  # vLLM
    "max_tokens must be at least 1, got -",  # vLLM, newer: tokens left for the reply
    "max_completion_tokens must be at least 1, got -",  # vLLM, newer
    "longer than the model's context length",  # SGLang
    "exceed_context_size",  # llama.cpp
    "exceeds the available context size",  # llama.cpp
    "trying to keep the first",  # LM Studio
    "tokens to keep from the initial prompt",  # LM Studio
    "exceeds the context length",  # Ollama
    "too many tokens: ",  # Cohere
    "range of input length should be",  # DashScope
    "exceeded model token limit",  # Moonshot
    "exceeds max length",  # Zhipu
)
#: One request exceeds the tokens per minute, so that waiting does not help.
REQUEST_TOO_LARGE: MessagePatterns = _patterns(
    errors.PromptTooLongError,
    "request too large",  # OpenAI and Groq, 429 and 413
)
#: A rate limit, reported with another status than 429.
RATE_LIMIT: MessagePatterns = _patterns(
    errors.RateLimitError,
    "too many requests",  # OpenRouter, 400, about the provider behind it
    "rate limit exceeded",
    "rate_limit_exceeded",
)
#: No server accepted the request, so nothing is billed.
OVERLOADED: MessagePatterns = _patterns(
    errors.ProviderDownError,
    "overloaded",  # OpenAI, Gemini, Together and DeepSeek, 503; Anthropic, 529
    "slow down",  # OpenAI, 503
    "experiencing high demand",  # Gemini, 503
    "over capacity",  # Groq, 503
    "no available model provider",  # OpenRouter, 503
    "no instances available",  # OpenRouter, 503
    "no available workers",  # SGLang's router, 503
    "loading model",  # llama.cpp, 503
    "is currently loading",  # Hugging Face, 503
    "server busy",  # Ollama, 503
    "no server is available",  # HAProxy, 503
    "no healthy upstream",  # Envoy, 503
    "reset reason: connection failure",  # Envoy, 503
    "reset reason: overflow",  # Envoy, 503
    "connection refused",  # proxies that give a reason
)
#: Errors of Python and litellm before the request is sent.
NOT_SENT: MessagePatterns = _patterns(
    errors.BadCallError, "no module named", "surrogates not allowed"
)


def match_message(
    message: str, prompts: Iterable[str], *tables: MessagePatterns
) -> type[ProviderError] | None:
    """The class of the first pattern in the message that the prompt itself does not contain."""
    message, prompt = message.lower(), " ".join(prompts).lower()
    for patterns in tables:
        for pattern, error_class in patterns.items():
            if pattern in message and pattern not in prompt:
                return error_class
    return None
