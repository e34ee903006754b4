"""A model that replies to none of its calls is reported and excluded from the search."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from archon_batch.archon import Answer, Architecture, Model, Reply, run_item
from archon_batch.errors import InputError
from archon_batch.money import NanoUsd
from archon_batch.providers import scripted
from archon_batch.search.search import ArchitectureSearch
from archon_batch.search.trial_jobs import (
    CallCounts,
    RowOutcome,
    RowOutcomes,
    SearchRow,
    TrialRequest,
)
from tests.cli.terminal import Terminal
from tests.provider import ProviderServer
from tests.search.spaces import a_request, a_space

NAMES = ("one", "two", "three", "four")


class FailingModelRunner:
    """Runs architectures in memory with models that fail every call."""

    def __init__(self, *silent: str) -> None:
        self.call_counts = CallCounts()
        self.budget_left: NanoUsd | None = None
        self._silent = {f"scripted/{name}" for name in silent}

    def run(
        self,
        requests: Sequence[TrialRequest],
        budget_to_keep: NanoUsd = NanoUsd(0),  # noqa: B008
    ) -> list[RowOutcomes]:
        del budget_to_keep
        return [
            {case.id: self._one(one.architecture, case) for case in one.rows} for one in requests
        ]

    def _one(self, architecture: Architecture, case: SearchRow) -> RowOutcome:
        def answer(call: Any) -> Reply:
            model = call.model.model
            self.call_counts.by_model[model] += 1
            self.call_counts.failed_by_model[model] += model in self._silent
            self.call_counts.settled += 1
            return (
                Reply(None, failure="400: no")
                if model in self._silent
                else scripted.final_reply(call)
            )

        end, _ = run_item(architecture, case.question, answer)
        return RowOutcome(float(isinstance(end, Answer)), 1, 0, 1e-9)


def a_search(*silent: str, roles: Any = None, **axes: Any) -> tuple[ArchitectureSearch, list[str]]:
    space = a_space(roles=roles, **axes).model_copy(
        update={"models": {name: Model(model=f"scripted/{name}") for name in NAMES}}
    )  # fmt: skip
    messages: list[str] = []
    return ArchitectureSearch(
        FailingModelRunner(*silent),
        a_request(space, "grid", trials=100, halving=False),
        report_progress=messages.append,
    ), messages


def asked(architecture: Architecture) -> set[str]:
    return {architecture.model(name).model for name in architecture.model_names}


def test_a_generator_that_fails_every_call_is_in_no_trial_and_no_fuser_baseline() -> None:
    search, messages = a_search("one", fusions=[0, 1], roles={"critic": None, "ranker": None,
                            "verifier": None, "unit_tests": None})  # fmt: skip

    result = search.run()

    assert "scripted/one replied to none of its 15 calls and is excluded" in messages
    assert result.unresponsive_models == ("scripted/one",)
    assert result.best_single is not None
    assert result.best_single.label != "one"
    tried = [t for t in result.trials if t.stage == "trial"]
    assert tried
    assert not [t for t in tried if "scripted/one" in asked(t.architecture)]
    assert result.winner is not None


def test_trials_with_a_critic_that_fails_every_call_cannot_win() -> None:
    search, messages = a_search(
        "four", roles={"critic": "four"}, review=["critic", "none"], fusions=[0, 1]
    )

    result = search.run()

    assert [
        words for words in messages if words.startswith("scripted/four replied to none of its ")
    ]
    assert {t.state for t in result.trials if "scripted/four" in asked(t.architecture)} == {
        "excluded"
    }
    assert result.winner is not None
    assert not [t for t in result.finalists if "scripted/four" in asked(t.architecture)]


@pytest.mark.parametrize(
    ("silent", "says"),
    [
        (("one", "two", "three"), "no generator replied to any of its calls"),
        (("three",), "every architecture uses scripted/three, which replied to none of its calls"),
    ],
)
def test_a_search_without_a_responsive_architecture_is_rejected(
    silent: tuple[str, ...], says: str
) -> None:
    search, _ = a_search(*silent, generators=[3])

    with pytest.raises(InputError, match=says):
        search.run()


def test_the_command_reports_unresponsive_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    terminal = Terminal(tmp_path, capsys)
    rows = "".join(f'{{"prompt": "Why {n}?", "answer": "e"}}\n' for n in range(6))
    terminal.write("rows.jsonl", rows)
    with ProviderServer(faults=lambda _n: "refused") as provider:
        terminal.write(
            "space.yaml",
            f'models: {{bad: {{model: openai/m, api_base: "{provider.url}", '
            "price: {input: 1, output: 1}}, good: {model: scripted/plausible}}\n"
            "roles: {generators: [bad, good]}\naxes: {generators: [1, 2], fusions: 0}\n",
        )
        ended = terminal.run(
            *[
                "search",
                "rows.jsonl",
                "--space",
                "space.yaml",
                "--metric",
                "contains",
                "--dev",
                "0.5",
                "--trials",
                "4",
                "-o",
                "out",
            ]
        )

    assert "openai/m replied to none of its 3 calls and is excluded" in ended.err
    assert "openai/m replied to no call and was excluded" in ended.out
    trials = terminal.json("search", "status")
    shown = terminal.json("search", "show", trials[0]["search"])
    assert shown["result"]["unresponsive_models"] == ["openai/m"]
    assert [t["point"]["generators"] for t in shown["trials"] if t["stage"] == "trial"] == [1]
