"""Refusals as errors of ours: one way from what was said to a class, for both lanes."""

from collections import Counter
from collections.abc import Mapping

from archon_batch import errors
from archon_batch.archon import Call, Model
from archon_batch.errors import ProviderError, TransientError
from archon_batch.providers.error_bodies import ErrorBody
from archon_batch.providers.error_mapping import classify_refusal
from archon_batch.providers.redaction import redact
from archon_batch.providers.retry_after import set_retry_hints

#: Unexplained 403s of a model that has answered nobody, before they are taken to be the key's.
_MAX_FORBIDDEN = 3
_MAX_MESSAGE = 200


class ErrorClassifier:
    """What a process has seen of its models: it tells one row's refusal from everybody's."""

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
        """The error that ends the attempt.

        Args:
            call: what was asked.
            status: of a refusal; None when it came under a 200, and the body says what it is.
            headers: as they came, names in lower case.
            error_body: what was said.
            fallback_class: what another reader of the words makes of them, where ours make nothing.
        """
        prompts = [message.content for message in call.messages]
        code = error_body.status if status is None else status
        kind = classify_refusal(code, error_body.full_text, prompts) or self._classify_forbidden(
            call.model
        )
        if kind is errors.BadCallError and fallback_class is not None:
            kind = fallback_class
        if error_body.is_partial:
            kind = errors.BrokenReplyError
        elif status is None and kind is errors.ProviderFailedError and not error_body.has_choices:
            # The provider itself says that there is nothing, where its answer would have been.
            kind = errors.ProviderDownError
        shown = "200" if status is None else f"{status}"
        if code is not None and code != status:
            shown += f", error {code}"
        why = f"{shown}: {redact(error_body.message, prompts)}"[:_MAX_MESSAGE]
        error = kind(call.model.model, why)
        if isinstance(error, TransientError):
            set_retry_hints(error, headers, error_body.full_text, prompts)
        return error

    def _classify_forbidden(self, model: Model) -> type[ProviderError]:
        """A 403 that does not say why: a firewall's for one row, or a key's for every row.

        Where others pass it is the row's. Before any answer it is tried again, so that the first
        row of a job does not decide for all.
        """
        key = model.model, model.api_base
        if key in self._succeeded:
            return errors.RefusedError
        self._forbidden[key] += 1
        if self._forbidden[key] < _MAX_FORBIDDEN:
            return errors.ProviderDownError
        return errors.CredentialsError
