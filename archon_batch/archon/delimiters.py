"""Delimiters against prompt injection: text in a prompt that a model or a user wrote.

Each text stands between marks with a nonce, a hash of all the delimited texts. A text cannot contain
its own closing mark, since writing the nonce would change it. The nonce is the same in every job
that shows the same texts, so that their completions are found in the cache.
"""

import hashlib
from collections.abc import Mapping, Sequence

from archon_batch.archon.state import Candidate


def delimit_candidates(
    candidates: Sequence[Candidate], *, critiques: bool = False, other_text: str = ""
) -> str:
    """The candidates, numbered from 1, each between marks with one nonce.

    ``other_text`` is text elsewhere in the prompt by a model that may have seen the candidates
    between the marks they have without it. It is hashed into the nonce, so that it cannot contain
    these marks.
    """
    shown = [(c.text, c.critique if critiques else None) for c in candidates]
    nonce = compute_nonce([*shown, (other_text, None)] if other_text else shown)
    blocks = []
    for number, (text, critique) in enumerate(shown, 1):
        block = _wrap_text(f"response {number} of {len(shown)}", text, nonce)
        if critique is not None:
            block += "\n" + _wrap_text(f"critique of response {number}", critique, nonce)
        blocks.append(block)
    return "\n\n".join(blocks)


def delimit_text(name: str, text: str, other_text: str = "") -> str:
    """The text between marks; ``other_text`` of the prompt is hashed into the nonce too."""
    shown: list[tuple[str, str | None]] = [(text, None)]
    return _wrap_text(
        name, text, compute_nonce([*shown, (other_text, None)] if other_text else shown)
    )


def delimit_texts(texts: Mapping[str, str]) -> str:
    """The texts by name, each between marks with one nonce."""
    nonce = compute_nonce([(text, None) for text in texts.values()])
    return "\n\n".join(_wrap_text(name, text, nonce) for name, text in texts.items())


def compute_nonce(shown: Sequence[tuple[str, str | None]]) -> str:
    """Eight hexadecimal digits of a hash of all the texts."""
    digest = hashlib.sha256()
    for pair in shown:
        for text in (part or "" for part in pair):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:8]


def _wrap_text(name: str, text: str, nonce: str) -> str:
    return f"<<<{name} | {nonce}>>>\n{text}\n<<<end of {name} | {nonce}>>>"
