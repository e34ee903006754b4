"""Simulated models that answer sums with different skill, in the format each request asks for.

A request contains all that is needed: the model, the sum, the candidates. So architectures get
different scores, as with real models: more and better candidates contain the right answer more often,
and rankers, verifiers and fusers usually recognise it.

``python -m benchmarks.simulated_models`` prints the URL of a provider with these models on its first
line. ``GET /load`` returns the number of requests.
"""

import asyncio
import hashlib
import json
import re
from collections import Counter
from contextlib import AbstractContextManager
from functools import cache

from benchmarks.stand_in import Connection, http_response, run_module, serve

_SUM = re.compile(r"What is (\d+) plus (\d+)\?")
_RESPONSE = re.compile(
    r"<<<response (\d+) of \d+ \| (\w+)>>>\n(.*?)\n<<<end of response", re.DOTALL
)
#: Part of every reply. The replies decide the figures in docs/search.md, so it must not change.
_RESULT = "It {} to".format("comes")
_NUMBER = re.compile(rf"{_RESULT} (\d+)\.")
#: How often a component recognises whether a candidate is right.
_DETECTION_RATE = 0.8


def question(n: int) -> tuple[str, int]:
    """The nth sum and its result."""
    return f"What is {n + 11} plus {7 * n + 13}?", 8 * n + 24


def fake_reply(model: str, prompt: str, sample: int) -> str:
    """The reply of the model to the last message of a request.

    Args:
        model: its name decides its skill.
        prompt: the text of the last message.
        sample: numbers equal requests; each gets its own reply.
    """
    found = _SUM.search(prompt)
    if found is None:
        raise ValueError(f"no sum in the prompt: {prompt[:200]!r}")
    right = int(found[1]) + int(found[2])
    shown = [text for _, _, text in _RESPONSE.findall(prompt)]
    rng = _SeededNumbers(model, prompt, sample)
    if "write its strengths and its weaknesses" in prompt:
        return _critiques(shown, rng)
    if 'begins with "Answer:"' in prompt:
        return _order(shown, right, rng)
    if "Do not give a verdict yet" in prompt:
        return f"I have added it up again. {rng.word('argument')}"
    if "[Correct] or [Incorrect]" in prompt:
        good = (_stated_sum(shown[0]) == right) == (rng("verdict") < _DETECTION_RATE)
        return f"So it is. {rng.word('why')}\n[{'Correct' if good else 'Incorrect'}]"
    if "[Passed] or [Failed]" in prompt:
        return _test_results(prompt, rng, good=_stated_sum(shown[0]) == right)
    if "a JSON list of the statements" in prompt:
        return json.dumps([f"The sum holds: {rng.word(n)}." for n in range(5)])
    return _answer(model, found[0], right, shown, rng)


class _SeededNumbers:
    """Numbers from 0 to 1, the same for the same request."""

    def __init__(self, *of: object) -> None:
        self._of = of

    def __call__(self, what: object) -> float:
        return int(self.word(what), 16) / 16**8

    def word(self, what: object) -> str:
        return hashlib.sha256(repr((what, *self._of)).encode()).hexdigest()[:8]


@cache
def skill(model: str, question: str) -> float:
    """The probability that the model is right, by its talent and the difficulty of the sum."""
    name = model.rpartition("/")[2]
    talent = 0.35 + 0.3 * _SeededNumbers(name)("talent")
    ease = _SeededNumbers(question)("ease")
    return min(0.95, max(0.03, talent + 0.9 * (ease - 0.5)))


def _stated_sum(text: str) -> int | None:
    found = _NUMBER.search(text)
    return None if found is None else int(found[1])


def _answer(model: str, asked: str, right: int, shown: list[str], rng: _SeededNumbers) -> str:
    chance = skill(model, asked)
    if shown:
        share = sum(_stated_sum(text) == right for text in shown) / len(shown)
        # A model with candidates mostly follows them and seldom finds an answer that none has.
        chance = 0.25 * chance + 0.75 * share**0.8 if share else 0.25 * chance
    off = 0 if rng("answer") < chance else 1 + int(9 * rng("off"))
    return f"Let me see ({rng.word('words')}). {_RESULT} {right + off}."


def _critiques(shown: list[str], rng: _SeededNumbers) -> str:
    return "\n\n".join(
        f"[{n}]\nStrengths: it is clear.\nWeaknesses: it is short ({rng.word(n)})."
        for n in range(1, len(shown) + 1)
    )


def _order(shown: list[str], right: int, rng: _SeededNumbers) -> str:
    worth = {
        n: (_stated_sum(text) == right) * _DETECTION_RATE + rng((n, text))
        for n, text in enumerate(shown, 1)
    }
    best = sorted(worth, key=lambda n: -worth[n])
    return "Answer: " + " > ".join(f"[{n}]" for n in best)


def _test_results(prompt: str, rng: _SeededNumbers, *, good: bool) -> str:
    tests = re.findall(r"^\d+\. ", prompt[prompt.rfind("The unit tests:") :], re.MULTILINE)
    seen = [(rng(n) < _DETECTION_RATE) == good for n in range(len(tests))]
    return "\n".join(
        f"Unit Test #{n}: [{'Passed' if passed else 'Failed'}]" for n, passed in enumerate(seen, 1)
    )


class ScriptedProvider:
    """The provider: a repeated request gets the next sample of a fixed sequence."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()

    def handle_request(self, connection: Connection, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            load = {"requests": self._requests.total()}
            connection.send(http_response(json.dumps(load).encode()))
            return
        request = json.loads(body)
        model, prompt = request["model"], request["messages"][-1]["content"]
        which = hashlib.sha256(body).hexdigest()
        text = fake_reply(model, prompt, self._requests[which])
        self._requests[which] += 1
        usage = {"prompt_tokens": len(body) // 4, "completion_tokens": len(text) // 4}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}}
        reply = {
            "id": "chatcmpl-0", "object": "chat.completion", "created": 1_700_000_000,
            "model": model, "choices": [{**choice, "finish_reason": "stop"}],
            "usage": usage | {"total_tokens": sum(usage.values())},
        }  # fmt: skip
        connection.send(http_response(json.dumps(reply).encode()))


def run_provider() -> AbstractContextManager[str]:
    """Run the provider in its own process; yields its URL."""
    return run_module("benchmarks.simulated_models")


if __name__ == "__main__":
    asyncio.run(serve(ScriptedProvider))
