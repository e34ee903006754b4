"""Builders of test values: plain functions with defaults."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from archon_batch.archon import (
    COMPONENT_TYPES,
    Answer,
    Architecture,
    Call,
    CallKey,
    Candidate,
    Component,
    ComponentWarning,
    Context,
    Contribution,
    Failed,
    Message,
    Model,
    Question,
    Reply,
    ReplyFormat,
    Request,
    State,
    Usage,
    layer_flows,
    read_architecture,
    validate_architecture,
)
from archon_batch.errors import Billing
from archon_batch.jobs.frozen_job import FrozenJob, load_frozen_job
from archon_batch.money import NanoUsd, Price
from archon_batch.store import (
    AttemptRequest,
    AttemptResult,
    CallId,
    Job,
    NewItem,
    NewJob,
    Store,
    current_process_id,
    now,
)

MODEL = "scripted/plausible"


def examples(factor: float) -> settings:
    """So many times the examples of the profile that a run has chosen."""
    assert settings.default is not None
    return settings(max_examples=round(factor * settings.default.max_examples))


def a_component(kind: str, /, **knobs: Any) -> Component:
    return COMPONENT_TYPES[kind].model_validate({"type": kind, "model": MODEL, **knobs})


def an_architecture(*layers: Any, **top: Any) -> Architecture:
    """Build an architecture from layers as in its file; a bare word is a component of that type."""
    written = layers or ({"type": "generator", "samples": 2}, "critic", "ranker", "fuser")
    data = {
        "name": "small",
        "defaults": {"model": MODEL, "max_tokens": 256},
        "layers": [_written(layer) for layer in written],
    }
    return read_architecture(data | top)


def _written(layer: Any) -> Any:
    if isinstance(layer, list):
        return [_written(component) for component in layer]
    return {"type": layer} if isinstance(layer, str) else layer


def a_question(
    query: str = "What is 2 + 2?", *, row: str = "row-1", earlier: Sequence[Message] = ()
) -> Question:
    return Question(row, (*earlier, Message("user", query)))


def candidates(*texts: str) -> tuple[Candidate, ...]:
    return tuple(Candidate(f"0.0.{slot}", text) for slot, text in enumerate(texts))


def a_context(*texts: str, question: Question | None = None) -> Context:
    """The context of a component of the second layer with these candidates."""
    return Context(question or a_question(), State(candidates(*texts)), "1.0")


@dataclass(frozen=True)
class ComponentRun:
    """A complete run of one component."""

    rounds: Sequence[tuple[Request, ...]]
    contribution: Contribution
    warnings: tuple[ComponentWarning, ...]


def run_with_texts(
    component: Component, context: Context, *replies: str | Reply | None
) -> ComponentRun:
    """Run a component alone. The last reply answers all further requests."""
    left = iter(replies)
    last: str | Reply | None = ""
    rounds: list[tuple[Request, ...]] = []
    generator = component.run(context)
    try:
        requests = next(generator)
        while True:
            rounds.append(requests)
            round_replies = []
            for _ in requests:
                last = next(left, last)
                round_replies.append(last if isinstance(last, Reply) else Reply(last))
            requests = generator.send(tuple(round_replies))
    except StopIteration as end:
        return ComponentRun(rounds, *end.value)


def first_requests(component: Component, context: Context) -> tuple[Request, ...]:
    """The first round of a component."""
    return next(component.run(context))


def a_call(
    query: str = "What is 2 + 2?",
    *,
    layer: int = 0,
    slot: int = 0,
    model: Model | str = MODEL,
    sample: int = 0,
    max_tokens: int = 256,
    form: ReplyFormat | None = None,
) -> Call:
    return Call(
        key=CallKey(layer, 0, slot, 0),
        component_type="generator",
        model=Model(model=model) if isinstance(model, str) else model,
        messages=(Message("user", query),),
        sample=sample,
        temperature=0.7,
        max_tokens=max_tokens,
        reply_format=form,
    )


def a_job(
    store: Store,
    *,
    architecture: Architecture | None = None,
    questions: Sequence[Question] | int = 2,
    name: str = "nightly",
    prices: Mapping[str, Price | None] | None = None,
    budget: int | None = None,
    reuse: bool = True,
    shard: int = 16,
    width: int = 4,
) -> Job:
    """A stored job; a name already used returns the job submitted under it."""
    frozen = architecture or an_architecture()
    rows = (
        [a_question(f"What is {n} + {n}?", row=f"row-{n}") for n in range(questions)]
        if isinstance(questions, int)
        else questions
    )
    names = {frozen.model(alias).model for alias in frozen.model_names}
    new = NewJob(
        submit_key=hashlib.sha256(name.encode()).hexdigest(),
        name=name,
        dataset="rows.jsonl",
        architecture=frozen.to_dict(),
        prices=dict.fromkeys(names) if prices is None else prices,
        options={"reuse": reuse},
        shard_size=shard,
        concurrent_shards=width,
        budget=None if budget is None else NanoUsd(budget),
    )
    job, _ = store.jobs.get_or_create(
        new, (NewItem(row.id, row, {"place": row.id}) for row in rows)
    )
    return job


def a_running_job(store: Store, **knobs: Any) -> FrozenJob:
    return load_frozen_job(a_job(store, **knobs), COMPONENT_TYPES)


def a_start(job: Job | FrozenJob, ix: int = 0, slot: int = 0, **changes: Any) -> AttemptRequest:
    """An attempt that wants to begin; the same row and slot is the same request in any job."""
    start = AttemptRequest(
        call=CallId(job.id, ix, CallKey(0, 0, slot, 0)),
        kind="generator",
        model=MODEL,
        fingerprint=hashlib.sha256(f"{ix}/{slot}".encode()).hexdigest(),
        hold=NanoUsd(100),
        expires_after=60.0,
        use_cache=True,
        owner=current_process_id(),
        begun_at=now(),
    )
    return replace(start, **changes)


def a_dead_process() -> str:
    """One that had this process's number before this process began."""
    host, pid, _, kernel, random = current_process_id().rsplit(":", 4)
    return f"{host}:{pid}:1:{kernel}:{random}"


def a_finish(
    start: AttemptRequest, n: int = 1, text: str | None = "four", **changes: Any
) -> AttemptResult:
    """How the attempt ended: with an answer for 60 nano-dollars, unless it is said otherwise."""
    finish = AttemptResult(
        request=start,
        attempt_number=n,
        billing=Billing.BILLED,
        outcome="ok",
        detail=None,
        usage=Usage(10, 5),
        cost=NanoUsd(60),
        estimated=False,
        reply=Reply(text, finish_reason="stop"),
        ended_at=now(),
    )
    return replace(finish, **changes)


def in_doubt(start: AttemptRequest, n: int = 1, reply: Reply | None = None) -> AttemptResult:
    """It may have been served and billed; no answer came."""
    return a_finish(
        start,
        n,
        billing=Billing.IN_DOUBT,
        outcome="call_timeout",
        usage=Usage(),
        cost=None,
        reply=reply,
    )


def as_stored(end: Answer | Failed) -> tuple[str, str | None, str | None, int]:
    """Columns of an item's final state: status, answer, reason, number of warnings."""
    if isinstance(end, Answer):
        return "answered", end.text, None, len(end.warnings)
    return "failed", None, f"layer {end.layer}: {end.why}", len(end.warnings)


def ends(store: Store, job: Job) -> list[tuple[str, str | None, str | None, int]]:
    """The ends of a job's items, in the dataset's order."""
    return [(e.status, e.answer, e.reason, len(e.warnings)) for e in store.item_results.all(job.id)]


@st.composite
def architectures(
    draw: st.DrawFn, models: Sequence[str] = (MODEL, "small", "large"), most_layers: int = 5
) -> Architecture:
    """Any valid architecture of up to ``most_layers`` layers, unusual ones among them."""
    layers: list[list[dict[str, object]]] = []
    arriving, tests = 0, False
    for _ in range(draw(st.integers(1, most_layers))):
        fit = [
            k
            for k in sorted(COMPONENT_TYPES)
            if COMPONENT_TYPES[k].requires <= _there(arriving, tests=tests)
        ]
        kinds = st.sampled_from(fit if arriving or tests else ["generator", "unit_test_generator"])
        # Usually one component, as in the paper; sometimes a layer that the paper does not use.
        size = draw(st.sampled_from([1, 1, 1, 2]))
        layers.append([draw(_components(draw(kinds), models, arriving)) for _ in range(size)])
        *_, last = layer_flows(_layered(layers))
        arriving = last.candidates_out.high
        tests = tests or any(c["type"] == "unit_test_generator" for c in layers[-1])
    if not arriving:
        layers.append([draw(_components("generator", models, arriving))])
    architecture = _layered(layers)
    validate_architecture(architecture)
    return architecture


def _there(candidates: int, *, tests: bool) -> frozenset[str]:
    there = {"candidates": bool(candidates), "unit_tests": tests}
    return frozenset(name for name, is_there in there.items() if is_there)


def _layered(layers: list[list[dict[str, object]]]) -> Architecture:
    return read_architecture({
        "name": "any",
        "models": {"small": {"model": "scripted/small"}, "large": {"model": "scripted/large"}},
        "layers": layers,
    })  # fmt: skip


def _components(
    kind: str, models: Sequence[str], arriving: int
) -> st.SearchStrategy[dict[str, object]]:
    samples = {"samples": st.integers(1, 3)}
    critiques = {"use_critiques": st.sampled_from([False, None])}
    shuffle = {"shuffle": st.booleans()}
    form = {"format": st.sampled_from(["text", "text", "json"])}
    kept = st.none() | st.integers(1, max(1, arriving))
    own: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "generator": {**samples, "no_system": st.booleans()},
        "critic": {**samples, **shuffle, **form},
        "ranker": {**critiques, **shuffle, **form, "top_k": kept},
        "fuser": {**samples, **critiques, **shuffle, "length_control": st.booleans()},
        "verifier": {**samples, **form, "first_k": kept},
        "unit_test_generator": {**samples, **form, "unit_test_cap": st.none() | st.integers(1, 4)},
        "unit_test_evaluator": {
            **samples,
            **form,
            "top_k": kept,
            "first_k": kept,
            "remove_unit_tests_from_prompt": st.booleans(),
        },
        "voter": {"extract": st.sampled_from(["boxed", "number", "letter", "text"])},
        "judge": {"scale": st.sampled_from(["rating", "comparison"])},
    }
    asking = {
        "model": st.sampled_from(list(models)),
        "temperature": st.sampled_from([0.0, 0.7]),
        "max_tokens": st.sampled_from([64, 512]),
        "retries": st.integers(0, 3),
        "overflow": st.sampled_from(["drop_last", "truncate", "error"]),
    }
    return st.fixed_dictionaries({
        "type": st.just(kind),
        **({} if kind == "voter" else asking),
        **own[kind],
    })  # fmt: skip


def a_random_architecture(seed: int, models: Sequence[str]) -> Architecture:
    """A valid architecture, the same for the same seed."""
    rng = Random(seed)  # noqa: S311  (no secret rests on it)
    layers: list[list[dict[str, object]]] = []
    tests = False
    weights = {"generator": 1, "critic": 2, "ranker": 2, "fuser": 3, "verifier": 2, "voter": 1}
    weights |= {"unit_test_generator": 2, "unit_test_evaluator": 3}
    for layer_index in range(rng.randint(2, 6)):
        kinds = [k for k in weights if tests or k != "unit_test_evaluator"]
        drawn = rng.choices(kinds, [weights[k] for k in kinds], k=2)
        layers.append([])
        for kind in drawn[: rng.randint(1, 2)] if layer_index else ["generator"]:
            knobs: dict[str, object] = {"retries": rng.randint(0, 2)}
            if kind == "voter":
                knobs = {"extract": rng.choice(["number", "letter", "text"])}
            elif kind not in ("ranker", "voter"):
                knobs["samples"] = rng.randint(2 if layer_index == 0 else 1, 3)
            if kind in ("verifier", "unit_test_evaluator") and rng.randint(0, 1):
                knobs["first_k"] = 1
            if kind in ("critic", "ranker", "fuser"):
                knobs["shuffle"] = rng.randint(0, 1) == 1
            if kind in ("critic", "ranker", "verifier") and rng.randint(0, 3) == 0:
                knobs["format"] = "json"
            if kind != "voter":
                (knobs["model"],) = rng.sample(models, 1)
            layers[-1].append({"type": kind, **knobs})
        tests = tests or any(c["type"] == "unit_test_generator" for c in layers[-1])
    return an_architecture(*layers)


def answers(seed: int, *, failures: bool = True, rubbish: bool = True) -> Callable[[Call], Reply]:
    """A deterministic provider: valid, blank, malformed or failed replies, by the seed."""

    def answer(call: Call) -> Reply:
        digest = hashlib.sha256(f"{seed} {call.key}".encode()).digest()
        if failures and digest[0] % 8 == 0:
            return Reply(None, failure=f"refused: {call.key}")
        if rubbish and digest[0] % 8 == 1:
            return Reply(" \n")
        if rubbish and digest[0] % 8 == 2:
            return Reply("I would put [1] before [1], and [2].")
        if call.reply_format is None:
            return Reply(f"text {digest.hex()[:6]}")
        if call.reply_format.costliest_example is not None and digest[1] % 2:
            return Reply(call.reply_format.costliest_example)
        if call.component_type == "ranker" and call.reply_format.schema is None:
            return Reply(
                f"Answer: {' > '.join(_shuffled(call.reply_format.example.split()[1::2], digest))}"
            )
        return Reply(call.reply_format.example)

    return answer


def _shuffled(words: Sequence[str], digest: bytes) -> Iterator[str]:
    marked = [(hashlib.sha256(digest + word.encode()).digest(), word) for word in words]
    return (word for _, word in sorted(marked))
