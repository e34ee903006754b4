"""Replies of made-up models that are good and bad at sums, in the form that each request asks for.

A request says all that is needed: which model, which sum, which candidates. So architectures come
to have scores of their own, as they would with real models: the more and the better candidates, the
more often somebody is right, and rankers, verifiers and fusers see it more often than not.

``python -m benchmarks.pupils`` prints the URL of a provider of such replies on the first line. ``GET
/load`` tells how often it was asked.
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
_NUMBER = re.compile(r"It comes to (\d+)\.")
#: How often who looks at a candidate sees whether it is right.
_DETECTION_RATE = 0.8


def question(n: int) -> tuple[str, int]:
    """The nth sum, and what it comes to."""
    return f"What is {n + 11} plus {7 * n + 13}?", 8 * n + 24


def fake_reply(model: str, prompt: str, sample: int) -> str:
    """What the model says to the last message of a request.

    Args:
        model: whose skill its name decides.
        prompt: the text of the message.
        sample: which of several alike requests it is: each has a reply of its own.
    """
    found = _SUM.search(prompt)
    if found is None:
        raise ValueError(f"no sum is asked for: {prompt[:200]!r}")
    right = int(found[1]) + int(found[2])
    shown = [text for _, _, text in _RESPONSE.findall(prompt)]
    luck = _Randomness(model, prompt, sample)
    if "write its strengths and its weaknesses" in prompt:
        return _critiques(shown, luck)
    if 'begins with "Answer:"' in prompt:
        return _order(shown, right, luck)
    if "Do not give a verdict yet" in prompt:
        return f"I have added it up again. {luck.word('argument')}"
    if "[Correct] or [Incorrect]" in prompt:
        good = (_stated_sum(shown[0]) == right) == (luck("verdict") < _DETECTION_RATE)
        return f"So it is. {luck.word('why')}\n[{'Correct' if good else 'Incorrect'}]"
    if "[Passed] or [Failed]" in prompt:
        return _test_results(prompt, luck, good=_stated_sum(shown[0]) == right)
    if "a JSON list of the statements" in prompt:
        return json.dumps([f"The sum holds: {luck.word(n)}." for n in range(5)])
    return _answer(model, found[0], right, shown, luck)


class _Randomness:
    """From 0 to 1, the same for the same request."""

    def __init__(self, *of: object) -> None:
        self._of = of

    def __call__(self, what: object) -> float:
        return int(self.word(what), 16) / 16**8

    def word(self, what: object) -> str:
        return hashlib.sha256(repr((what, *self._of)).encode()).hexdigest()[:8]


@cache
def skill(model: str, question: str) -> float:
    """How likely the model is right: some sums are hard for all, some models good at most."""
    name = model.rpartition("/")[2]
    talent = 0.35 + 0.3 * _Randomness(name)("talent")
    ease = _Randomness(question)("ease")
    return min(0.95, max(0.03, talent + 0.9 * (ease - 0.5)))


def _stated_sum(text: str) -> int | None:
    found = _NUMBER.search(text)
    return None if found is None else int(found[1])


def _answer(model: str, asked: str, right: int, shown: list[str], luck: _Randomness) -> str:
    chance = skill(model, asked)
    if shown:
        share = sum(_stated_sum(text) == right for text in shown) / len(shown)
        # Whoever sees candidates mostly follows them, and finds seldom what none has.
        chance = 0.25 * chance + 0.75 * share**0.8 if share else 0.25 * chance
    off = 0 if luck("answer") < chance else 1 + int(9 * luck("off"))
    return f"Let me see ({luck.word('words')}). It comes to {right + off}."


def _critiques(shown: list[str], luck: _Randomness) -> str:
    return "\n\n".join(
        f"[{n}]\nStrengths: it is clear.\nWeaknesses: it is short ({luck.word(n)})."
        for n in range(1, len(shown) + 1)
    )


def _order(shown: list[str], right: int, luck: _Randomness) -> str:
    worth = {
        n: (_stated_sum(text) == right) * _DETECTION_RATE + luck((n, text))
        for n, text in enumerate(shown, 1)
    }
    best = sorted(worth, key=lambda n: -worth[n])
    return "Answer: " + " > ".join(f"[{n}]" for n in best)


def _test_results(prompt: str, luck: _Randomness, *, good: bool) -> str:
    tests = re.findall(r"^\d+\. ", prompt[prompt.rfind("The unit tests:") :], re.MULTILINE)
    seen = [(luck(n) < _DETECTION_RATE) == good for n in range(len(tests))]
    return "\n".join(
        f"Unit Test #{n}: [{'Passed' if passed else 'Failed'}]" for n, passed in enumerate(seen, 1)
    )


class ScriptedProvider:
    """The provider: says the same to the same request, and something else when asked again."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()

    def handle_request(self, connection: Connection, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            told = {"requests": self._requests.total()}
            connection.send(http_response(json.dumps(told).encode()))
            return
        request = json.loads(body)
        model, prompt = request["model"], request["messages"][-1]["content"]
        which = hashlib.sha256(body).hexdigest()
        text = fake_reply(model, prompt, self._requests[which])
        self._requests[which] += 1
        usage = {"prompt_tokens": len(body) // 4, "completion_tokens": len(text) // 4}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}}
        said = {
            "id": "chatcmpl-0", "object": "chat.completion", "created": 1_700_000_000,
            "model": model, "choices": [{**choice, "finish_reason": "stop"}],
            "usage": usage | {"total_tokens": sum(usage.values())},
        }  # fmt: skip
        connection.send(http_response(json.dumps(said).encode()))


def run_provider() -> AbstractContextManager[str]:
    """The provider's address, while the body runs; it has a process of its own."""
    return run_module("benchmarks.pupils")


if __name__ == "__main__":
    asyncio.run(serve(ScriptedProvider))
