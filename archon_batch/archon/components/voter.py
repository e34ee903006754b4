"""The voter: the answer that most candidates agree on; no model is asked.

Self-consistency (Wang et al., arXiv 2203.11171): the final answer that most samples come to.
"""

from contextlib import suppress
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from archon_batch.archon.answer_extraction import EXTRACTORS, extract_match
from archon_batch.archon.component import Component, ComponentRequests, Context, CountRange
from archon_batch.archon.state import ComponentWarning, Contribution
from archon_batch.archon.timed_regex import PatternError, compile_pattern


class Voter(Component):
    selects: ClassVar[bool] = True

    type: Literal["voter"]
    #: Where in a candidate its answer stands: the last ``\\boxed{...}``, the number that it
    #: says is its answer or else its last, the letter of a choice, all of the text, or what ``pattern`` matches last.
    extract: Literal["boxed", "number", "letter", "text", "regex"]
    #: For ``extract: regex``: the answer is its first group if it has one, else all that matches.
    pattern: str | None = Field(default=None, min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _validate_pattern(self) -> "Voter":
        if (self.extract == "regex") != (self.pattern is not None):
            raise ValueError("a pattern with extract: regex, and only then")
        try:
            compile_pattern(self.pattern or "")
        except PatternError as error:
            raise ValueError(f"a pattern that can be compiled ({error})") from None
        return self

    def run(self, context: Context) -> ComponentRequests:
        shown = context.state.candidates
        answers = {c.id: self._extract_answer(c.text) for c in shown}
        votes: dict[str, int] = {}
        for answer in answers.values():
            if answer is not None:
                votes[answer] = votes.get(answer, 0) + 1
        scores = {
            of: {"votes": float(votes[answer])}
            for of, answer in answers.items()
            if answer is not None
        }
        silent = sum(answer is None for answer in answers.values())
        remarks: tuple[ComponentWarning, ...] = ()
        if silent:
            why = f"no answer ({self.extract}) is found in {silent} of {len(shown)} candidates"
            instead = "; the first goes on" if silent == len(shown) else "; they have no vote"
            remarks = (ComponentWarning("skipped", why + instead),)
        # The first of those with the most votes: ties go to the earlier candidate.
        best = max(shown, key=lambda c: scores.get(c.id, {}).get("votes", 0.0))
        return Contribution(candidates=(best,), scores=scores), remarks
        yield  # it asks nothing, and is a generator like the others

    def _extract_answer(self, text: str) -> str | None:
        if self.pattern is not None:
            # One that takes too long finds no answer.
            with suppress(PatternError):
                return extract_match(compile_pattern(self.pattern), text)
            return None
        return EXTRACTORS[self.extract](text)

    def call_count(self, candidates: int) -> CountRange:
        del candidates
        return CountRange(0, 0)

    def output_count(self, candidates: int) -> CountRange:
        return CountRange(min(1, candidates), min(1, candidates))
