"""A fake provider: its replies depend on the call alone, and cost nothing.

``scripted/plausible`` always replies in the requested format. ``scripted/rough`` is unreliable:
some replies are blank or malformed, some calls are refused, and some need a second attempt.
"""

from archon_batch.archon import Call, Reply, Usage
from archon_batch.errors import RateLimitError, RefusedError, UnknownModelError

MODELS = ("scripted/plausible", "scripted/rough")

_WORDS = [
    "the",
    "answer",
    "follows",
    "from",
    "what",
    "was",
    "asked",
    "first",
    "we",
    "note",
    "that",
    "each",
    "part",
    "holds",
    "on",
    "its",
    "own",
    "then",
    "they",
    "are",
    "put",
    "together",
    "and",
    "the",
    "result",
    "is",
    "checked",
    "once",
    "more",
    "against",
    "the",
    "question",
]


class ScriptedProvider:
    async def complete(self, call: Call, attempt_id: str) -> Reply:
        if call.model.model not in MODELS:
            known = ", ".join(MODELS)
            raise UnknownModelError(call.model.model, f"there is no such script; known are {known}")
        is_first = attempt_id.endswith("/1")
        if call.model.model == "scripted/rough" and is_first and _roll(call) % 7 == 0:
            raise RateLimitError(call.model.model, "the script is rate limited", 0.01)
        reply = final_reply(call)
        if reply.failure is not None:
            raise RefusedError(call.model.model, "the script refuses this")
        return reply

    async def close(self) -> None:
        """Nothing to close."""


def final_reply(call: Call) -> Reply:
    """The final reply to the call, after all attempts that it needs."""
    roll = _roll(call)
    if call.model.model == "scripted/rough":
        if roll % 11 == 0:
            return Reply(None, failure="refused: the script refuses this")
        if roll % 5 == 0:
            text = "" if roll % 2 else "I would rather talk about [1] and [1]."
            return _reply(call, text, finish="length" if roll % 3 else "stop")
    if call.reply_format is not None:
        # Every third verdict rejects the candidate.
        return _reply(call, call.reply_format.padded_example(0, costliest=roll % 3 == 0))
    start, length = roll % len(_WORDS), 5 + roll // 97 % 20
    words = [_WORDS[(start + step) % len(_WORDS)] for step in range(length)]
    return _reply(call, f"{' '.join(words).capitalize()} ({call.fingerprint[:8]}).")


def _reply(call: Call, text: str, finish: str = "stop") -> Reply:
    prompt = sum(len(message.content.split()) for message in call.messages)
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=len(text.split()),
        cached_tokens=0,
        reasoning_tokens=0,
    )
    return Reply(text, usage=usage, finish_reason=finish, model=call.model.model)


def _roll(call: Call) -> int:
    return int(call.fingerprint[:12], 16)
