"""Maps a provider's HTTP status and message to an error class, alike for every transport.

Two questions decide: who has to act, and whether the model may have processed the request. If it
may have, the call may be billed whatever the status says, and is in doubt.
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

#: By the status, or by its first digit; 2 is a success without a readable reply. By RFC 9110 where
#: no other source is named.
_STATUS_ERRORS: Mapping[int, type[ProviderError]] = {
    2: errors.BrokenReplyError,
    3: errors.BadCallError,
    4: errors.BadCallError,
    # A proxy also sends 500, 502 or 503 when it loses the model's server during its work.
    5: errors.ProviderFailedError,
    401: errors.CredentialsError,
    402: errors.QuotaError,
    404: errors.UnknownModelError,
    405: errors.UnknownModelError,  # the path accepts another method, so it never accepts this one
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
    499: errors.ProviderFailedError,  # nginx: the client, here a proxy, disconnected; Google: cancelled
    501: errors.BadCallError,
    504: errors.CallTimeoutError,
    505: errors.BadCallError,
    511: errors.ProviderDownError,  # RFC 6585: the network requires a login
    # Cloudflare, 5xx errors. 520: the server sent no valid HTTP. 522: no connection, or no sign
    # of life for 90 s after the request was sent. 524: connected, but no answer in time.
    521: errors.ProviderDownError,  # the server refused the connection
    523: errors.ProviderDownError,  # no route to the server
    524: errors.CallTimeoutError,
    525: errors.ProviderDownError,  # no TLS with the server, before any request
    526: errors.ProviderDownError,
    529: errors.ProviderDownError,  # Anthropic: overloaded
    530: errors.ProviderDownError,  # the server's name does not resolve
    598: errors.CallTimeoutError,  # proxies: no answer in time
    599: errors.CallTimeoutError,
}
_FORBIDDEN = 403
#: Patterns for statuses that do not decide by themselves.
_GENERIC_PATTERNS = (NOT_SENT, QUOTA, CREDENTIALS, UNKNOWN_MODEL, CONTENT_FILTER, CONTEXT_LENGTH)


def error_class_of_status(status: int) -> type[ProviderError]:
    """The class of a status without regard to the message."""
    if status == _FORBIDDEN:
        return errors.CredentialsError
    known = status if status in _STATUS_ERRORS else status // 100
    return _STATUS_ERRORS.get(known, errors.BrokenReplyError)


def classify_refusal(
    status: int | None, message: str, prompts: Sequence[str]
) -> type[ProviderError] | None:
    """The class of an error response.

    Args:
        status: of the response, or in its body; None where there is none.
        message: the body.
        prompts: the prompt; text that the message quotes from it is ignored.

    Returns:
        None for an unexplained 403: the prompt may be at fault, or the key.
    """
    if status is None:
        return (
            match_message(message, prompts, *_GENERIC_PATTERNS, RATE_LIMIT)
            or errors.ProviderDownError
        )
    if status == _FORBIDDEN:
        return match_message(message, prompts, QUOTA, CREDENTIALS, UNKNOWN_MODEL, CONTENT_FILTER)
    error_class = error_class_of_status(status)
    if error_class is errors.BadCallError:
        return match_message(message, prompts, *_GENERIC_PATTERNS, RATE_LIMIT) or error_class
    if error_class is errors.RateLimitError:
        return match_message(message, prompts, QUOTA, REQUEST_TOO_LARGE) or error_class
    if error_class is errors.ProviderFailedError:
        return (
            match_message(message, prompts, OVERLOADED, CONTENT_FILTER, CONTEXT_LENGTH)
            or error_class
        )
    return error_class
