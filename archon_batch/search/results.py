"""The results of a search as JSON and as files: the winner, all trials, plots."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from archon_batch import private_files
from archon_batch.config import architecture_yaml
from archon_batch.errors import InputError
from archon_batch.jobs.export import spreadsheet_cell
from archon_batch.search.trial import SearchResult, Trial, score_difference, trial_to_json
from archon_batch.search.trial_jobs import mean_calls, mean_usd

_COLUMNS = (
    "n", "stage", "label", "state", "value", "dev_rows", "dev_mean", "dev_low", "dev_high",
    "choice_rows", "choice_mean", "choice_low", "choice_high", "held_out_rows", "held_out_mean", "held_out_low", "held_out_high", "usd_per_row",
    "calls_per_row", "tokens_per_row", "point",
)  # fmt: skip


def result_to_json(search_result: SearchResult, seed: int) -> dict[str, Any]:
    """The result in the shape of ``search --json``."""
    winner = search_result.winner
    return {
        "ended": search_result.end_reason,
        "combinations": search_result.combinations,
        "architectures": search_result.architecture_count,
        "excluded": dict(search_result.excluded),
        "unresponsive_models": list(search_result.unresponsive_models),
        "trials": sum(t.stage == "trial" for t in search_result.trials),
        "dropped": sum(t.state == "dropped" for t in search_result.trials),
        "paid_calls": search_result.paid_calls,
        "cached_calls": search_result.cached_calls,
        "sequential_calls": search_result.sequential_calls,
        "held_out_calls": search_result.held_out_calls,
        "winner": _trial_summary(winner, seed),
        "finalists": [_trial_summary(t, seed) for t in search_result.finalists],
        "best_single": _trial_summary(search_result.best_single, seed),
        "self_consistency": _trial_summary(search_result.self_consistency, seed),
        "pareto_front": [t.number for t in search_result.pareto_front],
        "against_best_single": _compare_trials(winner, search_result.best_single, seed),
        "against_self_consistency": _compare_trials(winner, search_result.self_consistency, seed),
    }


#: Keys of results that versions before the rename of 2026-11 stored.
_OLD_KEYS = {
    "left_out": "excluded",
    "silent": "unresponsive_models",
    "found_calls": "cached_calls",
    "single_file_calls": "sequential_calls",
    "single": "best_single",
    "consistent": "self_consistency",
    "front": "pareto_front",
    "against_single": "against_best_single",
    "against_consistent": "against_self_consistency",
}


def with_current_keys(result: Mapping[str, Any]) -> dict[str, Any]:
    """A stored result under the current keys."""
    return {_OLD_KEYS.get(key, key): value for key, value in result.items()}


def _trial_summary(trial: Trial | None, seed: int) -> dict[str, Any] | None:
    if trial is None:
        return None
    outcomes = trial.held_out or trial.dev
    return {
        **trial_to_json(trial, seed),
        "usd_per_row": mean_usd(outcomes),
        "calls_per_row": mean_calls(outcomes),
    }


def _compare_trials(trial: Trial | None, other: Trial | None, seed: int) -> dict[str, Any] | None:
    if trial is None or other is None:
        return None
    return score_difference(trial.held_out, other.held_out, seed)


def write_results(
    folder: Path,
    name: str,
    header_lines: Iterable[str],
    search_json: Mapping[str, Any],
    search_result: SearchResult,
) -> list[str]:
    """Write the results into a folder; return the names of the files.

    Args:
        folder: is created if it does not exist.
        name: the name of the winner's architecture.
        header_lines: comment lines for the winner's file: where it is from.
        search_json: the output of ``search show --json``.
        search_result: is plotted if matplotlib is installed.

    Raises:
        InputError: the folder cannot be written.
    """
    files = {
        "trials.csv": _trials_csv(search_json["trials"]),
        "trials.json": json.dumps(search_json, indent=2) + "\n",
    }
    if search_result.winner is not None:
        architecture = replace(search_result.winner.architecture, name=name)
        head = "".join(f"# {line}\n" for line in header_lines)
        files["winner.yaml"] = head + architecture_yaml(architecture)
    try:
        private_files.make_private_dir(folder)
        for file, text in files.items():
            with private_files.open_private(folder / file, "w", encoding="utf-8") as handle:
                handle.write(text)
        return [*files, *_draw_plots(folder, search_result)]
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InputError(f"{folder}: cannot be written: {why}") from None


def _trials_csv(trials: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    table = csv.DictWriter(out, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for trial in trials:
        row = dict(trial)
        for part in ("dev", "choice", "held_out"):
            row |= {f"{part}_{key}": value for key, value in (trial[part] or {}).items()}
        row["point"] = json.dumps(trial["point"]) if trial["point"] else ""
        table.writerow(
            {name: spreadsheet_cell(value) for name, value in row.items() if name in _COLUMNS}
        )
    return out.getvalue()


def _draw_plots(folder: Path, search_result: SearchResult) -> list[str]:
    """Plot cost against score with the Pareto front, and the best value so far by trial."""
    tried = [
        t for t in search_result.trials if t.stage == "trial" and t.value is not None and t.dev
    ]
    if not tried:
        return []
    try:
        # The import takes a second; an extra installs it.
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError:
        return []
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for state, mark in (("dropped", "x"), ("done", "o")):
        trials = [t for t in tried if t.state == state]
        label = "dropped early" if state == "dropped" else "all dev rows"
        costs, values = [_cost_per_row(t) for t in trials], [t.value or 0.0 for t in trials]
        left.scatter(costs, values, marker=mark, alpha=0.6, label=label)
    if search_result.pareto_front:
        line = [(_cost_per_row(t), t.value or 0.0) for t in search_result.pareto_front]
        left.step(*zip(*line, strict=True), where="post", label="Pareto front", color="black")
    if search_result.winner is not None:
        winner = search_result.winner
        cost, value = _cost_per_row(winner), winner.value or 0.0
        left.scatter([cost], [value], marker="*", s=180, label="winner")
    priced = all(t.usd is not None for t in tried)
    left.set(xlabel="USD per row" if priced else "calls per row", ylabel="objective, dev rows")
    left.legend()
    best, so_far = float("-inf"), []
    for trial in tried:
        best = max(best, (trial.value or 0.0) if trial.state == "done" else best)
        so_far.append(best)
    right.plot(range(1, len(so_far) + 1), so_far)
    right.set(xlabel="trials", ylabel="best so far, dev rows")
    with private_files.open_private(folder / "search.png", "wb") as picture:
        figure.savefig(picture, format="png", dpi=120)
    return ["search.png"]


def _cost_per_row(trial: Trial) -> float:
    return mean_calls(trial.dev) if trial.usd is None else trial.usd
