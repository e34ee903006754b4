"""An item on a page: what each component did, every call, every candidate, the answer."""

import json
from typing import Any

import pytest

from archon_batch.archon import Answer
from archon_batch.cli.item_view import print_item
from archon_batch.settings import Settings
from archon_batch.store import Store
from tests.cli.terminal import Terminal

ALL = """\
models:
  good: {model: scripted/plausible, price: {input: 2, output: 10}}
  rough: {model: scripted/rough, price: {input: 2, output: 10}}
defaults: {model: good}
layers:
  - {type: generator, samples: 4}
  - {type: unit_test_generator, unit_test_cap: 3}
  - {type: unit_test_evaluator}
  - {type: critic, model: rough}
  - {type: ranker, top_k: 2}
  - - {type: fuser, samples: 2}
    - {type: fuser, model: rough, samples: 2}
  - {type: verifier}
  - {type: voter, extract: text}
"""
KINDS = [
    "0.0 generator", "1.0 unit_test_generator", "2.0 unit_test_evaluator", "3.0 critic",
    "4.0 ranker", "5.0 fuser", "5.1 fuser", "6.0 verifier", "7.0 voter",
]  # fmt: skip


def an_attempt(n: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "n": n,
        "state": "billed",
        "outcome": "ok",
        "why": None,
        "usd": 0.25,
        "estimated": False,
        "prompt_tokens": 1200,
        "completion_tokens": 7,
    } | changes


def a_call(key: str = "0.0.0.0", text: str | None = "four", **changes: Any) -> dict[str, Any]:
    return {
        "call": key,
        "component": "generator",
        "model": "scripted/small",
        "text": text,
        "failure": None,
        "finish": "stop",
        "cached": False,
        "cache_saved_usd": None,
        "attempts": [an_attempt()],
    } | changes


def a_candidate(of: str = "0.0.0", text: str = "four", **changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"parents": [], "critique": None, "tests": None, "scores": {}}
    return {"id": of, "text": text} | known | changes


def a_layer(
    *calls: dict[str, Any], depth: int = 0, did: str | None = "made 1 candidate", **changes: Any
) -> dict[str, Any]:
    component = {
        "component": 0,
        "type": "generator",
        "model": "scripted/small",
        "effect": did,
        "warnings": changes.pop("warnings", []),
        "calls": [call["call"] for call in calls],
    }
    left = {"unit_tests": [], "candidates": [a_candidate()]} if did else {}
    nothing = {"unit_tests": None, "candidates": None}
    return {"layer": depth, "components": [component]} | nothing | left | changes


def an_item(*calls: dict[str, Any], **changes: Any) -> dict[str, Any]:
    made = list(calls or [a_call()])
    return {
        "id": "r1",
        "status": "answered",
        "messages": [{"role": "user", "content": "What is 2 + 2?"}],
        "answer": "four",
        "candidate": "0.0.0",
        "reason": None,
        "seconds": 1.25,
        "usd": 0.25,
        "in_doubt_usd": 0.0,
        "failed_usd": 0.0,
        "reask_usd": 0.0,
        "unused_usd": 0.0,
        "cache_saved_usd": 0.0,
        "unpriced_calls": 0,
        "calls": len(made),
        "cached_calls": 0,
        "failed_calls": 0,
        "attempts": 1,
        "prompt_tokens": 1200,
        "completion_tokens": 7,
        "warnings": [],
        "layers": [a_layer(*made)],
        "trace_error": None,
        "calls_made": made,
        "missing": [],
    } | changes


@pytest.fixture
def page(capsys: pytest.CaptureFixture[str]) -> Any:
    def printed(item: dict[str, Any], *, full: bool = False) -> str:
        print_item(item, full=full)
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) <= 80
        return out

    return printed


def test_a_small_item_is_a_small_page(page: Any) -> None:
    lines = [line.rstrip(" ─") for line in page(an_item()).splitlines()]

    assert lines == [
        "question",
        "  | What is 2 + 2?",
        "",
        "layer 0: 0 -> 1 candidate",
        "0.0 generator scripted/small, 1 call: made 1 candidate",
        "    0.0.0.0  1,200 tokens in, 7 out, $0.2500",
        "      | four",
        "",
        "  candidate  first words",
        "  0.0.0      four",
        "",
        "answered: r1",
        "candidate 0.0.0, of 0.0 generator scripted/small",
        "four",
        "",
        "1 call, 1 attempt, 1,200 tokens in, 7 out, $0.2500 paid, 1.2 s",
    ]


@pytest.mark.parametrize(
    ("call", "lines"),
    [
        (
            a_call(attempts=[], cached=True, cache_saved_usd=0.25),
            ["0.0.0.0  cached; its original price was $0.2500", "  | four"],
        ),
        (
            a_call(
                attempts=[
                    an_attempt(state="not_billed", outcome="rate_limit", why="wait", prompt_tokens=None,
                               completion_tokens=None, usd=0.0),
                    an_attempt(2, usd=None, completion_tokens=None),
                ]
            ),
            ["0.0.0.0  2 attempts", "  attempt 1: not billed, rate_limit: wait",
             "  attempt 2: 1,200 tokens in, ? out, unpriced", "  | four"],
        ),
        (
            a_call(attempts=[an_attempt(estimated=True)], finish="length"),
            ["0.0.0.0  1,200 tokens in, 7 out, at most $0.2500, truncated at max_tokens", "  | four"],
        ),
        (
            a_call(text=None, failure="refused: no", attempts=[
                an_attempt(state="not_billed", outcome="refused", why="no", prompt_tokens=None,
                           completion_tokens=None)]),
            ["0.0.0.0  failed, not billed, refused: no"],
        ),
        (
            a_call(text=None, failure="3 processes died over it", attempts=[
                an_attempt(state="in_doubt", outcome="worker_died", why=None, prompt_tokens=None,
                           completion_tokens=None)]),
            ["0.0.0.0  failed, in doubt, worker_died", "  3 processes died over it"],
        ),
        (
            a_call(text=None, attempts=[an_attempt(state="sending", outcome=None, prompt_tokens=None,
                                                   completion_tokens=None)]),
            ["0.0.0.0  sending", "  no reply yet"],
        ),
        (a_call(text=" \n"), ["0.0.0.0  1,200 tokens in, 7 out, $0.2500", "  (blank)"]),
    ],
)  # fmt: skip
def test_a_call_says_what_became_of_it(page: Any, call: dict[str, Any], lines: list[str]) -> None:
    out = page(an_item(call)).partition("made 1 candidate\n")[2].partition("\n\n")[0]

    assert out.splitlines() == [f"    {line}" for line in lines]


def test_a_call_that_was_asked_again_says_so(page: Any) -> None:
    first, second = a_call("0.0.0.0", text="rubbish"), a_call("0.0.0.1")
    layer = a_layer(second, did=None)

    both = page(an_item(first, second))
    waiting = page(an_item(second, status="open", layers=[layer], missing=["0.0.0.2"]))

    assert "0.0.0.0  1,200 tokens in, 7 out, $0.2500, unparsed, asked again\n" in both
    assert both.count("asked again") == 1
    assert "0.0.0.1  1,200 tokens in, 7 out, $0.2500, unparsed, asked again\n" in waiting


def test_each_warning_is_shown_once_under_its_component(page: Any) -> None:
    calls = [a_call(f"0.0.{slot}.0") for slot in range(3)]
    notes = [
        {"kind": "failed", "why": "refused: no"},
        {"kind": "unparsed", "why": "it was empty"},
        {"kind": "failed", "why": "refused: no"},
        {"kind": "skipped", "why": "2 of 3 candidates are missing"},
    ]

    out = page(an_item(*calls, layers=[a_layer(*calls, warnings=notes)]))

    assert out.partition("made 1 candidate\n")[2].splitlines()[:4] == [
        "    failed: 2 of 3 calls (refused: no)",
        "    unparsed: 1 of 3 calls (it was empty)",
        "    skipped: 2 of 3 candidates are missing",
        "    0.0.0.0  1,200 tokens in, 7 out, $0.2500",
    ]


@pytest.mark.parametrize(("calls", "shown"), [(1, 6), (3, 6), (4, 3), (6, 3), (7, 1), (40, 1)])
def test_replies_are_cut_the_shorter_the_more_there_are(page: Any, calls: int, shown: int) -> None:
    text = "\n".join(f"line {n}" for n in range(20))
    item = an_item(*(a_call(f"0.0.{slot}.0", text) for slot in range(calls)))

    cut, full = page(item), page(item, full=True)

    assert cut.count("| line") == calls * shown
    assert cut.count(f"... {20 - shown} more lines, --full shows them") == calls
    assert full.count("| line") == calls * 20
    assert "--full" not in full


def test_a_candidate_has_its_tests_scores_and_first_words(page: Any) -> None:
    tests = [{"test": "x", "passed": n != 1} for n in range(3)]
    scores = {"unit_tests": 2 / 3, "verified": 2 / 3, "votes": 7.0}
    first = a_candidate("5.0.0", "first\nline", tests=tests, scores=scores)
    second = a_candidate("5.0.1", "word " * 20, tests=[{"test": "x", "passed": True}])

    out = page(an_item(layers=[a_layer(a_call(), candidates=[first, second])]))

    assert rows(out) == [
        "  candidate  tests          scores                   first words",
        "  5.0.0      2 of 3, not 2  verified 0.667, votes 7  first line",
        "  5.0.1      1 of 1                                  word word word word word w…",
    ]


def test_a_candidate_says_what_it_is_made_of_where_it_is_made(page: Any) -> None:
    fused = a_candidate("5.0.0", "new", parents=[f"0.0.{n}" for n in range(9)])
    scored = fused | {"scores": {"reward": 2.0}}
    layers = [a_layer(a_call(), candidates=[fused]), a_layer(depth=1, candidates=[scored])]

    out = page(an_item(layers=layers))

    assert rows(out) == [
        "  candidate  made of                 first words",
        "  5.0.0      0.0.0, 0.0.1, 0.0.2 +6  new",
        "  candidate  scores    first words",
        "  5.0.0      reward 2  new",
    ]


def rows(out: str) -> list[str]:
    return [line.rstrip() for line in out.splitlines() if line.startswith(("  cand", "  5.0."))]


def test_unchanged_candidates_are_not_repeated(page: Any) -> None:
    call = a_call("1.0.0.0", component="critic")
    critic = a_layer(call, depth=1, did="wrote critiques of 1")
    scored = a_layer(depth=2, did="scored 1", candidates=[a_candidate(scores={"reward": 0.5})])

    out = page(an_item(a_call(), call, layers=[a_layer(a_call()), critic, scored]))

    assert out.count("  0.0.0      four") == 1
    assert out.count("the candidates are unchanged") == 1
    assert out.count("  0.0.0      reward 0.5  four") == 1


def test_unit_tests_are_numbered_where_they_are_written(page: Any) -> None:
    written = a_layer(a_call(), unit_tests=["It says 4.", "It is short."])
    later = a_layer(depth=1, unit_tests=["It says 4.", "It is short."])

    out = page(an_item(layers=[written, later]))

    assert out.count("  1  It says 4.") == out.count("  2  It is short.") == 1


def test_an_open_item_says_what_it_waits_for(page: Any) -> None:
    call, sending = a_call(), a_call("1.0.0.0", None, finish=None, attempts=[])
    missing = [f"1.0.{slot}.0" for slot in range(5)]
    layers = [a_layer(call), a_layer(sending, depth=1, did=None)]
    nothing = {"answer": None, "candidate": None, "seconds": None}

    out = page(an_item(call, sending, status="open", layers=layers, missing=missing, **nothing))

    assert "layer 1: 1 candidate in, not done " in out
    assert "1.0 generator scripted/small, 1 call: waiting for 5 calls\n" in out
    assert "5 calls missing: 1.0.0.0, 1.0.1.0, 1.0.2.0 +2\n" in out
    assert out.endswith("$0.2500 paid\n")


def test_a_failed_item_shows_where_and_why(page: Any) -> None:
    nothing = {"answer": None, "candidate": None}
    layers = [a_layer(a_call()), a_layer(depth=1, did=None)]
    why = "layer 1: the prompt is too long"

    out = page(an_item(status="failed", reason=why, layers=layers, **nothing))

    assert "layer 1: 1 candidate in, failed here " in out
    assert out.partition("failed: r1 ")[2].splitlines()[1] == why


def test_an_invalid_row_has_only_its_reason(page: Any) -> None:
    nothing: dict[str, Any] = {
        "messages": [],
        "answer": None,
        "candidate": None,
        "layers": [],
        "calls_made": [],
    }

    out = page(an_item(status="failed", reason="prompt: missing", **nothing))

    assert [line.rstrip(" ─") for line in out.splitlines()][:4] == [
        "", "failed: r1", "prompt: missing", "",
    ]  # fmt: skip


def test_without_a_trace_calls_and_warnings_are_shown(page: Any) -> None:
    calls = [a_call(), a_call("0.0.1.0"), a_call("1.0.0.0", component="prover", model="m")]
    notes = [{"layer": 0, "component": 0, "kind": "truncated", "why": "it ends"}]

    out = page(
        an_item(*calls, layers=[], warnings=notes, candidate=None, trace_error="no 'prover' here")
    )

    assert [line.rstrip(" ─") for line in out.splitlines()][3:11] == [
        "calls",
        "the layers cannot be shown: no 'prover' here",
        "0.0 generator scripted/small",
        "    truncated: 1 of 2 calls (it ends)",
        "    0.0.0.0  1,200 tokens in, 7 out, $0.2500",
        "      | four",
        "    0.0.1.0  1,200 tokens in, 7 out, $0.2500",
        "      | four",
    ]
    assert "1.0 prover m\n    1.0.0.0  " in out
    assert "candidate" not in out


def test_calls_of_other_layers_are_shown_too(page: Any) -> None:
    call, later = a_call(), a_call("2.0.0.0", "later")

    out = page(an_item(call, later, layers=[a_layer(call)]))

    assert out.count("0.0.0.0  ") == out.count("2.0.0.0  ") == 1
    assert out.index("other stored calls") < out.index("| later")


def test_the_cost_line_shows_what_is_not_zero(page: Any) -> None:
    more = {"cached_calls": 2, "failed_calls": 1, "in_doubt_usd": 0.5, "cache_saved_usd": 0.75}

    out = page(an_item(unpriced_calls=3, **more))

    assert "1 call, 2 cached, 1 failed, 1 attempt, " in out
    joined = " ".join(out.split())
    assert (
        "$0.2500 + 3 unpriced paid, billing unknown: $0.5000, cache savings: $0.7500, 1.2 s"
        in joined
    )


def test_a_conversation_shows_its_last_message(page: Any) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    query = {"role": "user", "content": "Well?"}

    out = page(an_item(messages=[*turns, query]))

    assert out.splitlines()[:2] == ["question, after 2 messages", "  | Well?"]


@pytest.fixture
def folder(terminal: Terminal) -> Terminal:
    terminal.write("all.yaml", ALL)
    return terminal


def test_try_shows_every_component_within_eighty_columns(folder: Terminal) -> None:
    ended = folder.run("try", "What is 2+2?", "--arch", "all.yaml")

    assert ended.status == 0
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [k for k in KINDS if not any(line.startswith(f"{k}") for line in lines)] == []
    short = ended.out.partition("summary ")[2]
    assert [k for k in KINDS if k.replace(" ", "  ") not in short] == []


def test_show_prints_the_same_as_try(folder: Terminal) -> None:
    rehearsed = folder.run("try", "What is 2+2?", "--arch", "all.yaml", "--full")
    as_json = folder.json("try", "What is 2+2?", "--arch", "all.yaml")

    assert folder.run("show", "try-all", "1", "--full").out == rehearsed.out
    assert folder.json("show", "try-all", "1") == as_json
    assert f"candidate {as_json['candidate']}, of 5." in rehearsed.out
    for call in as_json["calls_made"]:
        assert f"\n    {call['call']}  " in rehearsed.out


def test_escape_sequences_never_reach_the_terminal(folder: Terminal) -> None:
    row = {"id": "a", "prompt": "What is \u001b[31m2+2\u001b]0;x\u0007?"}
    folder.write("rows.jsonl", json.dumps(row) + "\n")
    job = folder.run("submit", "rows.jsonl", "--arch", "all.yaml", "--detach").out.strip()
    store = Store.open(Settings.from_environment().database_url)
    store.items.finish(job, [(0, Answer("\x1b[2JFour\x9b1A", "0.0.0"))])
    store.close()

    listed = folder.run("show", job)
    shown = folder.run("show", job, "a")

    assert (listed.status, shown.status) == (0, 0)
    assert not {"\x1b", "\x07", "\x9b"} & set(listed.out + shown.out)
    assert r"\x1b[2JFour\x9b1A" in listed.out
    assert r"\x1b[2JFour\x9b1A" in shown.out
    assert r"  | What is \x1b[31m2+2\x1b]0;x\x07?" in shown.out


def test_cost_by_component_shows_warnings(folder: Terminal) -> None:
    rows = [{"id": f"q{n}", "prompt": f"What is {n}?"} for n in range(12)]
    folder.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    folder.run("submit", "rows.jsonl", "--arch", "all.yaml")

    groups = folder.json("cost", "rows-all")["by"]
    text = folder.run("cost", "rows-all").out
    by_model = folder.run("cost", "rows-all", "--by", "model").out

    critic = next(group for group in groups if group["kind"] == "critic")
    kinds = [
        kind
        for kind in ("unparsed", "failed", "skipped", "context_overflow", "truncated")
        if critic[kind]
    ]
    assert kinds
    told = ", ".join(f"{kind}: {critic[kind]} of {critic['calls']}" for kind in kinds)
    (line,) = [line for line in text.splitlines() if "critic" in line and ":" in line]
    assert line.split(maxsplit=2)[2].rstrip() == told
    assert "did not go as asked" not in by_model
