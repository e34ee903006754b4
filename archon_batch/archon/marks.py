"""Texts of others inside a prompt, between marks that none of them can write."""

import hashlib
from collections.abc import Mapping, Sequence


def delimit_text(name: str, text: str, other_text: str = "") -> str:
    """A text between marks that hold a nonce of its own, and of what else stands in the prompt."""
    return _wrap_text(
        name,
        text,
        compute_nonce([(text, None), (other_text, None)] if other_text else [(text, None)]),
    )


def delimit_texts(texts: Mapping[str, str]) -> str:
    """Texts under their names, each between marks, with one nonce: none can write another's."""
    nonce = compute_nonce([(text, None) for text in texts.values()])
    return "\n\n".join(_wrap_text(name, text, nonce) for name, text in texts.items())


def compute_nonce(shown: Sequence[tuple[str, str | None]]) -> str:
    """A hash of all that is shown: what writes it down changes it."""
    digest = hashlib.sha256()
    for pair in shown:
        for text in (part or "" for part in pair):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:8]


def _wrap_text(name: str, text: str, nonce: str) -> str:
    return f"<<<{name} | {nonce}>>>\n{text}\n<<<end of {name} | {nonce}>>>"
