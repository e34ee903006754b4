"""Reads and decompresses response bodies, with a size limit for every transport.

No honest reply reaches the limit: 128,000 tokens are one megabyte of text, and three with JSON
escapes. HTTP libraries by themselves decompress without any limit.
"""

import zlib
from collections.abc import AsyncIterable

#: Decompressed bytes of a reply; and of an error response, whose rest is ignored.
MAX_BODY_BYTES, MAX_ERROR_BYTES = 1 << 24, 1 << 16
#: JSON values in a body, each a Python object; estimated by counting JSON's separators.
_MAX_VALUES = 1 << 20
_SEPARATORS = b'[{,:"'
#: Encodings that are requested and supported.
ENCODINGS = "gzip, deflate"
#: zlib's ``wbits``: detect gzip or zlib by the header; and no header.
_AUTO_HEADER, _RAW_DEFLATE = 47, -15


def is_success(status: int) -> bool:
    """Whether an HTTP status is a 2xx."""
    return 200 <= status < 300  # noqa: PLR2004


async def read_body(chunks: AsyncIterable[bytes], encoding: str | None, status: int) -> bytes:
    """The whole decompressed body; only the first part for an error status.

    Args:
        chunks: the bytes of the response.
        encoding: its Content-Encoding.
        status: its HTTP status.

    Raises:
        ValueError: the body is too large or damaged. The message quotes nothing of it.
    """
    success = is_success(status)
    max_bytes = MAX_BODY_BYTES if success else MAX_ERROR_BYTES
    body, decompressor = bytearray(), _Decompressor(encoding)
    async for chunk in chunks:
        body += decompressor.decompress(chunk, max_bytes + 1 - len(body))
        if len(body) > max_bytes:
            if success:
                raise ValueError(f"its answer is longer than {MAX_BODY_BYTES >> 20} MiB")
            return bytes(body[:max_bytes])
    decompressor.check_complete()
    if success and len(body) > _MAX_VALUES and sum(map(body.count, _SEPARATORS)) > _MAX_VALUES:
        raise ValueError("its answer has too many values")
    return bytes(body)


class _Decompressor:
    """Decompresses chunk by chunk, up to a given size."""

    def __init__(self, encoding: str | None) -> None:
        self._encoding = (encoding or "identity").strip().lower()
        self._inflate: zlib._Decompress | None = None
        if self._encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
            raise ValueError("its answer has an encoding that was not requested")
        self._is_identity = self._encoding in ("identity", "")
        #: Whether there was any data: an empty body is complete in every encoding.
        self._has_data = False

    def decompress(self, chunk: bytes, max_bytes: int) -> bytes:
        if self._is_identity:
            return chunk[:max_bytes]
        out = bytearray()
        while chunk and len(out) < max_bytes:
            self._has_data = True
            if self._inflate is None or self._inflate.eof:
                # Deflate should have zlib's header, but some servers send none. Gzip may have several parts.
                is_raw = self._encoding == "deflate" and chunk[0] & 0xF != zlib.DEFLATED
                self._inflate = zlib.decompressobj(_RAW_DEFLATE if is_raw else _AUTO_HEADER)
            try:
                out += self._inflate.decompress(chunk, max_bytes - len(out))
            except zlib.error:
                raise ValueError("its answer cannot be decompressed") from None
            chunk = self._inflate.unused_data
        return bytes(out)

    def check_complete(self) -> None:
        if self._has_data and self._inflate is not None and not self._inflate.eof:
            raise ValueError("its answer ends in the middle")
