"""What a status means for the call and for the bill: the same for both lanes to a provider.

Two things decide: who has to act, and whether the request can have reached the model. If it can,
the call may be on the bill, however the status is called, and is in doubt.
"""

from collections.abc import Mapping, Sequence

from archon_batch import errors
from archon_batch.errors import ProviderError
from archon_batch.providers.message_patterns import (
    CONTENT_FILTER,
    CONTEXT_LENGTH,
    CREDENTIALS,
    NOT_SENT,
    OVERLOADED,
    QUOTA,
    RATE_LIMIT,
    REQUEST_TOO_LARGE,
    UNKNOWN_MODEL,
    match_message,
)

#: By the status itself or by its hundred; of a 2xx that is no answer, that it was served. RFC 9110
#: where nothing else is said.
_STATUS_ERRORS: Mapping[int, type[ProviderError]] = {
    2: errors.BrokenReplyError,
    3: errors.BadCallError,
    4: errors.BadCallError,
    # A proxy says 500, 502 or 503 as well when it lost the model's server in the midst of its work.
    5: errors.ProviderFailedError,
    401: errors.CredentialsError,
    402: errors.QuotaError,
    404: errors.UnknownModelError,
    405: errors.UnknownModelError,  # another path takes it, so this one never will
    407: errors.CredentialsError,
    408: errors.CallTimeoutError,
    409: errors.ProviderFailedError,
    410: errors.UnknownModelError,
    413: errors.PromptTooLongError,
    421: errors.ProviderDownError,  # "unable or unwilling to produce" a response, and produced none
    424: errors.ProviderFailedError,  # TGI: it failed during generation
    425: errors.ProviderDownError,  # RFC 8470: "unwilling to risk processing" it
    429: errors.RateLimitError,
    451: errors.RefusedError,
    498: errors.ProviderDownError,  # Groq, capacity exceeded: "the request won't be processed"
    499: errors.ProviderFailedError,  # nginx: its client, a proxy of theirs, has gone; Google: cancelled
    501: errors.BadCallError,
    504: errors.CallTimeoutError,
    505: errors.BadCallError,
    511: errors.ProviderDownError,  # RFC 6585: the network between wants a login
    # Cloudflare, 5xx errors. 520: the server answered what is no HTTP. 522: no connection, or no
    # sign of life for 90 s after the request was sent. 524: connected, and no answer in time.
    521: errors.ProviderDownError,  # the server refused the connection
    523: errors.ProviderDownError,  # no way leads to the server
    524: errors.CallTimeoutError,
    525: errors.ProviderDownError,  # no TLS with the server, before any request
    526: errors.ProviderDownError,
    529: errors.ProviderDownError,  # Anthropic: overloaded
    530: errors.ProviderDownError,  # the server's name leads nowhere
    598: errors.CallTimeoutError,  # proxies: no answer in time
    599: errors.CallTimeoutError,
}
_FORBIDDEN = 403
#: Of any refusal that is not by its status what it is.
_GENERIC_PATTERNS = (NOT_SENT, QUOTA, CREDENTIALS, UNKNOWN_MODEL, CONTENT_FILTER, CONTEXT_LENGTH)


def error_class_of_status(status: int) -> type[ProviderError]:
    """What the status means when nothing else is known."""
    if status == _FORBIDDEN:
        return errors.CredentialsError
    known = status if status in _STATUS_ERRORS else status // 100
    return _STATUS_ERRORS.get(known, errors.BrokenReplyError)


def classify_refusal(
    status: int | None, message: str, prompts: Sequence[str]
) -> type[ProviderError] | None:
    """What a refusal means, by its status and its words.

    Args:
        status: as it came, or as the body says; None when it says none.
        message: all that was said.
        prompts: what the call asks, which has no say.

    Returns:
        None when it may be this prompt, or all that is asked with this key.
    """
    if status is None:
        return (
            match_message(message, prompts, *_GENERIC_PATTERNS, RATE_LIMIT)
            or errors.ProviderDownError
        )
    if status == _FORBIDDEN:
        return match_message(message, prompts, QUOTA, CREDENTIALS, UNKNOWN_MODEL, CONTENT_FILTER)
    kind = error_class_of_status(status)
    if kind is errors.BadCallError:
        return match_message(message, prompts, *_GENERIC_PATTERNS, RATE_LIMIT) or kind
    if kind is errors.RateLimitError:
        return match_message(message, prompts, QUOTA, REQUEST_TOO_LARGE) or kind
    if kind is errors.ProviderFailedError:
        return match_message(message, prompts, OVERLOADED, CONTENT_FILTER, CONTEXT_LENGTH) or kind
    return kind
