"""Reads and checks everything that a request names, before anything is stored or sent."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from archon_batch.application.events import Report, Warned, ignore
from archon_batch.archon import Architecture, rule_warnings
from archon_batch.config import ArchitectureFile, JobFile, load_architecture
from archon_batch.dataset import Dataset, ReadOptions
from archon_batch.errors import InputError, SettingsError
from archon_batch.jobs.submit import (
    max_tokens_warnings,
    missing_key_warnings,
    model_prices,
    require_api_keys,
    with_context_windows,
)
from archon_batch.money import NanoUsd, Price, to_nano
from archon_batch.settings import Settings


@dataclass(frozen=True, slots=True)
class JobRequest:
    dataset: str | None
    arch: str | None
    name: str | None = None
    budget: NanoUsd | None = None
    output: Path | None = None
    read_options: ReadOptions = field(default_factory=ReadOptions)
    priority: str | None = None

    def with_job_file(self, file: JobFile) -> "JobRequest":
        """With what the job file says wherever the command line says nothing."""
        if self.dataset is not None or self.arch is not None:
            raise InputError(
                "--job: the file names the dataset and the architecture; leave them out"
            )
        plain = ReadOptions()
        reading = replace(
            self.read_options,
            prompt_field=_typed_or_written(
                self.read_options.prompt_field, file.prompt_field, plain.prompt_field
            ),
            id_field=_typed_or_written(self.read_options.id_field, file.id_field, plain.id_field),
            template=self.read_options.template or file.template,
            limit=self.read_options.limit or file.limit,
        )
        budget = None if file.budget_usd is None else to_nano(file.budget_usd)
        output = Path(file.export) if file.export else None
        return JobRequest(
            file.dataset,
            file.architecture,
            self.name or file.name,
            self.budget or budget,
            self.output or output,
            reading,
            self.priority or file.priority,
        )


def _typed_or_written(typed: str, written: str | None, default: str) -> str:
    """What was typed, unless it is what stands there when nothing is; then what the file says."""
    return written if typed == default and written is not None else typed


def load_priced(
    arch: str, *, allow_unpriced: bool, report: Report = ignore
) -> tuple[Architecture, dict[str, Price | None]]:
    """The architecture of that path or name, and the price of every model that it calls.

    Raises:
        ArchitectureError: it is invalid, or a model or its price is unknown.
    """
    file = load_architecture(arch)
    for warning in architecture_warnings(file):
        report(Warned(warning))
    return with_prices(file, allow_unpriced=allow_unpriced)


def with_prices(
    file: ArchitectureFile, *, allow_unpriced: bool
) -> tuple[Architecture, dict[str, Price | None]]:
    """The architecture with its known context windows, and the price of every model.

    Raises:
        ArchitectureError: a model or its price is unknown, or no prompt would fit.
    """
    with file.locate_errors():
        prices = model_prices(file.architecture, allow_unpriced=allow_unpriced)
        return with_context_windows(file.architecture), prices


def architecture_warnings(file: ArchitectureFile) -> Iterator[str]:
    """Questionable places of an architecture, each kind once, with the first place it is found."""
    architecture = file.architecture
    places: dict[str, list[str]] = {}
    for place, why in chain(
        file.conversion_notes,
        rule_warnings(architecture),
        max_tokens_warnings(architecture),
        missing_key_warnings(architecture),
    ):
        places.setdefault(why, []).append(place)
    for why, at in places.items():
        more = f" (the first of {len(at)} places)" if len(at) > 1 else ""
        yield f"{file.location(at[0])}: {at[0]}: {why}{more}"


def require_ready(settings: Settings, architecture: Architecture, report: Report = ignore) -> None:
    """Check that the job could run: the keys are set, or the broker answers.

    Raises:
        SettingsError: a key is missing or malformed.
        BrokerError: the broker is out of reach.
    """
    if settings.in_process:
        validate_provider_access(settings, architecture, report)
        return
    from archon_batch.engine.broker import check_broker, retry_while_busy  # noqa: PLC0415

    retry_while_busy(check_broker)


def validate_provider_access(
    settings: Settings, architecture: Architecture, report: Report = ignore
) -> None:
    """Check that this process could call every model; report proxies that calls would use.

    Raises:
        SettingsError: a key is missing or malformed.
    """
    models = [architecture.model(name) for name in architecture.model_names]
    used = {f"{model.provider}_API_KEY".upper() for model in models}
    for variable, why in settings.malformed_keys:
        if variable in used or variable.startswith("ARCHON_BATCH_KEY_"):
            raise SettingsError(variable, f"{why}; set it again, and nothing else with it")
    require_api_keys(architecture)
    if not all(model.is_local for model in models):
        for proxy in settings.proxies:
            report(Warned(proxy))


@contextmanager
def prepare_inputs(
    request: JobRequest, *, allow_unpriced: bool, report: Report = ignore
) -> Iterator[tuple[Dataset, Architecture, dict[str, Price | None]]]:
    """The request's dataset, architecture and prices; the dataset is closed when the body ends.

    Raises:
        InputError: something is missing or invalid.
    """
    if request.dataset is None or request.arch is None:
        raise InputError("name a DATASET and --arch ARCH, or a job file with --job FILE")
    architecture, prices = load_priced(request.arch, allow_unpriced=allow_unpriced, report=report)
    with Dataset.open(request.dataset, request.read_options) as dataset:
        dataset.check()
        if dataset.rejected:
            rows = "1 row is" if dataset.rejected == 1 else f"{dataset.rejected} rows are"
            report(Warned(f"{rows} invalid, and failed"))
        if dataset.undecoded_columns:
            names = ", ".join(sorted(dataset.undecoded_columns))
            report(Warned(f"{dataset.name}: bytes that are no text are left out: {names}"))
        yield dataset, architecture, prices
