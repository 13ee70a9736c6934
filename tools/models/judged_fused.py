"""Makers of cases of `com.microsoft`: channels last, a bias with what follows it, crops,
inverse matrices and transforms.

Where ONNX Runtime's CPU has no kernel, the maker has the formula.
"""
import math

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from judged_microsoft import PREFIX, bytes_, case
from judged_networks import window
from judged_quantized import last_of
from judged_values import F32, F64, I8, U8, full, maybe_fixed, maybe_open, pick, shape, tame


def by_formula(made, *outputs):
    made.expected = [np.asarray(y, np.float32) for y in outputs]
    return made


def max_pool(rng, opset):
    rank = int(rng.integers(1, 4))
    extents = [int(n) for n in rng.integers(1, 7, rank)]
    kernel, attributes = window(rng, rank, extents)
    attributes |= {"kernel_shape": kernel, "ceil_mode": int(rng.integers(2))}
    x = bytes_(rng, (full(rng, 1, 1, 3)[0], *extents, int(rng.integers(1, 5))),
               pick(rng, (U8, I8)))
    return case("NhwcMaxPool", [x], attributes)


def plain(op, inputs, attributes):
    """What ONNX Runtime makes of ONNX's own operator."""
    names = [f"x{k}" if x is not None else "" for k, x in enumerate(inputs)]
    given = {name: x for name, x in zip(names, inputs) if name}
    infos = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, x.shape)
             for name, x in given.items()]
    node = helper.make_node(op, names, ["y"], **attributes)
    graph = helper.make_graph([node], op, infos, [helper.make_empty_tensor_value_info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    return session.run(None, given)[0]


def conv(op):
    def build(rng, opset):
        group, extents = int(rng.integers(1, 3)), [int(n) for n in rng.integers(1, 7, 2)]
        kernel, attributes = window(rng, 2, extents)
        attributes["group"] = group
        if rng.random() < 0.5:
            attributes["kernel_shape"] = kernel
        n, per, out = full(rng, 3, 1, 3)
        x = tame(rng, (n, per * group, *extents), F32)
        w = tame(rng, (out * group, per, *kernel), F32)
        b = tame(rng, (out * group,), F32) if rng.random() < 0.5 else None
        y = last_of(plain("Conv", [x, w, b], attributes))
        inputs = [last_of(x), w, b]
        if op == "NhwcFusedConv":
            if rng.random() < 0.5:
                inputs.append(tame(rng, y.shape, F32))
                y = y + inputs[3]
            name = pick(rng, ("Relu", "Clip", "LeakyRelu", ""))
            if name == "Relu":
                y = np.maximum(y, 0)
            elif name == "Clip":
                attributes["activation_params"] = [-0.5, 0.75]
                y = np.clip(y, -0.5, 0.75)
            elif name == "LeakyRelu":
                attributes["activation_params"] = [0.25]
                y = np.where(y < 0, y * np.float32(0.25), y)
            if name:
                attributes["activation"] = name
        return by_formula(maybe_fixed(rng, case(op, inputs, attributes), 1, 2), y)
    return PREFIX + op, build


def group_norm(op):
    def build(rng, opset):
        n, height, width, groups, per = full(rng, 5, 1, 3)
        channels, is_last = groups * per, rng.random() < 0.6
        silu = int(rng.integers(2))
        attributes = {"groups": groups, "activation": silu}
        if not is_last or rng.random() < 0.5:
            attributes["channels_last"] = int(is_last)
        if rng.random() < 0.6:
            attributes["epsilon"] = 0.25
        first = (lambda x: np.moveaxis(x, -1, 1)) if is_last else (lambda x: x)
        back = last_of if is_last else (lambda x: x)
        x = back(tame(rng, (n, channels, height, width), F32))
        gamma, beta = (tame(rng, (channels,), F32) for _ in range(2))
        inputs, total = [x, gamma, beta], first(x).astype(np.float64)
        if op == "SkipGroupNorm":
            kind = int(rng.integers(3))
            skip = tame(rng, (n, channels, *((height, width) if kind == 0 else (1, 1))), F32)
            total = total + skip
            inputs.append(skip[:, :, 0, 0] if kind == 2 else back(skip))
            if rng.random() < 0.5:
                inputs.append(tame(rng, (channels,), F32))
                total = total + inputs[4][:, None, None]
        parts = total.reshape(n, groups, -1)
        parts = parts - parts.mean(-1, keepdims=True)
        variance = (parts ** 2).mean(-1, keepdims=True)
        y = parts / np.sqrt(variance + attributes.get("epsilon", 1e-5))
        y = y.reshape(total.shape) * gamma[:, None, None] + beta[:, None, None]
        if silu:
            y = y / (1 + np.exp(-y))
        outputs = [back(y), back(total)][:2 if op == "SkipGroupNorm" else 1]
        return by_formula(case(op, inputs, attributes, len(outputs)), *outputs)
    return PREFIX + op, build


def bias_add(rng, opset):
    dims = full(rng, 3)
    x, bias, skip = (tame(rng, own, F32) for own in (dims, dims[-1:], dims))
    return by_formula(case("BiasAdd", [x, bias, skip]), x + bias + skip)


def bias_split_gelu(rng, opset):
    n, length, half = full(rng, 3)
    # Far below 0, where nothing is left of the function, f32 has few digits of it.
    x, bias = tame(rng, (n, length, 2 * half), F32) / 4, tame(rng, (2 * half,), F32) / 4
    left, right = np.split((x + bias).astype(np.float64), 2, -1)
    gelu = right * 0.5 * (1 + np.vectorize(math.erf)(right / math.sqrt(2)))
    return by_formula(case("BiasSplitGelu", [x, bias]), left * gelu)


def bias_softmax(rng, opset):
    """The bias has fewer leading rows, each of neighbouring rows or over and over."""
    own, times, *inner = full(rng, 2 + int(rng.integers(1, 3)))
    is_inner = int(rng.integers(2))
    front = (own, times) if is_inner else (times, own)
    x = tame(rng, (*front, *inner), F32)
    bias = tame(rng, ((own, 1, *inner) if is_inner else (own, *inner)), F32)
    total = (x + bias).astype(np.float64).reshape(own * times, -1)
    shares = np.exp(total - total.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    attributes = {"axis": 2 - (x.ndim if rng.random() < 0.3 else 0),
                  "is_inner_broadcast": is_inner}
    return by_formula(case("BiasSoftmax", [x, bias], attributes), shares.reshape(x.shape))


def crops(rng, opset):
    n, channels = full(rng, 2, 1, 3)
    height, width = full(rng, 2, 1, 7)
    count = int(rng.integers(0, 4))
    low, high = pick(rng, ((0, 1), (-0.3, 1.3)))
    attributes = {"extrapolation_value": 2.5} if rng.random() < 0.6 else {}
    if rng.random() < 0.7:
        attributes["mode"] = pick(rng, ("bilinear", "nearest"))
    made = case("CropAndResize", [
        tame(rng, (n, channels, height, width), F32),
        rng.uniform(low, high, (count, 4)).astype(F32),
        rng.integers(0, n, (count,)).astype(np.int32),
        np.array(full(rng, 2, 1, 5), np.int32)], attributes)
    made.fixed[3] = rng.random() < 0.7
    return maybe_open(rng, made, {0: "n_hw", 1: "r", 2: "r"})


def inverse(rng, opset):
    n, dtype = int(rng.integers(0, 6)), pick(rng, (F32, F64))
    x = tame(rng, (*shape(rng, 0, 2), n, n), dtype)
    made = case("Inverse", [x + np.eye(n, dtype=dtype) * pick(rng, (0, 4))])
    return maybe_open(rng, made, {0: "abcd"[:x.ndim - 2] + "nn"}) if n else made


def real_transform(rng, opset):
    x = tame(rng, (*shape(rng, 0, 2), 2 * int(rng.integers(1, 9))), F32)
    attributes = {"signal_ndim": 1, "onesided": 1, "normalized": 0} if rng.random() < 0.5 else {}
    y = np.fft.rfft(x.astype(np.float64))
    return by_formula(case("Rfft", [x], attributes), np.stack([y.real, y.imag], -1))


def real_inverse(rng, opset):
    x = tame(rng, (*shape(rng, 0, 2), int(rng.integers(2, 9)), 2), F32)
    attributes = {"signal_ndim": 1}
    if rng.random() < 0.5:
        attributes |= {"onesided": 1, "normalized": 0}
    y = np.fft.irfft(x[..., 0].astype(np.float64) + 1j * x[..., 1])
    return by_formula(case("Irfft", [x], attributes), y)


OPERATORS = [
    (PREFIX + "NhwcMaxPool", max_pool), conv("NhwcConv"), conv("NhwcFusedConv"),
    group_norm("GroupNorm"), group_norm("SkipGroupNorm"), (PREFIX + "BiasAdd", bias_add),
    (PREFIX + "BiasSplitGelu", bias_split_gelu), (PREFIX + "BiasSoftmax", bias_softmax),
    (PREFIX + "CropAndResize", crops), (PREFIX + "Inverse", inverse),
    (PREFIX + "Rfft", real_transform), (PREFIX + "Irfft", real_inverse),
]
