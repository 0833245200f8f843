"""The dispatcher: what as_chain accepts, what it says of the rest, and what it loads."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import byways
from byways import networks
from byways.core import LayerChain
from byways.core.errors import ConversionError, DomainError, MissingDependencyError, ShapeError
from byways.networks import as_chain

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = [(np.array([[1.0], [-1.0]]), np.zeros(2)), (np.array([[1.0, 1.0]]), np.zeros(1))]


def test_a_chain_is_returned_as_it_is() -> None:
    chain = LayerChain.from_arrays(PAIRS)
    assert as_chain(chain) is chain
    assert byways.as_chain is as_chain


@pytest.mark.parametrize("container", [list, tuple])
def test_pairs_have_relu_between_and_an_affine_last_layer(container: type) -> None:
    chain = as_chain(container(PAIRS))
    assert chain([[-3.0], [2.0]]).ravel().tolist() == [3.0, 2.0]
    assert [layer.activation.name for layer in chain.layers] == ["relu", "identity"]


@pytest.mark.parametrize("name", ["net.npz", "net.chain"])
def test_saved_chain_is_known_by_suffix_or_first_bytes(tmp_path: Path, name: str) -> None:
    chain = LayerChain.from_arrays(PAIRS)
    chain.save(tmp_path / name)
    assert as_chain(tmp_path / name).digest() == chain.digest()
    assert as_chain(str(tmp_path / name)).digest() == chain.digest()


@pytest.mark.parametrize("given", [3, None, {"W": 1}, np.eye(2), object, 1.5])
def test_anything_else_is_a_type_error(given: Any) -> None:
    with pytest.raises(TypeError, match=r'(?s)"network" is .*give a LayerChain, a torch'):
        as_chain(given)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".h5", ".safetensors"])
def test_file_of_weights_alone_is_refused(suffix: str) -> None:
    with pytest.raises(TypeError, match="without the network that they belong to; load it"):
        as_chain(f"net{suffix}")


@pytest.mark.parametrize("name", ["net.npz", "net.onnx", "net", "net.chain"])
def test_missing_file_is_the_usual_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        as_chain(tmp_path / name)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"nonsense")
    with pytest.raises(ConversionError, match=r"bad\.npz"):
        as_chain(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    with pytest.raises(ConversionError, match=r"other\.npz' holds a file without a format entry"):
        as_chain(tmp_path / "other.npz")


@pytest.mark.parametrize("given", [[], ()])
def test_no_layer_is_a_value_error(given: Any) -> None:
    with pytest.raises(ValueError, match="at least one layer"):
        as_chain(given)


def test_layer_without_units_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"widths \(2, 0, 1\); every layer needs at least one"):
        as_chain([(np.zeros((0, 2)), np.zeros(0)), (np.zeros((1, 0)), np.zeros(1))])


def test_bad_numbers_in_pairs_name_the_layer() -> None:
    bad = np.array([[1.0, np.nan]])
    with pytest.raises(DomainError, match=r"layer 1 of the list.*1 values.*\(0, 1\)"):
        as_chain([PAIRS[0], (bad, np.zeros(1))])
    with pytest.raises(TypeError, match=r"layer 0 of the list.*complex"):
        as_chain([(np.array([[1j]]), np.zeros(1))])
    with pytest.raises(ShapeError, match="layer 1 takes 3 inputs but layer 0 has 2"):
        as_chain([PAIRS[0], (np.zeros((1, 3)), np.zeros(1))])


def test_pairs_may_be_parameters_of_a_module() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(3, 2)
    chain = as_chain([(layer.weight, layer.bias)])
    assert chain.layers[0].map.to_dense().tolist() == layer.weight.tolist()
    assert layer.weight.requires_grad


def test_integers_are_cast() -> None:
    chain = as_chain([([[1], [2]], [0, 1])])
    assert chain.layers[0].bias.dtype == np.float64
    assert chain([3.0]).tolist() == [3.0, 7.0]


@pytest.mark.parametrize("shape", [0, -1, (), (2, 0), True, (1, True)])
def test_impossible_input_shape(shape: Any) -> None:
    with pytest.raises(
        ValueError, match=r'"input_shape" was .*positive integers without the batch'
    ):
        as_chain(PAIRS, shape)


@pytest.mark.parametrize("shape", ["28", 2.0, (1.5,), [None]])
def test_input_shape_of_the_wrong_type(shape: Any) -> None:
    with pytest.raises(TypeError, match=r'"input_shape" was .*positive integers without the batch'):
        as_chain(PAIRS, shape)


def test_input_shape_must_fit_the_network() -> None:
    assert as_chain(PAIRS, np.int64(1)).input_size == 1
    assert as_chain(PAIRS, [1, 1]).input_size == 1
    with pytest.raises(ShapeError, match=r'"input_shape" was \(2, 2\), 4 numbers.*takes 1'):
        as_chain(PAIRS, (2, 2))


def test_public_names_are_at_most_twelve_and_all_there() -> None:
    assert len(networks.__all__) <= 12
    assert dir(networks) == sorted(networks.__all__)
    for name in networks.__all__:
        assert callable(getattr(networks, name))
    with pytest.raises(AttributeError, match="no attribute 'from_torch'; it has Example, "):
        networks.from_torch  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import byways.networks", "torch onnx scipy scipy.sparse numba matplotlib"),
        ("from byways.networks import as_chain; as_chain([([[1.0]], [0.0])])", "torch onnx scipy"),
        ("from byways.networks import as_chain, tent_chain; as_chain(tent_chain(2))", "torch onnx"),
    ],
)
def test_doors_stay_shut_until_they_are_needed(code: str, absent: str) -> None:
    code += f"; import sys; print(sorted(set({absent.split()!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_onnx_does_not_load_torch(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    code = (
        "import sys; from byways.networks import as_chain\n"
        f"try: as_chain({str(tmp_path / 'bad.onnx')!r})\n"
        "except Exception as error: print(type(error).__name__, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ConversionError False"


def test_without_onnx_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("byways.core.optional.available", lambda module: False)
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(MissingDependencyError, match=r"pip install 'byways\[onnx\]'"):
        as_chain(tmp_path / "net.onnx")
