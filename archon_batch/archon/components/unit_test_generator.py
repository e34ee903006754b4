"""The unit test generator: statements that a good response has to make true."""

from typing import ClassVar, Literal

from pydantic import Field, TypeAdapter

from archon_batch.archon.call import Form, Message
from archon_batch.archon.component import Bounds, ModelComponent, Scene, Work
from archon_batch.archon.json_form import JsonReply, json_form, read_json
from archon_batch.archon.state import Contribution, Remark
from archon_batch.archon.steps import Request, UnreadableError, ask, together
from archon_batch.archon.window import refuse_long

_ROLE = "You write unit tests for responses to a request."

_TASK = """\
Write {count} that a good response to the request has to pass: statements about the response, each \
of which someone who reads it can find true or false. Together they should cover all that is asked \
for. Let each be one sentence such as "The response names ..." or "The function returns ...", with \
the outcome that is expected where there is one. Do not answer the request."""

_TEXT = """\
Reply with nothing but a JSON list of the statements, each in double quotes: ["...", "..."]"""

_JSON = """\
Reply with a JSON object of one key, "tests": a list of the statements."""

#: More tests than this are a slip of the model: what follows asks about each of them.
_MOST = 100
_EXAMPLE = 5


class Tests(JsonReply):
    tests: list[str]


class UnitTestGenerator(ModelComponent):
    needs: ClassVar[frozenset[str]] = frozenset()
    makes: ClassVar[frozenset[str]] = frozenset({"unit_tests"})

    type: Literal["unit_test_generator"]
    #: How often it asks; all the tests are taken, each once.
    samples: int = Field(default=1, ge=1, le=100)
    #: How many tests a reply has; None lets the model decide.
    unit_test_cap: int | None = Field(default=None, ge=1, le=_MOST)
    format: Literal["text", "json"] = "text"

    def steps(self, scene: Scene) -> Work:
        messages = self._messages(scene)
        if refused := refuse_long(scene, self, messages):
            return Contribution(), (*refused, _NONE)
        text = self.format == "text"
        shape = (form if text else form_json)(self.unit_test_cap)
        reader = read if text else read_tests
        readings = yield from together([
            ask(
                Request(sample, messages, shape, sample=sample),
                lambda reply: reader(reply, self.unit_test_cap),
                self.retries,
            )
            for sample in range(self.samples)
        ])  # fmt: skip
        tests = tuple(dict.fromkeys(test for some, _ in readings for test in some or ()))
        remarks = tuple(remark for _, told in readings for remark in told)
        if not tests:
            return Contribution(), (*remarks, _NONE)
        return Contribution(unit_tests=tests), remarks

    def _messages(self, scene: Scene) -> tuple[Message, ...]:
        count = "unit tests"
        if self.unit_test_cap is not None:
            count = f"exactly {self.unit_test_cap} unit test{'s' * (self.unit_test_cap > 1)}"
        return scene.about(
            _ROLE,
            f"The request:\n{scene.question.query}",
            f"{_TASK.format(count=count)} {_TEXT if self.format == 'text' else _JSON}",
        )

    def calls(self, candidates: int) -> Bounds:
        del candidates  # it never looks at them
        return Bounds(self.samples, self.samples)

    def leaves(self, candidates: int) -> Bounds:
        return Bounds(candidates, candidates)


_NONE = Remark("without", "there are no unit tests")


def read(text: str, count: int | None) -> tuple[str, ...]:
    """The tests of a list in JSON, ``count`` of them if that is given.

    Raises:
        UnreadableError: it is no such list, or one of the tests says nothing.
    """
    return _checked(read_json(TypeAdapter(list[str]), text), count)


def read_tests(text: str, count: int | None) -> tuple[str, ...]:
    """The same of a list within an object."""
    return _checked(read_json(TypeAdapter(Tests), text).tests, count)


def _checked(tests: list[str], count: int | None) -> tuple[str, ...]:
    told = tuple(" ".join(test.split()) for test in tests)
    if not told or not all(told):
        raise UnreadableError("there is no test, or one that is blank")
    if len(told) > _MOST if count is None else len(told) != count:
        wanted = f"at most {_MOST}" if count is None else f"exactly {count}"
        raise UnreadableError(f"there must be {wanted} tests, and there are {len(told)}")
    return told


def _statements(count: int | None) -> list[str]:
    wanted = range(1, (count or _EXAMPLE) + 1)
    return [f"The response has part {n} of what is asked." for n in wanted]


def form(count: int | None) -> Form:
    """The form of a list of ``count`` tests; of up to ten when that is not given."""
    # Plain characters only, so that no escape has to be spelt.
    more = f'(", " test){{{count - 1}}}' if count else '(", " test){0,9}'
    statements = ", ".join(f'"{statement}"' for statement in _statements(count))
    return Form(
        grammar=f'root ::= "[" test {more} "]"\n'
        'test ::= "\\"" [A-Za-z] [A-Za-z0-9 .,:;+=*/()<>-]{7,120} "\\""\n',
        example=f"[{statements}]",
        room=len('["'),
    )


def form_json(count: int | None) -> Form:
    shape = json_form(Tests(tests=_statements(count)))
    return Form(None, shape.example, shape.schema, room=len('{"tests":["'))
