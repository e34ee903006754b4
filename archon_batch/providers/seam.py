"""The one seam between the program and whoever answers calls."""

from typing import Protocol

from archon_batch.archon import Call, Reply


class Provider(Protocol):
    async def complete(self, call: Call, attempt_id: str) -> Reply:
        """Make one request, and no second one whatever happens.

        Args:
            call: what to ask.
            attempt_id: the attempt's id on the ledger, sent along for the provider's own records.

        Raises:
            GatewayError: there is no answer; its ``billing`` says what that means for the bill.
        """
        ...

    async def close(self) -> None: ...
