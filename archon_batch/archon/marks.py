"""Texts of others inside a prompt, between marks that none of them can write."""

import hashlib
from collections.abc import Mapping, Sequence


def marked(name: str, text: str, beside: str = "") -> str:
    """A text between marks that hold a nonce of its own, and of what else stands in the prompt."""
    return _between(
        name, text, nonce_of([(text, None), (beside, None)] if beside else [(text, None)])
    )


def enclosed(texts: Mapping[str, str]) -> str:
    """Texts under their names, each between marks, with one nonce: none can write another's."""
    nonce = nonce_of([(text, None) for text in texts.values()])
    return "\n\n".join(_between(name, text, nonce) for name, text in texts.items())


def nonce_of(shown: Sequence[tuple[str, str | None]]) -> str:
    """A hash of all that is shown: what writes it down changes it."""
    digest = hashlib.sha256()
    for pair in shown:
        for text in (part or "" for part in pair):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:8]


def _between(name: str, text: str, nonce: str) -> str:
    return f"<<<{name} | {nonce}>>>\n{text}\n<<<end of {name} | {nonce}>>>"
