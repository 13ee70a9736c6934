"""Makers of cases of `com.microsoft`, of which ONNX Runtime alone has a vote."""
import numpy as np

from judged_networks import window
from judged_values import (F32, I8, I32, U8, Case, axis_of, full, maybe_fixed, partner, pick,
                           shape, tame, values)

DOMAIN = "com.microsoft"
PREFIX = "com.microsoft."


def case(op, inputs, attributes=None, outputs=1):
    return Case(op, inputs, attributes or {}, outputs, domain=DOMAIN)


def small(rng, dims, dtype=F32):
    """Floats that are sums of few powers of two, whose quantized values are far from ties."""
    return (rng.integers(-32, 33, dims) / 16).astype(dtype)


def scale(rng, dims=()):
    return (rng.integers(1, 40, dims) / np.float32(64)).astype(np.float32)


def bytes_(rng, dims, dtype=U8):
    return values(rng, dims, dtype, 0.1, np.iinfo(dtype).min, np.iinfo(dtype).max)


def activation(op, *names):
    def build(rng, opset):
        dims = shape(rng, 1)
        attributes = {name: float(np.float32(rng.uniform(-1, 2))) for name in names
                      if rng.random() < 0.7}
        return case(op, [values(rng, dims, F32)], attributes)
    return PREFIX + op, build


def biased(op, needs_bias):
    def build(rng, opset):
        dims = (*shape(rng, 0, 2), int(rng.integers(1, 6)))
        x = tame(rng, dims, F32)
        bias = tame(rng, dims[-1:], F32) if needs_bias or rng.random() < 0.5 else None
        return maybe_fixed(rng, case(op, [x, bias]), 1)
    return PREFIX + op, build


def fused_matmul(op):
    def build(rng, opset):
        m, k, n = full(rng, 3)
        batch = shape(rng, 0, 2)
        ta, tb = (int(rng.integers(2)) for _ in range(2))
        a, b = ((k, m) if ta else (m, k)), ((n, k) if tb else (k, n))
        attributes, dims = {"transA": ta, "transB": tb}, [(*batch, *a), (*batch, *b)]
        if rng.random() < 0.7:
            attributes["alpha"] = float(np.float32(rng.normal()))
        for at, name in enumerate(("transBatchA", "transBatchB")):
            if op == "FusedMatMul" and rng.random() < 0.6:
                attributes[name] = int(rng.integers(2))
                if attributes[name]:
                    own = dims[at]
                    dims[at] = (own[-2], *own[:-2], own[-1])
        return case(op, [tame(rng, own, F32) for own in dims], attributes)
    return PREFIX + op, build


def trilu(rng, opset):
    dims = (*shape(rng, 0, 2), *full(rng, 2))
    k = np.array(rng.integers(-3, 4), np.int64) if rng.random() < 0.7 else None
    attributes = {"upper": int(rng.integers(2))} if rng.random() < 0.7 else {}
    return maybe_fixed(rng, case("Trilu", [values(rng, dims, F32), k], attributes), 1)


def grid_sample(rng, opset):
    n, channels, height, width, rows, columns = full(rng, 6, 1, 4)
    attributes = {"align_corners": int(rng.integers(2))}
    if rng.random() < 0.7:
        attributes["mode"] = pick(rng, ("bilinear", "nearest", "bicubic"))
    if rng.random() < 0.7:
        attributes["padding_mode"] = pick(rng, ("zeros", "border", "reflection"))
    grid = rng.uniform(-1, 1, (n, rows, columns, 2)).astype(F32)
    return case("GridSample", [tame(rng, (n, channels, height, width), F32), grid], attributes)


ACTIVATIONS = {"Relu": 0, "Sigmoid": 0, "Tanh": 0, "LeakyRelu": 1, "HardSigmoid": 2}


def fused_gemm(rng, opset):
    m, k, n = full(rng, 3)
    ta, tb = (int(rng.integers(2)) for _ in range(2))
    a, b = ((k, m) if ta else (m, k)), ((n, k) if tb else (k, n))
    c = tame(rng, partner(rng, (m, n)), F32) if rng.random() < 0.7 else None
    name = pick(rng, tuple(ACTIVATIONS))
    attributes = {"transA": ta, "transB": tb, "activation": name}
    numbers = [float(np.float32(rng.uniform(0.1, 0.9))) for _ in range(ACTIVATIONS[name])]
    attributes |= dict(zip(("activation_alpha", "activation_beta"), numbers))
    for key in ("alpha", "beta"):
        if rng.random() < 0.6:
            attributes[key] = float(np.float32(rng.normal()))
    return case("FusedGemm", [tame(rng, a, F32), tame(rng, b, F32), c], attributes)


def fused_conv(rng, opset):
    rank, group = 2, int(rng.integers(1, 3))
    extents = [int(n) for n in rng.integers(1, 7, rank)]
    kernel, attributes = window(rng, rank, extents)
    n, per, out = full(rng, 3, 1, 3)
    x = tame(rng, (n, per * group, *extents), F32)
    w = tame(rng, (out * group, per, *kernel), F32)
    b = tame(rng, (out * group,), F32) if rng.random() < 0.6 else None
    name = pick(rng, tuple(ACTIVATIONS) + ("Clip",))
    numbers = [float(np.float32(rng.uniform(0.1, 0.9)))
               for _ in range(ACTIVATIONS.get(name, 0))]
    if name == "Clip":
        numbers = [float(np.float32(rng.uniform(-2, 0))), float(np.float32(rng.uniform(0, 2)))]
    attributes |= {"group": group, "activation": name, "kernel_shape": kernel}
    if numbers:
        attributes["activation_params"] = numbers
    return maybe_fixed(rng, case("FusedConv", [x, w, b], attributes), 1, 2)


def expand_dims(rng, opset):
    x = values(rng, shape(rng, 1, 3), F32)
    axis = np.array(rng.integers(-x.ndim - 1, x.ndim + 1), np.int32)
    made = case("ExpandDims", [x, axis])
    made.fixed[1] = True
    return made


def embeddings(rng, opset):
    n, length, width, words, places, segments = full(rng, 6, 2, 6)
    places = max(places, length)
    ids = rng.integers(0, words, (n, length)).astype(np.int32)
    kinds = rng.integers(0, segments, (n, length)).astype(np.int32)
    has_kinds = rng.random() < 0.6
    inputs = [ids, kinds if has_kinds else None, tame(rng, (words, width), F32),
              tame(rng, (places, width), F32),
              tame(rng, (segments, width), F32) if has_kinds else None,
              tame(rng, (width,), F32), tame(rng, (width,), F32)]
    mask = rng.integers(0, 3, (n, length)).astype(np.int32) if rng.random() < 0.6 else None
    inputs.append(mask)
    if rng.random() < 0.4:
        inputs.append(rng.integers(0, places, (n, length)).astype(np.int32))
    attributes = {"epsilon": 0.125} if rng.random() < 0.6 else {}
    return case("EmbedLayerNormalization", inputs, attributes, 3)


def skip_norm(op, has_beta):
    def build(rng, opset):
        n, length, width = full(rng, 3, 1, 6)
        x, skip = (tame(rng, (n, length, width), F32) for _ in range(2))
        params = [tame(rng, (width,), F32) for _ in range(2 if has_beta else 1)]
        if has_beta and rng.random() < 0.3:
            params[1] = None
        bias = tame(rng, (width,), F32) if rng.random() < 0.5 else None
        attributes = {"epsilon": 0.25} if rng.random() < 0.6 else {}
        return Case(op, [x, skip, *params, bias], attributes, 4, domain=DOMAIN, skipped=(1, 2))
    return PREFIX + op, build


def rotary(rng, opset):
    n, length, heads, quarter = full(rng, 4, 1, 3)
    size, most = 4 * quarter, 8
    four = rng.random() < 0.4
    dims = (n, heads, length, size) if four else (n, length, heads * size)
    attributes = {"interleaved": int(rng.integers(2))}
    rotated = size
    if rng.random() < 0.4:
        rotated = 2 * quarter
        attributes |= {"rotary_embedding_dim": rotated, "num_heads": heads}
    elif rng.random() < 0.3:
        attributes["num_heads"] = heads
    if rng.random() < 0.5:
        places = rng.integers(0, most, (n, length))
    else:
        places = rng.integers(0, most - length + 1, (1,))
    angles = rng.uniform(-3, 3, (most, rotated // 2))
    return case("RotaryEmbedding",
                [tame(rng, dims, F32), places.astype(np.int64), np.cos(angles).astype(F32),
                 np.sin(angles).astype(F32)], attributes)


def quantize(rng, opset):
    dims = full(rng, int(rng.integers(1, 4)))
    dtype = pick(rng, (U8, I8))
    attributes, by = {}, ()
    if rng.random() < 0.6:
        axis = axis_of(rng, len(dims))
        attributes, by = {"axis": axis}, (dims[axis],)
    zero = bytes_(rng, by, dtype) if dtype == I8 or rng.random() < 0.7 else None
    return case("QuantizeLinear", [tame(rng, dims, F32), scale(rng, by), zero], attributes)


def dequantize(rng, opset):
    dims = full(rng, int(rng.integers(1, 4)))
    dtype = pick(rng, (U8, I8, I32))
    attributes, by = {}, ()
    if rng.random() < 0.6:
        axis = axis_of(rng, len(dims))
        attributes, by = {"axis": axis}, (dims[axis],)
    zero = bytes_(rng, by, dtype) if dtype != I32 and rng.random() < 0.7 else None
    x = tame(rng, dims, I32) if dtype == I32 else bytes_(rng, dims, dtype)
    return case("DequantizeLinear", [x, scale(rng, by), zero], attributes)


def qlinear(op):
    def build(rng, opset):
        dtype, a = pick(rng, (U8, I8)), shape(rng, 1, 3)
        b = partner(rng, a)
        operands = []
        for dims in (a, b):
            operands += [bytes_(rng, dims, dtype), scale(rng), bytes_(rng, (), dtype)]
        return case(op, [*operands, scale(rng), bytes_(rng, (), dtype)])
    return PREFIX + op, build


def qgemm(rng, opset):
    m, k, n = full(rng, 3)
    ta, tb = (int(rng.integers(2)) for _ in range(2))
    a, b = ((k, m) if ta else (m, k)), ((n, k) if tb else (k, n))
    a_dtype, dtype = U8, pick(rng, (U8, I8))
    by = (n,) if rng.random() < 0.4 else ()
    zero = np.zeros(by, dtype) if by else bytes_(rng, by, dtype)
    inputs = [bytes_(rng, a, a_dtype), scale(rng), bytes_(rng, (), a_dtype),
              bytes_(rng, b, dtype), scale(rng, by), zero,
              tame(rng, (n,), I32) if rng.random() < 0.5 else None]
    if rng.random() < 0.6:
        inputs += [scale(rng), bytes_(rng, (), a_dtype)]
    attributes = {"transA": ta, "transB": tb}
    if rng.random() < 0.5:
        attributes["alpha"] = float(pick(rng, (0.5, 2.0, -0.25)))
    return case("QGemm", inputs, attributes)


def integer_to_float(rng, opset):
    m, k, n = full(rng, 3)
    a_dtype, b_dtype = pick(rng, (U8, I8)), pick(rng, (U8, I8))
    by = (n,) if rng.random() < 0.4 else ()
    inputs = [bytes_(rng, (m, k), a_dtype), bytes_(rng, (k, n), b_dtype), scale(rng),
              scale(rng, by),
              bytes_(rng, (), a_dtype) if rng.random() < 0.6 else None,
              bytes_(rng, by, b_dtype) if rng.random() < 0.6 else None,
              tame(rng, (n,), F32) if rng.random() < 0.5 else None]
    return case("MatMulIntegerToFloat", inputs)


def dynamic_matmul(rng, opset):
    m, k, n = full(rng, 3)
    dtype = pick(rng, (U8, I8))
    by = (n,) if rng.random() < 0.4 else ()
    inputs = [small(rng, (m, k)), bytes_(rng, (k, n), dtype), scale(rng, by),
              bytes_(rng, by, dtype) if rng.random() < 0.6 else None,
              tame(rng, (n,), F32) if rng.random() < 0.5 else None]
    return case("DynamicQuantizeMatMul", inputs)


def matmul_n_bits(rng, opset):
    m, n = full(rng, 2)
    k, block, bits = int(rng.integers(1, 3)) * 16, 16, pick(rng, (4, 4, 8))
    blocks, per = k // block, 8 // bits
    weights = rng.integers(0, 256, (n, blocks, block // per)).astype(np.uint8)
    zeros = None
    if rng.random() < 0.5:
        zeros = rng.integers(0, 256, (n, -(-blocks // per))).astype(np.uint8)
    inputs = [tame(rng, (m, k), F32), weights, scale(rng, (n, blocks)), zeros]
    if rng.random() < 0.4:
        inputs += [None, tame(rng, (n,), F32)]
    attributes = {"K": k, "N": n, "block_size": block, "bits": bits}
    made = case("MatMulNBits", inputs, attributes)
    made.fixed = [False, True, True, zeros is not None] + [False] * (len(inputs) - 4)
    return made


def matmul_by_index(rng, opset):
    """Blocks that say where they belong, as a quantizer leaves them that went by activation; zero
    points that are no integers."""
    made = matmul_n_bits(rng, opset)
    while made.attributes["bits"] != 4:         # ONNX Runtime knows no others here
        made = matmul_n_bits(rng, opset)
    k, (n, blocks) = made.attributes["K"], made.inputs[2].shape
    if rng.random() < 0.5:
        made.inputs[3] = (rng.random((n, blocks)) * 15).astype(np.float32)
    order = rng.permutation(np.arange(k) // 16) if rng.random() < 0.7 else None
    made.inputs[4:5] = [order if order is None else order.astype(np.int32)]
    made.fixed = [False, True, True] + [x is not None for x in made.inputs[3:5]]
    made.fixed += [False] * (len(made.inputs) - 5)
    made.expected = [by_formula(made)]
    return made


def by_formula(made):
    a, weights, scales, zeros, order, *bias = made.inputs
    (n, blocks), k = scales.shape, made.attributes["K"]
    halves = lambda x, count: np.stack([x & 15, x >> 4], -1).reshape(n, -1)[:, :count]
    if zeros is None:
        zeros = np.full((n, blocks), 8)
    elif zeros.dtype == U8:
        zeros = halves(zeros, blocks)
    order = np.arange(k) // 16 if order is None else order
    real = (halves(weights.reshape(n, -1), k) - zeros.astype(F32)[:, order]) * scales[:, order]
    return (a @ real.T + (bias[0] if bias else 0)).astype(F32)


def dynamic_lstm(rng, opset):
    steps, batch, width, hidden = full(rng, 4, 1, 4)
    direction = pick(rng, ("forward", "reverse", "bidirectional"))
    many = 2 if direction == "bidirectional" else 1
    dtype = pick(rng, (U8, I8))
    inputs = [small(rng, (steps, batch, width)), bytes_(rng, (many, width, 4 * hidden), dtype),
              bytes_(rng, (many, hidden, 4 * hidden), dtype),
              tame(rng, (many, 8 * hidden), F32) if rng.random() < 0.6 else None,
              None, None, None, None,
              scale(rng, (many,)) / 64, np.zeros(many, dtype),
              scale(rng, (many,)) / 64, np.zeros(many, dtype)]
    attributes = {"hidden_size": hidden, "direction": direction}
    if rng.random() < 0.3:
        attributes["clip"] = 0.5
    if rng.random() < 0.3:
        attributes["input_forget"] = 1
    if rng.random() < 0.4:
        attributes["activations"] = ["HardSigmoid", "LeakyRelu", "Tanh"] * many
        attributes["activation_alpha"] = [0.3, 0.2] * many
        attributes["activation_beta"] = [0.4] * many
    made = case("DynamicQuantizeLSTM", inputs, attributes, 3)
    made.fixed = [k in (1, 2, 3, 8, 9, 10, 11) and x is not None for k, x in enumerate(inputs)]
    return made


def simplified_norm(rng, opset):
    dims = full(rng, int(rng.integers(2, 4)))
    axis = axis_of(rng, len(dims))
    attributes = {"axis": axis}
    if rng.random() < 0.6:
        attributes["epsilon"] = 0.25
    return Case("SimplifiedLayerNormalization",
                [tame(rng, dims, F32), tame(rng, dims[axis:], F32)], attributes)


OPERATORS = [
    activation("Gelu"), activation("QuickGelu", "alpha"),
    biased("BiasGelu", True), biased("FastGelu", False),
    fused_matmul("FusedMatMul"), fused_matmul("TransposeMatMul"), (PREFIX + "Trilu", trilu),
    (PREFIX + "GridSample", grid_sample), (PREFIX + "FusedGemm", fused_gemm),
    (PREFIX + "FusedConv", fused_conv), (PREFIX + "ExpandDims", expand_dims),
    (PREFIX + "EmbedLayerNormalization", embeddings),
    skip_norm("SkipLayerNormalization", True),
    skip_norm("SkipSimplifiedLayerNormalization", False),
    (PREFIX + "RotaryEmbedding", rotary),
    (PREFIX + "QuantizeLinear", quantize), (PREFIX + "DequantizeLinear", dequantize),
    qlinear("QLinearAdd"), qlinear("QLinearMul"), (PREFIX + "QGemm", qgemm),
    (PREFIX + "MatMulIntegerToFloat", integer_to_float),
    (PREFIX + "DynamicQuantizeMatMul", dynamic_matmul), (PREFIX + "MatMulNBits", matmul_n_bits),
    (PREFIX + "MatMulNBits", matmul_by_index),
    (PREFIX + "DynamicQuantizeLSTM", dynamic_lstm),
    ("SimplifiedLayerNormalization", simplified_norm),
]
