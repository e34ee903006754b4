"""The voter: the most frequent answer of the candidates, without a call.

This is self-consistency (Wang et al., arXiv 2203.11171).
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
    #: How to extract the answer from a candidate: the last ``\\boxed{...}``; the number after words
    #: such as "the answer is", or else the last number; the letter of a choice; the whole text; or
    #: the last match of ``pattern``.
    extract: Literal["boxed", "number", "letter", "text", "regex"]
    #: For ``extract: regex``. The answer is the first group if there is one, otherwise the match.
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
            candidate_id: {"votes": float(votes[answer])}
            for candidate_id, answer in answers.items()
            if answer is not None
        }
        silent = sum(answer is None for answer in answers.values())
        warnings: tuple[ComponentWarning, ...] = ()
        if silent:
            why = f"no answer ({self.extract}) is found in {silent} of {len(shown)} candidates"
            instead = "; the first one is kept" if silent == len(shown) else "; they have no vote"
            warnings = (ComponentWarning("skipped", why + instead),)
        # Ties go to the earlier candidate.
        best = max(shown, key=lambda c: scores.get(c.id, {}).get("votes", 0.0))
        return Contribution(candidates=(best,), scores=scores), warnings
        yield  # makes this function a generator, as ``run`` must be

    def _extract_answer(self, text: str) -> str | None:
        if self.pattern is not None:
            # A pattern that takes too long finds no answer.
            with suppress(PatternError):
                return extract_match(compile_pattern(self.pattern), text)
            return None
        return EXTRACTORS[self.extract](text)

    def call_count(self, candidates: int) -> CountRange:
        del candidates
        return CountRange(0, 0)

    def output_count(self, candidates: int) -> CountRange:
        return CountRange(min(1, candidates), min(1, candidates))
