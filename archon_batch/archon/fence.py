"""Candidates as text inside a prompt, so that none can pass for another or for an instruction."""

import hashlib
from collections.abc import Sequence

from archon_batch.archon.state import Candidate


def fenced(candidates: Sequence[Candidate], *, critiques: bool = False) -> str:
    """The candidates, numbered from 1, each between marks that hold a nonce.

    The nonce is a hash of all that stands between the marks: a candidate cannot write a mark that
    counts, since writing it would change it; and it is the same in every job that shows the same
    candidates, so that their completions are found again.
    """
    nonce = _nonce(candidates)
    count = len(candidates)
    blocks = []
    for number, candidate in enumerate(candidates, 1):
        name = f"response {number} of {count} | {nonce}"
        block = f"<<<{name}>>>\n{candidate.text}\n<<<end of {name}>>>"
        if critiques and candidate.critique is not None:
            name = f"critique of response {number} | {nonce}"
            block += f"\n<<<{name}>>>\n{candidate.critique}\n<<<end of {name}>>>"
        blocks.append(block)
    return "\n\n".join(blocks)


def _nonce(candidates: Sequence[Candidate]) -> str:
    digest = hashlib.sha256()
    for candidate in candidates:
        for text in (candidate.text, candidate.critique or ""):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:8]
