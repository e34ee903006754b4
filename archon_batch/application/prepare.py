"""What is to be run, from the command line or a job file, and all of it read and checked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from archon_batch.archon import Architecture, rule_warnings
from archon_batch.cli.tables import stderr
from archon_batch.cli.terminal_page import echo
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
from archon_batch.settings import malformed_keys, proxies


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


def load_priced(arch: str, *, allow_unpriced: bool) -> tuple[Architecture, dict[str, Price | None]]:
    """The architecture of that path or name, and the price of every model it calls.

    What is odd about it is told on standard error.

    Raises:
        ArchitectureError: something in it is wrong, or a model or its price is not known.
    """
    file = load_architecture(arch)
    print_warnings(file)
    return with_prices(file, allow_unpriced=allow_unpriced)


def with_prices(
    file: ArchitectureFile, *, allow_unpriced: bool
) -> tuple[Architecture, dict[str, Price | None]]:
    """The architecture with the context windows that are known, and the price of every model.

    Raises:
        ArchitectureError: a model or its price is not known, or no prompt would fit.
    """
    with file.locate_errors():
        prices = model_prices(file.architecture, allow_unpriced=allow_unpriced)
        return with_context_windows(file.architecture), prices


def print_warnings(file: ArchitectureFile) -> None:
    """Tell what is odd about an architecture; what is said of several places, once."""
    architecture = file.architecture
    places: dict[str, list[str]] = {}
    odd = chain(
        rule_warnings(architecture),
        max_tokens_warnings(architecture),
        missing_key_warnings(architecture),
    )
    for place, why in chain(file.conversion_notes, odd):
        places.setdefault(why, []).append(place)
    for why, at in places.items():
        more = f" (the first of {len(at)} places)" if len(at) > 1 else ""
        # Names in it are somebody's, and a terminal obeys what it is sent.
        echo(f"warning: {file.location(at[0])}: {at[0]}: {why}{more}", err=True)


def validate_provider_access(architecture: Architecture) -> None:
    """Refuse what this process could not call; tell where calls go by another way.

    Raises:
        SettingsError: keys are missing in the environment, or cannot be keys.
    """
    models = [architecture.model(name) for name in architecture.model_names]
    used = {f"{model.provider}_API_KEY".upper() for model in models}
    for variable, why in malformed_keys(os.environ).items():
        if variable in used or variable.startswith("ARCHON_BATCH_KEY_"):
            raise SettingsError(variable, f"{why}; set it again, and nothing else with it")
    require_api_keys(architecture)
    if not all(model.is_local for model in models):
        for detour in proxies(os.environ):
            echo(f"warning: {detour}", err=True)


@contextmanager
def prepare_inputs(
    request: JobRequest, *, allow_unpriced: bool
) -> Iterator[tuple[Dataset, Architecture, dict[str, Price | None]]]:
    """Read and check all that is named, before anything is stored.

    Raises:
        InputError: something is wrong, or missing.
    """
    if request.dataset is None or request.arch is None:
        raise InputError("name a DATASET and --arch ARCH, or a job file with --job FILE")
    architecture, prices = load_priced(request.arch, allow_unpriced=allow_unpriced)
    with Dataset.open(request.dataset, request.read_options) as dataset:
        dataset.check()
        if dataset.rejected:
            stderr.print(
                f"warning: {dataset.rejected} rows cannot be accepted and count as given up"
            )
        if dataset.undecoded_columns:
            names = ", ".join(sorted(dataset.undecoded_columns))
            stderr.print(f"warning: {dataset.name}: bytes that are no text are left out: {names}")
        yield dataset, architecture, prices
