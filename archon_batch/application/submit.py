"""Submits a dataset: makes the job or finds it, runs it, and exports its answers."""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from archon_batch.application.events import (
    Exported,
    JobFound,
    JobLeftStored,
    JobSubmitted,
    Report,
    ignore,
)
from archon_batch.application.open_store import open_store
from archon_batch.application.prepare import JobRequest, prepare_inputs, require_ready
from archon_batch.application.run import RunResult, run_job
from archon_batch.application.scheduled_run import ScheduledRunRecorder, run_job_file
from archon_batch.config import JobFile
from archon_batch.errors import InputError
from archon_batch.jobs.export import export_job, validate_export_path
from archon_batch.jobs.submit import (
    Submission,
    continue_job,
    restart_job,
    submit,
    validate_budget,
)
from archon_batch.settings import Settings
from archon_batch.store import Job, Store


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """Options of a submission that a job file does not have."""

    #: Rows of a shard; None: by the number of rows.
    shard_size: int | None = None
    #: Whether replies in the completion cache are used.
    reuse: bool = True
    allow_unpriced: bool = False
    #: Whether the export replaces a file.
    overwrite: bool = False
    #: Wait for the end, or return at once; None: wait only where something needs the end.
    wait: bool | None = None


def submit_dataset(
    settings: Settings,
    request: JobRequest,
    submit_options: SubmitOptions,
    report: Report = ignore,
    recorder: ScheduledRunRecorder | None = None,
    *,
    continues: bool = False,
) -> RunResult:
    """Submit the request's dataset, run the job, and export where the request says so.

    Args:
        settings: the database, the broker and the limits.
        request: the dataset and the architecture by name, and what the user set.
        submit_options: how it is submitted.
        report: gets the events.
        recorder: records which job a scheduled run became.
        continues: whether the run's earlier job continues without reading its dataset again.

    Raises:
        InputError: something named is missing or invalid; nothing is stored then.
    """
    if request.output is not None:
        validate_export_path(request.output, force=submit_options.overwrite)
    job = None
    if continues and recorder is not None:
        with open_store(settings) as store:
            if (job := recorder.find_job(store)) is not None:
                job = restart_job(store, job, request.budget)
    if job is None:
        job = _submit(settings, request, submit_options, report, recorder)
    report(JobSubmitted(job))
    if settings.in_process and submit_options.wait is False:
        report(JobLeftStored(job))
        return RunResult(job.id, "stored")
    wait = request.output is not None if submit_options.wait is None else submit_options.wait
    result = run_job(settings, job, wait=wait, report=report)
    if request.output is not None and result.state in ("done", "cancelled"):
        with open_store(settings) as store:
            export_job(store, job, request.output, force=submit_options.overwrite)
        report(Exported(request.output))
    return result


def submit_job_file(
    settings: Settings,
    path: Path,
    day: date,
    request: JobRequest,
    submit_options: SubmitOptions,
    report: Report = ignore,
    *,
    continues: bool = False,
) -> RunResult:
    """Submit what a job file says for that day; ``request`` has what overrides the file.

    Raises:
        InputError: the file, or something that it names, is missing or invalid.
    """

    def work(file: JobFile, recorder: ScheduledRunRecorder | None) -> RunResult:
        if continues and recorder is None:
            raise InputError(
                f"--continue: {path} has no scheduled runs, since it has neither when nor on_failure"
            )
        merged = request.with_job_file(file)
        wait = submit_options.wait
        if wait is None and file.on_failure is not None:
            wait = True
        # A job file names its export, and running it again writes the same rows.
        chosen = replace(submit_options, overwrite=True, wait=wait)
        return submit_dataset(settings, merged, chosen, report, recorder, continues=continues)

    return run_job_file(settings, path, day, work)


def get_or_create_job(store: Store, submission: Submission, report: Report = ignore) -> Job:
    """The job of the submission; an existing job is restarted if it was stopped.

    Raises:
        InputError: the existing job was cancelled, or the name is another job's.
    """
    job, is_new = submit(store, submission)
    if is_new:
        return job
    report(JobFound(job))
    return continue_job(store, job, submission.budget)


def _submit(
    settings: Settings,
    request: JobRequest,
    submit_options: SubmitOptions,
    report: Report,
    recorder: ScheduledRunRecorder | None,
) -> Job:
    inputs = prepare_inputs(request, allow_unpriced=submit_options.allow_unpriced, report=report)
    with inputs as (dataset, architecture, prices):
        if request.output is not None and dataset.includes_file(request.output):
            raise InputError(f"{request.output} is the dataset; name another file for the answers")
        submission = Submission(
            dataset,
            architecture,
            prices,
            request.name,
            request.budget,
            submit_options.shard_size,
            reuse=submit_options.reuse,
            priority=request.priority or "normal",
        )
        if request.budget is not None:
            validate_budget(submission)
        require_ready(settings, architecture, report)
        with open_store(settings) as store:
            job = get_or_create_job(store, submission, report)
            if request.priority is not None and request.priority != job.priority:
                store.jobs.set_priority(job.id, request.priority)
                job = store.jobs.get(job.id)
            if recorder is not None:
                recorder.record_job(store, job)
            return job
