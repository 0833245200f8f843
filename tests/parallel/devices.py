"""Devices to test on: the CPU, one that is simulated, and a GPU where there is one.

The simulated device keeps its numbers in ordinary memory, but its tensors say that they are
elsewhere, NumPy cannot read them, and what is computed from tensors of both places is refused, as
on a GPU: all but scalars, indices and copies. So code that would fail on a GPU fails here, and the
values can be compared. It goes by the name of torch's ``meta`` device, whose backward pass runs in
the calling thread.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

DEVICES = ["cpu", "simulated", *(["cuda"] if torch.cuda.is_available() else [])]

_aten = torch.ops.aten
# A GPU's kernels take indices and lengths from the CPU, and copies go between devices.
_MIXING = {
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
    _aten._unsafe_index.Tensor,
    _aten._unsafe_index_put.default,
    _aten.copy_.default,
    _aten._pack_padded_sequence.default,
    _aten._pack_padded_sequence_backward.default,
    _aten._pad_packed_sequence.default,
    _aten.rnn_tanh.data,
    _aten.gru.data,
    _aten.lstm.data,
}


class Elsewhere(Tensor):
    """A tensor of the simulated device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device="meta",
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({self.inner!r})"

    def tolist(self) -> Any:  # torch refuses it to every subclass
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})


class Simulation(TorchDispatchMode):
    """While it is entered, the simulated device is there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})


def _call(func: Any, args: Any, kwargs: Any) -> Any:
    tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    device = kwargs.get("device")
    far = [isinstance(x, Elsewhere) for x in tensors]
    if device is None:
        there = any(far) and (func is not _aten.copy_.default or far[0])
    else:
        there = torch.device(device).type == "meta"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    near = [x for x, away in zip(tensors, far, strict=True) if not away and x.ndim]
    if any(far) and near and func not in _MIXING:
        raise RuntimeError(
            f"{func}: expected all tensors to be on the same device, but found shapes "
            f"{[tuple(x.shape) for x in near]} on the CPU"
        )
    inner_args, inner_kwargs = pytree.tree_map_only(Elsewhere, lambda x: x.inner, (args, kwargs))
    found = func(*inner_args, **inner_kwargs)
    if not there:
        return found
    if func is _aten._pack_padded_sequence.default:
        return Elsewhere(found[0]), found[1]  # the sizes of batches stay on the CPU
    wrapped = pytree.tree_map_only(Tensor, Elsewhere, found)
    if device is not None or func is _aten.copy_.default:
        return args[0] if func is _aten.copy_.default else wrapped
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


class Device:
    """Brings tensors and modules to a device of that name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def put(self, tensor: Tensor) -> Tensor:
        """Give a leaf on the device that wants a gradient if the tensor does."""
        copy = tensor.detach().clone()
        moved = Elsewhere(copy) if self.name == "simulated" else copy.to(self.name)
        return moved.requires_grad_(tensor.requires_grad)

    def move(self, module: nn.Module) -> nn.Module:
        """Move a module's parameters."""
        if self.name != "simulated":
            return module.to(self.name)
        for part in module.modules():
            for name, parameter in list(part.named_parameters(recurse=False)):
                setattr(part, name, nn.Parameter(self.put(parameter.detach())))
        return module
