"""Why some parts of networks have no place in a chain, and what to do instead."""

from __future__ import annotations

__all__ = ["PIECES", "refused_by_name"]

PIECES = (
    "Use ReLU, LeakyReLU, Hardtanh or Hardsigmoid in its place and train on, or put a "
    "piecewise-linear approximation of your own (byways.core.PiecewiseLinear) into a "
    "byways.LayerChain; passes that work on modules, such as byways.parallel, take the network as "
    "it is"
)
_SMOOTH = "is smooth, so that the network has no regions on which it is affine"
_PRODUCT = "multiplies values of the network with each other, so that it is not piecewise linear"
_RECURRENT = "is recurrent: its layers are steps in time"
_NORM = "divides by a norm or a variance of its input, so that it is not piecewise linear"
_NO_NORM = (
    "Use BatchNorm in eval mode in its place, or cut the network before and after it; passes that "
    "work on modules, such as byways.parallel, take the network as it is"
)
_UNROLL = (
    "Unroll it for a fixed number of steps with Linear and ReLU; byways.parallel runs recurrences "
    "as they are"
)
_CUT = (
    "Convert the parts of the network before and after it on their own; passes that work on "
    "modules, such as byways.parallel, take the network as it is"
)

# Layers and functions by lower-case name, those of torch and of ONNX.
_FAMILIES: tuple[tuple[str, str, str], ...] = (
    (
        _SMOOTH,
        PIECES,
        (
            "gelu silu swish sigmoid tanh softmax softmax2d softmin logsoftmax log_softmax "
            "softplus elu selu celu mish softsign tanhshrink logsigmoid exp log sqrt sin cos erf"
        ),
    ),
    ("is piecewise quadratic: x times hardsigmoid(x)", PIECES, "hardswish"),
    ("jumps, so that it is not continuous", PIECES, "hardshrink sign floor round ceil"),
    (_RECURRENT, _UNROLL, "rnn lstm gru rnncell lstmcell grucell"),
    (
        _NORM,
        _NO_NORM,
        (
            "layernorm groupnorm rmsnorm instancenorm1d instancenorm2d layer_norm group_norm "
            "rms_norm instance_norm layernormalization groupnormalization instancenormalization "
            "rmsnormalization localresponsenorm local_response_norm lrn normalize"
        ),
    ),
    (
        _PRODUCT,
        _CUT,
        (
            "multiheadattention transformer transformerencoder transformerencoderlayer "
            "transformerdecoder transformerdecoderlayer attention bilinear glu bmm "
            "scaled_dot_product_attention multi_head_attention_forward"
        ),
    ),
)


def refused_by_name(kind: str) -> tuple[str, str] | None:
    """Give what a layer or function does that no chain can, and the alternatives; or None."""
    name = kind.lower().rstrip("_")
    for reason, cure, names in _FAMILIES:
        if name in names.split():
            return reason, cure
    return None
