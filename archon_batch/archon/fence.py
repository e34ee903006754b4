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
    shown = [(c.text, c.critique if critiques else None) for c in candidates]
    nonce = _nonce(shown)
    blocks = []
    for number, (text, critique) in enumerate(shown, 1):
        name = f"response {number} of {len(shown)} | {nonce}"
        block = f"<<<{name}>>>\n{text}\n<<<end of {name}>>>"
        if critique is not None:
            name = f"critique of response {number} | {nonce}"
            block += f"\n<<<{name}>>>\n{critique}\n<<<end of {name}>>>"
        blocks.append(block)
    return "\n\n".join(blocks)


def _nonce(shown: Sequence[tuple[str, str | None]]) -> str:
    digest = hashlib.sha256()
    for pair in shown:
        for text in (part or "" for part in pair):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:8]
