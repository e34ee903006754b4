"""Candidates as text inside a prompt, so that none can pass for another or for an instruction."""

import hashlib
from collections.abc import Sequence

from archon_batch.archon.component import Context
from archon_batch.archon.marks import compute_nonce
from archon_batch.archon.state import Candidate


def delimit_candidates(
    candidates: Sequence[Candidate], *, critiques: bool = False, other_text: str = ""
) -> str:
    """The candidates, numbered from 1, each between marks that hold a nonce.

    The nonce is a hash of all that stands between the marks: a candidate cannot write a mark that
    counts, since writing it would change it; and it is the same in every job that shows the same
    candidates, so that their completions are found again.

    ``other_text`` is what else in the prompt a model wrote, who may have been shown these candidates
    and their marks without it.
    """
    shown = [(c.text, c.critique if critiques else None) for c in candidates]
    nonce = compute_nonce([*shown, (other_text, None)] if other_text else shown)
    blocks = []
    for number, (text, critique) in enumerate(shown, 1):
        name = f"response {number} of {len(shown)} | {nonce}"
        block = f"<<<{name}>>>\n{text}\n<<<end of {name}>>>"
        if critique is not None:
            name = f"critique of response {number} | {nonce}"
            block += f"\n<<<{name}>>>\n{critique}\n<<<end of {name}>>>"
        blocks.append(block)
    return "\n\n".join(blocks)


def shuffle_candidates(
    candidates: tuple[Candidate, ...], context: Context, sample: int
) -> tuple[Candidate, ...]:
    """The candidates in an order of the item's own, against a model's liking for the first.

    It follows from the item's id, the component's place and the sample: always the same for these,
    and over the items of a job every candidate stands in every place alike often.
    """

    def draw(candidate: Candidate) -> bytes:
        told = "\0".join((context.question.id, context.position, str(sample), candidate.id))
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).digest()

    return tuple(sorted(candidates, key=draw))
