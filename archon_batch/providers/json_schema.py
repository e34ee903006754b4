"""The wish that a reply keep to a JSON schema, as OpenAI and those who speak like it take it."""

import json

from archon_batch.archon import Call
from archon_batch.providers.price_list import listed


def response_format(call: Call) -> dict[str, object] | None:
    """What holds the reply to its schema; None where there is none, or the model cannot be held.

    What the architecture says of the model counts first, then litellm's list.
    """
    if call.form is None or call.form.schema is None:
        return None
    held = call.model.json_schema
    if held is None:
        entry = listed(call.model.model)
        held = call.model.provider == "local" or (entry is not None and entry.json_schema)
    if not held:
        return None
    schema = {"name": call.kind, "schema": json.loads(call.form.schema), "strict": True}
    return {"type": "json_schema", "json_schema": schema}
