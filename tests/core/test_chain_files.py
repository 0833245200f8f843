"""Chains on disk: whole or not at all, and nothing in a file is ever executed."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from byways.core import (
    ConvMap,
    DenseMap,
    Layer,
    LayerChain,
    SparseMap,
    absolute,
    hardtanh,
    leaky_relu,
)
from byways.core.errors import ConversionError


def chain() -> LayerChain:
    return LayerChain(
        (
            Layer(ConvMap([[[1.0, -0.5]]], (1, 3), padding=1), [0.0, 0.1, 0.2, 0.3], hardtanh()),
            Layer(SparseMap([[0.0, 1.0, 0.0, 2.0]]), [0.5], leaky_relu(0.3)),
            Layer(DenseMap([[1.0], [2.0]]), [0.0, -1.0], absolute),
        )
    )


def rewritten(path: Path, **changes: object) -> Path:
    """Save the chain with some entries replaced, or left out where the change is None."""
    arrays = {**chain().state(), **changes}
    np.savez(path, allow_pickle=True, **{k: v for k, v in arrays.items() if v is not None})
    return path


def test_a_saved_chain_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "net.npz"
    chain().save(file)
    loaded = LayerChain.load(file)
    assert loaded.digest() == chain().digest()
    assert [type(layer.map) for layer in loaded.layers] == [ConvMap, SparseMap, DenseMap]
    assert [layer.activation for layer in loaded.layers] == [
        hardtanh(),
        leaky_relu(0.3),
        absolute,
    ]
    x = np.random.default_rng(0).standard_normal((5, 3))
    np.testing.assert_array_equal(loaded(x), chain()(x))
    assert LayerChain.load(str(file)).digest() == chain().digest()


def test_equal_chains_give_equal_bytes(tmp_path: Path) -> None:
    chain().save(tmp_path / "a")
    chain().save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_numpy_reads_the_file_without_pickle(tmp_path: Path) -> None:
    chain().save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["2.map.matrix"], [[1.0], [2.0]])
        assert all(stored[name].dtype != object for name in stored.files)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "net.npz"
    chain().save(file)
    before = file.read_bytes()

    def full(stream: io.BufferedWriter, **_: object) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space left"):
        chain().save(file)
    assert file.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.npz"]


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("entry", ["format", "layers", "0.bias", "2.map.matrix", "extra"])
def test_pickles_inside_the_archive_are_refused(tmp_path: Path, entry: str) -> None:
    bomb = np.empty((), dtype=object)
    bomb[()] = Bomb(tmp_path / "exploded")
    file = rewritten(tmp_path / "net.npz", **{entry: bomb})
    with pytest.raises(ConversionError, match=r"net\.npz"):
        LayerChain.load(file)
    assert not (tmp_path / "exploded").exists()


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.npz"
    file.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(ConversionError, match=r"net\.npz"):
        LayerChain.load(file)
    assert not (tmp_path / "exploded").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("not a network")
    np.save(tmp_path / "one.npy", np.ones(3))
    np.savez(tmp_path / "other.npz", weight=np.ones(3))
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    for name in ("empty", "text", "one.npy", "other.npz", "plain.zip"):
        with pytest.raises(ConversionError, match=name):
            LayerChain.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        LayerChain.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("text", ["[", "{}", "3", '[{"kind": "dense"}]', '[{"kind": 1}]', "[[]]"])
def test_a_description_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    file = rewritten(tmp_path / "net.npz", layers=np.array(text))
    with pytest.raises(ConversionError, match=r"net\.npz"):
        LayerChain.load(file)


@pytest.mark.parametrize("name", sorted(set(chain().state()) - {"format"}))
def test_a_missing_entry_is_refused(tmp_path: Path, name: str) -> None:
    file = rewritten(tmp_path / "net.npz", **{name: None})
    with pytest.raises(ConversionError, match=r"net\.npz"):
        LayerChain.load(file)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("2.map.matrix", np.array([[np.nan], [1.0]])),
        ("2.map.matrix", np.ones((2, 5))),
        ("0.bias", np.ones(9)),
        ("1.map.indices", np.array([0, 99])),
        ("1.map.indptr", np.array([0, 7])),
        ("0.map.stride", np.array([0])),
        ("0.map.groups", np.array(0)),
    ],
)
def test_numbers_that_make_no_chain_are_refused(
    tmp_path: Path, name: str, value: np.ndarray
) -> None:
    file = rewritten(tmp_path / "net.npz", **{name: value})
    with pytest.raises(ConversionError, match=r"net\.npz"):
        LayerChain.load(file)


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    file = rewritten(tmp_path / "net.npz", format=np.array("byways.LayerChain/9"))
    with pytest.raises(ConversionError, match=r"holds byways\.LayerChain/9; byways\.LayerChain/1"):
        LayerChain.load(file)


def test_a_damaged_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    file, damaged = tmp_path / "net.npz", tmp_path / "damaged.npz"
    chain().save(file)
    content, digest = file.read_bytes(), chain().digest()
    refused = 0
    for i in range(0, len(content), 17):
        changed = bytes([content[i] ^ (1 << i % 8)])
        damaged.write_bytes(content[:i] + changed + content[i + 1 :])
        try:
            assert LayerChain.load(damaged).digest() == digest
        except ConversionError:
            refused += 1
    assert refused > len(content) / 50


def test_a_torn_file_is_refused_at_every_length(tmp_path: Path) -> None:
    file, torn = tmp_path / "net.npz", tmp_path / "torn.npz"
    chain().save(file)
    content = file.read_bytes()
    for length in range(0, len(content), 17):
        torn.write_bytes(content[:length])
        with pytest.raises(ConversionError, match=r"torn\.npz"):
            LayerChain.load(torn)
