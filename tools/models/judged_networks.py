"""Makers of cases of operators of networks: products, windows, normalizations, recurrences."""
import numpy as np

from judged_values import (F32, F64, I8, I32, I64, U8, Case, axis_of, extent, full, ints,
                           maybe_fixed, partner, pick, shape, some_axes, tame, uniform, values)


def matmul(rng, opset):
    dtype = pick(rng, (F32, F32, F64, I32, I64))
    m, k, n = (extent(rng) for _ in range(3))
    batch = shape(rng, 0, 2)
    a, b = (*batch, m, k), (*partner(rng, batch), k, n)
    if rng.random() < 0.15:
        a = (k,)
    elif rng.random() < 0.15:
        b = (k,)
    return Case("MatMul", [tame(rng, a, dtype), tame(rng, b, dtype)])


def gemm(rng, opset):
    dtype = pick(rng, (F32, F32, F64))
    m, k, n = full(rng, 3)
    ta, tb = (int(rng.integers(2)) for _ in range(2))
    a, b = ((k, m) if ta else (m, k)), ((n, k) if tb else (k, n))
    c = tame(rng, partner(rng, (m, n)), dtype) if rng.random() < 0.7 else None
    attributes = {"transA": ta, "transB": tb}
    for name in ("alpha", "beta"):
        if rng.random() < 0.5:
            attributes[name] = float(np.float32(rng.normal()))
    return Case("Gemm", [tame(rng, a, dtype), tame(rng, b, dtype), c], attributes)


def window(rng, rank, extents):
    """Kernel, strides, dilations and pads or auto_pad that leave at least one position."""
    kernel = [int(rng.integers(1, 4)) for _ in range(rank)]
    strides = [int(rng.integers(1, 3)) for _ in range(rank)]
    dilations = [int(rng.integers(1, 3)) for _ in range(rank)]
    attributes = {"strides": strides, "dilations": dilations}
    auto = pick(rng, ("NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"))
    if auto == "NOTSET":
        attributes["pads"] = [int(rng.integers(0, k)) for k in kernel + kernel]
    else:
        attributes["auto_pad"] = auto
        if auto.startswith("SAME"):
            attributes["dilations"] = [1] * rank
    for axis in range(rank):
        reach = (kernel[axis] - 1) * attributes["dilations"][axis] + 1
        extents[axis] = max(extents[axis], reach)
    return kernel, attributes


def conv(rng, opset):
    rank, group = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    extents = [int(n) for n in rng.integers(1, 7, rank)]
    kernel, attributes = window(rng, rank, extents)
    n, per, out = full(rng, 3, 1, 3)
    x = tame(rng, (n, per * group, *extents), F32)
    w = tame(rng, (out * group, per, *kernel), F32)
    b = tame(rng, (out * group,), F32) if rng.random() < 0.5 else None
    return maybe_fixed(rng, Case("Conv", [x, w, b], attributes | {"group": group}), 1, 2)


def conv_transpose(rng, opset):
    rank, group = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    extents = [int(n) for n in rng.integers(1, 5, rank)]
    n, per, out = full(rng, 3, 1, 3)
    kernel = [int(rng.integers(1, 4)) for _ in range(rank)]
    strides = [int(rng.integers(1, 3)) for _ in range(rank)]
    attributes = {"strides": strides, "group": group}
    if rng.random() < 0.5:
        attributes["pads"] = [int(rng.integers(0, (k + 1) // 2)) for k in kernel * 2]
    if rng.random() < 0.4:
        attributes["output_padding"] = [int(rng.integers(0, s)) for s in strides]
    x = tame(rng, (n, per * group, *extents), F32)
    w = tame(rng, (per * group, out, *kernel), F32)
    b = tame(rng, (out * group,), F32) if rng.random() < 0.5 else None
    return Case("ConvTranspose", [x, w, b], attributes)


def pool(op):
    def build(rng, opset):
        rank = int(rng.integers(1, 4))
        extents = [int(n) for n in rng.integers(1, 8, rank)]
        kernel, attributes = window(rng, rank, extents)
        if op != "MaxPool" and not (op == "AveragePool" and opset >= 19):
            attributes.pop("dilations")
        if "pads" in attributes and rng.random() < 0.5 and op != "LpPool":
            attributes["ceil_mode"] = int(rng.integers(2))
        if op == "AveragePool":
            attributes["count_include_pad"] = int(rng.integers(2))
        if op == "LpPool":
            attributes["p"] = int(rng.integers(1, 4))
        x = tame(rng, (*full(rng, 2, 1, 3), *extents), F32)
        outputs = 2 if op == "MaxPool" and rng.random() < 0.4 else 1
        return Case(op, [x], attributes | {"kernel_shape": kernel}, outputs)
    return op, build


def spatial(op):
    def build(rng, opset):
        return Case(op, [tame(rng, full(rng, int(rng.integers(3, 6))), pick(rng, (F32, F32, F64)))])
    return op, build


def batch_normalization(rng, opset):
    x = tame(rng, full(rng, int(rng.integers(2, 5))), F32)
    c = (x.shape[1],)
    scale, bias, mean = (tame(rng, c, F32) for _ in range(3))
    variance = rng.uniform(0.1, 2, c).astype(np.float32)
    return Case("BatchNormalization", [x, scale, bias, mean, variance],
                {"epsilon": 1e-3} if rng.random() < 0.5 else {})


def instance_normalization(rng, opset):
    x = tame(rng, full(rng, int(rng.integers(3, 5)), 2), F32)
    return Case("InstanceNormalization", [x, *(tame(rng, (x.shape[1],), F32) for _ in range(2))])


def layer_normalization(rng, opset):
    if opset < 17:
        return None
    x = tame(rng, full(rng, int(rng.integers(1, 5)), 2), F32)
    axis = axis_of(rng, x.ndim)
    dims = x.shape[axis:]
    bias = tame(rng, dims, F32) if rng.random() < 0.5 else None
    return Case("LayerNormalization", [x, tame(rng, dims, F32), bias],
                {"axis": axis, "epsilon": 1e-3}, int(pick(rng, (1, 1, 3))))


def lrn(rng, opset):
    x = tame(rng, full(rng, int(rng.integers(3, 5))), F32)
    return Case("LRN", [x], {"size": int(pick(rng, (1, 3, 5))), "alpha": uniform(0, 1)(rng),
                             "bias": uniform(0.5, 2)(rng)})


def lp_normalization(rng, opset):
    x = tame(rng, full(rng, int(rng.integers(1, 4))), pick(rng, (F32, F64)))
    return Case("LpNormalization", [x], {"axis": axis_of(rng, x.ndim), "p": int(pick(rng, (1, 2)))})


def mean_variance(rng, opset):
    x = tame(rng, full(rng, 4, 2, 4), F32)
    axes = [a % 4 for a in some_axes(rng, 4)]
    return Case("MeanVarianceNormalization", [x], {"axes": sorted(axes)} if axes else {})


def resize(rng, opset):
    x = tame(rng, (1, 1, *full(rng, 2, 1, 6)), F32)
    mode = pick(rng, ("nearest", "linear", "cubic"))
    attributes = {"mode": mode, "coordinate_transformation_mode": pick(
        rng, ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"))}
    if mode == "nearest":
        attributes["nearest_mode"] = pick(
            rng, ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))
    if mode == "cubic" and rng.random() < 0.5:
        attributes["exclude_outside"] = 1
    if rng.random() < 0.5:
        scales = np.array([1, 1, *rng.choice([0.5, 1, 1.5, 2, 0.8, 3], 2)], np.float32)
        if (np.array(x.shape) * scales < 1).any():
            scales = np.array([1, 1, 2, 2], np.float32)
        case = Case("Resize", [x, None, scales], attributes)
    else:
        case = Case("Resize", [x, None, None, ints([1, 1, *rng.integers(1, 9, 2)])], attributes)
    return maybe_fixed(rng, case, 2, 3)


def grid_sample(rng, opset):
    if opset < 16:
        return None
    x = tame(rng, full(rng, 4, 1, 4), F32)
    grid = rng.uniform(-1.3, 1.3, (x.shape[0], *full(rng, 2, 1, 4), 2)).astype(np.float32)
    linear, cubic = ("linear", "cubic") if opset >= 20 else ("bilinear", "bicubic")
    return Case("GridSample", [x, grid], {
        "mode": pick(rng, (linear, "nearest", cubic)), "align_corners": int(rng.integers(2)),
        "padding_mode": pick(rng, ("zeros", "border", "reflection"))})


def einsum(rng, opset):
    text, shapes = pick(rng, (
        ("ij,jk->ik", ("ij", "jk")), ("bij,bjk->bik", ("bij", "bjk")), ("ij->ji", ("ij",)),
        ("ij->i", ("ij",)), ("ii->i", ("ii",)), ("i,j->ij", ("i", "j")), ("ij,ij->", ("ij", "ij")),
        ("...ij,...jk->...ik", ("bij", "bjk")), ("ij,jk", ("ij", "jk")), ("bhid,bhjd->bhij",
                                                                        ("bhid", "bhjd"))))
    extents = {letter: int(rng.integers(1, 5)) for letter in "abcdefghijkl"}
    dtype = pick(rng, (F32, F64))
    return Case("Einsum", [tame(rng, tuple(extents[c] for c in s), dtype) for s in shapes],
                {"equation": text})


def quantize(rng, opset):
    x = values(rng, shape(rng, 1), F32, 0.05)
    x = np.nan_to_num(x, nan=0.5)
    dtype = pick(rng, (U8, I8))
    axis = axis_of(rng, x.ndim)
    dims = (x.shape[axis],) if rng.random() < 0.5 else ()
    scale = rng.uniform(0.01, 0.5, dims).astype(np.float32)
    case = Case("QuantizeLinear", [x, scale, values(rng, dims, dtype, 0)], {"axis": axis})
    return maybe_fixed(rng, case, 1, 2)


def dequantize(rng, opset):
    x = values(rng, shape(rng, 1), pick(rng, (U8, I8)))
    axis = axis_of(rng, x.ndim)
    dims = (x.shape[axis],) if rng.random() < 0.5 else ()
    scale = rng.uniform(0.01, 0.5, dims).astype(np.float32)
    zero = values(rng, dims, x.dtype, 0) if rng.random() < 0.7 else None
    return maybe_fixed(rng, Case("DequantizeLinear", [x, scale, zero], {"axis": axis}), 1, 2)


def dynamic_quantize(rng, opset):
    return Case("DynamicQuantizeLinear", [values(rng, full(rng, 2), F32, 0, -5, 5)], {}, 3)


def matmul_integer(rng, opset):
    m, k, n = full(rng, 3)
    a, b = values(rng, (m, k), pick(rng, (U8, I8))), values(rng, (k, n), pick(rng, (U8, I8)))
    zeros = [values(rng, (), x.dtype, 0) if rng.random() < 0.6 else None for x in (a, b)]
    return Case("MatMulInteger", [a, b, *zeros])


def det(rng, opset):
    n = int(rng.integers(1, 5))
    return Case("Det", [tame(rng, (*full(rng, int(rng.integers(0, 3)), 1, 3), n, n), F32)])


def col2im(rng, opset):
    if opset < 18:
        return None
    h, w, kh, kw, n, c = *full(rng, 2, 2, 5), *full(rng, 2, 1, 2), *full(rng, 2, 1, 2)
    positions = (h - kh + 1) * (w - kw + 1)
    x = tame(rng, (n, c * kh * kw, positions), F32)
    return maybe_fixed(rng, Case("Col2Im", [x, ints([h, w]), ints([kh, kw])]), 1, 2)


def recurrent(op, gates):
    def build(rng, opset):
        steps, batch, inputs, hidden = full(rng, 4, 1, 4)
        direction = pick(rng, ("forward", "reverse", "bidirectional"))
        d = 2 if direction == "bidirectional" else 1
        draw = lambda *dims: rng.uniform(-1, 1, dims).astype(np.float32)     # noqa: E731
        operands = [draw(steps, batch, inputs), draw(d, gates * hidden, inputs),
                    draw(d, gates * hidden, hidden)]
        operands.append(draw(d, 2 * gates * hidden) if rng.random() < 0.7 else None)
        lengths = rng.integers(1, steps + 1, batch).astype(np.int32)
        operands.append(lengths if rng.random() < 0.3 else None)
        operands.append(draw(d, batch, hidden) if rng.random() < 0.5 else None)
        if op == "LSTM":
            operands.append(draw(d, batch, hidden) if rng.random() < 0.5 else None)
        attributes = {"hidden_size": hidden, "direction": direction}
        if op == "GRU":
            attributes["linear_before_reset"] = int(rng.integers(2))
        return Case(op, operands, attributes, 3 if op == "LSTM" else 2)
    return op, build


def non_max_suppression(rng, opset):
    batch, boxes, classes = 1, int(rng.integers(1, 7)), int(rng.integers(1, 3))
    corners = rng.uniform(0, 1, (batch, boxes, 2))
    sizes = rng.uniform(0.1, 0.6, (batch, boxes, 2))
    given = np.concatenate([corners, corners + sizes], -1).astype(np.float32)
    scores = rng.uniform(0, 1, (batch, classes, boxes)).astype(np.float32)
    return Case("NonMaxSuppression", [given, scores, ints([rng.integers(0, 5)]),
                                      np.array([rng.uniform(0, 1)], np.float32),
                                      np.array([rng.uniform(0, 0.5)], np.float32)])


def mel_weights(rng, opset):
    if opset < 17:
        return None
    rate = int(pick(rng, (8000, 16000, 22050, 44100)))
    low = 0.0 if rng.random() < 0.3 else rng.uniform(0, 200)
    high = rate / 2 if rng.random() < 0.6 else rng.uniform(1000, rate / 2)
    length = int(pick(rng, (16, 64, 256, 400, 512, 1024)))
    numbers = [np.array(n, np.int64) for n in (int(rng.integers(1, 40)), length, rate)]
    hertz = [np.array(n, np.float32) for n in (low, high)]
    wide = {"output_datatype": 11} if rng.random() < 0.3 else {}
    return maybe_fixed(rng, Case("MelWeightMatrix", numbers + hertz, wide), *range(5))


OPERATORS = [
    ("MatMul", matmul), ("Gemm", gemm), ("Conv", conv), ("ConvTranspose", conv_transpose),
    pool("MaxPool"), pool("AveragePool"), pool("LpPool"), spatial("GlobalAveragePool"),
    spatial("GlobalMaxPool"), ("BatchNormalization", batch_normalization),
    ("InstanceNormalization", instance_normalization), ("LayerNormalization", layer_normalization),
    ("LRN", lrn), ("LpNormalization", lp_normalization),
    ("MeanVarianceNormalization", mean_variance), ("Resize", resize), ("GridSample", grid_sample),
    ("Einsum", einsum), ("QuantizeLinear", quantize), ("DequantizeLinear", dequantize),
    ("DynamicQuantizeLinear", dynamic_quantize), ("MatMulInteger", matmul_integer), ("Det", det),
    ("Col2Im", col2im), recurrent("RNN", 1), recurrent("GRU", 3), recurrent("LSTM", 4),
    ("NonMaxSuppression", non_max_suppression), ("MelWeightMatrix", mel_weights),
]
