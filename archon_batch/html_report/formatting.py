"""Formats numbers for the report."""

import math

#: USD below which an amount gets more digits.
_DOLLAR, _CENT = 1.0, 0.01
_MINUTE, _HOUR = 60, 3600


def format_usd(usd: float | None, unpriced: int = 0) -> str:
    """An amount in USD; mentions calls without a price, which it does not include."""
    if usd is None:
        return "unpriced"
    if usd >= _DOLLAR:
        text = f"${usd:,.2f}"
    elif usd >= _CENT or not usd:
        text = f"${usd:.4f}" if usd else "$0"
    else:
        # Four significant digits, down to the nano-dollar.
        text = f"${usd:.{min(9, 3 - math.floor(math.log10(usd)))}f}".rstrip("0").rstrip(".")
    return f"{text} + {unpriced:,} unpriced" if unpriced else text


def format_duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    if seconds < _HOUR:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def format_percent(part: float, whole: float) -> str:
    """A share in per cent; a small share is not shown as 0 %, nor an incomplete one as 100 %."""
    if not whole or not part:
        return "0 %" if whole else "-"
    percent = 100 * part / whole
    if percent < 0.1:  # noqa: PLR2004  (one decimal)
        return "< 0.1 %"
    if part < whole and percent > 99.9:  # noqa: PLR2004
        return "> 99.9 %"
    return f"{percent:.1f} %" if part != whole else "100 %"


def format_score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def format_count(number: int) -> str:
    return f"{number:,}"


def pluralize(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
