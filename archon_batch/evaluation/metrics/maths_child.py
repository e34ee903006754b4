"""The child that compares: a question a line, an answer a line, until its input ends."""

import json
import logging
import resource
import sys
from typing import Any

#: Bytes of memory: an expression that takes more is not worth it.
_MEMORY_LIMIT = 2 << 30


def main() -> int:
    try:
        import math_verify  # noqa: PLC0415
    except ImportError:
        return 1
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))
    # It warns of every comparison that its own clock does not watch; the parent watches.
    logging.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(_compare(math_verify, **question)), flush=True)
    return 0


def _compare(math_verify: Any, answer: str, reference: str) -> dict[str, Any]:  # noqa: ANN401
    said = _parse(math_verify, answer)
    if not said:
        return {"read": None, "right": False}
    is_right = math_verify.verify(_parse(math_verify, reference), said, timeout_seconds=None)
    # A text alone is what could not be parsed; it is right if it is the reference's own.
    is_parsed = not all(isinstance(one, str) for one in said)
    read = str(said[-1])[:200] if is_right or is_parsed else None
    return {"read": read, "right": bool(is_right)}


def _parse(math_verify: Any, text: str) -> list[Any]:  # noqa: ANN401
    """The one expression in the box: without others of the text where it cannot be parsed."""
    latex = math_verify.LatexExtractionConfig(boxed_match_priority=0)
    config, mode = [latex], "first_match"
    return list(math_verify.parse(text, config, extraction_mode=mode, parsing_timeout=None))


if __name__ == "__main__":
    sys.exit(main())
