#!/usr/bin/env python3
"""How exact each precision is, beside ONNX Runtime: models against f64, and products of hard data.

  cargo build --release -p alula-cli
  python3 tools/models/accuracy.py                        both tables
  python3 tools/models/accuracy.py resnet50               these models only
  python3 tools/models/accuracy.py --write docs/ACCURACY.md

The reference of a model is the same model with every f32 made f64, which Alula runs as plain loops;
that ONNX Runtime's own outputs come as near to it as f32 allows shows that it is right. Products and
convolutions of hard data are computed by NumPy in f64.
"""
import argparse
import datetime
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import setup
import speed

PRECISIONS = ["highest", "high", "medium"]
# f32 models of the corpus, of each kind, whose outputs do not jump and whose f64 runs take seconds.
MODELS = ["basic-pitch", "chars2vec", "lac-gru", "magika", "minilm-l3", "minimol-gnn",
          "picodet-layout", "ppocr4-det", "ppocr4-rec", "silero-vad", "yolox", "deit-tiny",
          "densenet121", "efficientnet-b0", "mobilenet-v2", "mobilenet-v3-large", "resnet50",
          "speech-lstm", "swin-t", "whisper-tiny-enc"]
UNIT = 2.0 ** -24               # half a unit in the last place of 1
LEAST = 2.0 ** -150             # half of the least subnormal number: what any f32 is off


# ------------------------------------------------------------------ Alula
def alula(args, *words, env=None):
    command = [str(args.alula), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (env or {}))
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise common.Failed(f"alula {words[0]} {words[1]}: {last}")


def outputs(args, model, precision, feed, names, folder, env=None):
    """{name: array} of a model's file on a feed of arrays."""
    import numpy as np
    import re
    artifact = folder / "model.alula"
    alula(args, "compile", model, "-o", artifact, "--precision", precision, env=env)
    words = []
    for position, (name, array) in enumerate(feed.items()):
        np.save(folder / f"in{position}.npy", array)
        words += ["--input", f"{name}={folder / f'in{position}.npy'}"]
    alula(args, "run", artifact, *words, "--output-dir", folder / "out", env=env)
    file = {name: re.sub(r"[^A-Za-z0-9._-]", "_", name) + ".npy" for name in names}
    return {name: np.load(folder / "out" / file[name]) for name in names}


# ------------------------------------------------------------------ models in f64
def doubled(model):
    """The model with f64 for every f32; operators that take f32 only get it by a cast."""
    import numpy as np
    from onnx import AttributeProto, TensorProto, helper, numpy_helper
    single, double = TensorProto.FLOAT, TensorProto.DOUBLE
    f32_only = {"Resize": [2], "Upsample": [1], "NonMaxSuppression": [0, 1, 3, 4]}

    def tensor(value):
        if value.data_type == single:
            array = numpy_helper.to_array(value).astype(np.float64)
            value.CopyFrom(numpy_helper.from_array(array, value.name))

    def port(value):
        if value.type.tensor_type.elem_type == single:
            value.type.tensor_type.elem_type = double

    def nodes(given):
        made = []
        for node in given:
            for position in f32_only.get(node.op_type, []):
                if position < len(node.input) and node.input[position]:
                    name = f"{node.input[position]}_f32_{node.output[0]}_{position}"
                    made.append(helper.make_node("Cast", [node.input[position]], [name], to=single))
                    node.input[position] = name
            for attribute in list(node.attribute):
                if attribute.type == AttributeProto.TENSOR:
                    tensor(attribute.t)
                elif attribute.type == AttributeProto.GRAPH:
                    graph(attribute.g)
                elif attribute.name in ("to", "dtype", "stash_type") and attribute.i == single:
                    attribute.i = double
                elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                    array = np.array(attribute.f if attribute.name == "value_float"
                                     else list(attribute.floats), np.float64)
                    node.attribute.remove(attribute)
                    node.attribute.append(
                        helper.make_attribute("value", numpy_helper.from_array(array)))
            if node.op_type == "ConstantOfShape" and not node.attribute:
                zero = numpy_helper.from_array(np.zeros(1))
                node.attribute.append(helper.make_attribute("value", zero))
            if node.op_type == "LayerNormalization":
                made += layer_norm(node)
                continue
            made.append(node)
        return made

    def graph(given):
        for value in given.initializer:
            tensor(value)
        for value in [*given.input, *given.output]:
            port(value)
        del given.value_info[:]
        replaced = nodes(given.node)
        del given.node[:]
        given.node.extend(replaced)

    graph(model.graph)
    for function in model.functions:
        replaced = nodes(function.node)
        del function.node[:]
        function.node.extend(replaced)
    return model


def layer_norm(node):
    """A layer norm of the last axis, spelled out: the operator itself computes in f32."""
    import numpy as np
    from onnx import helper, numpy_helper
    given = {attribute.name: attribute for attribute in node.attribute}
    if len(node.output) > 1 or ("axis" in given and given["axis"].i != -1):
        raise common.Failed("a layer norm of more than the last axis")
    epsilon = given["epsilon"].f if "epsilon" in given else 1e-5
    x, weights, y = node.input[0], list(node.input[1:]), node.output[0]

    def name(part):
        return f"{y}_f64_{part}"

    def step(op, operands, part):
        return helper.make_node(op, operands, [name(part)])
    constants = [helper.make_node("Constant", [], [name(part)], value=numpy_helper.from_array(value))
                 for part, value in (("epsilon", np.array(epsilon)), ("last", np.array([-1])))]
    # ReduceSum takes its axes as an operand from version 13 on, ReduceMean from 18 only.
    steps = [
        step("Shape", [x], "shape"),
        helper.make_node("Gather", [name("shape"), name("last")], [name("extent")], axis=0),
        helper.make_node("Cast", [name("extent")], [name("n")], to=11),
        step("ReduceSum", [x, name("last")], "sum"), step("Div", [name("sum"), name("n")], "mean"),
        step("Sub", [x, name("mean")], "apart"),
        step("Mul", [name("apart"), name("apart")], "square"),
        step("ReduceSum", [name("square"), name("last")], "squares"),
        step("Div", [name("squares"), name("n")], "variance"),
        step("Add", [name("variance"), name("epsilon")], "positive"),
        step("Sqrt", [name("positive")], "deviation"),
        step("Div", [name("apart"), name("deviation")], "norm"),
        step("Mul", [name("norm"), weights[0]], "scaled" if len(weights) > 1 else "y")]
    if len(weights) > 1:
        steps.append(step("Add", [name("scaled"), weights[1]], "y"))
    steps[-1].output[0] = y
    return constants + steps


def error(actual, truth):
    """The largest error over the largest magnitude of the reference."""
    import numpy as np
    largest = float(np.abs(truth).max(initial=0.0))
    far = float(np.abs(actual.astype(np.float64) - truth).max(initial=0.0))
    return far / largest if largest else far


def model_row(name, args, folder):
    """[ONNX Runtime, precisions..]: largest errors over all examples and outputs."""
    import json

    import numpy as np
    import onnx
    path = speed.path_of(name)
    onnx.save(doubled(onnx.load(str(path))), folder / "double.onnx")
    worst = [0.0] * (1 + len(PRECISIONS))
    references = common.cache() / "references" / name
    for record_path in sorted(references.glob("*/record.json")):
        record, at = json.loads(record_path.read_text()), record_path.parent
        feed = {entry["name"]: np.load(at / entry["file"]) for entry in record["inputs"]}
        wanted = {entry["name"]: np.load(at / entry["file"]) for entry in record["outputs"]
                  if entry["dtype"] == "float32"}
        wide = {name: array.astype(np.float64) if array.dtype == np.float32 else array
                for name, array in feed.items()}
        truth = outputs(args, folder / "double.onnx", "highest", wide, wanted, folder)
        sides = [wanted] + [outputs(args, path, precision, feed, wanted, folder)
                            for precision in PRECISIONS]
        for position, side in enumerate(sides):
            errors = [error(side[name], truth[name]) for name in wanted]
            worst[position] = max([worst[position], *errors])
    return worst


# ------------------------------------------------------------------ hard data
def hard_data(random):
    """(name, left side, right side) makers: each gives values for a shape."""
    import numpy as np

    def uniform(shape):
        return random.uniform(-1, 1, shape)

    def lognormal(shape):
        return np.exp(random.normal(0, 4, shape)) * random.choice([-1, 1], shape)

    def magnitudes(low, high):
        return lambda shape: 10 ** random.uniform(low, high, shape) * random.choice([-1, 1], shape)

    def one(value):
        def make(shape):
            values = uniform(shape)
            values.flat[values.size // 2] = value
            return values
        return make
    greatest = float(np.finfo(np.float32).max)
    return [
        ("uniform in -1..1", uniform, uniform),
        ("lognormal, sigma 4", lognormal, lognormal),
        ("1e-36..1e-35 times 1..10", magnitudes(-36, -35), magnitudes(0, 1)),
        ("1e-20..1e-16 on both sides", magnitudes(-20, -16), magnitudes(-20, -16)),
        ("subnormal times 1e3..1e6", magnitudes(-44, -38), magnitudes(3, 6)),
        ("1e-30..1e5 times 1e-5..1", magnitudes(-30, 5), magnitudes(-5, 0)),
        ("1e33..1e34 times uniform", magnitudes(33, 34), uniform),
        ("one f32::MAX among uniform", one(greatest), uniform),
        ("one infinity among uniform", one(np.inf), uniform),
        ("one NaN among uniform", one(np.nan), uniform),
    ]


def product(left, right):
    """(f64 result, what its products weigh)"""
    import numpy as np
    a, b = left.astype(np.float64), right.astype(np.float64)
    return a @ b, np.abs(a) @ np.abs(b)


def windows(left, right):
    """The same of a convolution of 3x3 windows, padded by 1."""
    import numpy as np

    def conv(x, w):
        x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        seen = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
        return np.einsum("nchwij,kcij->nkhw", seen, w, optimize=True)
    a, b = left.astype(np.float64), right.astype(np.float64)
    return conv(a, b), conv(np.abs(a), np.abs(b))


FORMS = {"MatMul": ((128, 1024), (1024, 256), (128, 256), {}, product),
         "Conv": ((1, 256, 14, 14), (256, 256, 3, 3), (1, 256, 14, 14), {"pads": [1, 1, 1, 1]},
                  windows)}


def shown_error(actual, truth, weights):
    """The largest error over what the products of the element weigh, in units of 2^-24, or what is
    finite and should not be, or the other way."""
    import numpy as np
    with np.errstate(over="ignore"):
        rounded = truth.astype(np.float32)
    special = ~np.isfinite(rounded)
    same = (actual == rounded) | (np.isnan(actual) & np.isnan(rounded))
    unlike = int((special & ~same).sum() + (~special & ~np.isfinite(actual)).sum())
    if unlike:
        return f"{unlike} unlike"
    apart = np.abs(actual[~special].astype(np.float64) - truth[~special]) - LEAST
    shares = np.maximum(apart, 0) / weights[~special]
    units = float(shares.max(initial=0.0)) / UNIT
    return f"{units:.2f}" if units < 1000 else f"{units:.1e}"


def hard_rows(args, folder):
    import numpy as np
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper, save
    random = np.random.default_rng(7)
    for form, (left_shape, right_shape, result_shape, attributes, exact) in FORMS.items():
        for name, left, right in hard_data(random):
            x, w = (make(shape).astype(np.float32)
                    for make, shape in ((left, left_shape), (right, right_shape)))
            path = folder / "hard.onnx"
            ports = [[helper.make_tensor_value_info(port, TensorProto.FLOAT, shape)]
                     for port, shape in (("x", left_shape), ("y", result_shape))]
            graph = helper.make_graph([helper.make_node(form, ["x", "w"], ["y"], **attributes)],
                                      "hard", *ports, [numpy_helper.from_array(w, "w")])
            save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                   ir_version=8), path)
            with np.errstate(invalid="ignore", over="ignore"):
                truth, weights = exact(x, w)
            session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            sides = [session.run(None, {"x": x})[0]]
            runs = [("highest", {"ALULA_CPU_ISA": args.plain})] + [(p, {}) for p in PRECISIONS]
            sides += [outputs(args, path, precision, {"x": x}, ["y"], folder, env)["y"]
                      for precision, env in runs]
            yield [form, name, *(shown_error(side, truth, weights) for side in sides)]


# ------------------------------------------------------------------ the page
def line(lines, *cells):
    lines.append(f"| {' | '.join(map(str, cells))} |")
    print(lines[-1], flush=True)


def of_models(args, folder):
    lines = []
    line(lines, "model", "ONNX Runtime", *(f"`{p}`" for p in PRECISIONS))
    line(lines, *["---"] * (2 + len(PRECISIONS)))
    for name in args.models or MODELS:
        try:
            row = model_row(name, args, folder)
        except common.Failed as failed:
            print(f"  {name}: {failed}", file=sys.stderr)
            continue
        line(lines, name, *(f"{value:.1e}" for value in row))
    return lines


def of_hard_data(args, folder):
    lines = []
    line(lines, "operator", "left side times right side", "ONNX Runtime", "Alula without tiles",
         *(f"`{p}`" for p in PRECISIONS))
    line(lines, *["---"] * (4 + len(PRECISIONS)))
    for row in hard_rows(args, folder):
        line(lines, *row)
    return lines


def page(models, hard, args):
    import onnxruntime
    return f"""# Accuracy

<!-- Written by `tools/models/accuracy.py --write`. -->

{speed.machine()}; ONNX Runtime {onnxruntime.__version__}; {datetime.date.today()}.

    python3 tools/models/setup.py all
    cargo build --release -p alula-cli
    python3 tools/models/accuracy.py --write docs/ACCURACY.md

`--precision` says how exact contractions of f32 may be. `highest`, the default, is to be no worse than
four times the error of an f32 kernel that sums in blocks, on any finite input, or than the rounding of
the result: of 1,300 drawn cases one, of two rows, was 4.4 times as far off. `high` takes three
products of bf16 parts, `medium` one, on CPUs with AMX. With AVX-512 alone, `medium` rounds constant
weights to bf16 where they are multiplied by up to three rows; else all three are the same. `cargo test
-p alula-microkernel` holds `highest` to that on the first 300,
`alula corpus` and `alula conformance` with `--precision` hold models and operators to bounds.

## Models

The largest error of any output in any example, over the largest magnitude of that output. The
reference is the same model with every f32 made f64. Weights of the standard architectures are
random, so that their outputs say nothing of how often a class would change.

{chr(10).join(models)}

## Products and convolutions of hard data

The largest error of an element over the sum of the magnitudes of its products, in units of 2^-24:
what one rounding of f32 may cost. Half of the least subnormal number is free. *unlike* counts
elements that are finite, infinite or NaN where the f64 result, rounded to f32, is not. Where one
value is infinite or NaN or overflows, the rest is held to its error. *Without tiles* is
`ALULA_CPU_ISA={args.plain}`.

{chr(10).join(hard)}

`medium` takes subnormal numbers for zeros, and what bf16 rounds beyond its range, as f32::MAX, for
infinities.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="default: all, and hard data")
    parser.add_argument("--alula", default=speed.ROOT / "target" / "release" / "alula")
    parser.add_argument("--plain", default="avx512", help="the family without tiles")
    parser.add_argument("--write", metavar="FILE", help="a page of the tables")
    args = parser.parse_args()
    python = setup.environment()
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])
    with tempfile.TemporaryDirectory() as folder:
        hard = [] if args.models else of_hard_data(args, Path(folder))
        models = of_models(args, Path(folder))
    if args.write:
        common.write_atomically(Path(args.write), page(models, hard, args).encode())


if __name__ == "__main__":
    try:
        main()
    except common.Failed as failed:
        sys.exit(f"accuracy.py: {failed}")
