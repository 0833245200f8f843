"""Shards: many results' arrays in one ``.npz`` file, each readable alone and checked by a checksum.

A shard holds one array of bytes, ``records``. A record is a header (its length in 4 bytes, then
JSON: key and [name, dtype, shape] of each array) followed by the arrays' bytes in C order. The
file is not compressed, so that a record is found by its offset without reading the others.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from byways.runs._files import sync_directory, write_atomically
from byways.runs._tasks import STORABLE_KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.runs._tasks import Arrays

__all__ = ["ShardReader", "ShardWriter", "decode_record", "encode_record"]

# A shard is rewritten at each flush until it has this size: small enough to rewrite often, large
# enough that a long run does not leave thousands of files.
ROLL_BYTES = 1 << 20
_MEMBER = "records.npy"
_MAGIC = b"\x93NUMPY\x01\x00"
_BYTES_HEADER = b"{'descr': '|u1', 'fortran_order': False, 'shape': ("
# What a damaged file can make the reader of zip archives raise, ValueError aside.
_DAMAGE = (zipfile.BadZipFile, KeyError, NotImplementedError, OSError, struct.error)


def encode_record(key: str, arrays: Arrays) -> bytes:
    """Give the bytes of one record."""
    form = tuple([(name, array.dtype.str, array.shape) for name, array in arrays.items()])
    # A key needs no escapes in JSON.
    header = f'{{"key":"{key}","arrays":{_describe(form)}}}'.encode()
    bodies = [array.tobytes() for array in arrays.values()]
    return b"".join([struct.pack("<I", len(header)), header, *bodies])


@lru_cache(64)
def _describe(form: tuple[tuple[str, str, tuple[int, ...]], ...]) -> str:
    """Give the names, dtypes and shapes of a record as JSON; in one run they are often the same."""
    return json.dumps(form, separators=(",", ":"))


def decode_record(record: bytes, key: str) -> dict[str, NDArray[Any]]:
    """Rebuild the arrays of one record.

    Raises:
        ValueError: If the bytes are not a record of that key.
    """
    try:
        (length,) = struct.unpack_from("<I", record)
        header = json.loads(record[4 : 4 + length])
        if header["key"] != key:
            raise ValueError(f"it is the record of task {header['key']!r}")
        arrays, position = {}, 4 + length
        for name, dtype, shape in header["arrays"]:
            arrays[name] = _decode_array(record, position, np.dtype(dtype), tuple(shape))
            position += arrays[name].nbytes
    except (KeyError, TypeError, struct.error, RecursionError) as error:
        raise ValueError(f"it is not a record: {error!r}") from error
    if position != len(record):
        raise ValueError(f"it has {len(record)} bytes, its header promises {position}")
    return arrays


def _decode_array(
    record: bytes, position: int, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    """Copy one array out of a record."""
    if dtype.kind not in STORABLE_KINDS or any(side < 0 for side in shape):
        raise ValueError(f"it holds an array of dtype {dtype} and shape {shape}")
    count = math.prod(shape)
    if dtype.itemsize == 0 or count == 0:
        return np.zeros(shape, dtype)
    # The copy is aligned and writable; a view into the record would be neither.
    return np.frombuffer(record, dtype, count, position).reshape(shape).copy()


class ShardWriter:
    """Collect records and write them to ``WORKER-000.npz``, ``WORKER-001.npz``, ...

    Args:
        folder: Where the shards go.
        worker: Name of the only process that writes these shards.
    """

    def __init__(self, folder: Path, worker: str) -> None:
        self._folder = folder
        self._worker = worker
        self._number = 0
        self._records = bytearray()
        self._written = 0
        self._unsynced: list[Path] = []

    @property
    def name(self) -> str:
        """File name of the shard that the next record goes to."""
        return f"{self._worker}-{self._number:03d}.npz"

    def add(self, record: bytes) -> int:
        """Take a record and return its offset in the current shard; nothing is written yet."""
        offset = len(self._records)
        self._records += record
        return offset

    def flush(self) -> None:
        """Write the current shard if it has new records, and start another if it is large."""
        if self._written < len(self._records):
            path = self._folder / self.name
            write_atomically(path, _pack(self._records), sync=False)
            self._written = len(self._records)
            if path not in self._unsynced:
                self._unsynced.append(path)
        if self._written >= ROLL_BYTES:
            self._number += 1
            self._records = bytearray()
            self._written = 0

    def sync(self) -> None:
        """Make what was written durable."""
        while self._unsynced:
            with self._unsynced[-1].open("rb") as stream:
                os.fsync(stream.fileno())
            self._unsynced.pop()
            if not self._unsynced:
                sync_directory(self._folder)


def _pack(records: bytearray) -> memoryview:
    """Give the bytes of a shard; equal records give equal bytes."""
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, records=np.frombuffer(records, np.uint8))
    return stream.getbuffer()


class ShardReader:
    """Read single records of one shard.

    Args:
        path: The shard.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If the file is not a shard.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("rb")
        try:
            self._start, self._size = _find_records(self._stream)
        except BaseException:
            self._stream.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def read(self, offset: int, length: int, mark: int | str) -> bytes:
        """Read the record at an offset and compare its CRC-32 (a number) or SHA-256 (a text).

        Raises:
            ValueError: If the record is not there, or its checksum is wrong.
        """
        if offset + length > self._size:
            raise ValueError(f"it has {self._size} bytes of records, {offset + length} are needed")
        self._stream.seek(self._start + offset)
        record = self._stream.read(length)
        found = zlib.crc32(record) if type(mark) is int else hashlib.sha256(record).hexdigest()
        if len(record) != length or found != mark:
            raise ValueError(f"the checksum of bytes {offset} to {offset + length} is wrong")
        return record


def _find_records(stream: BinaryIO) -> tuple[int, int]:
    """Find where the records of an open shard start, and how many bytes they have.

    The headers are compared, not interpreted: NumPy's own reader evaluates them as Python.

    Raises:
        ValueError: If the file is not a shard.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            member = archive.getinfo(_MEMBER)
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError("its records are compressed")
        stream.seek(member.header_offset + 26)  # the local header's own lengths, not the copy's
        name, extra = struct.unpack("<HH", stream.read(4))
        stream.seek(name + extra, os.SEEK_CUR)
        magic = stream.read(len(_MAGIC))
        (length,) = struct.unpack("<H", stream.read(2))
        header = stream.read(length)
    except _DAMAGE as error:
        raise ValueError(f"it is not a shard: {error}") from error
    if magic != _MAGIC or not header.startswith(_BYTES_HEADER):
        raise ValueError("it is not a shard: its records are not an array of bytes")
    return stream.tell(), member.file_size - len(magic) - 2 - length
