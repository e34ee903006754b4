"""The child process of the metric ``math``: one JSON question and one verdict per line."""

import json
import logging
import resource
import sys
from typing import Any

#: Bytes of memory for one process.
_MEMORY_LIMIT = 2 << 30


def main() -> int:
    try:
        import math_verify  # noqa: PLC0415
    except ImportError:
        return 1
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))
    # math-verify warns about each comparison without a timeout; the parent has the timeout.
    logging.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(_compare(math_verify, **question)), flush=True)
    return 0


def _compare(math_verify: Any, answer: str, reference: str) -> dict[str, Any]:  # noqa: ANN401
    parsed = _parse(math_verify, answer)
    if not parsed:
        return {"read": None, "right": False}
    is_right = math_verify.verify(_parse(math_verify, reference), parsed, timeout_seconds=None)
    # A plain string is an unparsed expression; it is right if it equals the reference.
    is_parsed = not all(isinstance(one, str) for one in parsed)
    read = str(parsed[-1])[:200] if is_right or is_parsed else None
    return {"read": read, "right": bool(is_right)}


def _parse(math_verify: Any, text: str) -> list[Any]:  # noqa: ANN401
    """The expression in the box, and no other expression of the text."""
    latex = math_verify.LatexExtractionConfig(boxed_match_priority=0)
    config, mode = [latex], "first_match"
    return list(math_verify.parse(text, config, extraction_mode=mode, parsing_timeout=None))


if __name__ == "__main__":
    sys.exit(main())
