"""The bodies of answers, held to one bound on both lanes, while they arrive and are unpacked.

The bound is what no honest answer comes near to: 128,000 tokens are a megabyte of text, and three as
JSON may escape them. Libraries unpack what they are sent as far as memory goes.
"""

import zlib
from collections.abc import AsyncIterable

#: Bytes of an answer, unpacked; and of one about an error, of which no more is looked at.
MAX_BODY_BYTES, MAX_ERROR_BYTES = 1 << 24, 1 << 16
#: Characters that JSON's values are divided by: as many values there may be, each a Python object.
_MAX_VALUES = 1 << 20
_SEPARATORS = b'[{,:"'
#: What is asked for, and all that is understood.
ENCODINGS = "gzip, deflate"
_SUCCESS_CLASS = 2
#: Of zlib: the header tells gzip from zlib; and there is none.
_AUTO_HEADER, _RAW_DEFLATE = 47, -15


async def read_body(chunks: AsyncIterable[bytes], encoding: str | None, status: int) -> bytes:
    """The whole body, unpacked; of one about an error, its beginning.

    Raises:
        ValueError: it is too large, or not packed as it says. What it says is not in the words.
    """
    served = status // 100 == _SUCCESS_CLASS
    most = MAX_BODY_BYTES if served else MAX_ERROR_BYTES
    body, unpacked = bytearray(), _Decompressor(encoding)
    async for chunk in chunks:
        body += unpacked.decompress(chunk, most + 1 - len(body))
        if len(body) > most:
            if served:
                raise ValueError(f"its answer is longer than {MAX_BODY_BYTES >> 20} MiB")
            return bytes(body[:most])
    unpacked.check_complete()
    if served and len(body) > _MAX_VALUES and sum(map(body.count, _SEPARATORS)) > _MAX_VALUES:
        raise ValueError("its answer has too many values")
    return bytes(body)


class _Decompressor:
    """What comes out of chunks, never more than is asked for."""

    def __init__(self, encoding: str | None) -> None:
        self._encoding = (encoding or "identity").strip().lower()
        self._inflate: zlib._Decompress | None = None
        if self._encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
            raise ValueError("its answer is in an encoding that was not asked for")
        self._is_identity = self._encoding in ("identity", "")
        #: Whether anything has come, since an empty body is packed by nobody.
        self._has_data = False

    def decompress(self, chunk: bytes, max_bytes: int) -> bytes:
        if self._is_identity:
            return chunk[:max_bytes]
        out = bytearray()
        while chunk and len(out) < max_bytes:
            self._has_data = True
            if self._inflate is None or self._inflate.eof:
                # Deflate is meant to have zlib's header, and some send none; gzip may have several.
                bare = self._encoding == "deflate" and chunk[0] & 0xF != zlib.DEFLATED
                self._inflate = zlib.decompressobj(_RAW_DEFLATE if bare else _AUTO_HEADER)
            try:
                out += self._inflate.decompress(chunk, max_bytes - len(out))
            except zlib.error:
                raise ValueError("its answer cannot be unpacked") from None
            chunk = self._inflate.unused_data
        return bytes(out)

    def check_complete(self) -> None:
        if self._has_data and self._inflate is not None and not self._inflate.eof:
            raise ValueError("its answer ends in the middle")
