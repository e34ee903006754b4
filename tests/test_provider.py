"""The fake provider server, the oracle of the acceptance tests."""

import contextlib
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from archon_batch.archon import Candidate, Context, State
from archon_batch.archon.components import (
    critic,
    ranker,
    unit_test_evaluator,
    unit_test_generator,
    verifier,
)
from archon_batch.archon.delimiters import delimit_candidates
from tests import provider as module
from tests.builders import a_component, a_question
from tests.builders import first_requests as asked_of
from tests.provider import ProviderServer


def asked(provider, content="What is two and two?", **more):
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **more}
    headers = {"X-Client-Request-Id": "job/1"}
    return httpx.post(f"{provider.url}/chat/completions", json=body, headers=headers, timeout=5)


def said(response):
    return response.json()["choices"][0]["message"]["content"]


def test_equal_requests_get_equal_replies_in_any_order():
    with ProviderServer() as provider:
        one, other = said(asked(provider, "one")), said(asked(provider, "other"))
        assert said(asked(provider, "other")) == other
        assert said(asked(provider, "one")) == one
        assert one != other != said(asked(provider, "other", temperature=0.1))


def test_a_ranker_gets_a_ranking_and_a_critic_gets_critiques():
    shown = delimit_candidates([Candidate(str(n), f"text {n}") for n in range(5)])
    with ProviderServer() as provider:
        order = said(asked(provider, f"Such as Answer: [2] > [1]\n{shown}"))
        critiques = said(asked(provider, f"[1]\nStrengths: ...\nWeaknesses: ...\n{shown}"))
    assert sorted(ranker.parse_ranking(order, 5)) == [1, 2, 3, 4, 5]
    assert len(critic.parse_critiques(critiques, 5)) == 5


def test_requested_tests_and_verdicts_are_returned():
    context = Context(a_question(), State((Candidate("0.0.0", "Four."),), ("one", "two")), "1.0")
    kinds = ("verifier", "unit_test_generator", "unit_test_evaluator")
    prompts = [asked_of(a_component(kind), context)[0].messages[-1].content for kind in kinds[1:]]
    with ProviderServer() as provider:
        tests, verdicts = [said(asked(provider, prompt)) for prompt in prompts]
        verdict = said(asked(provider, f"{verifier._JUDGE} {verifier._TEXT}"))
    assert len(unit_test_generator.parse_tests(tests, None)) == 3
    assert len(unit_test_evaluator.parse_results(verdicts, 2)) == 2
    assert verifier.parse_verdict(verdict) in (True, False)


def test_the_bill_sums_the_served_requests_rounded_up_one_by_one(tmp_path):
    faults = ["", "500", "cut", "reset", "no_usage"]
    file = tmp_path / "journal.jsonl"
    with ProviderServer(
        faults=lambda n: faults[n - 1], prices=("0.0001", "0"), journal=file
    ) as provider:
        for _ in faults:
            with contextlib.suppress(httpx.TransportError):
                asked(provider)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    # Five words at a tenth of a nano-dollar cost half of one.
    assert [line["nanousd"] for line in lines] == [1, 0, 1, 1, 1]
    assert [line["fault"] for line in lines] == [None, "500", "cut", "reset", "no_usage"]
    assert {line["client_request_id"] for line in lines} == {"job/1"}
    assert provider.bill == 4
    assert provider.request_count == 5


def test_fault_rates_hit_the_same_requests_under_the_same_seed():
    def statuses(seed):
        with ProviderServer(
            faults={"429": 0.3, "503": 0.3}, seed=seed, retry_after="7"
        ) as provider:
            responses = [asked(provider) for _ in range(12)]
        assert all(r.headers["Retry-After"] == "7" for r in responses if r.status_code == 429)
        return [response.status_code for response in responses]

    first = statuses(1)
    assert statuses(1) == first != statuses(2)
    assert set(first) == {200, 429, 503}


def test_the_peak_is_the_maximum_of_concurrent_requests():
    # Longer than the creation of five clients on a busy machine.
    with ProviderServer(latency=1) as provider:
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda _: asked(provider), range(5)))
        assert provider.max_concurrent == 5
        provider.latency = 0
        asked(provider)
        assert provider.max_concurrent == 5


def test_a_request_is_recorded_before_its_response():
    with ProviderServer(faults=lambda _: "slow") as provider:
        body = {"model": "m", "messages": [{"role": "user", "content": "a b c"}]}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{provider.url}/chat/completions", json=body, timeout=0.2)
        assert provider.bill > 0


@pytest.mark.slow
def test_as_a_command_it_prints_its_url_and_exits_at_sigterm(tmp_path):
    journal = tmp_path / "journal.jsonl"
    command = [sys.executable, module.__file__, "--journal", journal, "--faults", '{"404": 1.0}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        body = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
        assert httpx.post(f"{url}/chat/completions", json=body).status_code == 404
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert len(Path(journal).read_text().splitlines()) == 1
