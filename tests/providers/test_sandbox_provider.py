"""The sandbox as a provider."""

import asyncio
import json

import pytest

from archon_batch.archon import SANDBOX_MODEL, Model
from archon_batch.errors import BadCallError, SettingsError, UnknownModelError
from archon_batch.providers import ProviderRouter, missing_variables, model_problem, price_of
from archon_batch.sandbox import bubblewrap
from tests.builders import a_call


def answered(*calls):
    async def all_of_them():
        router = ProviderRouter(30)
        try:
            return await asyncio.gather(
                *(router.complete(call, "job/0/0.0.0.0/1") for call in calls)
            )
        finally:
            await router.close()

    return asyncio.run(all_of_them())


def a_program(program, *tests, model=SANDBOX_MODEL):
    return a_call(json.dumps({"program": program, "tests": tests}), model=model)


@pytest.mark.usefixtures("sandbox")
def test_a_call_runs_a_program_and_replies_with_the_test_results():
    calls = [
        a_program("def f(x):\n    return x", "assert f(1) == 1", "assert f(1) == 2"),
        a_program("def f(x):\n    return 2", "assert f(1) == 2"),
    ]

    first, second = answered(*calls)

    verdicts = [r["verdict"] for r in json.loads(first.text)["results"]]
    assert verdicts == ["passed", "failed"]
    assert json.loads(second.text) == {"results": [{"verdict": "passed", "why": ""}]}
    assert (first.usage.prompt_tokens, first.usage.completion_tokens, first.finish_reason) == (
        0,
        0,
        "stop",
    )


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    ("call", "error"),
    [
        (a_call("run this", model=SANDBOX_MODEL), BadCallError),
        (a_program("\ud800", "assert 1"), BadCallError),
        (a_program("x = 1", "assert x", model="sandbox/perl"), UnknownModelError),
    ],
)
def test_a_call_that_is_no_sandbox_request_is_rejected(call, error):
    with pytest.raises(error):
        answered(call)


def test_without_a_sandbox_the_job_stops_and_says_what_to_install(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: None)
    bubblewrap.detect_bubblewrap.cache_clear()

    try:
        with pytest.raises(UnknownModelError, match="install bubblewrap") as raised:
            answered(a_program("x = 1", "assert x"))
        with pytest.raises(SettingsError, match="install bubblewrap"):
            missing_variables(Model(model=SANDBOX_MODEL))
    finally:
        bubblewrap.detect_bubblewrap.cache_clear()
    assert raised.value.stops_job


def test_the_sandbox_model_is_known_and_free():
    price = price_of(Model(model=SANDBOX_MODEL))

    assert price is not None
    assert not price.input
    assert not price.output
    assert model_problem(Model(model=SANDBOX_MODEL)) is None
    assert "known is sandbox/python" in (model_problem(Model(model="sandbox/perl")) or "")
