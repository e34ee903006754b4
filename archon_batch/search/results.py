"""What a search found, as plain data and as files: the winner, all trials, pictures."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from archon_batch import private_files
from archon_batch.config import yaml_text
from archon_batch.errors import InputError
from archon_batch.itas import Found, Trial, apart, told
from archon_batch.jobs.export import cell
from archon_batch.search.trial_jobs import mean_calls, mean_usd

_COLUMNS = (
    "n", "stage", "label", "state", "value", "dev_rows", "dev_mean", "dev_low", "dev_high",
    "choice_rows", "choice_mean", "choice_low", "choice_high", "held_out_rows", "held_out_mean", "held_out_low", "held_out_high", "usd_per_row",
    "calls_per_row", "tokens_per_row", "point",
)  # fmt: skip


def result(found: Found, seed: int) -> dict[str, Any]:
    """The end of a search: the shape of ``search --json``."""
    winner = found.winner
    return {
        "ended": found.ended,
        "combinations": found.combinations,
        "architectures": found.architectures,
        "left_out": dict(found.left_out),
        "silent": list(found.silent),
        "trials": sum(t.stage == "trial" for t in found.trials),
        "dropped": sum(t.state == "dropped" for t in found.trials),
        "paid_calls": found.paid_calls,
        "found_calls": found.found_calls,
        "single_file_calls": found.single_file_calls,
        "held_out_calls": found.held_out_calls,
        "winner": _end(winner, seed),
        "finalists": [_end(t, seed) for t in found.finalists],
        "single": _end(found.single, seed),
        "consistent": _end(found.consistent, seed),
        "front": [t.n for t in found.front],
        "against_single": _against(winner, found.single, seed),
        "against_consistent": _against(winner, found.consistent, seed),
    }


def _end(trial: Trial | None, seed: int) -> dict[str, Any] | None:
    if trial is None:
        return None
    outcomes = trial.held_out or trial.dev
    return {
        **told(trial, seed),
        "usd_per_row": mean_usd(outcomes),
        "calls_per_row": mean_calls(outcomes),
    }


def _against(ours: Trial | None, theirs: Trial | None, seed: int) -> dict[str, Any] | None:
    if ours is None or theirs is None:
        return None
    return apart(ours.held_out, theirs.held_out, seed)


def write(
    folder: Path, name: str, about: Iterable[str], told: Mapping[str, Any], found: Found
) -> list[str]:
    """Write what was found into a folder; return the names of the files.

    Args:
        folder: made where it is not there.
        name: of the winner's architecture.
        about: where the winner comes from: lines for the top of its file.
        told: the search as ``search show --json`` has it.
        found: of which the pictures are, where matplotlib is installed.

    Raises:
        InputError: the folder cannot be written.
    """
    files = {"trials.csv": _csv(told["trials"]), "trials.json": json.dumps(told, indent=2) + "\n"}
    if found.winner is not None:
        architecture = replace(found.winner.architecture, name=name)
        head = "".join(f"# {line}\n" for line in about)
        files["winner.yaml"] = head + yaml_text(architecture)
    try:
        private_files.folder(folder)
        for file, text in files.items():
            with private_files.opened(folder / file, "w", encoding="utf-8") as new:
                new.write(text)
        return [*files, *_drawn(folder, found)]
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InputError(f"{folder}: cannot be written: {why}") from None


def _csv(trials: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    table = csv.DictWriter(out, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for trial in trials:
        row = dict(trial)
        for part in ("dev", "choice", "held_out"):
            row |= {f"{part}_{key}": value for key, value in (trial[part] or {}).items()}
        row["point"] = json.dumps(trial["point"]) if trial["point"] else ""
        table.writerow({name: cell(value) for name, value in row.items() if name in _COLUMNS})
    return out.getvalue()


def _drawn(folder: Path, found: Found) -> list[str]:
    """Cost against score with the front, and how the best so far grew."""
    tried = [t for t in found.trials if t.stage == "trial" and t.value is not None and t.dev]
    if not tried:
        return []
    try:
        # It takes a second to import, and comes with an extra.
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError:
        return []
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for state, mark in (("dropped", "x"), ("done", "o")):
        some = [t for t in tried if t.state == state]
        left.scatter([_amount(t) for t in some], [t.value or 0.0 for t in some], marker=mark,
                     alpha=0.6, label="dropped early" if state == "dropped" else "all dev rows")  # fmt: skip
    if found.front:
        line = [(_amount(t), t.value or 0.0) for t in found.front]
        left.step(*zip(*line, strict=True), where="post", label="front", color="black")
    if found.winner is not None:
        w = found.winner
        left.scatter([_amount(w)], [w.value or 0.0], marker="*", s=180, label="winner")
    priced = all(t.usd is not None for t in tried)
    left.set(xlabel="USD a row" if priced else "calls a row", ylabel="objective, dev rows")
    left.legend()
    best, so_far = float("-inf"), []
    for trial in tried:
        best = max(best, (trial.value or 0.0) if trial.state == "done" else best)
        so_far.append(best)
    right.plot(range(1, len(so_far) + 1), so_far)
    right.set(xlabel="trials", ylabel="best so far, dev rows")
    with private_files.opened(folder / "search.png", "wb") as picture:
        figure.savefig(picture, format="png", dpi=120)
    return ["search.png"]


def _amount(trial: Trial) -> float:
    return mean_calls(trial.dev) if trial.usd is None else trial.usd
