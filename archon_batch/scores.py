"""The score of an answer under a metric."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    #: Usually from 0 to 1. None means no score: a score is never guessed.
    value: float | None
    #: The part of the answer that was compared.
    extracted: str | None = None
    #: Why no answer or verdict could be extracted.
    unparsed_reason: str | None = None
