"""What a component did, in a few words."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon_batch.archon.answer_extraction import EXTRACTORS, matched
from archon_batch.archon.component import Component
from archon_batch.archon.components.critic import Critic
from archon_batch.archon.components.fuser import Fuser
from archon_batch.archon.components.generator import Generator
from archon_batch.archon.components.judge import Judge
from archon_batch.archon.components.ranker import Ranker
from archon_batch.archon.components.unit_test_evaluator import UnitTestEvaluator
from archon_batch.archon.components.unit_test_generator import UnitTestGenerator
from archon_batch.archon.components.verifier import Verifier
from archon_batch.archon.components.voter import Voter
from archon_batch.archon.course import Done
from archon_batch.archon.state import Contribution, State
from archon_batch.archon.timed_regex import user_pattern
from archon_batch.archon.verdict_scale import read_tag

#: Candidates that are named one by one, and characters of an answer that is voted for.
_NAMED, _ANSWER = 8, 40
#: More than this share of the verdicts says that a candidate is correct.
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class _Deed:
    component: Any
    before: State
    given: Contribution
    #: It did without replies that could be read.
    without: bool

    @property
    def there(self) -> tuple[str, ...]:
        """The candidates before it."""
        return tuple(c.id for c in self.before.candidates)

    @property
    def left(self) -> tuple[str, ...]:
        """The candidates that it gives."""
        return tuple(c.id for c in self.given.candidates or ())


def did(component: Component, before: State, done: Done) -> str:
    """What a component made of the state before it."""
    without = any(remark.kind == "without" for remark in done.remarks)
    # By its very class: what another package derives from ours may do something else.
    told = _WORDS.get(type(component), _anything)
    return told(_Deed(component, before, done.contribution, without))


def _made(deed: _Deed) -> str:
    made, wanted = deed.given.candidates or (), deed.component.samples
    if not made:
        return "made no candidate"
    lacking = f" of {wanted}" if len(made) < wanted else ""
    if made[0].parents:
        return f"fused {_count(len(made[0].parents), 'candidate')} into {len(made)}{lacking}"
    return f"made {len(made)}{lacking} {_plural(wanted, 'candidate')}"


def _criticised(deed: _Deed) -> str:
    written, there = len(deed.given.critiques), len(deed.there)
    if not written:
        return "wrote no critique"
    return f"wrote critiques of {written}" + (f" of {there}" if written < there else "")


def _ranked(deed: _Deed) -> str:
    if deed.without:
        return f"ranked nothing, {_as_they_came(deed)}"
    there, ids = len(deed.there), _some(deed.left, " > ")
    return f"ranked {there}, kept {ids}" if len(deed.left) < there else f"ranked {there}: {ids}"


def _verified(deed: _Deed) -> str:
    scores = deed.given.scores
    found = [of for of, score in scores.items() if score["verified"] > _HALF]
    told = f"verified {len(found)} of {len(deed.there)}"
    return told + _gone(deed, scores) if found else f"{told}, all of them go on"


def _tested(deed: _Deed) -> str:
    tests = deed.given.tests
    if not tests:
        return f"tested nothing, {_as_they_came(deed)}"
    of_each = {of: sum(v.passed for v in tests[of]) for of in deed.there if of in tests}
    total = len(deed.before.unit_tests)
    if len(of_each) == 1:
        ((only, passed),) = of_each.items()
        told = f"{only} passed {passed} of {_count(total, 'test')}"
    else:
        shares = [f"{of} {passed}/{total}" for of, passed in of_each.items()]
        told = f"tests passed: {_some(shares, ', ')}"
    return told + _gone(deed, tests)


def _voted(deed: _Deed) -> str:
    (best,), scores = deed.given.candidates or (), deed.given.scores
    if not scores:
        return f"found no answer to count, kept {best.id}"
    votes = f"{scores[best.id]['votes']:.0f} of {_count(len(scores), 'vote')}"
    voter = deed.component
    answer = (
        EXTRACTORS[voter.extract](best.text)
        if voter.pattern is None
        else matched(user_pattern(voter.pattern), best.text)
    )
    return f"{votes} for {_short(answer or '')}"


def _judged(deed: _Deed) -> str:
    made = deed.given.candidates
    return f"judged {read_tag(made[0].text, deed.component.scale)}" if made else "gave no verdict"


def _written(deed: _Deed) -> str:
    tests = deed.given.unit_tests
    return f"wrote {_count(len(tests), 'unit test')}" if tests else "wrote no unit test"


def _anything(deed: _Deed) -> str:
    """The same from what is given alone, of a component of another package."""
    return "; ".join(_facts(deed)) or "changed nothing"


def _facts(deed: _Deed) -> Iterator[str]:
    given = deed.given
    if given.candidates is not None:
        kept = [of for of in deed.left if of in deed.there]
        made = len(deed.left) - len(kept)
        if made or not kept:
            yield f"made {_count(made, 'candidate')}"
        if kept:
            yield f"of {len(deed.there)} kept {_some(kept, ' > ')}"
    if given.unit_tests is not None:
        yield f"wrote {_count(len(given.unit_tests), 'unit test')}"
    for what, about in (
        ("wrote critiques of", given.critiques),
        ("tested", given.tests),
        ("scored", given.scores),
    ):
        if about:
            yield f"{what} {len(about)}"
    if given.values:
        yield f"left {_some(sorted(given.values), ', ')}"


def _gone(deed: _Deed, judged: Iterable[str]) -> str:
    """Who does not go on, in brackets, and who was not judged."""
    looked, left = set(judged), set(deed.left)
    dropped = [of for of in deed.there if of not in left and of in looked]
    skipped = [of for of in deed.there if of not in looked]
    told = [f"dropped {_some(dropped, ', ')}"] if dropped else []
    told += [f"not judged {_some(skipped, ', ')}"] if skipped else []
    return f" ({'; '.join(told)})" if told else ""


def _as_they_came(deed: _Deed) -> str:
    there, left = len(deed.there), len(deed.left)
    return (
        f"kept all {there} as they came" if left == there else f"kept the first {left} of {there}"
    )


def _some(names: Sequence[str], between: str) -> str:
    more = len(names) - _NAMED
    return between.join(names[:_NAMED]) + (f"{between}{more} more" if more > 0 else "")


def _count(count: int, what: str) -> str:
    return f"{count} {_plural(count, what)}"


def _plural(count: int, what: str) -> str:
    return what if count == 1 else f"{what}s"


def _short(text: str) -> str:
    return text if len(text) <= _ANSWER else f"{text[:_ANSWER]} ..."


_WORDS: Mapping[type[Component], Callable[[_Deed], str]] = {
    Generator: _made,
    Fuser: _made,
    Critic: _criticised,
    Ranker: _ranked,
    Verifier: _verified,
    UnitTestGenerator: _written,
    UnitTestEvaluator: _tested,
    Voter: _voted,
    Judge: _judged,
}
