"""What is to be run, from the command line or a job file, and all of it read and checked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from archon_batch.archon import Architecture, warnings
from archon_batch.cli.tables import aside
from archon_batch.cli.terminal_page import say
from archon_batch.config import ArchitectureFile, JobFile, load_architecture
from archon_batch.dataset import Dataset, Reading
from archon_batch.errors import InputError, SettingsError
from archon_batch.jobs.submit import keyless, long_replies, price_list, refuse_unready, windowed
from archon_batch.money import NanoUsd, Price, nano
from archon_batch.settings import detours, odd_keys


@dataclass(frozen=True, slots=True)
class Order:
    dataset: str | None
    arch: str | None
    name: str | None = None
    budget: NanoUsd | None = None
    output: Path | None = None
    reading: Reading = field(default_factory=Reading)
    priority: str | None = None

    def filled(self, file: JobFile) -> "Order":
        """With what the job file says wherever the command line says nothing."""
        if self.dataset is not None or self.arch is not None:
            raise InputError(
                "--job: the file names the dataset and the architecture; leave them out"
            )
        plain = Reading()
        reading = replace(
            self.reading,
            prompt_field=_chosen(self.reading.prompt_field, file.prompt_field, plain.prompt_field),
            id_field=_chosen(self.reading.id_field, file.id_field, plain.id_field),
            template=self.reading.template or file.template,
            limit=self.reading.limit or file.limit,
        )
        budget = None if file.budget_usd is None else nano(file.budget_usd)
        output = Path(file.export) if file.export else None
        return Order(
            file.dataset,
            file.architecture,
            self.name or file.name,
            self.budget or budget,
            self.output or output,
            reading,
            self.priority or file.priority,
        )


def _chosen(typed: str, written: str | None, plain: str) -> str:
    """What was typed, unless it is what stands there when nothing is; then what the file says."""
    return written if typed == plain and written is not None else typed


def priced(arch: str, *, allow_unpriced: bool) -> tuple[Architecture, dict[str, Price | None]]:
    """The architecture of that path or name, and the price of every model it calls.

    What is odd about it is told on standard error.

    Raises:
        ArchitectureError: something in it is wrong, or a model or its price is not known.
    """
    file = load_architecture(arch)
    warn(file)
    return prices_of(file, allow_unpriced=allow_unpriced)


def prices_of(
    file: ArchitectureFile, *, allow_unpriced: bool
) -> tuple[Architecture, dict[str, Price | None]]:
    """The architecture with the context windows that are known, and the price of every model.

    Raises:
        ArchitectureError: a model or its price is not known, or no prompt would fit.
    """
    with file.blamed():
        prices = price_list(file.architecture, allow_unpriced=allow_unpriced)
        return windowed(file.architecture), prices


def warn(file: ArchitectureFile) -> None:
    """Tell what is odd about an architecture; what is said of several places, once."""
    architecture = file.architecture
    places: dict[str, list[str]] = {}
    odd = chain(warnings(architecture), long_replies(architecture), keyless(architecture))
    for place, why in chain(file.told, odd):
        places.setdefault(why, []).append(place)
    for why, at in places.items():
        more = f" (the first of {len(at)} places)" if len(at) > 1 else ""
        # Names in it are somebody's, and a terminal obeys what it is sent.
        say(f"warning: {file.where(at[0])}: {at[0]}: {why}{more}", err=True)


def refuse_uncallable(architecture: Architecture) -> None:
    """Refuse what this process could not call; tell where calls go by another way.

    Raises:
        SettingsError: keys are missing in the environment, or cannot be keys.
    """
    models = [architecture.model(name) for name in architecture.model_names]
    used = {f"{model.provider}_API_KEY".upper() for model in models}
    for variable, why in odd_keys(os.environ).items():
        if variable in used or variable.startswith("ARCHON_BATCH_KEY_"):
            raise SettingsError(variable, f"{why}; set it again, and nothing else with it")
    refuse_unready(architecture)
    if not all(model.is_here for model in models):
        for detour in detours(os.environ):
            say(f"warning: {detour}", err=True)


@contextmanager
def prepared(
    order: Order, *, allow_unpriced: bool
) -> Iterator[tuple[Dataset, Architecture, dict[str, Price | None]]]:
    """Read and check all that is named, before anything is stored.

    Raises:
        InputError: something is wrong, or missing.
    """
    if order.dataset is None or order.arch is None:
        raise InputError("name a DATASET and --arch ARCH, or a job file with --job FILE")
    architecture, prices = priced(order.arch, allow_unpriced=allow_unpriced)
    with Dataset.open(order.dataset, order.reading) as dataset:
        dataset.check()
        if dataset.bad:
            aside.print(f"warning: {dataset.bad} rows cannot be accepted and count as given up")
        if dataset.unread:
            names = ", ".join(sorted(dataset.unread))
            aside.print(f"warning: {dataset.name}: bytes that are no text are left out: {names}")
        yield dataset, architecture, prices
