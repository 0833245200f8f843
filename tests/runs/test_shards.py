from __future__ import annotations

import io
import itertools
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp

from byways.runs._shards import ShardReader, ShardWriter, decode_record, encode_record

_ARRAYS = st.dictionaries(
    st.text(max_size=6),
    stnp.arrays(
        dtype=st.one_of(
            stnp.scalar_dtypes(),
            stnp.unicode_string_dtypes(max_len=4),
            stnp.byte_string_dtypes(max_len=4),
        ),
        shape=stnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    ),
    max_size=3,
)


@given(arrays=_ARRAYS)
def test_a_record_gives_back_every_bit(arrays: dict[str, Any]) -> None:
    back = decode_record(encode_record("key", arrays), "key")
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()
        assert back[name].flags.writeable
        assert back[name].flags.aligned


def test_the_order_of_axes_in_memory_does_not_matter() -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    back = decode_record(encode_record("key", {"a": array, "b": array[:, ::-1]}), "key")
    assert back["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert back["b"].tolist() == [[2, 1, 0], [5, 4, 3]]


def _header(text: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<I", len(text)) + text + body


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\x01",
        struct.pack("<I", 2**31),
        _header(b"null"),
        _header(b"{}"),
        _header(b"\xff\xfe"),
        _header(b'{"key":"other","arrays":[]}'),
        _header(b'{"key":"key","arrays":[]}', b"too much"),
        _header(b'{"key":"key","arrays":[["a","<f8",[2]]]}', b"too short"),
        _header(b'{"key":"key","arrays":[["a","|O",[1]]]}', bytes(8)),
        _header(b'{"key":"key","arrays":[["a","<f8",[-1]]]}', bytes(8)),
        _header(b'{"key":"key","arrays":[["a","nonsense",[1]]]}', bytes(8)),
        _header(b'{"key":"key","arrays":[["a","<f8",1]]}', bytes(8)),
        _header(b'{"key":"key","arrays":[["a","<f8",["1"]]]}', bytes(8)),
        _header(b'{"key":"key","arrays":[["a"]]}', bytes(8)),
        _header(b"[" * 100_000),
    ],
    ids=range(16),
)
def test_forged_records_are_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_record(record, "key")


def _write(folder: Path, *records: bytes) -> Path:
    writer = ShardWriter(folder, "w")
    for record in records:
        writer.add(record)
    writer.flush()
    return folder / "w-000.npz"


def test_records_are_read_one_by_one(tmp_path: Path) -> None:
    reader = ShardReader(_write(tmp_path, b"abc", b"", b"defgh"))
    assert reader.read(3, 5, zlib.crc32(b"defgh")) == b"defgh"
    assert reader.read(0, 3, zlib.crc32(b"abc")) == b"abc"
    with pytest.raises(ValueError, match="checksum of bytes 1 to 4 is wrong"):
        reader.read(1, 3, zlib.crc32(b"abc"))
    with pytest.raises(ValueError, match="it has 8 bytes of records, 9 are needed"):
        reader.read(6, 3, 0)
    reader.close()


def test_a_shard_is_a_plain_npz_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (_write(tmp_path / name, b"abc", b"defgh") for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    with np.load(first, allow_pickle=False) as stored:
        assert stored["records"].tobytes() == b"abcdefgh"


def test_shards_roll_by_size_and_keep_what_was_flushed(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "w")
    places = []
    for number in range(6):
        record = bytes([number]) * 400_000
        places.append((writer.name, writer.add(record), record))
        writer.flush()
    names = [name for name, _, _ in places]
    assert names == ["w-000.npz"] * 3 + ["w-001.npz"] * 3
    for name, offset, record in places:
        reader = ShardReader(tmp_path / name)
        assert reader.read(offset, len(record), zlib.crc32(record)) == record
        reader.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w-000.npz", "w-001.npz"]


def test_any_changed_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    record = b"a record that matters"
    path = _write(tmp_path, record)
    whole = path.read_bytes()
    noticed = 0
    for place, flip in itertools.product(range(len(whole)), (0x01, 0x80, 0xFF)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        try:
            reader = ShardReader(path)
        except ValueError:
            noticed += 1
            continue
        try:
            assert reader.read(0, len(record), zlib.crc32(record)) == record
        except ValueError:
            noticed += 1
        reader.close()
    assert noticed >= 3 * len(record)


def test_any_shortened_shard_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, b"a record that matters")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="it is not a shard"):
            ShardReader(path)


@pytest.mark.parametrize("kind", ["compressed", "other member", "other dtype"])
def test_other_npz_files_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "other.npz"
    if kind == "compressed":
        np.savez_compressed(path, records=np.zeros(9, np.uint8))
    else:
        name = "other" if kind == "other member" else "records"
        dtype = np.float64 if kind == "other dtype" else np.uint8
        np.savez(path, **{name: np.zeros(9, dtype)})
    with pytest.raises(ValueError, match=r"records are|it is not a shard"):
        ShardReader(path)


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("records.npy", b"not an array")
    path = tmp_path / "other.npz"
    path.write_bytes(stream.getvalue())
    with pytest.raises(ValueError, match="it is not a shard"):
        ShardReader(path)
