"""A search and its trials, printed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archon_batch.cli.tables import format_usd, print_table
from archon_batch.cli.terminal_page import echo

#: Number of trials shown, the best first.
_MAX_TRIALS_SHOWN = 10


def print_search_list(searches: Sequence[Mapping[str, Any]]) -> None:
    if not searches:
        echo("no searches yet")
        return
    columns = ("search", "name", "state", "trials", "paid", "budget")
    print_table(
        columns,
        [
            [search["search"], search["name"], search["state"], search["trials"],
             format_usd(search["usd"]),
             None if search["budget_usd"] is None else format_usd(search["budget_usd"])]
            for search in searches
        ],
    )  # fmt: skip


def print_search(search: Mapping[str, Any]) -> None:
    result = search["result"]
    trials = [t for t in search["trials"] if t["stage"] == "trial"]
    scored = sorted(
        (t for t in trials if t["value"] is not None and t["state"] == "done"),
        key=lambda t: (-t["value"], t["n"]),
    )
    if scored:
        _print_trials(scored)
    for line in (
        _result_lines(search, result)
        if result
        else [f"{search['state']}: {search['reason'] or '-'}"]
    ):
        echo(line)


def _print_trials(scored: Sequence[Mapping[str, Any]]) -> None:
    columns = ("trial", "objective", "dev score", "calls per row", "USD per row", "choices")
    print_table(columns, [_trial_row(t) for t in scored[:_MAX_TRIALS_SHOWN]])


def _trial_row(trial: Mapping[str, Any]) -> list[object]:
    choices = ", ".join(f"{k} {v}" for k, v in (trial["point"] or {}).items())
    usd = trial["usd_per_row"]
    calls = f"{trial['calls_per_row']:.1f}"
    return [
        trial["n"],
        f"{trial['value']:.4f}",
        _format_mean(trial["dev"]),
        calls,
        format_usd(usd),
        choices,
    ]


def _result_lines(search: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"ended: {result['ended']}; {result['architectures']:,} valid architectures of "
        f"{result['combinations']:,} combinations, {result['trials']} tried, "
        f"{result['dropped']} of them stopped early"
    )
    # Results of older versions do not have this key.
    for model in result.get("unresponsive_models", ()):
        yield f"{model} replied to no call and was excluded; check its key and its limits"
    if result["winner"] is None:
        why = "ran on all dev rows" if not _has_completed_trial(search) else "has a score"
        yield f"no architecture {why}, so there is no winner"
    elif (choice := result["winner"].get("choice")) is not None:
        yield (
            f"the winner was chosen among {len(result['finalists'])} finalists on "
            f"{choice['rows']:,} other rows: {_format_mean(choice)}"
        )
    for name, key in (
        ("winner", "winner"),
        ("best single model", "best_single"),
        ("self-consistency at the same cost", "self_consistency"),
    ):
        if (end := result[key]) is not None:
            yield (
                f"{name}: {end['label']}: dev {_format_mean(end['dev'])}, held out "
                f"{_format_mean(end['held_out'])}, {end['calls_per_row']:.1f} calls and "
                f"{format_usd(end['usd_per_row'])} per row"
            )
    for name, key in (("the best single model", "against_best_single"),
                     ("self-consistency", "against_self_consistency")):  # fmt: skip
        if (diff := result[key]) is not None:
            yield f"winner against {name}, held out: {_format_mean(diff, sign='+')}"
    all_dev = [t for t in search["trials"] if t["stage"] == "trial" and t["dev"]]
    if all_dev and not any(t["dev"]["mean"] for t in all_dev):
        yield "every trial scored 0: check the metric and the reference first"
    paid, cached, sequential = (
        result[k] for k in ("paid_calls", "cached_calls", "sequential_calls")
    )
    skipped = sequential - paid - cached
    rest = f", {skipped:,} skipped by early stopping" if skipped > 0 else ""
    yield f"paid {paid:,} calls instead of {sequential:,}: {cached:,} cached{rest}"
    budget = result["budget_usd"]
    limit = "" if budget is None else f", budget: {format_usd(budget)}"
    yield f"{result['held_out_calls']:,} more calls on held-out rows; {format_usd(result['usd'])} paid{limit}"


def _has_completed_trial(search: Mapping[str, Any]) -> bool:
    return any(t["stage"] == "trial" and t["state"] == "done" for t in search["trials"])


def _format_mean(mean: Mapping[str, Any] | None, sign: str = "") -> str:
    if mean is None:
        return "-"
    low, high = format(mean["low"], f"{sign}.3f"), format(mean["high"], f"{sign}.3f")
    return f"{format(mean['mean'], f'{sign}.3f')} ({low} to {high}, {mean['rows']:,} rows)"
