"""The tree of errors: its docstring is true, and errors survive serialization."""

import inspect
import json
import pickle
import re

import pytest

from archon_batch import errors
from archon_batch.errors import ArchonBatchError, Billing, ProviderError

VALUES = {"line": 7, "retry_after": 1.5, "is_upgradable": True}
#: Fields that change the message without standing in it.
HIDDEN = {"retry_after", "is_upgradable"}


def subclasses(root=ArchonBatchError):
    """Every class of the tree but the private ones, with its nearest public base."""
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            if not child.__name__.startswith("_"):
                parent = next(c for c in child.__mro__[1:] if not c.__name__.startswith("_"))
                yield child, parent
            yield from subclasses(child)


ALL = [ArchonBatchError, *(child for child, _ in subclasses())]


def field_names(error):
    if error.__init__ is Exception.__init__ or "__init__" not in dir(error):
        return ()
    names = list(inspect.signature(error).parameters)
    return () if names[:1] == ["args"] else tuple(n for n in names if n != "details")


def an_error(error):
    return error(*(VALUES.get(name, f"the {name}") for name in field_names(error)))


def documented_tree():
    """The docstring's tree: each name, its parent, and its fields."""
    path: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        found = re.fullmatch(r"((?:    |\|   )*)(?:    |\|-- |`-- )(\w+Error)\b(.*)", line)
        if found:
            indent, name, rest = found.groups()
            depth = len(indent) // 4
            path[depth:] = [name]
            shown = re.search(r"\(([^)]*)\)", rest)
            names = shown.group(1).replace(" without its password", "") if shown else ""
            yield name, path[depth - 1] if depth else None, tuple(filter(None, names.split(", ")))


def test_the_docstring_shows_the_whole_tree():
    real = {child.__name__: parent.__name__ for child, parent in subclasses()}

    tree = {name: parent for name, parent, _ in documented_tree() if parent}

    assert tree == real


def test_the_docstring_lists_the_fields_of_every_class():
    shown: dict[str | None, tuple[str, ...]] = {None: ()}
    for name, parent, own in documented_tree():
        shown[name] = own or shown[parent]

    assert {error.__name__: field_names(error) for error in ALL if error is not ProviderError} == {
        name: names for name, names in shown.items() if name not in (None, "ProviderError")
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
def test_an_error_message_shows_every_field_of_text(error):
    shown = str(an_error(error))

    assert all(
        str(VALUES.get(n, f"the {n}")) in shown for n in field_names(error) if n not in HIDDEN
    )


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (errors.ArchitectureError("", "layers", "missing"), "layers: missing"),
        (errors.ArchitectureError("a.yaml", "", "missing"), "a.yaml: missing"),
        (errors.DatasetError("rows.jsonl", 0, "empty"), "rows.jsonl: empty"),
        (errors.DatasetError("rows.jsonl", 3, "empty"), "rows.jsonl:3: empty"),
    ],
)
def test_a_message_omits_an_unknown_location(error, shown):
    assert str(error) == shown


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
def test_the_exit_code_shows_who_must_act(error, code):
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
def test_a_provider_error_has_its_ledger_reason_and_billing(error, reason, billing, stops):
    refusal = an_error(error)

    assert (refusal.reason, refusal.billing, refusal.stops_job) == (reason, billing, stops)
    assert len(refusal.reason) <= 64
