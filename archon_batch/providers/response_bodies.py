"""The bodies of answers, held to one bound on both lanes, while they arrive and are unpacked.

The bound is what no honest answer comes near to: 128,000 tokens are a megabyte of text, and three as
JSON may escape them. Libraries unpack what they are sent as far as memory goes.
"""

import zlib
from collections.abc import AsyncIterable

#: Bytes of an answer, unpacked; and of one about an error, of which no more is looked at.
MOST, MOST_OF_ERROR = 1 << 24, 1 << 16
#: Characters that JSON's values are divided by: as many values there may be, each a Python object.
_MOST_VALUES = 1 << 20
_DIVIDE = b'[{,:"'
#: What is asked for, and all that is understood.
ENCODINGS = "gzip, deflate"
_SERVED = 2
#: Of zlib: the header tells gzip from zlib; and there is none.
_BY_HEADER, _BARE = 47, -15


async def read(chunks: AsyncIterable[bytes], encoding: str | None, status: int) -> bytes:
    """The whole body, unpacked; of one about an error, its beginning.

    Raises:
        ValueError: it is too large, or not packed as it says. What it says is not in the words.
    """
    served = status // 100 == _SERVED
    most = MOST if served else MOST_OF_ERROR
    body, unpacked = bytearray(), _Unpacked(encoding)
    async for chunk in chunks:
        body += unpacked.of(chunk, most + 1 - len(body))
        if len(body) > most:
            if served:
                raise ValueError(f"its answer is longer than {MOST >> 20} MiB")
            return bytes(body[:most])
    unpacked.end()
    if served and len(body) > _MOST_VALUES and sum(map(body.count, _DIVIDE)) > _MOST_VALUES:
        raise ValueError("its answer has too many values")
    return bytes(body)


class _Unpacked:
    """What comes out of chunks, never more than is asked for."""

    def __init__(self, encoding: str | None) -> None:
        self._encoding = (encoding or "identity").strip().lower()
        self._inflate: zlib._Decompress | None = None
        if self._encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
            raise ValueError("its answer is in an encoding that was not asked for")
        self._plain = self._encoding in ("identity", "")
        #: Whether anything has come, since an empty body is packed by nobody.
        self._any = False

    def of(self, chunk: bytes, most: int) -> bytes:
        if self._plain:
            return chunk[:most]
        out = bytearray()
        while chunk and len(out) < most:
            self._any = True
            if self._inflate is None or self._inflate.eof:
                # Deflate is meant to have zlib's header, and some send none; gzip may have several.
                bare = self._encoding == "deflate" and chunk[0] & 0xF != zlib.DEFLATED
                self._inflate = zlib.decompressobj(_BARE if bare else _BY_HEADER)
            try:
                out += self._inflate.decompress(chunk, most - len(out))
            except zlib.error:
                raise ValueError("its answer cannot be unpacked") from None
            chunk = self._inflate.unused_data
        return bytes(out)

    def end(self) -> None:
        if self._any and self._inflate is not None and not self._inflate.eof:
            raise ValueError("its answer ends in the middle")
