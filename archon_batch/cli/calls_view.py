"""The calls of an item, printed: each attempt with its cost, and the reply."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archon_batch.cli.tables import format_usd
from archon_batch.cli.terminal_page import StyledText, TerminalPage, pluralize

#: Lines shown of each text, by the number of texts: (up to so many texts, so many lines).
_LINES_BY_TEXTS = ((3, 6), (6, 3))

JsonObject = Mapping[str, Any]


def max_text_lines(texts: int, *, full: bool = False) -> int | None:
    """The number of lines to show of each text; None shows all lines."""
    return None if full else next((lines for most, lines in _LINES_BY_TEXTS if texts <= most), 1)


def print_calls(
    page: TerminalPage, calls: Sequence[JsonObject], missing: Sequence[str], *, full: bool
) -> None:
    """Print the calls of a component; ``missing`` has the keys of calls without a reply."""
    keys = {*missing, *(call["call"] for call in calls)}
    max_lines = max_text_lines(len(calls), full=full)
    for call in calls:
        *request, reask = call["call"].split(".")
        reasked = ".".join((*request, str(int(reask) + 1))) in keys
        _print_call(page, call, reasked=reasked, max_lines=max_lines)


def _print_call(
    page: TerminalPage, call: JsonObject, *, reasked: bool, max_lines: int | None
) -> None:
    attempts = call["attempts"]
    parts: list[StyledText] = [(call["call"], "cyan"), "  "]
    if call["failure"] is not None:
        parts.append(("failed, ", "red"))
    if call["cached"]:
        parts.append(f"cached; its original price was {format_usd(call['cache_saved_usd'])}")
    elif len(attempts) == 1:
        parts.append(", ".join(_attempt_parts(attempts[0])))
    else:
        parts.append(pluralize(len(attempts), "attempt"))
    if call["finish"] == "length":
        parts.append((", truncated at max_tokens", "yellow"))
    if reasked:
        parts.append((", unparsed, asked again", "yellow"))
    page.line(*parts, indent=4)
    if len(attempts) > 1:
        for attempt in attempts:
            page.line(f"attempt {attempt['n']}: {', '.join(_attempt_parts(attempt))}", indent=6)
    _print_reply(page, call, max_lines)


def _print_reply(page: TerminalPage, call: JsonObject, max_lines: int | None) -> None:
    text, failure = call["text"], call["failure"]
    if failure is not None:
        # The line of the last attempt may show the same error already.
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
        yield ("at most " if attempt["estimated"] else "") + format_usd(attempt["usd"])


def _attempt_error(attempt: JsonObject) -> str:
    return f"{attempt['outcome']}: {attempt['why']}" if attempt["why"] else attempt["outcome"]


def _format_tokens(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
