"""Extracts the program from an answer.

Code blocks are those of CommonMark (0.31, section 4.5, fenced code blocks), with the deviations of
models: a fence may be indented or quoted by any amount, and the list or quote around it may end.
Nothing is parsed as Python, since validity depends on the version that runs the program. The time
is linear in the length of the text.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from keyword import kwlist

#: A line that opens a block, with quotes, spaces and list markers before the fence.
_FENCE = re.compile(
    r"(?P<before>(?:[ \t]*+>){0,8}+[ \t]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t]++){0,8}+)"
    r"(?P<mark>`{3,}+|~{3,}+)(?P<info>.*)"
)
#: The first word after the fence, without the punctuation of other tools: ``{.python #id}``.
_TAG = re.compile(r"[^\w\s]{0,4}+[ \t]*+([\w+#.-]*)")
_PYTHON = re.compile(r"(?:i?python|py)[\d.]*")
#: An interactive session, which is no program.
_SESSION = re.compile(r"(?:>>>|\.\.\.|In \[\d*\]:|\$) ")

_FUNCTION = re.compile(r"(?:async[ \t]++)?(?:def|class)[ \t]++(\w++)")
_ASSIGNED = re.compile(r"(\w++)[ \t]*+(?::[^=]*+)?=(?!=)")
#: A triple-quoted string, such as a docstring.
_STRING = re.compile(r"[rRuU]?(\"\"\"|''').*?(?:\1|\Z)", re.DOTALL)
_IMPORT = re.compile(r"(?:from[ \t]++[\w.]++[ \t]++)?import[ \t(]")
_WORD = re.compile(r"[^\W\d]\w*+")
_CALLED = re.compile(r"(?<![\w.])([^\W\d]\w*+)[ \t]*+\(")
_DEFINED = re.compile(r"(?<!\w)(?:def|class)[ \t]++(\w++)")
#: A Python statement at the margin that cannot be prose.
_STATEMENT = re.compile(
    r"(?:import|from)[ \t]++[\w.]++(?:[ \t]++(?:import|as)\b|[ \t]*+(?:,|$))|@\w|#|[\"')\]}]"
    r"|(?:async[ \t]++)?(?:def|class)[ \t]++\w++[ \t]*+[(:]|(?:for\b.*\bin|while|with|if|elif)\b.*:"
    r"|(?:else|try|finally)[ \t]*+:|except\b.*:|assert\b"
    r"|[\w.\[\]]++(?:[ \t]*+,[ \t]*+[\w.\[\]]++)*+[ \t]*+(?::[^=]*+)?[-+*/%&|^]?=(?!=)"
    r"|[\w.]++\(.*[)\](,\[{:\\][ \t]*+$"
)
#: A fence at the end of the last line of a program, which is none in CommonMark.
_TRAILING_FENCE = "```"
#: A line with at least this indentation is no fence in CommonMark.
_MAX_FENCE_INDENT = 4
#: How well a block defines a name, best first: a function in a closed block, in an open block, an
#: assignment, an import, a function without a body.
_RANK_CLOSED_BLOCK, _RANK_OPEN_BLOCK, _RANK_ASSIGNED, _RANK_IMPORTED, _RANK_SIGNATURE_ONLY = (
    5,
    4,
    3,
    2,
    1,
)


@dataclass(slots=True)
class _CodeBlock:
    #: The number of the block in the text.
    index: int
    tag: str
    lines: list[str] = field(default_factory=list)
    closed: bool = False
    #: The rank of each name that the block defines at the margin.
    definition_ranks: dict[str, int] = field(default_factory=dict)
    #: Whether the block only defines names.
    only_defines: bool = True

    def may_be_python(self) -> bool:
        is_python = not self.tag or _PYTHON.fullmatch(self.tag) is not None
        return is_python and not _SESSION.match(self.lines[0])

    def find_definitions(self) -> None:
        """Set ``definition_ranks`` and ``only_defines``."""
        lines = self.lines = _dedent_definitions(self.lines)
        for at, line in enumerate(lines):
            if not line or line[0] in " \t#@)]}\"'":
                continue
            if match := _FUNCTION.match(line):
                whole = _RANK_CLOSED_BLOCK if self.closed else _RANK_OPEN_BLOCK
                names, rank = [match[1]], whole if _has_body(lines, at) else _RANK_SIGNATURE_ONLY
            elif _IMPORT.match(line):
                names, rank = _imported_names(line), _RANK_IMPORTED
            elif match := _ASSIGNED.match(line):
                names, rank = [match[1]], _RANK_ASSIGNED
                self.only_defines &= "input(" not in line
            else:
                names, rank = [], 0
                self.only_defines = False
            for name in names:
                self.definition_ranks[name] = max(rank, self.definition_ranks.get(name, 0))

    def words(self) -> Iterator[str]:
        for line in self.lines:
            yield from _WORD.findall(line.partition("#")[0])


def extract_program(text: str, names: Collection[str] = ()) -> str:
    """The program of an answer.

    It is the block that defines the given names, with the blocks that define what it uses. Of
    several definitions the best ranked counts, then the last. If no block defines the names, or
    none are given, it is the last Python block; without blocks, the text without the prose around
    the code. Blank lines around the code are removed. Indentation is kept if the code may be the
    body of a function.

    Args:
        text: the reply of a model.
        names: the names that the tests, or an entry point, call.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    blocks = list(_parse_blocks(lines))
    programs = [block for block in blocks if block.may_be_python()] or blocks
    chosen = _blocks_defining(programs, names) or _blocks_defining(blocks, names)
    if not chosen and (bare := _program_before_blocks(lines, names)):
        return "\n".join(bare)
    if not programs:
        return "\n".join(_strip_blank_lines(lines))
    if not chosen:
        chosen = ([block for block in programs if block.tag] or programs)[-1:]
        if names:
            # It is probably the body of a function, so keep its indentation.
            return "\n".join(chosen[0].lines)
    return "\n".join(line for block in _with_dependencies(programs, chosen) for line in block.lines)


def extract_python_blocks(text: str) -> tuple[str, ...]:
    """The blocks of a text that may be Python, in order."""
    blocks = _parse_blocks(text.replace("\r\n", "\n").split("\n"))
    return tuple("\n".join(block.lines) for block in blocks if block.may_be_python())


def called_names(tests: Iterable[str]) -> frozenset[str]:
    """The names that the tests call and do not define; some of them are builtins."""
    called, defined = set[str](), set[str]()
    for test in tests:
        called.update(_CALLED.findall(test))
        defined.update(_DEFINED.findall(test))
    return frozenset(called - defined - set(kwlist))


def _parse_blocks(lines: Iterable[str]) -> Iterator[_CodeBlock]:
    """The blocks that are not empty, each without the indentation of its fence."""
    block: _CodeBlock | None = None
    mark, quotes, width, count = "", 0, 0, 0
    for line in lines:
        match = _match_opening_fence(line)
        inner = _unquoted(line, quotes)
        bare = inner.strip()
        if block is not None and _indentation(inner) < width + _MAX_FENCE_INDENT:
            # A fence with a word after it is no code: the block before was never closed.
            reopens = match and match["info"].strip() and match["mark"].startswith(mark)
            block.closed = bool(reopens) or (len(bare) >= len(mark) and not bare.strip(mark[0]))
            if block.closed:
                yield from _finish_block(block, width)
                block, count = None, count + 1
                if not reopens:
                    continue
        if (
            block is not None
            and bare[:1] != "`"
            and bare.endswith(_TRAILING_FENCE)
            and bare.count("`") == len(mark)
        ):
            block.lines.append(inner.rstrip("` \t"))
            block.closed = True
            yield from _finish_block(block, width)
            block, count = None, count + 1
        elif block is not None:
            block.lines.append(inner)
        elif match:
            before, mark = match["before"], match["mark"]
            quotes, width = before.count(">"), len(before.rpartition(">")[2])
            tag = _TAG.match(match["info"].strip())
            block = _CodeBlock(count, tag[1].lower() if tag else "")
    if block is not None:
        yield from _finish_block(block, width)


def _finish_block(block: _CodeBlock, width: int) -> Iterator[_CodeBlock]:
    """Remove the indentation of the fence from the block, at most that of its first line."""
    block.lines = _strip_blank_lines(block.lines)
    if block.lines:
        width = min(width, _indentation(block.lines[0]))
        block.lines = [line[min(width, _indentation(line)) :] for line in block.lines]
        block.find_definitions()
        yield block


def _match_opening_fence(line: str) -> re.Match[str] | None:
    if "```" not in line and "~~~" not in line:
        return None
    match = _FENCE.fullmatch(line)
    # Otherwise it is inline code.
    return None if match is None or (match["mark"][0] == "`" and "`" in match["info"]) else match


def _unquoted(line: str, quotes: int) -> str:
    """The line without quote marks, at most as many as its fence has."""
    for _ in range(quotes):
        bare = line.lstrip(" \t")
        if not bare.startswith(">"):
            break
        line = bare[1:]
    return line


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _strip_blank_lines(lines: Sequence[str]) -> list[str]:
    """The lines without blank lines at both ends."""
    filled = [number for number, line in enumerate(lines) if line.strip()]
    return list(lines[filled[0] : filled[-1] + 1]) if filled else []


def _dedent_definitions(lines: list[str]) -> list[str]:
    """Dedent the lines if they are definitions, and not the body of a function."""
    bare = lines[0].lstrip() if lines else ""
    width = len(lines[0]) - len(bare) if lines else 0
    if not width or not (bare.startswith("@") or _FUNCTION.match(bare)):
        return lines
    stands_out = any(line[:width].strip() for line in lines)
    return lines if stands_out else [line[width:] for line in lines]


def _has_body(lines: Sequence[str], at: int) -> bool:
    """Whether the definition on line ``at`` has a body other than ``pass``, ``...`` or a docstring."""
    end = at + 1
    while end < len(lines) and (not lines[end] or lines[end][0] in " \t)]}#"):
        end += 1
    code = [line.partition("#")[0].strip() for line in lines[at:end]]
    head = next((n for n, line in enumerate(code) if line.endswith(":")), None)
    if head is None:
        # The definition is on one line.
        return "):" in code[0].replace(" ", "") or code[0].startswith("class")
    body = _STRING.sub("", "\n".join(code[head + 1 :])).split("\n")
    does = [line for line in body if line not in ("", "...", "pass")]
    heads = [line for line in does if line[0] == "@" or _FUNCTION.match(line)]
    if code[0].startswith("class") and not heads:
        # A class may be empty, such as an exception.
        return any(code[head + 1 :])
    return len(does) > len(heads)


def _imported_names(line: str) -> list[str]:
    """The names that an import on one line binds."""
    parts = line.rpartition("import")[2].partition("#")[0].strip("() \t").split(",")
    words = [_WORD.findall(part) for part in parts]
    # ``a.b`` binds a, and ``a as b`` binds b.
    return [
        match[-1 if " as " in part else 0]
        for part, match in zip(parts, words, strict=True)
        if match
    ]


def _blocks_defining(blocks: Sequence[_CodeBlock], names: Collection[str]) -> list[_CodeBlock]:
    """For each name the block that defines it best; of equal ones the last."""
    best = dict[str, _CodeBlock]()
    for block in blocks:
        for name in block.definition_ranks.keys() & set(names):
            if (
                name not in best
                or block.definition_ranks[name] >= best[name].definition_ranks[name]
            ):
                best[name] = block
    # If some names are defined well, ignore names that are only imported or have no body.
    well = {name for name, block in best.items() if block.definition_ranks[name] >= _RANK_ASSIGNED}
    return [block for name, block in best.items() if not well or name in well]


def _with_dependencies(
    blocks: Sequence[_CodeBlock], chosen: Iterable[_CodeBlock]
) -> list[_CodeBlock]:
    """The chosen blocks and the blocks that define what they use, in order."""
    best = dict[str, _CodeBlock]()
    for block in blocks:
        for name, rank in block.definition_ranks.items():
            if rank == _RANK_SIGNATURE_ONLY or (rank == _RANK_ASSIGNED and not block.only_defines):
                continue
            if name not in best or rank >= best[name].definition_ranks[name]:
                best[name] = block
    left = {block.index: block for block in chosen}
    taken = dict[int, _CodeBlock]()
    while left:
        _, block = left.popitem()
        taken[block.index] = block
        for word in block.words():
            used = None if word in block.definition_ranks else best.get(word)
            if used is not None and used.index not in taken:
                left[used.index] = used
    return [taken[at] for at in sorted(taken)]


def _program_before_blocks(lines: Sequence[str], names: Collection[str]) -> list[str]:
    """The code in the text before the first block, if it defines one of the names."""
    first = next((at for at, line in enumerate(lines) if _match_opening_fence(line)), len(lines))
    block = _CodeBlock(0, "", _strip_blank_lines(lines[:first]), closed=True)
    block.find_definitions()
    if not any(block.definition_ranks.get(name, 0) >= _RANK_ASSIGNED for name in names):
        return []
    begins = [at for at, line in enumerate(block.lines) if _STATEMENT.match(line)]
    indented = {
        at for at, line in enumerate(block.lines) if line[:1] in (" ", "\t") and line.strip()
    }
    # Code that starts with an indented line is the body of a function.
    begin = 0 if 0 in indented or not begins else begins[0]
    return block.lines[begin : max(indented | set(begins), default=len(block.lines)) + 1]
