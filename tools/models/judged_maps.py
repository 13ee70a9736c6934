"""Makers of cases of maps, which are dicts here, and of numbers that are text.

ONNX Runtime's Python feeds maps to f32 only. Of `ZipMap` and `CastMap` the reference knows nothing,
so that the other judge is a formula here; likewise of the maps that cannot be fed.
"""
import numpy as np

from judged_classes import labels
from judged_trees import PREFIX, case
from judged_values import F32, F64, I32, I64, Case, extent, pick, tame, values

WORDS = ("a", "b", "", "zeta", "Alpha", "é")
TEXTS = ("1.5", "-7", "0", "12", "0.1", "-2.25", "1e-5", "300", "16777217")
SPECIAL = ("INF", "-INF", "NaN")


def keys(rng, kind, many):
    """Different ones, not in order."""
    if kind == "text":
        return [WORDS[k] for k in rng.permutation(len(WORDS))[:many]]
    return [int(k) for k in rng.permutation(12)[:many] - 3]


def zip_map(rng, opset):
    count = int(rng.integers(1, 6))
    dims = (count,) if rng.random() < 0.3 else (extent(rng), count)
    x = values(rng, dims, F32)
    attributes = labels(rng, count, "classlabels_int64s")
    made = case("ZipMap", [x], attributes)
    names = next(iter(attributes.values()))
    made.expected = [[{name: row[k] for k, name in enumerate(names)}
                      for row in x.reshape(-1, count)]]
    if len(dims) == 2 and dims[0]:
        made.symbols = {0: "N_"}
    return made


def cast_map(rng, opset):
    is_sparse, most = rng.random() < 0.5, int(rng.integers(4, 9))
    held = [int(k) for k in rng.permutation(most if is_sparse else 12)[:int(rng.integers(1, 5))]]
    to = pick(rng, ("TO_FLOAT", "TO_STRING", "TO_INT64"))
    if rng.random() < 0.3:
        x = {k: pick(rng, TEXTS) for k in held}
        numbers = {k: float(word) for k, word in x.items()}
        spelled = x
    else:
        # Engines differ in what is beyond 64 bits.
        x = numbers = {k: v for k, v in zip(held, tame(rng, (len(held),), F32))}
        spelled = {k: f"{v:.6f}" for k, v in x.items()}
    attributes = {"cast_to": to}
    if is_sparse:
        attributes |= {"map_form": "SPARSE", "max_map": most}
    made = case("CastMap", [x], attributes)
    if to == "TO_STRING":
        found, nothing, dtype = spelled, "0.f", object
    else:
        dtype = F32 if to == "TO_FLOAT" else I64
        found, nothing = {k: dtype.type(v) for k, v in numbers.items()}, dtype.type(0)
    places = range(most) if is_sparse else sorted(held)
    made.expected = [np.array([[found.get(k, nothing) for k in places]], dtype)]
    return made


def dict_vectorizer(rng, opset):
    key, dtype = pick(rng, (("text", F32), ("int", F32), ("text", I64), ("text", F64),
                            ("int", F64), ("int", object)))
    held, many = int(rng.integers(1, 5)), int(rng.integers(1, 7))
    if dtype == object:
        given = [pick(rng, WORDS) for _ in range(held)]
    else:
        given = list(values(rng, (held,), dtype))
    x = dict(zip(keys(rng, key, held), given))
    vocabulary = keys(rng, key, many)
    name = "string_vocabulary" if key == "text" else "int64_vocabulary"
    made = case("DictVectorizer", [x], {name: vocabulary})
    if dtype != F32:
        nothing = "" if dtype == object else dtype.type(0)
        made.expected = [np.array([[x.get(k, nothing) for k in vocabulary]], dtype)]
    return made


def parse(rng, opset):
    """Text to numbers."""
    dtype = pick(rng, (F32, F64, I32, I64))
    words = [word for word in TEXTS if dtype.kind == "f" or word.lstrip("-").isdigit()]
    words += SPECIAL if dtype.kind == "f" else ()
    dims = (extent(rng), 2)
    x = np.array([pick(rng, words) for _ in range(dims[0] * 2)], object).reshape(dims)
    return Case("Cast", [x], {"to": {F32: 1, F64: 11, I32: 6, I64: 7}[dtype]})


def spell(rng, opset):
    """Integers to text."""
    x = values(rng, (extent(rng), 2), pick(rng, (I32, I64)))
    return Case("Cast", [x], {"to": 8})


OPERATORS = [
    (PREFIX + "ZipMap", zip_map), (PREFIX + "CastMap", cast_map),
    (PREFIX + "DictVectorizer", dict_vectorizer), ("Cast", parse), ("Cast", spell),
]
