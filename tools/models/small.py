"""Small models that isolate one cost each, into CACHE/small: what speed.py measures besides.

Graphs are text of onnx.parser; weights are seeded by model and name, see weights.py. Two more are
quantized: of a model made here, and of the standard resnet50.
"""
import logging
import os

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

import common
import weights
from variants import static_int8


def chain():
    """17 element-wise operators over 4 MiB."""
    lines, last = [], "x"
    for k in range(4):
        lines += [f"h{k} = Mul ({last}, half)", f"a{k} = Add (h{k}, z)", f"s{k} = Sigmoid (a{k})",
                  f"o{k} = Mul (s{k}, a{k})"]
        last = f"o{k}"
    return [*lines, f"y = Div ({last}, scale)"]


def norms():
    """Three blocks of layer norm, GELU with erf, softmax and a residual, all spelled out."""
    lines, last = [], "x"
    for k in range(3):
        lines += [f"mean{k} = ReduceMean <axes = [-1]> ({last})", f"d{k} = Sub ({last}, mean{k})",
                  f"sq{k} = Pow (d{k}, two)", f"var{k} = ReduceMean <axes = [-1]> (sq{k})",
                  f"ve{k} = Add (var{k}, tiny)", f"sd{k} = Sqrt (ve{k})", f"n{k} = Div (d{k}, sd{k})",
                  f"ng{k} = Mul (n{k}, gain)", f"ln{k} = Add (ng{k}, shift)",
                  f"e{k} = Div (ln{k}, root)", f"f{k} = Erf (e{k})", f"g{k} = Add (f{k}, one)",
                  f"p{k} = Mul (ln{k}, g{k})", f"q{k} = Mul (p{k}, half)",
                  f"t{k} = Softmax <axis = -1> (q{k})", f"r{k} = Add (t{k}, {last})"]
        last = f"r{k}"
    return [*lines, f"y = Identity ({last})"]


def dispatch():
    """Eight products of 32 x 32 with a tanh each: what a step costs by itself."""
    lines, last = [], "x"
    for k in range(8):
        lines += [f"g{k} = Gemm ({last}, w{k}, b{k})", f"t{k} = Tanh (g{k})"]
        last = f"t{k}"
    return [*lines, f"y = Identity ({last})"]


def recurrence():
    """Two LSTM of 128 over 32 steps."""
    return ["a = LSTM <hidden_size = 128> (x, w0, r0, b0)", "c = Squeeze (a, axis)",
            "d = LSTM <hidden_size = 128> (c, w1, r1, b1)", "e = Squeeze (d, axis)",
            "f = MatMul (e, wo)", "y = Sigmoid (f)"]


LSTM = {"w": [1, 512, 128], "r": [1, 512, 128], "b": [1, 1024]}
# name: (lines, {input: shape}, {weight: shape}, {constant: value})
GRAPHS = {
    "matmul_1024": (["y = MatMul (x, w)"], {"x": [1024, 1024]}, {"w": [1024, 1024]}, {}),
    "mlp_b1": (["a = Gemm (x, w0, b0)", "b = Relu (a)", "c = Gemm (b, w1, b1)", "d = Relu (c)",
                "y = Gemm (d, w2, b2)"], {"x": [1, 1024]},
               {"w0": [1024, 4096], "b0": [4096], "w1": [4096, 4096], "b1": [4096],
                "w2": [4096, 1000], "b2": [1000]}, {}),
    "tiny_mlp": (dispatch(), {"x": [1, 32]},
                 {f"w{k}": [32, 32] for k in range(8)} | {f"b{k}": [32] for k in range(8)}, {}),
    "eltwise_chain": (chain(), {"x": [1024, 1024], "z": [1024, 1024]}, {},
                      {"half": 0.5, "scale": 1.01}),
    "softmax_ln": (norms(), {"x": [512, 768]}, {"gain": [768], "shift": [768]},
                   {"two": 2.0, "tiny": 1e-5, "root": 2 ** 0.5, "one": 1.0, "half": 0.5}),
    "lstm_small": (recurrence(), {"x": [32, 1, 128]},
                   {f"{name}{k}": shape for k in range(2) for name, shape in LSTM.items()}
                   | {"wo": [128, 1]}, {"axis": [1]}),
}
# name: what it is quantized from, and where that lies
QUANTIZED = {"mlp_b1-qdq": ("mlp_b1", "small"), "resnet50-qdq": ("resnet50", "standard")}


def graph(name):
    lines, inputs, shapes, constants = GRAPHS[name]
    ports = ", ".join(f"float{shape} {port}" for port, shape in inputs.items())
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 17]> {name} ({ports}) => (float y) '
        f"{{ {' '.join(lines)} }}")
    for weight, shape in shapes.items():
        deviation = shape[-2] ** -0.5 if len(shape) > 1 else 0.1
        data = weights.values(f"{name}/{weight}", int(np.prod(shape)), 0.0, deviation)
        model.graph.initializer.append(numpy_helper.from_array(data.reshape(shape), weight))
    for constant, value in constants.items():
        data = np.array(value, np.int64 if isinstance(value, list) else np.float32)
        model.graph.initializer.append(numpy_helper.from_array(data, constant))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def example(name):
    """The recipe of a model's inputs."""
    if name in QUANTIZED and QUANTIZED[name][1] == "standard":
        return common.catalogue("standard")[QUANTIZED[name][0]]["examples"][0]
    _, inputs, _, _ = GRAPHS[QUANTIZED[name][0] if name in QUANTIZED else name]
    return {port: {"dtype": "f32", "shape": shape, "gen": ["uniform", -2.0, 2.0]}
            for port, shape in inputs.items()}


def quantized(source, target, base, recipe):
    """Static int8 with QDQ pairs, batch normalizations folded before."""
    from onnxruntime.quantization.shape_inference import quant_pre_process
    folded = target.with_suffix(".folded.onnx")
    quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
    static_int8(base, "QDQ", recipe)(folded, target)
    folded.unlink()


def run(names):
    """Makes the named models; all where `names` is empty."""
    logging.getLogger().setLevel(logging.ERROR)     # the quantizer warns of much
    folder = common.cache() / "small"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or [*GRAPHS, *QUANTIZED]:
        if name not in GRAPHS and name not in QUANTIZED:
            raise common.Failed(f"no small model is called {name}; "
                                f"known: {', '.join([*GRAPHS, *QUANTIZED])}")
        path = folder / f"{name}.onnx"
        if name in GRAPHS:
            common.write_atomically(path, graph(name).SerializeToString())
        elif not path.is_file():
            base, kind = QUANTIZED[name]
            part = folder / f"{name}.part.onnx"
            source = common.cache() / kind / f"{base}.onnx"
            quantized(source, part, base, example(name))
            os.replace(part, path)
        common.write_manifest(folder, [{
            "name": name, "task": "one cost", "tags": ["small"], "licence": "made here",
            "examples": [example(name)]}])
        print(f"ok    {name:20} {path.stat().st_size / 1e6:7.1f} MB", flush=True)
