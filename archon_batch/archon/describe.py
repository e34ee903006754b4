"""Describes what a component did, in a few words."""

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

#: Candidates to name, and characters to show of the answer with most votes.
_MAX_NAMES, _MAX_ANSWER_LENGTH = 8, 40
#: A candidate is correct if more than this share of the verdicts says so.
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class _Effect:
    component: Any
    before: State
    contribution: Contribution
    #: Whether it has a warning of the kind ``skipped``.
    fell_back: bool

    @property
    def ids_in(self) -> tuple[str, ...]:
        """The candidates that the component received."""
        return tuple(c.id for c in self.before.candidates)

    @property
    def ids_out(self) -> tuple[str, ...]:
        """The candidates that the component returned."""
        return tuple(c.id for c in self.contribution.candidates or ())


def describe_step(component: Component, before: State, result: ComponentResult) -> str:
    """What the component did with the state before it."""
    fell_back = any(warning.kind == "skipped" for warning in result.warnings)
    # Match the exact class: a subclass from another package may behave differently.
    describe = _DESCRIPTIONS.get(type(component), _describe_any)
    return describe(_Effect(component, before, result.contribution, fell_back))


def _describe_made(effect: _Effect) -> str:
    made, wanted = effect.contribution.candidates or (), effect.component.samples
    if not made:
        return "made no candidate"
    missing = f" of {wanted}" if len(made) < wanted else ""
    if made[0].parents:
        return f"fused {_count(len(made[0].parents), 'candidate')} into {len(made)}{missing}"
    return f"made {len(made)}{missing} {_plural(wanted, 'candidate')}"


def _describe_critiques(effect: _Effect) -> str:
    written, received = len(effect.contribution.critiques), len(effect.ids_in)
    if not written:
        return "wrote no critique"
    return f"wrote critiques of {written}" + (f" of {received}" if written < received else "")


def _describe_ranking(effect: _Effect) -> str:
    if effect.fell_back:
        return f"ranked nothing, {_unchanged(effect)}"
    count, ids = len(effect.ids_in), _join_names(effect.ids_out, " > ")
    return (
        f"ranked {count}, kept {ids}" if len(effect.ids_out) < count else f"ranked {count}: {ids}"
    )


def _describe_verdicts(effect: _Effect) -> str:
    scores = effect.contribution.scores
    verified = sum(score["verified"] > _HALF for score in scores.values())
    text = f"verified {verified} of {len(effect.ids_in)}"
    return text + _dropped_and_skipped(effect, scores) if verified else f"{text}, kept all"


def _describe_unit_tests_run(effect: _Effect) -> str:
    tests = effect.contribution.unit_test_results
    if not tests:
        return f"tested nothing, {_unchanged(effect)}"
    passed = {id_: sum(r.passed for r in tests[id_]) for id_ in effect.ids_in if id_ in tests}
    total = len(effect.before.unit_tests)
    if len(passed) == 1:
        ((only, count),) = passed.items()
        text = f"{only} passed {count} of {_count(total, 'test')}"
    else:
        shares = [f"{id_} {count}/{total}" for id_, count in passed.items()]
        text = f"tests passed: {_join_names(shares, ', ')}"
    return text + _dropped_and_skipped(effect, tests)


def _describe_vote(effect: _Effect) -> str:
    (best,), scores = effect.contribution.candidates or (), effect.contribution.scores
    if not scores:
        return f"found no answer to count, kept {best.id}"
    votes = f"{scores[best.id]['votes']:.0f} of {_count(len(scores), 'vote')}"
    voter = effect.component
    answer = (
        EXTRACTORS[voter.extract](best.text)
        if voter.pattern is None
        else extract_match(compile_pattern(voter.pattern), best.text)
    )
    return f"{votes} for {_shorten(answer or '')}"


def _describe_judgement(effect: _Effect) -> str:
    verdicts = effect.contribution.candidates
    return (
        f"judged {parse_tag(verdicts[0].text, effect.component.scale)}"
        if verdicts
        else "gave no verdict"
    )


def _describe_unit_tests_written(effect: _Effect) -> str:
    tests = effect.contribution.unit_tests
    return f"wrote {_count(len(tests), 'unit test')}" if tests else "wrote no unit test"


def _describe_any(effect: _Effect) -> str:
    """The description of a component of another package, from its contribution alone."""
    return "; ".join(_facts(effect)) or "changed nothing"


def _facts(effect: _Effect) -> Iterator[str]:
    contribution = effect.contribution
    if contribution.candidates is not None:
        kept = [id_ for id_ in effect.ids_out if id_ in effect.ids_in]
        new_count = len(effect.ids_out) - len(kept)
        if new_count or not kept:
            yield f"made {_count(new_count, 'candidate')}"
        if kept:
            yield f"kept {_join_names(kept, ' > ')} of {len(effect.ids_in)}"
    if contribution.unit_tests is not None:
        yield f"wrote {_count(len(contribution.unit_tests), 'unit test')}"
    for verb, by_id in (
        ("wrote critiques of", contribution.critiques),
        ("tested", contribution.unit_test_results),
        ("scored", contribution.scores),
    ):
        if by_id:
            yield f"{verb} {len(by_id)}"
    if contribution.values:
        yield f"produced {_join_names(sorted(contribution.values), ', ')}"


def _dropped_and_skipped(effect: _Effect, judged: Iterable[str]) -> str:
    """In brackets, the candidates that were dropped, and the candidates that were not judged."""
    judged, kept = set(judged), set(effect.ids_out)
    dropped = [id_ for id_ in effect.ids_in if id_ not in kept and id_ in judged]
    skipped = [id_ for id_ in effect.ids_in if id_ not in judged]
    parts = [f"dropped {_join_names(dropped, ', ')}"] if dropped else []
    parts += [f"not judged {_join_names(skipped, ', ')}"] if skipped else []
    return f" ({'; '.join(parts)})" if parts else ""


def _unchanged(effect: _Effect) -> str:
    received, kept = len(effect.ids_in), len(effect.ids_out)
    all_kept = kept == received
    return f"kept all {kept} in order" if all_kept else f"kept the first {kept} of {received}"


def _join_names(names: Sequence[str], separator: str) -> str:
    more = len(names) - _MAX_NAMES
    return separator.join(names[:_MAX_NAMES]) + (f"{separator}{more} more" if more > 0 else "")


def _count(count: int, noun: str) -> str:
    return f"{count} {_plural(count, noun)}"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


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
