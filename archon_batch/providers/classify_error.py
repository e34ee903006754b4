"""Turns an error response into an exception, alike for every transport."""

from collections import Counter
from collections.abc import Mapping

from archon_batch import errors
from archon_batch.archon import Call, Model
from archon_batch.errors import ProviderError, TransientError
from archon_batch.providers.error_bodies import ErrorBody
from archon_batch.providers.error_mapping import classify_refusal
from archon_batch.providers.redaction import redact
from archon_batch.providers.retry_after import set_retry_hints

#: Unexplained 403s of a model that has never replied, after which the key is at fault.
_MAX_FORBIDDEN = 3
_MAX_MESSAGE = 200


class ErrorClassifier:
    """Classifies error responses by what this process has seen of the model before."""

    def __init__(self) -> None:
        self._succeeded: set[tuple[str, str | None]] = set()
        self._forbidden: Counter[tuple[str, str | None]] = Counter()

    def record_success(self, model: Model) -> None:
        self._succeeded.add((model.model, model.api_base))

    def classify(
        self,
        call: Call,
        status: int | None,
        headers: Mapping[str, str],
        error_body: ErrorBody,
        fallback_class: type[ProviderError] | None = None,
    ) -> ProviderError:
        """The exception for a failed attempt.

        Args:
            call: the call of the attempt.
            status: of the error response; None for a 200 whose body has an error.
            headers: of the response, with names in lower case.
            error_body: the parsed body.
            fallback_class: litellm's class, used where our patterns match nothing.
        """
        prompts = [message.content for message in call.messages]
        code = error_body.status if status is None else status
        error_class = classify_refusal(
            code, error_body.full_text, prompts
        ) or self._classify_forbidden(call.model)
        if error_class is errors.BadCallError and fallback_class is not None:
            error_class = fallback_class
        if error_body.is_partial:
            error_class = errors.BrokenReplyError
        elif (
            status is None
            and error_class is errors.ProviderFailedError
            and not error_body.has_choices
        ):
            # The provider itself reports a failure in place of the reply.
            error_class = errors.ProviderDownError
        shown = "200" if status is None else f"{status}"
        if code is not None and code != status:
            shown += f", error {code}"
        why = f"{shown}: {redact(error_body.message, prompts)}"[:_MAX_MESSAGE]
        error = error_class(call.model.model, why)
        if isinstance(error, TransientError):
            set_retry_hints(error, headers, error_body.full_text, prompts)
        return error

    def _classify_forbidden(self, model: Model) -> type[ProviderError]:
        """The class of an unexplained 403: a firewall rejects one row, or the key is not allowed.

        Once the model has replied to any call, the row is at fault. Before that the call is
        retried, so that the first row of a job does not decide for all rows.
        """
        key = model.model, model.api_base
        if key in self._succeeded:
            return errors.RefusedError
        self._forbidden[key] += 1
        if self._forbidden[key] < _MAX_FORBIDDEN:
            return errors.ProviderDownError
        return errors.CredentialsError
