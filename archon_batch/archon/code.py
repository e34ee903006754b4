"""The program in an answer."""

import re

#: A line that opens a block of Markdown; what follows the mark is a word for people.
_OPENS = re.compile(r" {0,3}(`{3,}|~{3,})[^`]*")


def code_of(text: str) -> str:
    """The last block of Markdown in the text that is not blank, else all of it.

    A block that is never closed goes to the end, as in a reply that was cut off. Blank lines around
    the code go; its indentation stays, since it may be the body of a function.
    """
    mark, block, last = "", list[str](), list[str]()
    lines = text.replace("\r\n", "\n").split("\n")
    for line in lines:
        bare = line.strip()
        if not mark:
            opens = _OPENS.fullmatch(line)
            mark, block = (opens.group(1), []) if opens else ("", block)
        elif len(bare) >= len(mark) and not bare.strip(mark[0]):
            last, mark = _trimmed(block) or last, ""
        else:
            block.append(line)
    if mark:
        last = _trimmed(block) or last
    return "\n".join(last or _trimmed(lines))


def _trimmed(lines: list[str]) -> list[str]:
    """The lines without blank ones at both ends."""
    said = [number for number, line in enumerate(lines) if line.strip()]
    return lines[said[0] : said[-1] + 1] if said else []
