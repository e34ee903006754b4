"""Runs one prompt through an architecture in this process, as a job of one row."""

import secrets
from collections.abc import Mapping
from typing import Any

from archon_batch.archon import Architecture, Message, Question
from archon_batch.jobs import views
from archon_batch.jobs.submit import new_job, submit_key
from archon_batch.money import NanoUsd, Price
from archon_batch.settings import Settings
from archon_batch.store import Job, NewItem


def run_prompt(
    settings: Settings,
    prompt: str,
    architecture: Architecture,
    prices: Mapping[str, Price | None],
    *,
    budget: NanoUsd | None = None,
    reuse: bool = True,
) -> tuple[Job, dict[str, Any]]:
    """The job after its run, and its one item, as ``views.item_details`` returns it.

    Args:
        settings: the database and the limits.
        prompt: the user's message.
        architecture: with its context windows.
        prices: by the model's own name; None is unpriced.
        budget: maximum cost in nano-dollars.
        reuse: whether replies in the completion cache are used.
    """
    # The engine takes a third of a second to import.
    from archon_batch.engine.in_process import run_first_shard  # noqa: PLC0415
    from archon_batch.engine.runtime import Runtime  # noqa: PLC0415

    # Without the cache every run is a new job.
    nonce = None if reuse else secrets.token_hex(8)
    new = new_job(
        submit_key("try", prompt, architecture.to_dict(), nonce),
        f"try-{architecture.name}",
        "(try)",
        architecture,
        prices,
        shard_size=1,
        budget=budget,
        reuse=reuse,
    )
    runtime = Runtime(settings)
    try:
        store = runtime.store
        question = Question("1", (Message("user", prompt),))
        job, _ = store.jobs.get_or_create(new, [NewItem("1", question, {})])
        store.jobs.change_state(job.id, "running", from_states=["paused", "stopped"])
        job = run_first_shard(runtime, job)
        return job, views.item_details(store, job, store.item_results.get(job.id, "1"))
    finally:
        runtime.close()
