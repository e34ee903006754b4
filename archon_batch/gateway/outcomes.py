"""What a status means, and the words under it: the same for both lanes to a provider."""

from collections.abc import Iterable, Mapping

from archon_batch import errors
from archon_batch.errors import GatewayError

#: By the status itself or by its hundred; of a 2xx that is no answer, that it was served.
_STATUSES: Mapping[int, type[GatewayError]] = {
    2: errors.BrokenReplyError,
    3: errors.BadCallError,
    4: errors.BadCallError,
    5: errors.ProviderDownError,
    401: errors.CredentialsError,
    402: errors.QuotaError,
    403: errors.CredentialsError,
    404: errors.UnknownModelError,
    408: errors.CallTimeoutError,
    409: errors.ProviderDownError,
    413: errors.PromptTooLongError,
    429: errors.RateLimitError,
    504: errors.CallTimeoutError,
}
#: What is said under several statuses, or before there is one.
SAYINGS: Mapping[str, type[GatewayError]] = {
    "insufficient_quota": errors.QuotaError,
    "insufficient balance": errors.QuotaError,
    "credit balance is too low": errors.QuotaError,
    "llm provider not provided": errors.UnknownModelError,
    "no module named": errors.BadCallError,
    "surrogates not allowed": errors.BadCallError,
}
#: What servers that speak like OpenAI's say of a prompt under a 400; litellm reads these itself.
PROMPT_SAYINGS: Mapping[str, type[GatewayError]] = {
    "context_length_exceeded": errors.PromptTooLongError,
    "exceed_context_size": errors.PromptTooLongError,
    "maximum context length": errors.PromptTooLongError,
    "longer than the model's context length": errors.PromptTooLongError,
    "prompt is too long": errors.PromptTooLongError,
    "exceeds the available context size": errors.PromptTooLongError,
    "content_policy_violation": errors.RefusedError,
    "content management policy": errors.RefusedError,
}


def of_status(status: int) -> type[GatewayError]:
    """What the status means when nothing else is known."""
    known = status if status in _STATUSES else status // 100
    return _STATUSES.get(known, errors.BrokenReplyError)


def said(
    words: str, prompts: Iterable[str], sayings: Mapping[str, type[GatewayError]]
) -> type[GatewayError] | None:
    """What the words say; a prompt that they quote has no say in it."""
    words, prompt = words.lower(), " ".join(prompts).lower()
    return next((sayings[s] for s in sayings if s in words and s not in prompt), None)
