"""Makers of cases of classifiers: linear ones, trees, support vectors, and regression by those."""
import numpy as np

from judged_trees import PREFIX, as_tensors, case, grown
from judged_values import F32, F64, I32, I64, full, pick, tame

WORDS = ("red", "", "blue", "a longer name", "green")
NUMBERS = (3, -7, 0, 2 ** 40, 12)
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")


def labels(rng, count, integers="classlabels_ints"):
    order = [int(k) for k in rng.permutation(len(WORDS))[:count]]
    if rng.random() < 0.4:
        return {"classlabels_strings": [WORDS[k] for k in order]}
    return {integers: [NUMBERS[k] for k in order]}


def numbers(rng, many, scale=1.0):
    return [float(x) for x in rng.normal(0, scale, many).astype(F32)]


def classes(op, inputs, attributes):
    made = case(op, inputs, attributes)
    made.outputs = 2
    return made


def transform(rng, attributes, words=TRANSFORMS):
    if rng.random() < 0.6:
        attributes["post_transform"] = pick(rng, words)


def linear_classifier(rng, opset):
    (n, width), count = full(rng, 2), int(rng.integers(2, 5))
    x = tame(rng, (n, width), pick(rng, (F32, F32, F64, I32, I64)))
    scores = 1 if count == 2 and rng.random() < 0.5 else count
    attributes = labels(rng, count) | {"coefficients": numbers(rng, scores * width),
                                       "intercepts": numbers(rng, scores)}
    if rng.random() < 0.2:
        attributes["multi_class"] = 1
    transform(rng, attributes)
    return classes("LinearClassifier", [x], attributes)


def tree_classifier(rng, opset, dtype=F32):
    n, width = full(rng, 2)
    x = np.round(tame(rng, (n, width), dtype) * 2) / 2
    names = ("treeids", "nodeids", "featureids", "values", "modes", "missing_value_tracks_true",
             "truenodeids", "falsenodeids")
    lists = {name: [] for name in names}
    count, kind = int(rng.integers(2, 5)), pick(rng, ("each", "first", "last", "some"))
    # ONNX Runtime alone is no judge of two classes: it loses scores and transformations.
    is_plain = dtype == F64 and count == 2
    kind = "first" if is_plain else kind
    only = {"first": [0], "last": [1]}.get(kind) if count == 2 else None
    # The reference takes some missing values for others.
    if count > 2 and rng.random() < 0.3:
        x[0, 0] = np.nan
    # It gives no row to a class that no leaf speaks of, whatever the scores of others.
    for tree in range(int(rng.integers(count if kind == "some" else 1, 5))):
        grown(rng, tree, width, lists)
    spoken = []
    for tree, node, mode in zip(lists["treeids"], lists["nodeids"], lists["modes"]):
        if mode == "LEAF":
            # Boosted trees speak of one class each, forests of all.
            own = only or ([tree % count] if kind == "some" else range(count))
            spoken += [(tree, node, name) for name in own]
    attributes = {f"nodes_{name}": values for name, values in lists.items()}
    for position, name in enumerate(("class_treeids", "class_nodeids", "class_ids")):
        attributes[name] = [entry[position] for entry in spoken]
    weights = rng.normal(0, 1, len(spoken)).astype(F32)
    if rng.random() < 0.5:
        weights = np.abs(weights) / (1 + lists["treeids"][-1])
    attributes["class_weights"] = [float(w) for w in weights]
    attributes |= labels(rng, count, "classlabels_int64s")
    # Two classes of one score have one base value, if any.
    single = count == 2 and len({name for _, _, name in spoken}) == 1
    if (dtype == F64 or rng.random() < 0.4) and not (single and only != [0]):
        attributes["base_values"] = numbers(rng, 1 if single else count)
    if not is_plain:
        transform(rng, attributes)
    if dtype == F64:
        as_tensors(attributes, "nodes_values", "class_weights", "base_values")
    return classes("TreeEnsembleClassifier", [x], attributes)


def wide_tree_classifier(rng, opset):
    return tree_classifier(rng, opset, F64)


def kernel(rng, attributes):
    kind = pick(rng, ("LINEAR", "POLY", "RBF", "SIGMOID"))
    params = [float(F32.type(rng.uniform(0.05, 0.6))), float(F32.type(rng.normal())),
              float(rng.integers(1, 5))]
    return attributes | {"kernel_type": kind, "kernel_params": params}


def svm_classifier(rng, opset):
    (n, width), count = full(rng, 2), int(rng.integers(2, 6))
    x = tame(rng, (n, width), pick(rng, (F32, F32, F32, F64, I64)))
    per_class = [int(many) for many in rng.integers(1, 4, count)]
    vectors, pairs = sum(per_class), count * (count - 1) // 2
    attributes = kernel(rng, labels(rng, count)) | {
        "vectors_per_class": per_class, "support_vectors": numbers(rng, vectors * width, 2),
        "coefficients": numbers(rng, vectors * (count - 1)), "rho": numbers(rng, pairs)}
    if rng.random() < 0.5:
        attributes["prob_a"] = [-abs(a) for a in numbers(rng, pairs)]
        attributes["prob_b"] = numbers(rng, pairs, 0.2)
    # ONNX Runtime forgets to transform the score of two classes.
    if count > 2 or "prob_a" in attributes:
        transform(rng, attributes)
    return classes("SVMClassifier", [x], attributes)


def linear_svm(rng, opset):
    (n, width), count = full(rng, 2), int(rng.integers(3, 6))
    attributes = labels(rng, count) | {"coefficients": numbers(rng, count * width),
                                       "rho": numbers(rng, 1), "kernel_params": [0.0, 0.0, 0.0]}
    transform(rng, attributes)
    return classes("SVMClassifier", [tame(rng, (n, width), F32)], attributes)


def svm_regressor(rng, opset):
    n, width, vectors = full(rng, 3)
    has_vectors = rng.random() < 0.8
    attributes = kernel(rng, {"coefficients": numbers(rng, vectors if has_vectors else width),
                              "rho": numbers(rng, 1), "n_supports": vectors * has_vectors})
    if has_vectors:
        attributes["support_vectors"] = numbers(rng, vectors * width, 2)
    if rng.random() < 0.3:
        attributes["one_class"] = 1
    return case("SVMRegressor", [tame(rng, (n, width), F32)], attributes)


OPERATORS = [
    (PREFIX + "LinearClassifier", linear_classifier),
    (PREFIX + "TreeEnsembleClassifier", tree_classifier),
    (PREFIX + "TreeEnsembleClassifier", wide_tree_classifier),
    (PREFIX + "SVMClassifier", svm_classifier), (PREFIX + "SVMClassifier", linear_svm),
    (PREFIX + "SVMRegressor", svm_regressor),
]
