"""Makers of cases of older operators: trees by lists of nodes, columns, regions of images."""
import numpy as np

from judged_values import F32, F64, I32, I64, Case, full, pick, tame, values

PREFIX = "ai.onnx.ml."
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


def case(op, inputs, attributes):
    return Case(op, inputs, attributes, domain="ai.onnx.ml")


def grown(rng, tree, width, lists, depth=0):
    """The number of a new node of the tree, below which there may be more."""
    number = sum(known == tree for known in lists["treeids"])
    at = len(lists["treeids"])
    is_leaf = depth == 3 or rng.random() < 0.3
    lists["treeids"].append(tree)
    lists["nodeids"].append(number)
    lists["featureids"].append(0 if is_leaf else int(rng.integers(width)))
    lists["values"].append(0.0 if is_leaf else float(rng.integers(-4, 5)) / 2)
    lists["modes"].append("LEAF" if is_leaf else pick(rng, MODES))
    lists["missing_value_tracks_true"].append(int(rng.integers(2)))
    lists["truenodeids"].append(0)
    lists["falsenodeids"].append(0)
    if not is_leaf:
        lists["truenodeids"][at] = grown(rng, tree, width, lists, depth + 1)
        lists["falsenodeids"][at] = grown(rng, tree, width, lists, depth + 1)
    return number


def as_tensors(attributes, *names):
    """Gives numbers, where there are any, as f64 in attributes called NAME_as_tensor."""
    import onnx
    for name in names:
        if name in attributes:
            tensor = np.array(attributes.pop(name), F64)
            attributes[name + "_as_tensor"] = onnx.numpy_helper.from_array(tensor, name)


def tree_regressor(rng, opset, dtype=F32):
    n, width = full(rng, 2)
    x = np.round(tame(rng, (n, width), dtype) * 2) / 2
    if rng.random() < 0.3:
        x[0, 0] = np.nan
    names = ("treeids", "nodeids", "featureids", "values", "modes", "missing_value_tracks_true",
             "truenodeids", "falsenodeids")
    lists = {name: [] for name in names}
    for tree in range(int(rng.integers(1, 4))):
        grown(rng, tree, width, lists)
    targets, function = int(rng.integers(1, 4)), pick(rng, ("SUM", "AVERAGE", "MIN", "MAX"))
    has_base = dtype == F64 or rng.random() < 0.4
    # The judges differ in what is said of a target of which no leaf speaks.
    may_omit = function in ("SUM", "AVERAGE") and not has_base
    spoken = [(tree, node, target)
              for tree, node, mode in zip(lists["treeids"], lists["nodeids"], lists["modes"])
              if mode == "LEAF" for target in range(targets)
              if not may_omit or rng.random() < 0.7 or target == 0]
    attributes = {f"nodes_{name}": values for name, values in lists.items()}
    for position, name in enumerate(("target_treeids", "target_nodeids", "target_ids")):
        attributes[name] = [entry[position] for entry in spoken]
    attributes["target_weights"] = [float(w) for w in rng.normal(0, 2, len(spoken)).astype(F32)]
    attributes["n_targets"] = targets
    attributes["aggregate_function"] = function
    if has_base:
        attributes["base_values"] = [float(b) for b in rng.normal(0, 2, targets).astype(F32)]
    if targets > 1 and rng.random() < 0.4:
        attributes["post_transform"] = pick(rng, ("SOFTMAX", "LOGISTIC"))
    if x.dtype == F64:
        as_tensors(attributes, "nodes_values", "target_weights", "base_values")
    return case("TreeEnsembleRegressor", [x], attributes)


def wide_tree_regressor(rng, opset):
    return tree_regressor(rng, opset, F64)


def vectorizer(rng, opset):
    n, *widths = full(rng, int(rng.integers(2, 5)))
    dtype = pick(rng, (F32, F64, I32, I64))
    inputs = [tame(rng, (n, width), dtype) for width in widths]
    dims = [max(1, width + int(rng.integers(-1, 2))) for width in widths]
    return case("FeatureVectorizer", inputs, {"inputdimensions": dims})


def one_hot(rng, opset):
    dims, zeros = full(rng, int(rng.integers(1, 3))), int(rng.random() < 0.7)
    if rng.random() < 0.5:
        words = ["a", "bc", "", "d"]
        x = rng.choice(np.array(words + (["other"] if zeros else []), object), dims)
        return case("OneHotEncoder", [x], {"cats_strings": words, "zeros": zeros})
    numbers = [3, -7, 0, 12]
    x = rng.choice(np.array(numbers + ([1] if zeros else [])), dims).astype(pick(rng, (I64, F32)))
    return case("OneHotEncoder", [x], {"cats_int64s": numbers, "zeros": zeros})


def category_mapper(rng, opset):
    words, numbers = ["a", "bc", "", "d"], [3, -7, 0, 12]
    attributes = {"cats_strings": words, "cats_int64s": numbers}
    if rng.random() < 0.5:
        attributes |= {"default_string": "none", "default_int64": 99}
    dims = full(rng, int(rng.integers(1, 3)))
    if rng.random() < 0.5:
        x = rng.choice(np.array([*words, "other"], object), dims)
    else:
        x = rng.choice(np.array([*numbers, 5]), dims).astype(I64)
    x.flat[0] = "other" if x.dtype == object else 5
    return case("CategoryMapper", [x], attributes)


def max_roi_pool(rng, opset):
    n, channels, height, width = full(rng, 4, 1, 6)
    x, count = values(rng, (n, channels, height, width), F32, 0), int(rng.integers(1, 4))
    corners = rng.integers(0, 2 * max(height, width), (count, 4)) / 2
    rois = np.concatenate([rng.integers(0, n, (count, 1)), corners], 1).astype(F32)
    attributes = {"pooled_shape": [int(bins) for bins in full(rng, 2, 1, 3)]}
    if rng.random() < 0.6:
        attributes["spatial_scale"] = float(pick(rng, (0.5, 0.75, 1.5)))
    return Case("MaxRoiPool", [x, rois], attributes)


OPERATORS = [
    (PREFIX + "TreeEnsembleRegressor", tree_regressor),
    (PREFIX + "TreeEnsembleRegressor", wide_tree_regressor),
    (PREFIX + "FeatureVectorizer", vectorizer), (PREFIX + "OneHotEncoder", one_hot),
    (PREFIX + "CategoryMapper", category_mapper), ("MaxRoiPool", max_roi_pool),
]
