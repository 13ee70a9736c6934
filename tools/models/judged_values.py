"""What the operands of generated cases may be: shapes, values and cases.

Shapes hold extents of 0 and 1, values hold NaN, infinities, signed zeros and the extremes of
integers; axes count from either end.
"""
from dataclasses import dataclass, field

import numpy as np

F32, F64, F16 = np.dtype("float32"), np.dtype("float64"), np.dtype("float16")
I8, I16, I32, I64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
U8, U16, U32, U64 = (np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
BOOL = np.dtype("bool")
FLOATS = (F32, F32, F32, F64, F16)
INTEGERS = (I32, I64, I8, U8, I16, U16, U32, U64)
NUMBERS = (F32, F32, F64, F16, I32, I64, I8, U8)
ANY = NUMBERS + (BOOL, I16, U16, U32, U64)

EDGES = (0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 0.5, -0.5, 1.5, 2.5, 1e-40, 3e38, -3e38,
         65504.0, 1e-8, 88.8, -104.0, 2.0 ** 24 + 1)


@dataclass
class Case:
    op: str
    inputs: list
    attributes: dict = field(default_factory=dict)
    outputs: int = 1
    fixed: list = field(default_factory=list)       # inputs that are initializers
    domain: str = ""
    skipped: tuple = ()                             # outputs that are not asked for
    opset: int | None = None                        # instead of the one that is drawn
    expected: list | None = None                    # outputs by a formula of the maker's
    symbols: dict = field(default_factory=dict)     # names of extents, a letter or _ for each axis

    def __post_init__(self):
        # A map is a dict.
        self.inputs = [x if x is None or isinstance(x, dict) else np.asarray(x)
                       for x in self.inputs]
        self.fixed = self.fixed or [False] * len(self.inputs)


def pick(rng, choices):
    return choices[int(rng.integers(len(choices)))]


def extent(rng, most=5):
    return int(pick(rng, (0, 1, 1, 2, 3, 3, 4, most)))


def shape(rng, least=0, most=4):
    return tuple(extent(rng) for _ in range(int(rng.integers(least, most + 1))))


def full(rng, rank, low=1, high=5):
    """Extents that are not 0."""
    return tuple(int(n) for n in rng.integers(low, high + 1, rank))


def values(rng, dims, dtype, edges=0.15, low=None, high=None):
    """Elements of a dtype; a share of them edge cases, integers within bounds if given."""
    if dtype == BOOL:
        return rng.integers(0, 2, dims).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low = info.min if low is None else low
        high = info.max if high is None else high
        near = rng.integers(max(low, -20), min(high, 20) + 1, dims).astype(dtype)
        ends = rng.choice(np.array([low, high, max(low, 0), max(low, min(1, high))], dtype), dims)
        return np.where(rng.random(dims) < edges, ends, near)
    x = rng.normal(0, 2, dims)
    if low is not None:
        x = rng.uniform(low, high, dims)
    with np.errstate(over="ignore"):
        x = np.where(rng.random(dims) < edges, rng.choice(EDGES, dims), x) if low is None else x
        return x.astype(dtype)


def tame(rng, dims, dtype):
    """Elements without edge cases; integers small."""
    if dtype.kind in "iu":
        return values(rng, dims, dtype, 0, 0 if dtype.kind == "u" else -9, 9)
    return values(rng, dims, dtype, 0)


def partner(rng, dims):
    """A shape that broadcasts with another one."""
    dims = list(dims[int(rng.integers(0, len(dims) + 1)):])
    for axis in range(len(dims)):
        if rng.random() < 0.3:
            dims[axis] = 1
    return tuple(dims)


def pair(rng, dtype, most=4, make=values):
    a = shape(rng, 0, most)
    b = partner(rng, a)
    x, y = make(rng, a, dtype), make(rng, b, dtype)
    return (y, x) if rng.random() < 0.5 else (x, y)


def axis_of(rng, rank):
    axis = int(rng.integers(rank))
    return axis - rank if rng.random() < 0.5 else axis


def some_axes(rng, rank):
    count = int(rng.integers(0, rank + 1))
    axes = rng.permutation(rank)[:count]
    return [int(axis - rank if rng.random() < 0.4 else axis) for axis in axes]


def ints(values_):
    return np.array(values_, np.int64)


def maybe_fixed(rng, case, *positions):
    """Operands that exporters write as initializers are so half of the time."""
    if rng.random() < 0.5:
        for position in positions:
            if position < len(case.inputs) and case.inputs[position] is not None:
                case.fixed[position] = True
    return case


def maybe_open(rng, case, symbols):
    """Extents are symbols half of the time, by position: `b_s` names the first and the third."""
    if rng.random() < 0.5:
        case.symbols = symbols
    return case


def uniform(low, high):
    return lambda rng: float(np.float32(rng.uniform(low, high)))
