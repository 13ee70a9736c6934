"""Inputs for the example runs of every model, from a recipe: the same numbers in any language.

A recipe is {"dtype", "shape", "gen": [kind, arguments..]}. Element k in row-major order has the
random word z_k, the k-th output of splitmix64 seeded with FNV-1a (64 bits) of
"MODEL/EXAMPLE/INPUT"; MODEL is the record's `input_seed`, else its name. Kinds:

  uniform lo hi              lo + (hi - lo) * (z_k >> 40) / 2^24, in f64, then cast
  int lo hi                  lo + z_k mod (hi - lo)
  const v                    v
  values [v..]               as listed
  strokes bg fg b row band   marks like text: fg where i mod row < band and the top bit of z is
                             set, else bg; one z per b x b block of the last two axes, the same
                             along the other axes
"""
import numpy as np

DTYPES = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "i64": np.int64,
          "i32": np.int32, "u8": np.uint8, "i8": np.int8, "bool": np.bool_}
GOLDEN, MIX_1, MIX_2 = (np.uint64(c) for c in
                        (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def random_words(text, count, start=0):
    """Words start .. start+count of the stream seeded by `text`, as uint64."""
    with np.errstate(over="ignore"):
        z = np.arange(start + 1, start + count + 1, dtype=np.uint64) * GOLDEN
        z += np.uint64(fnv1a(text))
        z = (z ^ (z >> np.uint64(30))) * MIX_1
        z = (z ^ (z >> np.uint64(27))) * MIX_2
        return z ^ (z >> np.uint64(31))


def strokes(key, shape, background, mark, block, row, band):
    height, width = shape[-2:]
    across = -(-width // block)
    i, j = np.ogrid[:height, :width]
    words = random_words(key, -(-height // block) * across)
    marked = (words[i // block * across + j // block] >> np.uint64(63)) == 1
    return np.broadcast_to(np.where(marked & (i % row < band), mark, background), shape)


def make(key, recipe):
    shape, (kind, *args) = recipe["shape"], recipe["gen"]
    count = int(np.prod(shape, dtype=np.int64))
    if kind == "uniform":
        low, high = args
        unit = (random_words(key, count) >> np.uint64(40)).astype(np.float64) / 2.0**24
        data = low + (high - low) * unit
    elif kind == "int":
        low, high = args
        data = low + (random_words(key, count) % np.uint64(high - low)).astype(np.int64)
    elif kind == "const":
        data = np.full(count, args[0])
    elif kind == "values":
        data = np.array(args[0])
    elif kind == "strokes":
        data = strokes(key, shape, *args)
    else:
        raise ValueError(f"unknown generator {kind!r}")
    return data.astype(DTYPES[recipe["dtype"]]).reshape(shape)


def example(model, index, recipes):
    """{input name: array} of example `index` of the model whose seed is `model`."""
    return {name: make(f"{model}/{index}/{name}", recipe) for name, recipe in recipes.items()}
