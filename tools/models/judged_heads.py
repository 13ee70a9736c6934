"""Makers of cases of attention in `com.microsoft`."""
import numpy as np

from judged_microsoft import PREFIX, bytes_, case, scale
from judged_values import F32, I8, U8, full, ints, maybe_open, pick, tame


def attributes_of(rng, heads):
    attributes = {"num_heads": heads}
    if rng.random() < 0.4:
        attributes["scale"] = float(np.float32(rng.uniform(0.1, 2)))
    if rng.random() < 0.4:
        attributes["unidirectional"] = 1
    return attributes


def mask_of(rng, n, queries, keys, attributes):
    """By key, by query and key, or by the end (and the begin) of each sequence."""
    kind = int(rng.integers(5))
    if kind == 0:
        return None
    if rng.random() < 0.5:
        attributes["mask_filter_value"] = float(pick(rng, (-5.0, -10000.0, -1.5)))
    if kind in (1, 2):
        dims = (n, keys) if kind == 1 else (n, queries, keys)
        mask = rng.integers(0, 2, dims).astype(np.int32)
        mask[..., 0] = 1
        return mask
    ends = rng.integers(1, keys + 1, n)
    begins = rng.integers(0, ends) if kind == 4 else ends[:0]
    return np.concatenate([ends, begins]).astype(np.int32)


def attention(rng, opset):
    n, length, heads, size, inner = full(rng, 5, 1, 4)
    widths = [heads * size] * 3
    attributes = attributes_of(rng, heads)
    past, before = None, 0
    if rng.random() < 0.4:
        before = int(rng.integers(0, 4))
        past = tame(rng, (2, n, heads, before, size), F32)
    elif rng.random() < 0.5:
        widths[2] = heads * int(rng.integers(1, 4))
    if rng.random() < 0.5 or widths[2] != widths[0]:
        attributes["qkv_hidden_sizes"] = widths
    mask = mask_of(rng, n, length, before + length, attributes)
    more = None
    if past is None and rng.random() < 0.4:
        dims = (pick(rng, (1, n)), pick(rng, (1, heads)), length, length)
        more = tame(rng, dims, F32)
    total = sum(widths)
    inputs = [tame(rng, (n, length, inner), F32), tame(rng, (inner, total), F32),
              tame(rng, (total,), F32) if rng.random() < 0.8 else None, mask, past, more]
    made = case("Attention", inputs, attributes, 2 if widths[0] == widths[2] else 1)
    if mask is not None and mask.shape == (n,):
        return maybe_open(rng, made, {0: "bs", 3: "b", 4: "_b_p"})
    return maybe_open(rng, made, {0: "_s", 4: "___p"})


def quantized_attention(rng, opset):
    n, length, heads, size, inner = full(rng, 5, 1, 4)
    width = 3 * heads * size
    attributes = attributes_of(rng, heads)
    past, before = None, 0
    if rng.random() < 0.4:
        before = int(rng.integers(0, 4))
        past = tame(rng, (2, n, heads, before, size), F32)
    mask = mask_of(rng, n, length, before + length, attributes)
    dtype = pick(rng, (U8, I8))
    by = (width,) if rng.random() < 0.4 else ()
    inputs = [bytes_(rng, (n, length, inner), U8), bytes_(rng, (inner, width), dtype),
              tame(rng, (width,), F32), scale(rng) / 16, scale(rng, by) / 16, mask,
              bytes_(rng, (), U8) if rng.random() < 0.6 else None,
              bytes_(rng, by, dtype) if rng.random() < 0.6 else None, past]
    return case("QAttention", inputs, attributes, 2)


def multi_head(rng, opset):
    """Apart, or keys and values by head as another node has made them."""
    n, queries, keys, heads, size = full(rng, 5, 1, 4)
    attributes, before, past, bias = {"num_heads": heads}, 0, None, None
    wide = size if rng.random() < 0.6 else int(rng.integers(1, 4))
    is_by_head = rng.random() < 0.2
    dims = [(n, queries, heads * size), (n, keys, heads * size), (n, keys, heads * wide)]
    if is_by_head:
        wide = size
        dims[1:] = [(n, heads, keys, size)] * 2
    elif rng.random() < 0.4:
        bias = tame(rng, (heads * (2 * size + wide),), F32)
    if not is_by_head and wide == size and rng.random() < 0.3:
        before = int(rng.integers(1, 4))
        past = [tame(rng, (n, heads, before, size), F32) for _ in range(2)]
    if rng.random() < 0.5:
        attributes["scale"] = float(np.float32(rng.uniform(0.1, 2)))
    mask, kind = None, int(rng.integers(6))
    if kind == 0:
        mask = rng.integers(1, before + keys + 1, n).astype(np.int32)
    elif kind < 4:
        mask = rng.integers(0, 2, (n, *((queries,) if kind == 1 else ()), before + keys))
        mask[..., 0] = 1
        mask = mask.astype(np.int32)
    if mask is not None and rng.random() < 0.7:
        attributes["mask_filter_value"] = float(pick(rng, (-5.0, -10000.0, -1.5)))
    if rng.random() < 0.3 and queries <= keys:
        attributes["unidirectional"] = 1
    more = None
    if rng.random() < 0.3:
        more = (pick(rng, (1, n)), pick(rng, (1, heads)), queries, before + keys)
        more = tame(rng, more, F32)
    inputs = [*(tame(rng, own, F32) for own in dims), bias, mask, more, *(past or [])]
    many = 1 if is_by_head or wide != size else 3
    many = 4 if many == 3 and rng.random() < 0.3 else many
    made = case("MultiHeadAttention", inputs, attributes, many)
    if is_by_head:
        return maybe_open(rng, made, {0: "bs", 1: "b_k", 2: "b_k"})
    return maybe_open(rng, made, {0: "bs", 1: "bk", 2: "bk", 4: "b", 6: "b_p", 7: "b_p"})


def packed_heads(rng, opset):
    """Parts packed by head, which ONNX Runtime's CPU does not take, by what it makes of them
    apart."""
    n, queries, keys, heads, size = full(rng, 5, 1, 4)
    is_all = rng.random() < 0.5
    keys = queries if is_all else keys
    q, k, v = (tame(rng, (n, length, heads, size), F32) / 2 for length in (queries, keys, keys))
    bias = tame(rng, (3 * heads * size,), F32) if rng.random() < 0.5 else None
    apart = [x.reshape(*x.shape[:2], -1) for x in (q, k, v)]
    made = case("MultiHeadAttention", [*apart, bias], {"num_heads": heads})
    expected = by_onnxruntime(made)
    packed = [np.stack([q, k, v], 3), None] if is_all else [apart[0], np.stack([k, v], 3)]
    made = case("MultiHeadAttention", [*packed, None, bias], {"num_heads": heads})
    made.expected = expected
    return made


def by_onnxruntime(made):
    import judged
    return judged.by_onnxruntime(judged.model_of(made, 21), made)


def norm(x, weight, epsilon):
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + epsilon) * weight


def by_formula(q, k, v, past, attributes, weights):
    """Outputs of a step whose sequences are all as long as the buffer is full."""
    heads, kv_heads = attributes["num_heads"], attributes["kv_num_heads"]
    n, length, width = q.shape
    size = width // heads
    q, k, v = (x.astype(np.float64).reshape(n, length, -1, size).transpose(0, 2, 1, 3)
               for x in (q, k, v))
    shared = attributes.get("qk_norm_epsilon", 1e-6)
    q = norm(q, weights[0], attributes.get("q_norm_epsilon", shared))
    k = norm(k, weights[1], attributes.get("k_norm_epsilon", shared))
    if past:
        k, v = (np.concatenate([old, new], 2) for old, new in zip(past, (k, v)))
    keys = k.shape[2]
    each = [np.repeat(x, heads // kv_heads, 1) for x in (k, v)]
    scores = q @ each[0].transpose(0, 1, 3, 2) * attributes.get("scale", size ** -0.5)
    own = np.arange(length)[:, None] + keys - length
    scores = np.where(own >= np.arange(keys), scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    y = (shares @ each[1]).transpose(0, 2, 1, 3).reshape(n, length, width)
    return [x.astype(np.float32) for x in (y, k, v)]


def group_query(rng, opset):
    """The whole of a prompt, one token for sequences of several lengths, or more of one."""
    n, length, kv_heads, group = full(rng, 4, 1, 3)
    size = int(pick(rng, (16, 32)))
    heads = kv_heads * group
    kind = pick(rng, ("prompt", "prompt into a buffer", "token", "token", "more"))
    n = 1 if kind == "more" else n
    length = 1 if kind == "token" else length
    before = np.zeros(n, np.int64)
    if kind in ("token", "more"):
        before = rng.integers(1, 5, n)
    total = int(before.max()) + length
    past = None
    if kind != "prompt":
        room = total - length if rng.random() < 0.6 else total + int(rng.integers(0, 3))
        past = [tame(rng, (n, kv_heads, room, size), F32) for _ in range(2)]
    attributes = {"num_heads": heads, "kv_num_heads": kv_heads}
    if rng.random() < 0.3:
        attributes["scale"] = float(np.float32(rng.uniform(0.1, 2)))
    if rng.random() < 0.3:
        attributes["softcap"] = float(pick(rng, (0.5, 2.0, 30.0)))
    if rng.random() < 0.3:
        attributes["local_window_size"] = int(rng.integers(1, 5))
    elif rng.random() < 0.2:
        attributes["causal"] = 0
    parts = [tame(rng, (n, length, count * size), F32) for count in (heads, kv_heads, kv_heads)]
    if rng.random() < 0.3:
        parts = [np.concatenate(parts, 2), None, None]
    tables = [None] * 3
    if rng.random() < 0.5:
        attributes |= {"do_rotary": 1, "rotary_interleaved": int(rng.integers(2))}
        angles = rng.uniform(-3, 3, (12, int(pick(rng, (8, size // 2)))))
        tables[:2] = [np.cos(angles).astype(F32), np.sin(angles).astype(F32)]
        if rng.random() < 0.3:
            tables[2] = ints(before[:, None] + np.arange(length))
    more, sink = None, None
    if rng.random() < 0.3:
        more = tame(rng, (pick(rng, (1, n)), pick(rng, (1, heads)), length, total), F32)
    if rng.random() < 0.2:
        attributes["smooth_softmax"] = 1
    elif rng.random() < 0.2:
        sink = tame(rng, (heads,), F32)
    inputs = [*parts, *(past or [None, None]), (before + length - 1).astype(np.int32),
              np.array(total, np.int32), *tables, more, sink]
    many = 3
    if rng.random() < 0.3:
        attributes["qk_output"], many = int(rng.integers(1, 3)), 4
    made = case("GroupQueryAttention", inputs, attributes, many)
    made.fixed[6] = rng.random() < 0.5
    return maybe_open(rng, made, {0: "bs", 1: "bs", 2: "bs", 3: "b_p", 4: "b_p", 5: "b", 9: "bs"})


def normed_group_query(rng, opset):
    """With a norm of each head of queries and keys, which ONNX Runtime's CPU does not have."""
    n, length, kv_heads, group, before = full(rng, 5, 1, 3)
    size, heads = 8, kv_heads * group
    attributes = {"num_heads": heads, "kv_num_heads": kv_heads}
    for name in ("qk_norm_epsilon", "q_norm_epsilon", "k_norm_epsilon"):
        if rng.random() < 0.5:
            attributes[name] = float(pick(rng, (0.125, 0.5, 2.0)))
    parts = [tame(rng, (n, length, count * size), F32) for count in (heads, kv_heads, kv_heads)]
    past = [tame(rng, (n, kv_heads, before, size), F32) for _ in range(2)]
    if rng.random() < 0.3:
        past, before = None, 0
    weights = [tame(rng, (size,), F32) for _ in range(2)]
    total = before + length
    inputs = [*parts, *(past or [None, None]), np.full(n, total - 1, np.int32),
              np.array(total, np.int32), *[None] * 7, *weights]
    made = case("GroupQueryAttention", inputs, attributes, 3)
    made.fixed[6] = True
    made.expected = by_formula(*parts, past, attributes, weights)
    return made


OPERATORS = [
    (PREFIX + "Attention", attention), (PREFIX + "QAttention", quantized_attention),
    (PREFIX + "MultiHeadAttention", multi_head), (PREFIX + "MultiHeadAttention", packed_heads),
    (PREFIX + "GroupQueryAttention", group_query),
    (PREFIX + "GroupQueryAttention", normed_group_query),
]
