"""Calls as a person reads them: what was sent and paid for each, and the reply."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archon_batch.cli.tables import format_usd
from archon_batch.cli.terminal_page import StyledText, TerminalPage, pluralize

#: Lines of a reply, by how many calls there are together.
_LINES_BY_CALLS = ((3, 6), (6, 3))

JsonObject = Mapping[str, Any]


def max_text_lines(calls: int, *, full: bool = False) -> int | None:
    """How many lines of each text are shown; None is all of them."""
    return None if full else next((shown for most, shown in _LINES_BY_CALLS if calls <= most), 1)


def print_calls(
    page: TerminalPage, calls: Sequence[JsonObject], missing: Sequence[str], *, full: bool
) -> None:
    """The calls of a component; ``missing`` are those that wait for a reply."""
    again = {*missing, *(call["call"] for call in calls)}
    for call in calls:
        *slot, times = call["call"].split(".")
        refused = ".".join((*slot, str(int(times) + 1))) in again
        _print_call(
            page, call, asked_again=refused, max_lines=max_text_lines(len(calls), full=full)
        )


def _print_call(
    page: TerminalPage, call: JsonObject, *, asked_again: bool, max_lines: int | None
) -> None:
    attempts = call["attempts"]
    words: list[StyledText] = [(call["call"], "cyan"), "  "]
    if call["failure"] is not None:
        words.append(("failed, ", "red"))
    if call["cached"]:
        words.append(f"found again; it cost {format_usd(call['saved_usd'])} then")
    else:
        many = pluralize(len(attempts), "attempt")
        words.append(", ".join(_attempt_parts(attempts[0])) if len(attempts) == 1 else many)
    if call["finish"] == "length":
        words.append((", cut at max_tokens", "yellow"))
    if asked_again:
        words.append((", unreadable, asked again", "yellow"))
    page.line(*words, indent=4)
    if len(attempts) > 1:
        for attempt in attempts:
            page.line(f"attempt {attempt['n']}: {', '.join(_attempt_parts(attempt))}", indent=6)
    _print_reply(page, call, max_lines)


def _print_reply(page: TerminalPage, call: JsonObject, max_lines: int | None) -> None:
    text, failure = call["text"], call["failure"]
    if failure is not None:
        # What ended the last attempt is said beside it.
        if not any(failure == _attempt_error(attempt) for attempt in call["attempts"][-1:]):
            page.line((failure, "red"), indent=6)
    elif text is None:
        page.line(("no reply yet", "yellow"), indent=6)
    elif not text.strip():
        page.line(("(blank)", "yellow"), indent=6)
    else:
        page.block(text, indent=6, max_lines=max_lines)


def _attempt_parts(attempt: JsonObject) -> Iterator[str]:
    if attempt["outcome"] != "ok":
        yield attempt["state"].replace("_", " ")
    if attempt["outcome"] not in (None, "ok"):
        yield _attempt_error(attempt)
    if attempt["prompt_tokens"] is not None or attempt["completion_tokens"] is not None:
        yield f"{_format_tokens(attempt['prompt_tokens'])} tokens in"
        yield f"{_format_tokens(attempt['completion_tokens'])} out"
    if attempt["state"] == "billed":
        yield format_usd(attempt["usd"]) + (" at the most" if attempt["estimated"] else "")


def _attempt_error(attempt: JsonObject) -> str:
    return f"{attempt['outcome']}: {attempt['why']}" if attempt["why"] else attempt["outcome"]


def _format_tokens(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
