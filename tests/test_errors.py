"""The tree of errors: drawn as it is, and able to travel."""

import inspect
import json
import pickle
import re

import pytest

from archon_batch import errors
from archon_batch.errors import ArchonBatchError, Billing, ProviderError

VALUES = {"line": 7, "retry_after": 1.5}


def classes(root=ArchonBatchError):
    """Every class of the tree but the private ones, with the nearest of those above it."""
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            if not child.__name__.startswith("_"):
                above = next(c for c in child.__mro__[1:] if not c.__name__.startswith("_"))
                yield child, above
            yield from classes(child)


ALL = [ArchonBatchError, *(child for child, _ in classes())]


def fields(error):
    if error.__init__ is Exception.__init__ or "__init__" not in dir(error):
        return ()
    names = list(inspect.signature(error).parameters)
    return () if names[:1] == ["args"] else tuple(n for n in names if n != "more")


def an_error(error):
    return error(*(VALUES.get(name, f"the {name}") for name in fields(error)))


def drawn():
    """The docstring's tree: each name with the name above it, and the fields beside it."""
    path: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        found = re.fullmatch(r"((?:    |\|   )*)(?:    |\|-- |`-- )(\w+Error)\b(.*)", line)
        if found:
            indent, name, rest = found.groups()
            depth = len(indent) // 4
            path[depth:] = [name]
            told = re.search(r"\(([^)]*)\)", rest)
            names = told.group(1).replace(" without its password", "") if told else ""
            yield name, path[depth - 1] if depth else None, tuple(filter(None, names.split(", ")))


def test_the_docstring_draws_the_whole_tree():
    real = {child.__name__: above.__name__ for child, above in classes()}

    tree = {name: above for name, above, _ in drawn() if above}

    assert tree == real


def test_the_docstring_tells_every_classs_fields():
    told: dict[str | None, tuple[str, ...]] = {None: ()}
    for name, above, own in drawn():
        told[name] = own or told[above]

    assert {error.__name__: fields(error) for error in ALL if error is not ProviderError} == {
        name: names for name, names in told.items() if name not in (None, "GatewayError")
    }


@pytest.mark.parametrize("error", ALL)
def test_an_error_survives_pickle(error):
    before = an_error(error)

    after = pickle.loads(pickle.dumps(before))  # noqa: S301  (it is our own)

    assert type(after) is error
    assert (after.args, str(after), vars(after)) == (before.args, str(before), vars(before))


@pytest.mark.parametrize("error", ALL)
def test_an_error_survives_its_arguments_as_json(error):
    before = an_error(error)

    after = error(*json.loads(json.dumps(before.args)))

    assert (str(after), vars(after)) == (str(before), vars(before))


@pytest.mark.parametrize("error", ALL)
def test_an_error_tells_all_of_its_fields_but_a_wait(error):
    told = str(an_error(error))

    assert all(str(VALUES.get(n, f"the {n}")) in told for n in fields(error) if n != "retry_after")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.ArchitectureError("", "layers", "missing"), "layers: missing"),
        (errors.ArchitectureError("a.yaml", "", "missing"), "a.yaml: missing"),
        (errors.DatasetError("rows.jsonl", 0, "empty"), "rows.jsonl: empty"),
        (errors.DatasetError("rows.jsonl", 3, "empty"), "rows.jsonl:3: empty"),
    ],
)
def test_a_place_that_is_not_known_is_left_out(error, told):
    assert str(error) == told


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DatasetError, 2),
        (errors.SettingsError, 2),
        (errors.JobNotFoundError, 2),
        (errors.StoreError, 3),
        (errors.SchemaError, 3),
        (errors.BrokerError, 3),
        (errors.RefusedError, 1),
    ],
)
def test_an_error_has_the_exit_code_of_who_must_act(error, code):
    assert error.exit_code == code


@pytest.mark.parametrize(
    ("error", "reason", "billing", "stops"),
    [
        (errors.RateLimitError, "rate_limit", Billing.NOT_BILLED, False),
        (errors.CallTimeoutError, "call_timeout", Billing.IN_DOUBT, False),
        (errors.BrokenReplyError, "broken_reply", Billing.IN_DOUBT, False),
        (errors.ProviderFailedError, "provider_failed", Billing.IN_DOUBT, False),
        (errors.ProviderDownError, "provider_down", Billing.NOT_BILLED, False),
        (errors.CredentialsError, "credentials", Billing.NOT_BILLED, True),
        (errors.UnknownModelError, "unknown_model", Billing.NOT_BILLED, True),
        (errors.QuotaError, "quota", Billing.NOT_BILLED, True),
        (errors.PromptTooLongError, "prompt_too_long", Billing.NOT_BILLED, False),
        (errors.RefusedError, "refused", Billing.NOT_BILLED, False),
        (errors.BadCallError, "bad_call", Billing.NOT_BILLED, False),
    ],
)
def test_a_gateway_error_says_what_the_ledger_holds_of_it(error, reason, billing, stops):
    refusal = an_error(error)

    assert (refusal.reason, refusal.billing, refusal.stops_job) == (reason, billing, stops)
    assert len(refusal.reason) <= 64
