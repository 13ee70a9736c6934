"""Makers of cases of quantized operators of `com.microsoft` whose result is quantized, too, and of
tables in blocks.
"""
import numpy as np

from judged_microsoft import PREFIX, bytes_, case, scale
from judged_networks import window
from judged_values import (BOOL, F16, F32, I8, I32, U8, axis_of, full, ints, maybe_fixed,
                           maybe_open, partner, pick, shape, some_axes, tame, values)


def steps(rng, dtype, is_needed=False):
    """A scale and a zero point, which may be absent."""
    return scale(rng), bytes_(rng, (), dtype) if is_needed or rng.random() < 0.7 else None


def quantized_map(op, *names):
    def build(rng, opset):
        dtype = pick(rng, (U8, I8))
        attributes = {name: float(np.float32(rng.uniform(-1, 2))) for name in names
                      if rng.random() < 0.7}
        return case(op, [bytes_(rng, shape(rng, 0, 3), dtype), *steps(rng, dtype),
                         *steps(rng, dtype, True)], attributes)
    return PREFIX + op, build


def quantized_softmax(rng, opset):
    """Scales of the result have a whole inverse, of which ONNX Runtime takes the floor."""
    dtype, dims = pick(rng, (U8, I8)), full(rng, int(rng.integers(1, 4)))
    attributes = {"axis": axis_of(rng, len(dims)), "opset": int(pick(rng, (11, 13)))}
    if rng.random() < 0.2:
        del attributes["axis"]
    zero = np.array(0 if dtype == U8 else -128, dtype)
    return case("QLinearSoftmax", [bytes_(rng, dims, dtype), scale(rng) / 8,
                                   bytes_(rng, (), dtype) if rng.random() < 0.7 else None,
                                   np.float32(pick(rng, (1 / 256, 1 / 128))), zero], attributes)


def quantized_concat(rng, opset):
    dtype, dims = pick(rng, (U8, I8)), list(full(rng, int(rng.integers(1, 4))))
    axis = axis_of(rng, len(dims))
    inputs = [*steps(rng, dtype, True)]
    for _ in range(int(rng.integers(1, 4))):
        dims[axis] = int(rng.integers(0, 4))
        inputs += [bytes_(rng, dims, dtype), *steps(rng, dtype, True)]
    if rng.random() < 0.3:
        inputs[3:5] = inputs[:2]
    return case("QLinearConcat", inputs, {"axis": axis})


def quantized_where(rng, opset):
    dtype, dims = pick(rng, (U8, I8)), shape(rng, 1, 3)
    inputs = [values(rng, partner(rng, dims), BOOL)]
    for k in range(2):
        own = partner(rng, dims) if k else dims
        inputs += [bytes_(rng, own, dtype), *steps(rng, dtype, True)]
    return case("QLinearWhere", [*inputs, *steps(rng, dtype, True)])


def last_of(x):
    return np.moveaxis(x, 1, -1)


def quantized_pool(rng, opset):
    """Averages of scales that are no short fractions, and so not halfway between steps."""
    rank, dtype = int(rng.integers(1, 4)), pick(rng, (U8, I8))
    extents = [int(n) for n in rng.integers(1, 7, rank)]
    kernel, attributes = window(rng, rank, extents)
    del attributes["dilations"]
    attributes |= {"kernel_shape": kernel, "count_include_pad": int(rng.integers(2))}
    if rng.random() < 0.3 and not attributes["count_include_pad"]:
        attributes["ceil_mode"] = 1
    x = bytes_(rng, (*full(rng, 2, 1, 3), *extents), dtype)
    if rng.random() < 0.5:
        attributes["channels_last"], x = 1, last_of(x)
    own, zero = steps(rng, dtype, True)
    inputs = [x, own * np.float32(1.0137), zero, *steps(rng, dtype)]
    return case("QLinearAveragePool", inputs, attributes)


def quantized_mean(rng, opset):
    dtype, attributes = pick(rng, (U8, I8)), {"channels_last": int(rng.integers(2))}
    x = bytes_(rng, full(rng, int(rng.integers(3, 6))), dtype)
    return case("QLinearGlobalAveragePool",
                [x, *steps(rng, dtype, True), *steps(rng, dtype, True)], attributes)


def quantized_reduce(rng, opset):
    dtype, dims = pick(rng, (U8, I8)), full(rng, int(rng.integers(1, 4)))
    axes, keep = some_axes(rng, len(dims)) or [0], int(rng.integers(2))
    x, own, zero = bytes_(rng, dims, dtype), *steps(rng, dtype)
    y_scale, y_zero = steps(rng, dtype)
    real = (x.astype(np.float64) - (0 if zero is None else int(zero))) * np.float64(own)
    real = real.mean(tuple(axes), keepdims=bool(keep))
    y = np.rint(real / np.float64(y_scale)) + (0 if y_zero is None else int(y_zero))
    made = case("QLinearReduceMean", [x, own, zero, y_scale, y_zero],
                {"axes": axes, "keepdims": keep})
    info = np.iinfo(dtype)
    made.expected = [np.clip(y, info.min, info.max).astype(dtype)]
    return made


def quantized_conv(rng, opset):
    rank, group = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    extents = [int(n) for n in rng.integers(1, 7, rank)]
    kernel, attributes = window(rng, rank, extents)
    n, per, out = full(rng, 3, 1, 3)
    dtype, w_dtype = pick(rng, ((U8, U8), (U8, I8), (I8, I8)))
    x = bytes_(rng, (n, per * group, *extents), dtype)
    w = bytes_(rng, (out * group, per, *kernel), w_dtype)
    by = (out * group,) if rng.random() < 0.4 else ()
    attributes |= {"group": group, "channels_last": int(rng.integers(2))}
    if attributes["channels_last"]:
        x = last_of(x)
    bias = tame(rng, (out * group,), I32) if rng.random() < 0.5 else None
    inputs = [x, *steps(rng, dtype, True), w, scale(rng, by),
              np.zeros(by, w_dtype) if by else bytes_(rng, by, w_dtype),
              scale(rng), bytes_(rng, (), dtype), bias]
    made = maybe_fixed(rng, case("QLinearConv", inputs, attributes), 3, 4, 8)
    made.fixed[5] = True
    return made


def gathered_blocks(rng, opset):
    """A table of bytes that hold 1, 2 or 4 codes; a few indices are outside of it."""
    bits, rank = int(pick(rng, (2, 4, 8))), int(rng.integers(2, 4))
    dims, block = list(full(rng, rank, 1, 3)), int(pick(rng, (16, 32)))
    dims[-1] = 16 * int(rng.integers(1, 4))
    packed, blocks, axis = list(dims), list(dims), rank - 1
    packed[-1], blocks[-1] = dims[-1] * bits // 8, -(-dims[-1] // block)
    zeros = None
    if rng.random() < 0.5:
        zeros = bytes_(rng, (*blocks[:-1], -(-blocks[-1] * bits // 8)))
    rows = dims[0]
    indices = rng.integers(-rows - (rng.random() < 0.3), rows, shape(rng, 0, 2))
    scales = scale(rng, blocks).astype(pick(rng, (F32, F32, F16)))
    inputs = [bytes_(rng, packed), indices.astype(pick(rng, (np.int32, np.int64))), scales, zeros]
    attributes = {"bits": bits, "block_size": block,
                  "quantize_axis": axis - (rank if rng.random() < 0.5 else 0)}
    made = case("GatherBlockQuantized", inputs, attributes)
    made.fixed = [True, False, True, zeros is not None]
    return made


def gathered_nibbles(rng, opset):
    """A table of integers of 4 bits, along any axes."""
    import ml_dtypes
    dtype, rank = pick(rng, (ml_dtypes.int4, ml_dtypes.uint4)), int(rng.integers(2, 4))
    dims, block = list(full(rng, rank, 1, 3)), 16
    axis, along = int(rng.integers(rank)), int(rng.integers(rank))
    dims[axis] = int(rng.integers(1, 4)) * 16 + (8 if rng.random() < 0.3 else 0)
    blocks = list(dims)
    blocks[axis] = -(-dims[axis] // block)
    low, high = (-8, 8) if dtype == ml_dtypes.int4 else (0, 16)
    zeros = rng.integers(low, high, blocks).astype(dtype) if rng.random() < 0.5 else None
    indices = ints(rng.integers(-dims[along], dims[along], shape(rng, 0, 2)))
    inputs = [rng.integers(low, high, dims).astype(dtype), indices, scale(rng, blocks), zeros]
    attributes = {"block_size": block, "quantize_axis": axis, "gather_axis": along}
    made = case("GatherBlockQuantized", inputs, attributes)
    made.fixed = [True, False, True, zeros is not None]
    return made


def gathered_floats(rng, opset):
    """A table of floats of 8 bits, whose scales may be those of all rows or of whole axes."""
    import ml_dtypes
    dtype = pick(rng, (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2))
    block = int(pick(rng, (0, 16)))
    dims = (*full(rng, 1), 16 * int(rng.integers(1, 4)))
    data = tame(rng, dims, F32).astype(dtype)
    rows = dims[0] if rng.random() < 0.6 else 1
    scales = scale(rng, (rows, dims[1] // block if block else 1))
    indices = ints(rng.integers(-dims[0], dims[0], shape(rng, 0, 2)))
    made = case("GatherBlockQuantized", [data, indices, scales],
                {"block_size": block, "quantize_axis": 1})
    made.fixed[0] = made.fixed[2] = True
    made.expected = [(data.astype(F32) * np.repeat(scales, block or dims[1], 1))[indices]]
    return made


def embeddings(rng, opset):
    n, length, width, words, places, segments = full(rng, 6, 2, 6)
    places, dtype = max(places, length), pick(rng, (U8, I8))
    has_kinds = rng.random() < 0.6
    inputs = [rng.integers(0, words, (n, length)).astype(np.int32),
              rng.integers(0, segments, (n, length)).astype(np.int32) if has_kinds else None]
    tables = [bytes_(rng, dims, dtype)
              for dims in ((words, width), (places, width), (segments, width), (width,), (width,))]
    scales = [scale(rng) for _ in range(5)]
    zeros = [bytes_(rng, (), dtype) for _ in range(5)]
    if not has_kinds:
        tables[2] = scales[2] = zeros[2] = None
    mask = rng.integers(0, 2, (n, length)).astype(np.int32) if rng.random() < 0.6 else None
    attributes = {"epsilon": 0.125} if rng.random() < 0.6 else {}
    return case("QEmbedLayerNormalization", [*inputs, *tables, mask, *scales, *zeros],
                attributes, 2)


FP4 = (0, 0.00520833333, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25)
NF4 = (-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
       -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
       0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
       0.7229568362236023, 1)


def matmul_bnb4(rng, opset):
    """Codes of a matrix that is flat, so that blocks run on from row to row. ONNX Runtime does not
    take the product without transB right, so that there is a formula as well.
    """
    n, block = int(rng.integers(1, 5)), 16
    k = 16 * int(rng.integers(1, 4)) if rng.random() < 0.7 else 2 * int(rng.integers(1, 9))
    turned = int(rng.random() < 0.8)
    attributes = {"K": k, "N": n, "block_size": block, "quant_type": int(rng.integers(2))}
    if not turned or rng.random() < 0.5:
        attributes["transB"] = turned
    inputs = [tame(rng, (*shape(rng, 0, 1), *full(rng, 1), k if turned else n), F32),
              bytes_(rng, ((n * k + 1) // 2,)), scale(rng, (-(-n * k // block),))]
    made = case("MatMulBnb4", inputs, attributes)
    made.fixed = [False, True, rng.random() < 0.5]
    table = np.array(NF4 if attributes["quant_type"] else (*FP4, *(-x for x in FP4)))
    codes = np.stack([inputs[1] >> 4, inputs[1] & 15], 1).reshape(-1)[:n * k]
    weight = (table[codes] * np.repeat(inputs[2], block)[:n * k]).reshape(n, k)
    made.expected = [(inputs[0] @ (weight.T if turned else weight)).astype(F32)]
    return made


def ngrams(rng, opset):
    n, length, words = full(rng, 3, 1, 7)
    made = case("NGramRepeatBlock", [ints(rng.integers(0, min(words, 3), (n, length))),
                                     tame(rng, (n, words), F32)],
                {"ngram_size": int(rng.integers(1, 5))})
    return maybe_open(rng, made, {0: "bs", 1: "bv"})


OPERATORS = [
    (PREFIX + "QEmbedLayerNormalization", embeddings), (PREFIX + "MatMulBnb4", matmul_bnb4),
    (PREFIX + "NGramRepeatBlock", ngrams),
    quantized_map("QLinearSigmoid"), quantized_map("QLinearLeakyRelu", "alpha"),
    (PREFIX + "QLinearSoftmax", quantized_softmax), (PREFIX + "QLinearConcat", quantized_concat),
    (PREFIX + "QLinearWhere", quantized_where), (PREFIX + "QLinearAveragePool", quantized_pool),
    (PREFIX + "QLinearGlobalAveragePool", quantized_mean),
    (PREFIX + "QLinearReduceMean", quantized_reduce), (PREFIX + "QLinearConv", quantized_conv),
    (PREFIX + "GatherBlockQuantized", gathered_blocks),
    (PREFIX + "GatherBlockQuantized", gathered_nibbles),
    (PREFIX + "GatherBlockQuantized", gathered_floats),
]
