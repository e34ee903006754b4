"""The wish that a reply keep to a JSON schema, as OpenAI and those who speak like it take it."""

import json

from archon_batch.archon import Call
from archon_batch.providers.price_list import find_entry


def response_format(call: Call) -> dict[str, object] | None:
    """What holds the reply to its schema; None where there is none, or the model cannot be held.

    What the architecture says of the model counts first, then litellm's list.
    """
    if call.reply_format is None or call.reply_format.schema is None:
        return None
    held = call.model.json_schema
    if held is None:
        entry = find_entry(call.model.model)
        held = call.model.provider == "local" or (entry is not None and entry.json_schema)
    if not held:
        return None
    schema = {
        "name": call.component_type,
        "schema": json.loads(call.reply_format.schema),
        "strict": True,
    }
    return {"type": "json_schema", "json_schema": schema}
