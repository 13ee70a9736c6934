"""Seeded weights: a model less its large initializers (a skeleton) becomes whole again.

The skeleton's metadata entry `fill` is JSON, {initializer: [key, mean, std, transposed]}. With z_k
the random words of `key` (examples.py), element k in row-major order is
  f32(mean + std * (g / 37837.2)),  g = the sum of z_k's four 16-bit quarters, less 131070,
near to a normal distribution and exact in integers. A transposed entry is made in the shape read
backwards, then transposed. 16-bit floats are rounded from the f32.
"""
import json

import numpy as np
import onnx
from onnx import numpy_helper

import examples

SPREAD = 37837.2            # standard deviation of the sum of four uniform 16-bit integers
CHUNK = 1 << 22             # elements made at a time: bounds the memory, changes no value


def values(key, count, mean, std):
    out = np.empty(count, np.float32)
    quarter = np.uint64(0xFFFF)
    for start in range(0, count, CHUNK):
        z = examples.random_words(key, min(CHUNK, count - start), start)
        total = sum((z >> np.uint64(shift)) & quarter for shift in (0, 16, 32, 48))
        out[start:start + len(z)] = mean + std * ((total.astype(np.int64) - 131070) / SPREAD)
    return out


def fill(model):
    """Gives the skeleton its weights, in place, and drops the recipe."""
    recipes = {}
    for entry in list(model.metadata_props):
        if entry.key == "fill":
            recipes = json.loads(entry.value)
            model.metadata_props.remove(entry)
    for tensor in model.graph.initializer:
        if tensor.name not in recipes:
            continue
        key, mean, std, transposed = recipes[tensor.name]
        shape, dtype = tuple(tensor.dims), onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        data = values(key, int(np.prod(shape)), mean, std)
        data = data.reshape(shape[::-1]).T if transposed else data.reshape(shape)
        data = np.ascontiguousarray(data).astype(dtype)
        tensor.CopyFrom(numpy_helper.from_array(data, tensor.name))
    return model
