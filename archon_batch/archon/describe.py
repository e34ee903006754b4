"""What a component did, in a few words."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon_batch.archon.answer_extraction import EXTRACTORS, extract_match
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
from archon_batch.archon.planner import ComponentResult
from archon_batch.archon.state import Contribution, State
from archon_batch.archon.timed_regex import compile_pattern
from archon_batch.archon.verdict_scale import parse_tag

#: Candidates that are named one by one, and characters of an answer that is voted for.
_MAX_NAMES, _MAX_ANSWER_LENGTH = 8, 40
#: More than this share of the verdicts says that a candidate is correct.
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class _Effect:
    component: Any
    before: State
    contribution: Contribution
    #: It did without replies that could be read.
    fell_back: bool

    @property
    def ids_in(self) -> tuple[str, ...]:
        """The candidates before it."""
        return tuple(c.id for c in self.before.candidates)

    @property
    def ids_out(self) -> tuple[str, ...]:
        """The candidates that it gives."""
        return tuple(c.id for c in self.contribution.candidates or ())


def describe_step(component: Component, before: State, result: ComponentResult) -> str:
    """What a component made of the state before it."""
    without = any(remark.kind == "skipped" for remark in result.warnings)
    # By its very class: what another package derives from ours may do something else.
    told = _DESCRIPTIONS.get(type(component), _describe_any)
    return told(_Effect(component, before, result.contribution, without))


def _describe_made(deed: _Effect) -> str:
    made, wanted = deed.contribution.candidates or (), deed.component.samples
    if not made:
        return "made no candidate"
    lacking = f" of {wanted}" if len(made) < wanted else ""
    if made[0].parents:
        return f"fused {_count(len(made[0].parents), 'candidate')} into {len(made)}{lacking}"
    return f"made {len(made)}{lacking} {_plural(wanted, 'candidate')}"


def _describe_critiques(deed: _Effect) -> str:
    written, there = len(deed.contribution.critiques), len(deed.ids_in)
    if not written:
        return "wrote no critique"
    return f"wrote critiques of {written}" + (f" of {there}" if written < there else "")


def _describe_ranking(deed: _Effect) -> str:
    if deed.fell_back:
        return f"ranked nothing, {_unchanged(deed)}"
    there, ids = len(deed.ids_in), _join_names(deed.ids_out, " > ")
    return f"ranked {there}, kept {ids}" if len(deed.ids_out) < there else f"ranked {there}: {ids}"


def _describe_verdicts(deed: _Effect) -> str:
    scores = deed.contribution.scores
    found = [of for of, score in scores.items() if score["verified"] > _HALF]
    told = f"verified {len(found)} of {len(deed.ids_in)}"
    return told + _dropped_and_skipped(deed, scores) if found else f"{told}, all of them go on"


def _describe_unit_tests_run(deed: _Effect) -> str:
    tests = deed.contribution.unit_test_results
    if not tests:
        return f"tested nothing, {_unchanged(deed)}"
    of_each = {of: sum(v.passed for v in tests[of]) for of in deed.ids_in if of in tests}
    total = len(deed.before.unit_tests)
    if len(of_each) == 1:
        ((only, passed),) = of_each.items()
        told = f"{only} passed {passed} of {_count(total, 'test')}"
    else:
        shares = [f"{of} {passed}/{total}" for of, passed in of_each.items()]
        told = f"tests passed: {_join_names(shares, ', ')}"
    return told + _dropped_and_skipped(deed, tests)


def _describe_vote(deed: _Effect) -> str:
    (best,), scores = deed.contribution.candidates or (), deed.contribution.scores
    if not scores:
        return f"found no answer to count, kept {best.id}"
    votes = f"{scores[best.id]['votes']:.0f} of {_count(len(scores), 'vote')}"
    voter = deed.component
    answer = (
        EXTRACTORS[voter.extract](best.text)
        if voter.pattern is None
        else extract_match(compile_pattern(voter.pattern), best.text)
    )
    return f"{votes} for {_shorten(answer or '')}"


def _describe_judgement(deed: _Effect) -> str:
    made = deed.contribution.candidates
    return f"judged {parse_tag(made[0].text, deed.component.scale)}" if made else "gave no verdict"


def _describe_unit_tests_written(deed: _Effect) -> str:
    tests = deed.contribution.unit_tests
    return f"wrote {_count(len(tests), 'unit test')}" if tests else "wrote no unit test"


def _describe_any(deed: _Effect) -> str:
    """The same from what is given alone, of a component of another package."""
    return "; ".join(_facts(deed)) or "changed nothing"


def _facts(deed: _Effect) -> Iterator[str]:
    given = deed.contribution
    if given.candidates is not None:
        kept = [of for of in deed.ids_out if of in deed.ids_in]
        made = len(deed.ids_out) - len(kept)
        if made or not kept:
            yield f"made {_count(made, 'candidate')}"
        if kept:
            yield f"of {len(deed.ids_in)} kept {_join_names(kept, ' > ')}"
    if given.unit_tests is not None:
        yield f"wrote {_count(len(given.unit_tests), 'unit test')}"
    for what, about in (
        ("wrote critiques of", given.critiques),
        ("tested", given.unit_test_results),
        ("scored", given.scores),
    ):
        if about:
            yield f"{what} {len(about)}"
    if given.values:
        yield f"left {_join_names(sorted(given.values), ', ')}"


def _dropped_and_skipped(deed: _Effect, judged: Iterable[str]) -> str:
    """Who does not go on, in brackets, and who was not judged."""
    looked, left = set(judged), set(deed.ids_out)
    dropped = [of for of in deed.ids_in if of not in left and of in looked]
    skipped = [of for of in deed.ids_in if of not in looked]
    told = [f"dropped {_join_names(dropped, ', ')}"] if dropped else []
    told += [f"not judged {_join_names(skipped, ', ')}"] if skipped else []
    return f" ({'; '.join(told)})" if told else ""


def _unchanged(deed: _Effect) -> str:
    there, left = len(deed.ids_in), len(deed.ids_out)
    return (
        f"kept all {there} as they came" if left == there else f"kept the first {left} of {there}"
    )


def _join_names(names: Sequence[str], between: str) -> str:
    more = len(names) - _MAX_NAMES
    return between.join(names[:_MAX_NAMES]) + (f"{between}{more} more" if more > 0 else "")


def _count(count: int, what: str) -> str:
    return f"{count} {_plural(count, what)}"


def _plural(count: int, what: str) -> str:
    return what if count == 1 else f"{what}s"


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_ANSWER_LENGTH else f"{text[:_MAX_ANSWER_LENGTH]} ..."


_DESCRIPTIONS: Mapping[type[Component], Callable[[_Effect], str]] = {
    Generator: _describe_made,
    Fuser: _describe_made,
    Critic: _describe_critiques,
    Ranker: _describe_ranking,
    Verifier: _describe_verdicts,
    UnitTestGenerator: _describe_unit_tests_written,
    UnitTestEvaluator: _describe_unit_tests_run,
    Voter: _describe_vote,
    Judge: _describe_judgement,
}
