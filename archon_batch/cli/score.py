"""``archon-batch score``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click

from archon_batch.application.judge_run import Bench, judge_through
from archon_batch.archon import SCALES, ScaleName
from archon_batch.cli import options
from archon_batch.cli.tables import aside, money, print_json, print_table
from archon_batch.cli.terminal_page import counted, say
from archon_batch.errors import InputError
from archon_batch.evaluation import judge_cases as road
from archon_batch.evaluation.metric_plugins import metric_of
from archon_batch.evaluation.scoring import Scores, compared, judged, told
from archon_batch.evaluation.scoring import score as scored
from archon_batch.jobs.views import dollars
from archon_batch.money import NanoUsd
from archon_batch.settings import Settings
from archon_batch.store import Job, Store

#: Metrics that ask a judge, and the scale of their verdicts.
_JUDGES: Mapping[str, ScaleName] = {"judge-single": "rating", "judge-pairwise": "comparison"}
#: Reasons and rows that are told.
_TOLD = 3
#: Characters of what a metric is called on record.
_LONGEST = 300


@click.command()
@click.argument("job")
@click.option(
    "--metric",
    required=True,
    metavar="NAME[:ARG]",
    help="exact, normalized, contains, regex[:PATTERN], choice, number, math, label, "
    "json[:@SCHEMA], code[:SECONDS], judge-single, judge-pairwise, or one of a package's.",
)
@click.option("--reference", metavar="FIELD", help="The row's field with what is right.")
@click.option("--by", metavar="FIELD", help="The mean for each value of a field, too.")
@click.option("--compare", metavar="JOB2", help="The difference to another job, row by row.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the intervals.")
@click.option("--judge", metavar="MODEL|ARCH", help="Who judges, for judge-... metrics.")
@click.option(
    "--baseline", metavar="FIELD|JOB2", help="Answers for judge-pairwise to compare with."
)
@click.option("--budget", type=options.Usd(), help="The most a judge may spend, in USD.")
@click.option("--allow-unpriced", is_flag=True, help="Take a judge whose price nobody knows.")
@options.json_option
def score(
    job: str,
    metric: str,
    reference: str | None,
    by: str | None,
    compare: str | None,
    seed: int,
    judge: str | None,
    baseline: str | None,
    budget: NanoUsd | None,
    allow_unpriced: bool,
    as_json: bool,
) -> int:
    """Score JOB's answers: each row's beside its answer, and their mean with its interval.

    A judge's calls are a job of their own, which goes on where it was when it is scored again.
    """
    settings = options.settings()
    if metric in _JUDGES:
        if judge is None:
            raise InputError(f"--judge: {metric} wants a model or an architecture that judges")
        bench = Bench(judge, budget, allow_unpriced)
        task: _Compared | _Judged = _Judged(settings, metric, reference, baseline, bench)
    elif (judge, baseline, budget) != (None, None, None):
        raise InputError(f"--judge, --baseline and --budget are of {', '.join(_JUDGES)}")
    else:
        task = _Compared(settings, metric, reference)
    ours = task.scores(job)
    figures = told(ours, by=by, seed=seed)
    if compare is not None:
        figures["compared"] = compared(ours, task.scores(compare), seed)
    if as_json:
        print_json(figures)
    else:
        _print(figures)
    return 0


@dataclass(frozen=True, slots=True)
class _Compared:
    """A metric that looks at the answer and the row alone."""

    settings: Settings
    metric: str
    reference: str | None

    def scores(self, ref: str) -> Scores:
        metric = metric_of(self.metric)
        with options.store(self.settings) as store:
            job = store.jobs.find(ref)
            return _kept(store, scored(store, job, metric, self.reference, name=self.metric))


@dataclass(frozen=True, slots=True)
class _Judged:
    """A metric that asks a judge."""

    settings: Settings
    metric: str
    reference: str | None
    baseline: str | None
    bench: Bench

    def scores(self, ref: str) -> Scores:
        if (self.baseline is None) == (self.metric == "judge-pairwise"):
            raise InputError("--baseline FIELD|JOB2 is what judge-pairwise compares with")
        scale = _JUDGES[self.metric]
        with options.store(self.settings) as store:
            job = store.jobs.find(ref)
            docket = road.docket(
                store, job, scale, baseline=self.baseline, reference=self.reference
            )
        of_judge, status = judge_through(
            self.settings, f"{job.name}-{self.metric}", docket, self.bench
        )
        if of_judge.state != "done":
            aside.print(
                f"not scored yet: the judge's job {of_judge.id} is {of_judge.state}; "
                "the same command goes on with it"
            )
            click.get_current_context().exit(status or 1)
        with options.store(self.settings) as store:
            verdicts = road.verdicts(store, of_judge, scale)
            figures = {
                "judge": _account(store, of_judge),
                **road.figures(docket, verdicts),
            }
            against = f" against {self.baseline}" if self.baseline else ""
            name = f"{self.metric} by {self.bench.judge}{against}"
            least = 0.0 if self.baseline else min(SCALES[scale].values())
            scores = docket.scores(verdicts)
            return _kept(store, judged(store, job, name, scores, figures, least=least))


def _kept(store: Store, scores: Scores) -> Scores:
    """The scores, each beside its answer on record."""
    rows = {row.ix: row.score for row in scores.rows}
    store.scores.write(scores.job.id, scores.metric[:_LONGEST], rows)
    return scores


def _account(store: Store, job: Job) -> dict[str, Any]:
    account = store.accounts.total(job.id)
    return {
        "job": job.id,
        "name": job.name,
        "calls": account.calls,
        "usd": dollars(account.cost),
        "unpriced_calls": account.unpriced_calls,
    }


def _print(figures: dict[str, Any]) -> None:
    say(f"{figures['name']}: {figures['metric']}")
    say(_line(figures))
    for line in (*_counts(figures), *_money(figures)):
        say(line)
    if "compared" in figures:
        other = figures["compared"]
        say(
            f"against {other['name']}: {_line(other, sign='+')}; "
            f"better in {other['better']:,}, worse in {other['worse']:,}"
        )
    if "confusion" in figures:
        _print_matrix(figures["confusion"])
    if "by" in figures:
        say()
        field = next(iter(figures["by"][0]), "") if figures["by"] else ""
        print_table(
            (field, "rows", "mean", "low", "high"),
            [
                (group[field], group["rows"], *(f"{group[k]:.4f}" for k in ("mean", "low", "high")))
                for group in figures["by"]
            ],
        )


def _line(figures: Mapping[str, Any], sign: str = "") -> str:
    if figures["mean"] is None:
        return "no row has a score"
    low, high = (f"{figures[end]:{sign}.4f}" for end in ("low", "high"))
    mean = f"{figures['mean']:{sign}.4f}"
    return f"{mean}, 95 % interval {low} to {high}, {counted(figures['rows'], 'row')}"


def _counts(figures: dict[str, Any]) -> Iterator[str]:
    if unread := figures["unread"]:
        why = figures["unread_why"]
        some = "; ".join(f"{n:,} x {reason}" for reason, n in list(why.items())[:_TOLD])
        more = f"; and {counted(len(why) - _TOLD, 'other reason')}" if len(why) > _TOLD else ""
        yield f"{unread:,} could not be read: {some}{more}"
    if given_up := figures["given_up"]:
        yield f"{counted(given_up, 'row')} given up"
    if left := figures["open"]:
        yield f"{counted(left, 'row')} open or cancelled, without a score"
    if "macro_f1" in figures and figures["macro_f1"] is not None:
        yield f"macro F1 {figures['macro_f1']:.4f}"
    if "won" in figures:
        yield f"won {figures['won']:,}, tied {figures['tied']:,}, lost {figures['lost']:,}"
    if contradicted := figures.get("contradicted"):
        yield f"{contradicted:,} of the ties have another winner in each order"
    if suspect := figures.get("suspect"):
        some = ", ".join(suspect[:_TOLD]) + (", ..." if len(suspect) > _TOLD else "")
        yield f"{counted(len(suspect), 'row')} may be talking to the judge; look at {some}"


def _money(figures: dict[str, Any]) -> Iterator[str]:
    each = figures["usd_per_point"]
    right = f", {money(each)} for each right answer" if each is not None else ""
    yield f"{money(figures['usd'])} paid for the answers{right}"
    if "judge" in figures:
        judge = figures["judge"]
        paid = money(judge["usd"], judge["unpriced_calls"])
        yield f"{paid} paid for judging, {counted(judge['calls'], 'call')}: job {judge['job']}"


def _print_matrix(confusion: Mapping[str, Mapping[str, int]]) -> None:
    said = sorted({label for row in confusion.values() for label in row})
    say()
    print_table(
        ("reference \\ answer", *said),
        [(label, *(row.get(one, 0) for one in said)) for label, row in confusion.items()],
    )
