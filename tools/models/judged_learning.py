"""Makers of cases of `ai.onnx.ml`, and of operators of networks that few models have."""
import numpy as np

from judged_networks import window
from judged_values import (BOOL, F32, F64, I8, I32, I64, U8, Case, axis_of, extent, full, ints,
                           maybe_fixed, pick, shape, tame, values)

PREFIX = "ai.onnx.ml."


def case(op, inputs, attributes=None, outputs=1):
    return Case(op, inputs, attributes or {}, outputs, domain="ai.onnx.ml")


def numbers(rng, many):
    return [float(x) for x in rng.normal(0, 2, many).astype(F32)]


# ai.onnx.ml

def rows(rng, dtypes=(F32, F64, I32, I64), least=1):
    return tame(rng, (extent(rng) + 1, int(rng.integers(least, 5))), pick(rng, dtypes))


def binarizer(rng, opset):
    x = values(rng, shape(rng, 1, 3), F32)
    return case("Binarizer", [x], {"threshold": float(np.float32(rng.normal()))})


def scaler(rng, opset):
    x = rows(rng)
    many = x.shape[1] if rng.random() < 0.7 else 1
    return case("Scaler", [x], {"offset": numbers(rng, many), "scale": numbers(rng, many)})


def normalizer(rng, opset):
    return case("Normalizer", [rows(rng)], {"norm": pick(rng, ("MAX", "L1", "L2"))})


def imputer(rng, opset):
    x = rows(rng, (F32, I64))
    many = x.shape[1] if rng.random() < 0.6 else 1
    gone = rng.random(x.shape) < 0.4
    if x.dtype == I64:
        wanted = int(rng.integers(-3, 4))
        attributes = {"imputed_value_int64s": [int(n) for n in rng.integers(-9, 9, many)],
                      "replaced_value_int64": wanted}
        return case("Imputer", [np.where(gone, wanted, x)], attributes)
    wanted = float(pick(rng, (np.nan, 0.5, -2.0)))
    attributes = {"imputed_value_floats": numbers(rng, many), "replaced_value_float": wanted}
    return case("Imputer", [np.where(gone, np.float32(wanted), x)], attributes)


def linear_regressor(rng, opset):
    x, targets = rows(rng, (F32,)), int(rng.integers(1, 4))
    attributes = {"coefficients": numbers(rng, targets * x.shape[1]), "targets": targets}
    if rng.random() < 0.7:
        attributes["intercepts"] = numbers(rng, targets)
    if rng.random() < 0.4 and targets > 1:
        attributes["post_transform"] = pick(rng, ("NONE", "SOFTMAX", "LOGISTIC"))
    return case("LinearRegressor", [x], attributes)


def feature_extractor(rng, opset):
    x = values(rng, full(rng, int(rng.integers(1, 4))), pick(rng, (F32, F64, I32, I64)))
    at = rng.integers(0, x.shape[-1], (1, int(rng.integers(1, 5)))).astype(np.int64)
    return case("ArrayFeatureExtractor", [x, at])


def label_encoder(rng, opset):
    sources = {"strings": ["a", "bc", "", "d"], "int64s": [3, -7, 0, 2 ** 40],
               "floats": [0.5, -1.0, 7.25, float("nan")]}
    from_, to = pick(rng, tuple(sources)), pick(rng, tuple(sources))
    if from_ == to == "floats":
        to = "strings"
    keys, many = sources[from_], int(rng.integers(1, 5))
    dtype = {"strings": object, "int64s": np.int64, "floats": np.float32}[from_]
    other = {"strings": "else", "int64s": 99, "floats": -8.5}
    x = rng.choice(np.array(keys + [other[from_]], dtype), shape(rng, 1, 2))
    attributes = {f"keys_{from_}": keys[:many],
                  f"values_{to}": [sources[to][k] for k in rng.permutation(4)[:many]]}
    if rng.random() < 0.7:
        attributes[{"strings": "default_string", "int64s": "default_int64",
                    "floats": "default_float"}[to]] = other[to]
    return case("LabelEncoder", [np.asarray(x, dtype)], attributes)


# Networks

def global_pool(op):
    def build(rng, opset):
        x = tame(rng, full(rng, int(rng.integers(3, 6)), 1, 4), pick(rng, (F32, F32, F64)))
        return Case(op, [x], {"p": int(rng.integers(1, 4))})
    return op, build


def group_norm(rng, opset):
    groups, per, n, h, w = full(rng, 5, 1, 4)
    c = groups * per
    x = tame(rng, (n, c, h, w) if rng.random() < 0.6 else (n, c, h), F32)
    attributes = {"num_groups": groups} | ({"epsilon": 0.1} if rng.random() < 0.5 else {})
    return Case("GroupNormalization", [x, tame(rng, (c,), F32), tame(rng, (c,), F32)], attributes,
                opset=21)


def integer_matrices(op):
    def build(rng, opset):
        n, per, out, group = full(rng, 4, 1, 3)
        extents = [int(k) for k in rng.integers(1, 6, 2)]
        kernel, attributes = window(rng, 2, extents)
        dtype = pick(rng, (U8, I8))
        a = values(rng, (n, per * group, *extents), U8, 0.1)
        b = values(rng, (out * group, per, *kernel), dtype, 0.1)
        a_zero, b_zero = values(rng, (), U8, 0.1), np.zeros((), dtype)
        attributes["group"] = group
        if op == "ConvInteger":
            return Case(op, [a, b, a_zero, b_zero], attributes)
        step = lambda: (rng.integers(1, 60, ()) / np.float32(64)).astype(F32)  # noqa: E731
        inputs = [a, step(), a_zero, b, step(), b_zero, step() * 8, values(rng, (), U8, 0.1)]
        if rng.random() < 0.5:
            inputs.append(tame(rng, (out * group,), I32))
        return Case(op, inputs, attributes)
    return op, build


def quantized_matmul(rng, opset):
    m, k, n = full(rng, 3)
    batch = shape(rng, 0, 1)
    dtype = pick(rng, (U8, I8))
    step = lambda: (rng.integers(1, 60, ()) / np.float32(64)).astype(F32)  # noqa: E731
    inputs = [values(rng, (*batch, m, k), U8, 0.1), step(), values(rng, (), U8, 0.1),
              values(rng, (*batch, k, n), dtype, 0.1), step(), values(rng, (), dtype, 0.1),
              step() * 8, values(rng, (), U8, 0.1)]
    return Case("QLinearMatMul", inputs)


def halfway(rng, opset):
    """Elements of which many are halfway between two steps."""
    x = rng.integers(-32, 33, shape(rng, 1, 3)) / 16
    return Case("DynamicQuantizeLinear", [x.astype(F32)], {}, 3) if x.size else None


def cast_like(rng, opset):
    source, to = (pick(rng, (F32, F64, I32, I64, U8, BOOL)) for _ in range(2))
    return Case("CastLike", [tame(rng, shape(rng), source) if source != BOOL else
                             values(rng, shape(rng), BOOL), np.zeros(2, to)], opset=21)


def center_crop_pad(rng, opset):
    x = values(rng, full(rng, int(rng.integers(1, 4))), pick(rng, (F32, I32, I64)))
    axes = [int(a) for a in rng.permutation(x.ndim)[:int(rng.integers(1, x.ndim + 1))]]
    to = ints([int(rng.integers(1, 7)) for _ in axes])
    axes = [a - x.ndim if rng.random() < 0.4 else a for a in axes]
    return maybe_fixed(rng, Case("CenterCropPad", [x, to], {"axes": axes}, opset=18), 1)


def affine_grid(rng, opset):
    rank = int(rng.integers(2, 4))
    n = int(rng.integers(1, 3))
    size = ints([n, int(rng.integers(1, 3)), *rng.integers(2, 5, rank)])
    theta = tame(rng, (n, rank, rank + 1), F32)
    case_ = Case("AffineGrid", [theta, size], {"align_corners": int(rng.integers(2))}, opset=21)
    return maybe_fixed(rng, case_, 1)


def roi_align(rng, opset):
    n, c, h, w, many = full(rng, 5, 1, 4)
    x = tame(rng, (n, c, h + 4, w + 4), F32)
    corner = rng.uniform(0, 3, (many, 2))
    rois = np.concatenate([corner, corner + rng.uniform(0.5, 4, (many, 2))], 1).astype(F32)
    attributes = {"mode": pick(rng, ("avg", "max")), "output_height": int(rng.integers(1, 4)),
                  "output_width": int(rng.integers(1, 4)),
                  "sampling_ratio": int(rng.integers(0, 3)),
                  "spatial_scale": float(pick(rng, (1.0, 0.5)))}
    if opset >= 16:
        attributes["coordinate_transformation_mode"] = pick(rng, ("half_pixel",
                                                                  "output_half_pixel"))
    return Case("RoiAlign", [x, rois, rng.integers(0, n, many).astype(np.int64)], attributes)


def max_unpool(rng, opset):
    n, c, h, w = full(rng, 4, 1, 3)
    x = tame(rng, (n, c, h, w), F32)
    at = np.stack([rng.permutation(4 * h * w)[:h * w] for _ in range(n * c)])
    at = at + (np.arange(n * c) * 4 * h * w)[:, None]
    return Case("MaxUnpool", [x, at.reshape(x.shape).astype(np.int64)],
                {"kernel_shape": [2, 2], "strides": [2, 2]})


def loss(op):
    def build(rng, opset):
        n, c, d = full(rng, 3, 1, 4)
        more = (d,) if rng.random() < 0.5 else ()
        x = tame(rng, (n, c, *more), F32)
        at = rng.integers(0, c, (n, *more)).astype(np.int64)
        weight = np.abs(tame(rng, (c,), F32)) + 1 if rng.random() < 0.5 else None
        attributes = {"reduction": pick(rng, ("none", "sum", "mean"))}
        if rng.random() < 0.4:
            attributes["ignore_index"] = int(rng.integers(0, c + 1))
        return Case(op, [x, at, weight], attributes)
    return op, build


def windows(op):
    def build(rng, opset):
        case_ = Case(op, [np.array(rng.integers(1, 20), pick(rng, (np.int32, np.int64)))],
                     {"periodic": int(rng.integers(2))}, opset=pick(rng, (18, 21)))
        return maybe_fixed(rng, case_, 0)
    return op, build


def dft(rng, opset):
    n, length = full(rng, 2, 1, 9)
    inverse, onesided = int(rng.integers(2)), 0
    parts = 2 if inverse else int(rng.integers(1, 3))
    if parts == 1:
        onesided = int(rng.integers(2))
    x = tame(rng, (n, length, parts), pick(rng, (F32, F64)))
    attributes = {"inverse": inverse, "onesided": onesided}
    if opset >= 20:
        made = Case("DFT", [x, None, np.array(pick(rng, (1, -2)), np.int64)], attributes, opset=21)
        made.fixed[2] = True
        return made
    return Case("DFT", [x], attributes | {"axis": 1}, opset=18)


def rms_norm(rng, opset):
    dims = full(rng, int(rng.integers(1, 4)))
    axis = axis_of(rng, len(dims))
    attributes = {"axis": axis} | ({"epsilon": 0.1} if rng.random() < 0.5 else {})
    return Case("RMSNormalization", [tame(rng, dims, F32), tame(rng, dims[axis:], F32)],
                attributes, opset=23)


def rotary(rng, opset):
    n, length, heads, quarter = full(rng, 4, 1, 3)
    size = 4 * quarter
    rotated = size if rng.random() < 0.6 else 2 * quarter
    four = rng.random() < 0.5
    dims = (n, heads, length, size) if four else (n, length, heads * size)
    attributes = {"interleaved": int(rng.integers(2))}
    if not four:
        attributes["num_heads"] = heads
    if rotated != size:
        attributes["rotary_embedding_dim"] = rotated
    angles = rng.uniform(-3, 3, (8, rotated // 2))
    places = rng.integers(0, 8, (n, length)).astype(np.int64)
    return Case("RotaryEmbedding", [tame(rng, dims, F32), np.cos(angles).astype(F32),
                                    np.sin(angles).astype(F32), places], attributes, opset=23)


def attention(rng, opset):
    n, queries, keys, groups, size = full(rng, 5, 1, 4)
    per, v_size = full(rng, 2, 1, 3)
    q_heads = groups * per
    three = rng.random() < 0.4
    arrange = (lambda h, l, s: (n, l, h * s)) if three else (lambda h, l, s: (n, h, l, s))
    q, k, v = (tame(rng, arrange(*dims), F32) for dims in
               ((q_heads, queries, size), (groups, keys, size), (groups, keys, v_size)))
    attributes = {"q_num_heads": q_heads, "kv_num_heads": groups} if three else {}
    if rng.random() < 0.4:
        attributes["scale"] = float(np.float32(rng.uniform(0.1, 1)))
    if rng.random() < 0.3:
        attributes["softcap"] = 2.0
    if rng.random() < 0.3:
        attributes["is_causal"] = 1
    mask = tame(rng, (queries, keys), F32) if rng.random() < 0.5 else None
    return Case("Attention", [q, k, v, mask], attributes, opset=23)


def tfidf(rng, opset):
    pool, counts = [2, 3, 5, 4, 5, 6, 7, 8, 6, 7], [0, 4]
    x = rng.integers(1, 9, shape(rng, 1, 1) if rng.random() < 0.5 else full(rng, 2)).astype(I32)
    attributes = {"mode": pick(rng, ("TF", "IDF", "TFIDF")), "min_gram_length": 1,
                  "max_gram_length": 2, "max_skip_count": int(rng.integers(0, 3)),
                  "ngram_counts": counts, "ngram_indexes": list(range(7)), "pool_int64s": pool}
    if rng.random() < 0.7 or attributes["mode"] != "TF":
        attributes["weights"] = numbers(rng, 7)
    return Case("TfIdfVectorizer", [x], attributes)


WORDS = ("a", "Bc", "", "Straße", "monday", "MONDAY", "x,y", "1.5", "ab@cd.com")


def words(rng, dims):
    return np.array([pick(rng, WORDS) for _ in range(int(np.prod(dims)))], object).reshape(dims)


def normalize_words(rng, opset):
    dims = (int(rng.integers(1, 5)),) if rng.random() < 0.6 else (1, int(rng.integers(1, 5)))
    attributes = {"case_change_action": pick(rng, ("NONE", "LOWER", "UPPER")),
                  "is_case_sensitive": int(rng.integers(2))}
    if rng.random() < 0.6:
        attributes["stopwords"] = ["monday", "a"]
    return Case("StringNormalizer", [words(rng, dims)], attributes)


def activated(op, names, gates):
    """A recurrence with activations that take numbers."""
    def build(rng, opset):
        steps, batch, width, hidden = full(rng, 4, 1, 4)
        direction = pick(rng, ("forward", "reverse", "bidirectional"))
        many = 2 if direction == "bidirectional" else 1
        acts = [pick(rng, ("LeakyRelu", "HardSigmoid", "ThresholdedRelu", "Elu", "ScaledTanh",
                           "Affine")) for _ in range(names * many)]
        takes_beta = ("HardSigmoid", "ScaledTanh", "Affine")
        attributes = {"hidden_size": hidden, "direction": direction, "activations": acts,
                      "activation_alpha": [float(x) for x in
                                           rng.uniform(0.1, 0.9, len(acts)).astype(F32)],
                      "activation_beta": [float(x) for x in rng.uniform(
                          0.1, 0.9, sum(a in takes_beta for a in acts)).astype(F32)]}
        if not attributes["activation_beta"]:
            del attributes["activation_beta"]
        inputs = [tame(rng, (steps, batch, width), F32),
                  tame(rng, (many, gates * hidden, width), F32) / 4,
                  tame(rng, (many, gates * hidden, hidden), F32) / 4]
        return Case(op, inputs, attributes, 2)
    return op, build


OPERATORS = [
    *((PREFIX + op, make) for op, make in (
        ("Binarizer", binarizer), ("Scaler", scaler), ("Normalizer", normalizer),
        ("Imputer", imputer), ("LinearRegressor", linear_regressor),
        ("ArrayFeatureExtractor", feature_extractor), ("LabelEncoder", label_encoder))),
    global_pool("GlobalLpPool"), ("GroupNormalization", group_norm),
    integer_matrices("ConvInteger"), integer_matrices("QLinearConv"),
    ("QLinearMatMul", quantized_matmul), ("DynamicQuantizeLinear", halfway),
    ("CastLike", cast_like),
    ("CenterCropPad", center_crop_pad), ("AffineGrid", affine_grid), ("RoiAlign", roi_align),
    ("MaxUnpool", max_unpool), loss("NegativeLogLikelihoodLoss"),
    loss("SoftmaxCrossEntropyLoss"), windows("HannWindow"), windows("HammingWindow"),
    windows("BlackmanWindow"), ("DFT", dft), ("RMSNormalization", rms_norm),
    ("RotaryEmbedding", rotary), ("Attention", attention), ("TfIdfVectorizer", tfidf),
    ("StringNormalizer", normalize_words),
    activated("RNN", 1, 1), activated("GRU", 2, 3), activated("LSTM", 3, 4),
]
