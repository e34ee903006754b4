"""The unit test generator: statements about a good response, or tests as code."""

import re
from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field, TypeAdapter

from archon_batch.archon.call import Message, ReplyFormat
from archon_batch.archon.component import ComponentRequests, Context, CountRange, ModelComponent
from archon_batch.archon.context_window import check_length
from archon_batch.archon.json_replies import JsonReply, json_reply_format, parse_json_reply
from archon_batch.archon.program_extraction import extract_python_blocks
from archon_batch.archon.requests import ReplyParseError, Request, ask_parsed, gather
from archon_batch.archon.state import ComponentWarning, Contribution

_SYSTEM_PROMPT = "You write unit tests for responses to a request."

_TASK = """\
Write {count} that a good response to the request has to pass: statements about the response, each \
of which someone who reads it can find true or false. Together they should cover all that is asked \
for. Let each be one sentence such as "The response names ..." or "The function returns ...", with \
the outcome that is expected where there is one. Do not answer the request."""

_TEXT = """\
Reply with nothing but a JSON list of the statements, each in double quotes: ["...", "..."]"""

_CODE = """\
Write {count} for the program that the request asks for, in Python. Each is one assert statement, \
such as "assert add(2, 3) == 5": it calls the program by the names that the request gives it, on \
plain values, and compares what comes back. Together they should cover all that is asked for, the \
edges and the odd cases too. Write down only outcomes that you are sure of: a wrong one sorts out \
good programs. Do not write the program."""

_BLOCK = """\
Reply with nothing but one block of Python. Each assert begins on a line of its own, at the margin; \
between them stand no other lines but imports."""

_JSON = """\
Reply with a JSON object of one key, "tests": a list of the statements."""

#: More tests are a mistake of the model, and expensive: later prompts list each of them.
_MAX_TESTS = 100
_EXAMPLE_COUNT = 5
_ASSERT = re.compile(r"assert\b")


_Parser = Callable[[str, int | None], tuple[str, ...]]


class UnitTestsReply(JsonReply):
    tests: list[str]


class UnitTestGenerator(ModelComponent):
    requires: ClassVar[frozenset[str]] = frozenset()
    produces: ClassVar[frozenset[str]] = frozenset({"unit_tests"})

    type: Literal["unit_test_generator"]
    #: The number of calls. All distinct tests are kept.
    samples: int = Field(default=1, ge=1, le=100)
    #: ``code``: asserts in Python, which a sandbox can execute. None: statements.
    kind: Literal["code"] | None = None
    #: The number of tests in a reply; None lets the model decide.
    unit_test_cap: int | None = Field(default=None, ge=1, le=_MAX_TESTS)
    #: For statements; code is always a code block.
    format: Literal["text", "json"] = "text"

    def effective_produces(self) -> frozenset[str]:
        return self.produces | {"code_tests"} if self.kind == "code" else self.produces

    def run(self, context: Context) -> ComponentRequests:
        messages = self._messages(context)
        if too_long := check_length(context, self, messages):
            return Contribution(), (*too_long, _NO_UNIT_TESTS)
        make_format, parse, _, _ = self._format_and_prompt()
        replies = yield from gather([
            ask_parsed(
                Request(sample, messages, make_format(self.unit_test_cap), sample=sample),
                lambda reply: parse(reply, self.unit_test_cap),
                self.retries,
            )
            for sample in range(self.samples)
        ])  # fmt: skip
        tests = tuple(dict.fromkeys(test for written, _ in replies for test in written or ()))
        warnings = tuple(warning for _, given in replies for warning in given)
        if not tests:
            return Contribution(), (*warnings, _NO_UNIT_TESTS)
        return Contribution(unit_tests=tests), warnings

    def _messages(self, context: Context) -> tuple[Message, ...]:
        count = "unit tests"
        if self.unit_test_cap is not None:
            count = f"exactly {self.unit_test_cap} unit test{'s' * (self.unit_test_cap > 1)}"
        _, _, task, how = self._format_and_prompt()
        return context.build_messages(
            _SYSTEM_PROMPT,
            f"The request:\n{context.question.query}",
            f"{task.format(count=count)} {how}",
        )

    def _format_and_prompt(self) -> tuple[Callable[[int | None], ReplyFormat], _Parser, str, str]:
        """The format and the parser of a reply, and the two parts of the prompt."""
        if self.kind == "code":
            return code_format, parse_code_tests, _CODE, _BLOCK
        if self.format == "json":
            return json_format, parse_json_tests, _TASK, _JSON
        return text_format, parse_tests, _TASK, _TEXT

    def call_count(self, candidates: int) -> CountRange:
        del candidates  # it does not read them
        return CountRange(self.samples, self.samples)

    def output_count(self, candidates: int) -> CountRange:
        return CountRange(candidates, candidates)


_NO_UNIT_TESTS = ComponentWarning("skipped", "there are no unit tests")


def parse_tests(text: str, count: int | None) -> tuple[str, ...]:
    """Parse a JSON list of tests; if ``count`` is given, it must have so many.

    Raises:
        ReplyParseError: it is no such list, or one of the tests is blank.
    """
    return _normalize_tests(parse_json_reply(TypeAdapter(list[str]), text), count)


def parse_json_tests(text: str, count: int | None) -> tuple[str, ...]:
    """Parse the same from a JSON object."""
    return _normalize_tests(parse_json_reply(TypeAdapter(UnitTestsReply), text).tests, count)


def parse_code_tests(text: str, count: int | None) -> tuple[str, ...]:
    """Parse asserts from the Python blocks of a text, each with the imports before it.

    An assert starts at the margin and extends to the next line that does. Blocks without an assert
    are skipped. The sandbox decides whether an assert is valid Python: that depends on its version.
    """
    tests: list[str] = []
    imports: list[str] = []
    open_: list[str] | None = None
    blocks = extract_python_blocks(text) or (text,)
    tested = [block for block in blocks if re.search(r"^assert\b", block, re.MULTILINE)] or blocks
    for line in "\n".join(tested).split("\n"):
        if line.startswith(("import ", "from ")):
            imports.append(line)
            open_ = None
        elif _ASSERT.match(line):
            open_ = [line]
            tests.append("")
        elif not line.strip() or line[0] == "#":
            continue
        elif open_ is not None and line[0] in " \t)]}":
            open_.append(line)
        else:
            raise ReplyParseError(f"a line is neither an assert nor an import: {line[:60]}")
        if open_ is not None:
            tests[-1] = "\n".join([*imports, *open_])
    return _validate_count(tuple(dict.fromkeys(tests)), count)


def _normalize_tests(tests: list[str], count: int | None) -> tuple[str, ...]:
    return _validate_count(tuple(" ".join(test.split()) for test in tests), count)


def _validate_count(tests: tuple[str, ...], count: int | None) -> tuple[str, ...]:
    if not tests or not all(tests):
        raise ReplyParseError("there is no test, or one that is blank")
    if len(tests) > _MAX_TESTS if count is None else len(tests) != count:
        wanted = f"at most {_MAX_TESTS}" if count is None else f"exactly {count}"
        raise ReplyParseError(f"there must be {wanted} tests, and there are {len(tests)}")
    return tests


def _statements(count: int | None) -> list[str]:
    wanted = range(1, (count or _EXAMPLE_COUNT) + 1)
    return [f"The response has part {n} of what is asked." for n in wanted]


def text_format(count: int | None) -> ReplyFormat:
    """The format of a list of ``count`` tests, or of up to ten."""
    # Plain characters only, so that the grammar needs no escapes.
    more = f'(", " test){{{count - 1}}}' if count else '(", " test){0,9}'
    statements = ", ".join(f'"{statement}"' for statement in _statements(count))
    return ReplyFormat(
        grammar=f'root ::= "[" test {more} "]"\n'
        'test ::= "\\"" [A-Za-z] [A-Za-z0-9 .,:;+=*/()<>-]{7,120} "\\""\n',
        example=f"[{statements}]",
        padding_offset=len('["'),
    )


def json_format(count: int | None) -> ReplyFormat:
    unpadded = json_reply_format(UnitTestsReply(tests=_statements(count)))
    return ReplyFormat(None, unpadded.example, unpadded.schema, padding_offset=len('{"tests":["'))


def code_format(count: int | None) -> ReplyFormat:
    """The format of a code block with ``count`` asserts, or with up to ten."""
    more = f"test{{{count - 1}}}" if count else "test{0,9}"
    asserts = "".join(f"assert part({n}) == {n}\n" for n in range(1, (count or _EXAMPLE_COUNT) + 1))
    return ReplyFormat(
        grammar=f'root ::= "```python\\n" test {more} "```"\n'
        'test ::= "assert " [A-Za-z_] [^\\n`]{4,160} "\\n"\n',
        example=f"```python\n{asserts}```",
        padding_offset=len("```python\nassert "),
    )
