"""Compressed variants of standard models: pruned, low-rank, quantized; each from file to file."""
import numpy as np
import onnx
from onnx import numpy_helper

import common
import examples
import weights


def change_weights(source, target, operators, change):
    """Applies `change(name, array) -> array or None` to large weights that `operators` read."""
    model, readers = onnx.load(source), {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    for tensor in model.graph.initializer:
        large = len(tensor.dims) >= 2 and np.prod(tensor.dims) >= 2048
        if large and readers.get(tensor.name, set()) & operators:
            data = change(tensor.name, numpy_helper.to_array(tensor))
            if data is not None:
                data = np.ascontiguousarray(data)
                tensor.CopyFrom(numpy_helper.from_array(data, tensor.name))
    onnx.save(model, target)


def pruned(fraction):
    """The smallest weights of each tensor become zero."""
    def change(_, w):
        magnitude = np.abs(w)
        count = int(w.size * fraction)
        threshold = np.partition(magnitude.ravel(), count)[count]
        return np.where(magnitude < threshold, w.dtype.type(0), w)
    readers = {"Conv", "Gemm", "MatMul"}
    return lambda source, target: change_weights(source, target, readers, change)


def two_of_four(source, target):
    """Of every four weights along the reduction axis of x @ w, the two smallest become zero."""
    def change(_, w):
        if w.ndim != 2 or w.shape[0] % 4:
            return None
        groups = w.T.reshape(w.shape[1], -1, 4)
        smallest = np.argsort(np.abs(groups), axis=-1, kind="stable")[..., :2]
        keep = np.ones(groups.shape, bool)
        np.put_along_axis(keep, smallest, False, -1)
        return np.where(keep, groups, w.dtype.type(0)).reshape(w.shape[1], -1).T
    change_weights(source, target, {"MatMul"}, change)


def low_rank(rank):
    """Every MatMul weight becomes a product of two random factors with the old deviation."""
    def change(name, w):
        if w.ndim != 2 or min(w.shape) < 4 * rank or max(w.shape) > 8192:
            return None
        a, b = (weights.values(f"low-rank/{name}/{side}", extent * rank, 0.0, 1.0)
                for side, extent in zip("ab", w.shape))
        product = a.reshape(-1, rank).astype(np.float64) @ b.reshape(rank, -1).astype(np.float64)
        return (product * (float(w.std()) / rank ** 0.5)).astype(np.float32)
    return lambda source, target: change_weights(source, target, {"MatMul"}, change)


def static_int8(base, layout, recipe=None):
    """Calibrated int8 with per-channel weights, as QDQ pairs or as QLinear operators.

    `recipe` is that of the inputs; by default of the standard model `base`.
    """
    def make(source, target):
        import onnxruntime.quantization as q

        class Calibration(q.CalibrationDataReader):
            def __init__(self):
                inputs = recipe or common.catalogue("standard")[base]["examples"][0]
                self.feeds = iter([examples.example(f"calibration/{base}", k, inputs)
                                   for k in range(4)])

            def get_next(self):
                return next(self.feeds, None)

        qdq = layout == "QDQ"
        q.quantize_static(str(source), str(target), Calibration(), per_channel=True,
                          quant_format=q.QuantFormat[layout], weight_type=q.QuantType.QInt8,
                          activation_type=q.QuantType.QInt8 if qdq else q.QuantType.QUInt8,
                          extra_options={"ActivationSymmetric": qdq})
    return make


def dynamic_int8(source, target):
    """Int8 weights, activations quantized as they come."""
    import onnxruntime.quantization as q
    q.quantize_dynamic(str(source), str(target), weight_type=q.QuantType.QInt8,
                       op_types_to_quantize=["MatMul", "Gemm"])


def block_int4(source, target):
    """4-bit weights in blocks of 32, activations left alone."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    quantizer = MatMulNBitsQuantizer(onnx.load(source), bits=4, block_size=32, is_symmetric=True,
                                     accuracy_level=0)
    quantizer.process()
    onnx.save(quantizer.model.model, target)


# name: (base model, maker, tags, what it is)
VARIANTS = {
    "resnet50-s90": ("resnet50", pruned(0.9), ["sparse", "unstructured"],
                     "90 % of each large weight zero"),
    "mobilenet-v2-s75": ("mobilenet-v2", pruned(0.75), ["sparse", "unstructured"],
                         "75 % of each large weight zero"),
    "distilbert-2of4": ("distilbert", two_of_four, ["sparse", "2:4"], "2 of 4 weights zero"),
    "distilbert-rank64": ("distilbert", low_rank(64), ["low-rank"], "MatMul weights of rank 64"),
    "mobilenet-v2-qdq": ("mobilenet-v2", static_int8("mobilenet-v2", "QDQ"),
                         ["quantized", "qdq"], "static int8, QDQ pairs"),
    "resnet50-qop": ("resnet50", static_int8("resnet50", "QOperator"),
                     ["quantized", "qoperator"], "static int8, QLinear operators"),
    "distilbert-dynq": ("distilbert", dynamic_int8, ["quantized", "dynamic-quant"],
                        "dynamic int8 (MatMulInteger)"),
    "llama-160m-w4": ("llama-160m-kv", block_int4, ["quantized", "weight-only", "ms-domain"],
                      "4-bit weights (com.microsoft MatMulNBits)"),
}
