"""The table of operators whose cases are generated.

A maker takes a random generator and an opset, and returns a `Case` or None where the operator is
not in the opset. What ONNX leaves open is left out: integer division by zero, floats beyond the
range of the integer they are cast to.
"""
import numpy as np

import judged_networks as networks
from judged_values import (ANY, BOOL, F16, F32, F64, FLOATS, I8, I16, I32, I64, NUMBERS, U8, U16,
                           U32, U64, Case, axis_of, extent, full, ints, maybe_fixed, pair, partner,
                           pick, shape, some_axes, tame, uniform, values)


# Elementwise

def unary(op, dtypes=FLOATS, since=13, make=values, **ranges):
    def build(rng, opset):
        if opset < since:
            return None
        attributes = {name: draw(rng) for name, draw in ranges.items() if rng.random() < 0.7}
        return Case(op, [make(rng, shape(rng), pick(rng, dtypes))], attributes)
    return op, build


def binary(op, dtypes=NUMBERS, since=13, make=values):
    def build(rng, opset):
        return Case(op, list(pair(rng, pick(rng, dtypes), make=make))) if opset >= since else None
    return op, build


def variadic(op, dtypes):
    def build(rng, opset):
        dtype, dims = pick(rng, dtypes), shape(rng)
        count = int(rng.integers(1, 4))
        shapes = [dims] + [partner(rng, dims) for _ in range(count - 1)]
        return Case(op, [values(rng, s, dtype) for s in shapes])
    return op, build


def division(rng, opset):
    dtype = pick(rng, NUMBERS)
    x, y = pair(rng, dtype)
    if dtype.kind in "iu":
        y = np.where(y == 0, np.array(3, dtype), y)
        y = np.where(y == np.array(-1).astype(dtype), np.array(2, dtype), y)
    return Case("Div", [x, y])


def modulo(rng, opset):
    dtype = pick(rng, (F32, F64, F16, I32, I64, I8, U8, U16, I16))
    case = division(rng, opset)
    x, y = (v.astype(dtype) for v in pair(rng, dtype))
    if dtype.kind in "iu":
        y = np.where(y == 0, np.array(3, dtype), y)
        y = np.where(y == np.array(-1).astype(dtype), np.array(2, dtype), y)
        return Case("Mod", [x, y], {"fmod": int(rng.integers(2))})
    return Case("Mod", [x, y], {"fmod": 1}) if case else None


def power(rng, opset):
    dtype = pick(rng, (F32, F32, F64, I32, I64))
    if dtype.kind == "f":
        return Case("Pow", list(pair(rng, dtype)))
    x, y = pair(rng, dtype)
    return Case("Pow", [x % 7, (y % 5).astype(dtype)])


def shift(rng, opset):
    dtype = pick(rng, (U8, U16, U32, U64))
    x, y = pair(rng, dtype)
    y = y % np.array(dtype.itemsize * 8, dtype)
    return Case("BitShift", [x, y.astype(dtype)], {"direction": pick(rng, ("LEFT", "RIGHT"))})


def where(rng, opset):
    dtype = pick(rng, ANY)
    dims = shape(rng)
    return Case("Where", [values(rng, partner(rng, dims), BOOL), values(rng, dims, dtype),
                          values(rng, partner(rng, dims), dtype)])


def clip(rng, opset):
    dtype = pick(rng, (F32, F64, F16, I32, I64, I8, U8))
    x = values(rng, shape(rng), dtype)
    low, high = (values(rng, (), dtype, 0.05) if rng.random() < 0.8 else None for _ in range(2))
    return maybe_fixed(rng, Case("Clip", [x, low, high]), 1, 2)


def prelu(rng, opset):
    dtype, dims = pick(rng, (F32, F64, F16)), shape(rng, 1)
    return Case("PRelu", [values(rng, dims, dtype), values(rng, partner(rng, dims), dtype)])


def cast(rng, opset):
    source, to = pick(rng, ANY), pick(rng, ANY)
    x = values(rng, shape(rng), source)
    if source.kind == "f" and to.kind in "iu":
        x = rng.uniform(0 if to.kind == "u" else -100, 100, x.shape).astype(source)
    from onnx import helper
    return Case("Cast", [x], {"to": helper.np_dtype_to_tensor_dtype(to)})


def is_inf(rng, opset):
    flags = {f"detect_{sign}": int(rng.integers(2)) for sign in ("negative", "positive")}
    return Case("IsInf", [values(rng, shape(rng), pick(rng, (F32, F64)), 0.5)], flags)


# Reductions

def reduction(op, dtypes, make=values, axes_input=18):
    def build(rng, opset):
        dims = shape(rng, 0)
        x = make(rng, dims, pick(rng, dtypes))
        attributes = {"keepdims": int(rng.integers(2))}
        axes = some_axes(rng, len(dims)) if rng.random() < 0.8 else None
        if opset < axes_input:
            if axes:
                attributes["axes"] = axes
            return Case(op, [x], attributes)
        if rng.random() < 0.3:
            attributes["noop_with_empty_axes"] = 1
        return maybe_fixed(rng, Case(op, [x, None if axes is None else ints(axes)], attributes), 1)
    return op, build


def arg(op):
    def build(rng, opset):
        x = values(rng, full(rng, int(rng.integers(1, 5))), pick(rng, (F32, F64, I32, I8, U8)), 0.1)
        if x.dtype.kind == "f":
            x = np.nan_to_num(x)
        return Case(op, [x], {"axis": axis_of(rng, x.ndim), "keepdims": int(rng.integers(2)),
                              "select_last_index": int(rng.integers(2))})
    return op, build


def along(op, dtypes=FLOATS):
    def build(rng, opset):
        x = values(rng, shape(rng, 1), pick(rng, dtypes), 0.03)
        return Case(op, [x], {"axis": axis_of(rng, x.ndim)} if rng.random() < 0.8 else {})
    return op, build


def cum_sum(rng, opset):
    x = values(rng, shape(rng, 1), pick(rng, (F32, F64, I32, I64)), 0.03)
    case = Case("CumSum", [x, np.array(axis_of(rng, x.ndim), np.int64)],
                {"exclusive": int(rng.integers(2)), "reverse": int(rng.integers(2))})
    return maybe_fixed(rng, case, 1)


def topk(rng, opset):
    x = values(rng, full(rng, int(rng.integers(1, 4))), pick(rng, (F32, F64, I32, I64)), 0)
    axis = axis_of(rng, x.ndim)
    k = ints([rng.integers(0, x.shape[axis] + 1)])
    case = Case("TopK", [x, k], {"axis": axis, "largest": int(rng.integers(2))}, 2)
    return maybe_fixed(rng, case, 1)


# Shapes

def reshape(rng, opset):
    x = values(rng, shape(rng), pick(rng, ANY))
    parts = [1] * int(rng.integers(1, 4))
    rest = x.size
    for k in range(len(parts) - 1):
        divisors = [d for d in range(1, rest + 1) if rest % d == 0] or [0]
        parts[k] = pick(rng, divisors)
        rest = rest // parts[k] if parts[k] else 0
    parts[-1] = rest
    if rng.random() < 0.5 and 0 not in parts:
        parts[int(rng.integers(len(parts)))] = -1
    case = Case("Reshape", [x, ints(parts)], {"allowzero": 1} if 0 in parts and opset > 13 else {})
    return maybe_fixed(rng, case, 1)


def transpose(rng, opset):
    x = values(rng, shape(rng, 1), pick(rng, ANY))
    perm = [int(axis) for axis in rng.permutation(x.ndim)]
    return Case("Transpose", [x], {"perm": perm} if rng.random() < 0.8 else {})


def slice_(rng, opset):
    x = values(rng, shape(rng, 1), pick(rng, (F32, I32, I64, BOOL)))
    axes = some_axes(rng, x.ndim) or [0]
    many = len(axes)
    starts = [int(pick(rng, (0, 1, -1, 2, -3, 7, -9))) for _ in axes]
    ends = [int(pick(rng, (0, 1, -1, 3, 9, -9, 2 ** 63 - 1, -2 ** 63))) for _ in axes]
    steps = [int(pick(rng, (1, 1, 2, -1, -2, 3))) for _ in axes]
    case = Case("Slice", [x, ints(starts), ints(ends), ints(axes),
                          ints(steps) if rng.random() < 0.7 else None])
    return maybe_fixed(rng, case, *range(1, 5)) if many else case


def concat(rng, opset):
    dims, dtype = list(shape(rng, 1)), pick(rng, ANY)
    axis = axis_of(rng, len(dims))
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        dims[axis] = extent(rng)
        parts.append(values(rng, tuple(dims), dtype))
    return Case("Concat", parts, {"axis": axis})


def split(rng, opset):
    dims = list(shape(rng, 1))
    axis, count = axis_of(rng, len(dims)), int(rng.integers(1, 4))
    lengths = [extent(rng) for _ in range(count)]
    dims[axis] = sum(lengths)
    x = values(rng, tuple(dims), pick(rng, (F32, I32, I64)))
    if opset >= 18 and rng.random() < 0.4 and dims[axis] >= count:
        return Case("Split", [x], {"axis": axis, "num_outputs": count}, count)
    return maybe_fixed(rng, Case("Split", [x, ints(lengths)], {"axis": axis}, count), 1)


def indices(rng, extent_, dims):
    return rng.integers(-extent_, extent_, dims).astype(pick(rng, (np.int64, np.int32)))


def gather(rng, opset):
    x = values(rng, full(rng, int(rng.integers(1, 4))), pick(rng, ANY))
    axis = axis_of(rng, x.ndim)
    at = indices(rng, x.shape[axis], shape(rng, 0, 2))
    return maybe_fixed(rng, Case("Gather", [x, at], {"axis": axis}), 1)


def gather_elements(rng, opset):
    x = values(rng, full(rng, int(rng.integers(1, 4))), pick(rng, ANY))
    axis = axis_of(rng, x.ndim)
    dims = [int(rng.integers(1, n + 1)) for n in x.shape]
    dims[axis] = extent(rng)
    return Case("GatherElements", [x, indices(rng, x.shape[axis], dims)], {"axis": axis})


def gather_nd(rng, opset):
    x = values(rng, full(rng, int(rng.integers(1, 4))), pick(rng, (F32, I32, I64)))
    depth = int(rng.integers(1, x.ndim + 1))
    count = shape(rng, 1, 2)
    at = np.stack([rng.integers(-n, n, count) for n in x.shape[:depth]], -1)
    return Case("GatherND", [x, at.astype(np.int64)])


def scatter_elements(rng, opset):
    x = tame(rng, full(rng, int(rng.integers(1, 4))), pick(rng, (F32, F64, I32, I64)))
    axis = axis_of(rng, x.ndim)
    dims = [int(rng.integers(1, n + 1)) for n in x.shape]
    options = ["none"] + (["add", "mul"] if opset >= 16 else []) + \
        (["min", "max"] if opset >= 18 else [])
    reduction_ = pick(rng, options)
    if reduction_ == "none":        # the order of writes to one place is open
        dims[axis] = 1
    at = rng.integers(-x.shape[axis], x.shape[axis], dims)
    attributes = {"axis": axis} | ({"reduction": reduction_} if opset >= 16 else {})
    return Case("ScatterElements", [x, at, tame(rng, tuple(dims), x.dtype)], attributes)


def scatter_nd(rng, opset):
    x = tame(rng, full(rng, int(rng.integers(1, 4))), pick(rng, (F32, F64, I32, I64)))
    depth = int(rng.integers(1, x.ndim + 1))
    count = int(rng.integers(0, 4))
    at = np.stack([rng.integers(0, n, count) for n in x.shape[:depth]], -1).astype(np.int64)
    attributes = {}
    if opset >= 16 and rng.random() < 0.6:
        attributes["reduction"] = pick(rng, ("add", "mul") + (("min", "max") if opset > 16 else ()))
    elif count > 1:
        at = np.unique(at, axis=0)
    updates = tame(rng, (len(at), *x.shape[depth:]), x.dtype)
    return Case("ScatterND", [x, at, updates], attributes)


def squeeze(rng, opset):
    dims = list(shape(rng, 1))
    axes = some_axes(rng, len(dims))
    for axis in axes:
        dims[axis] = 1
    x = values(rng, tuple(dims), pick(rng, ANY))
    case = Case("Squeeze", [x, ints(axes) if axes else None])
    return maybe_fixed(rng, case, 1)


def unsqueeze(rng, opset):
    x = values(rng, shape(rng, 0, 3), pick(rng, ANY))
    count = int(rng.integers(1, 3))
    rank = x.ndim + count
    axes = [int(a - rank if rng.random() < 0.4 else a) for a in rng.permutation(rank)[:count]]
    return maybe_fixed(rng, Case("Unsqueeze", [x, ints(axes)]), 1)


def expand(rng, opset):
    dims = shape(rng, 1)
    x = values(rng, partner(rng, dims), pick(rng, ANY))
    to = [1 if rng.random() < 0.2 and x.ndim else n for n in dims]
    return maybe_fixed(rng, Case("Expand", [x, ints(to)]), 1)


def tile(rng, opset):
    x = values(rng, shape(rng, 1, 3), pick(rng, ANY))
    case = Case("Tile", [x, ints([extent(rng, 2) % 4 for _ in x.shape])])
    return maybe_fixed(rng, case, 1)


def pad(rng, opset):
    x = values(rng, full(rng, int(rng.integers(1, 4)), 2, 5), pick(rng, (F32, F64, I32, I64)))
    mode = pick(rng, ("constant", "constant", "reflect", "edge") + (("wrap",) * (opset >= 19)))
    amounts = [int(rng.integers(0 if mode != "constant" else -1, 2)) for _ in range(2 * x.ndim)]
    value = values(rng, (), x.dtype) if mode == "constant" and rng.random() < 0.6 else None
    return maybe_fixed(rng, Case("Pad", [x, ints(amounts), value], {"mode": mode}), 1)


def flatten(rng, opset):
    x = values(rng, shape(rng, 0), pick(rng, ANY))
    return Case("Flatten", [x], {"axis": int(rng.integers(-x.ndim, x.ndim + 1))})


def shape_op(rng, opset):
    x = values(rng, shape(rng), pick(rng, ANY))
    ends = {n: int(rng.integers(-5, 6)) for n in ("start", "end") if rng.random() < 0.5}
    return Case("Shape", [x], ends if opset >= 15 else {})


def blocks(op):
    def build(rng, opset):
        block = int(rng.integers(1, 4))
        n, c, h, w = full(rng, 4, 1, 3)
        dims = (n, c * block * block, h, w) if op == "DepthToSpace" else \
            (n, c, h * block, w * block)
        attributes = {"blocksize": block}
        if op == "DepthToSpace" and rng.random() < 0.7:
            attributes["mode"] = pick(rng, ("DCR", "CRD"))
        return Case(op, [values(rng, dims, pick(rng, (F32, F64)))], attributes)
    return op, build


def trilu(rng, opset):
    x = values(rng, shape(rng, 2), pick(rng, (F32, F64, I32, I64, BOOL)))
    k = np.array(rng.integers(-6, 7), np.int64) if rng.random() < 0.8 else None
    return Case("Trilu", [x, k], {"upper": int(rng.integers(2))}) if opset >= 14 else None


def eye_like(rng, opset):
    x = values(rng, tuple(extent(rng) for _ in range(2)), pick(rng, (F32, F64, I32, I64)))
    return Case("EyeLike", [x], {"k": int(rng.integers(-4, 5))})


def one_hot(rng, opset):
    depth, dtype = int(rng.integers(1, 5)), pick(rng, (F32, I64))
    at = rng.integers(-depth - 1, depth + 2, shape(rng, 0, 3)).astype(np.int64)
    pair_ = np.array([0, 1] if rng.random() < 0.5 else [-2, 7], dtype)
    case = Case("OneHot", [at, np.array(depth, np.int64), pair_],
                {"axis": int(rng.integers(-at.ndim - 1, at.ndim + 1))})
    return maybe_fixed(rng, case, 1, 2)


def non_zero(rng, opset):
    x = values(rng, shape(rng, 1), pick(rng, (F32, I32, I64, BOOL, U8)), 0.3)
    return Case("NonZero", [x])


def compress(rng, opset):
    x = values(rng, full(rng, int(rng.integers(1, 4))), pick(rng, ANY))
    axis = axis_of(rng, x.ndim) if rng.random() < 0.7 else None
    most = x.size if axis is None else x.shape[axis]
    cond = values(rng, (int(rng.integers(0, most + 1)),), BOOL)
    return Case("Compress", [x, cond], {} if axis is None else {"axis": axis})


def unique(rng, opset):
    x = tame(rng, full(rng, int(rng.integers(1, 4)), 1, 4), pick(rng, (F32, I64, I8, F64)))
    x = np.trunc(x) if x.dtype.kind == "f" else x
    attributes = {"sorted": int(rng.integers(2))}
    if rng.random() < 0.5:
        attributes["axis"] = axis_of(rng, x.ndim)
    return Case("Unique", [x], attributes, 4)


def reverse_sequence(rng, opset):
    x = values(rng, full(rng, int(rng.integers(2, 4))), pick(rng, ANY))
    batch = int(rng.integers(2))
    lengths = rng.integers(1, x.shape[1 - batch] + 1, x.shape[batch]).astype(np.int64)
    return Case("ReverseSequence", [x, lengths], {"batch_axis": batch, "time_axis": 1 - batch})


def range_(rng, opset):
    dtype = pick(rng, (F32, F64, I32, I64, I16))
    start, limit = tame(rng, (), dtype), tame(rng, (), dtype)
    step = np.array(pick(rng, (1, 2, 3, -1, -2)), dtype)
    return maybe_fixed(rng, Case("Range", [np.asarray(start), np.asarray(limit), step]), 0, 1, 2)


def constant_of_shape(rng, opset):
    from onnx import numpy_helper
    value = values(rng, (1,), pick(rng, ANY))
    attributes = {"value": numpy_helper.from_array(value)} if rng.random() < 0.8 else {}
    return maybe_fixed(rng, Case("ConstantOfShape", [ints(shape(rng))], attributes), 0)


def made(op, build):
    return op, build


BITS = (I32, I64, U8, U16, I8)
OPERATORS = [
    *(unary(op) for op in ("Exp", "Log", "Sqrt", "Reciprocal", "Sigmoid", "Tanh", "Erf", "Relu",
                           "Ceil", "Floor", "Round", "Softplus", "Softsign", "Neg", "Abs", "Sign")),
    *(unary(op, (F32,)) for op in ("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh",
                                   "Asinh", "Acosh", "Atanh")),
    unary("HardSwish", (F32,), 14),
    unary("Abs", (I32, I64, I8)), unary("Neg", (I32, I64, I8)), unary("Sign", (I32, I64, U8)),
    unary("Not", (BOOL,)), unary("BitwiseNot", BITS, 18), unary("IsNaN", (F32, F64, F16)),
    unary("Size", ANY), unary("Identity", ANY), unary("Mish", (F32,), 18),
    unary("LeakyRelu", (F32, F64, F16), alpha=uniform(-1, 1)),
    unary("Elu", (F32,), alpha=uniform(0.1, 2)),
    unary("Selu", (F32,), alpha=uniform(0.5, 2), gamma=uniform(0.5, 2)),
    unary("Celu", (F32,), alpha=uniform(0.5, 2)),
    unary("ThresholdedRelu", (F32,), alpha=uniform(-1, 2)),
    unary("HardSigmoid", (F32,), alpha=uniform(0.1, 1), beta=uniform(0, 1)),
    unary("Shrink", (F32, F64), lambd=uniform(0, 1), bias=uniform(0, 1)),
    unary("Gelu", (F32,), 20, approximate=lambda rng: pick(rng, ("none", "tanh"))),
    *(binary(op) for op in ("Add", "Sub", "Mul")),
    *(binary(op, (F32, F64, F16, I32, I64)) for op in ("Greater", "Less", "GreaterOrEqual",
                                                       "LessOrEqual")),
    binary("Equal", (F32, F64, F16, I32, I64, BOOL)),
    *(binary(op, (BOOL,)) for op in ("And", "Or", "Xor")),
    *(binary(op, BITS, 18) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    variadic("Max", (F32, F64, F16, I32, I64, I8, U8)),
    variadic("Min", (F32, F64, F16, I32, I64, I8, U8)),
    variadic("Sum", (F32, F64, F16)), variadic("Mean", (F32, F64, F16)),
    made("Div", division), made("Mod", modulo), made("Pow", power), made("BitShift", shift),
    made("Where", where), made("Clip", clip), made("PRelu", prelu), made("Cast", cast),
    made("IsInf", is_inf),
    reduction("ReduceSum", (F32, F64, I32, I64), axes_input=13),
    *(reduction(op, (F32, F64, I32, I64)) for op in ("ReduceMax", "ReduceMin")),
    *(reduction(op, (F32, F64, I32, I64), tame) for op in ("ReduceProd", "ReduceSumSquare",
                                                           "ReduceL1")),
    *(reduction(op, (F32, F64), tame) for op in ("ReduceMean", "ReduceL2")),
    *(reduction(op, (F32, F64)) for op in ("ReduceLogSum", "ReduceLogSumExp")),
    arg("ArgMax"), arg("ArgMin"), along("Softmax"), along("LogSoftmax"),
    along("Hardmax", (F32, F64)), made("CumSum", cum_sum), made("TopK", topk),
    made("Reshape", reshape), made("Transpose", transpose), made("Slice", slice_),
    made("Concat", concat), made("Split", split), made("Gather", gather),
    made("GatherElements", gather_elements), made("GatherND", gather_nd),
    made("ScatterElements", scatter_elements), made("ScatterND", scatter_nd),
    made("Squeeze", squeeze), made("Unsqueeze", unsqueeze), made("Expand", expand),
    made("Tile", tile), made("Pad", pad), made("Flatten", flatten), made("Shape", shape_op),
    blocks("DepthToSpace"), blocks("SpaceToDepth"), made("Trilu", trilu),
    made("EyeLike", eye_like), made("OneHot", one_hot), made("NonZero", non_zero),
    made("Compress", compress), made("Unique", unique),
    made("ReverseSequence", reverse_sequence), made("Range", range_),
    made("ConstantOfShape", constant_of_shape),
    *networks.OPERATORS,
]
