"""Refusals as errors of ours: one way from what was said to a class, for both lanes."""

from collections import Counter
from collections.abc import Mapping

from archon_batch import errors
from archon_batch.archon import Call, Model
from archon_batch.errors import GatewayError, TransientError
from archon_batch.providers.error_bodies import Fault
from archon_batch.providers.error_mapping import meaning
from archon_batch.providers.redaction import repeatable
from archon_batch.providers.retry_after import tell

#: Unexplained 403s of a model that has answered nobody, before they are taken to be the key's.
_MOST_FORBIDDEN = 3
_LONGEST = 200


class Refusals:
    """What a process has seen of its models: it tells one row's refusal from everybody's."""

    def __init__(self) -> None:
        self._answered: set[tuple[str, str | None]] = set()
        self._forbidden: Counter[tuple[str, str | None]] = Counter()

    def answered(self, model: Model) -> None:
        self._answered.add((model.model, model.api_base))

    def error(
        self,
        call: Call,
        status: int | None,
        headers: Mapping[str, str],
        fault: Fault,
        besides: type[GatewayError] | None = None,
    ) -> GatewayError:
        """The error that ends the attempt.

        Args:
            call: what was asked.
            status: of a refusal; None when it came under a 200, and the body says what it is.
            headers: as they came, names in lower case.
            fault: what was said.
            besides: what another reader of the words makes of them, where ours make nothing.
        """
        prompts = [message.content for message in call.messages]
        code = fault.status if status is None else status
        kind = meaning(code, fault.text, prompts) or self._unexplained(call.model)
        if kind is errors.BadCallError and besides is not None:
            kind = besides
        if fault.broke_off:
            kind = errors.BrokenReplyError
        elif status is None and kind is errors.ProviderFailedError and not fault.choices:
            # The provider itself says that there is nothing, where its answer would have been.
            kind = errors.ProviderDownError
        shown = "200" if status is None else f"{status}"
        if code is not None and code != status:
            shown += f", error {code}"
        why = f"{shown}: {repeatable(fault.words, prompts)}"[:_LONGEST]
        error = kind(call.model.model, why)
        if isinstance(error, TransientError):
            tell(error, headers, fault.text, prompts)
        return error

    def _unexplained(self, model: Model) -> type[GatewayError]:
        """A 403 that does not say why: a firewall's for one row, or a key's for every row.

        Where others pass it is the row's. Before any answer it is tried again, so that the first
        row of a job does not decide for all.
        """
        key = model.model, model.api_base
        if key in self._answered:
            return errors.RefusedError
        self._forbidden[key] += 1
        if self._forbidden[key] < _MOST_FORBIDDEN:
            return errors.ProviderDownError
        return errors.CredentialsError
