#!/usr/bin/env python3
"""Lists the ranks that ONNX's own shape inference refuses, from the conformance tests.

    ~/.cache/alula/venv/bin/python tools/models/ranks.py > crates/onnx/tests/nodes/ranks.txt

In each test of one node, each tensor among the operands is given an axis less (the first) and an
axis more (one of extent 1 in front). A line `[DOMAIN::]NAME VERSION INPUT RANK` says that inference
refuses that rank there in every test, whatever the other operands are.
`crates/onnx/tests/nodes/ranks.rs` holds our importer to the list.
"""
import collections
import sys

sys.dont_write_bytecode = True

import onnx  # noqa: E402
from onnx import shape_inference  # noqa: E402

import common  # noqa: E402


def is_refused(model):
    try:
        shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except shape_inference.InferenceError:
        return True
    return False


def without_output_shapes(model):
    for info in model.graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")
    return model


def changed(model, name, more):
    """The model with another rank of an input, and that rank; None if there is none."""
    model = without_output_shapes(onnx.ModelProto.FromString(model.SerializeToString()))
    info = next((x for x in model.graph.input if x.name == name), None)
    if info is None or not info.type.tensor_type.HasField("shape"):
        return None
    shape = info.type.tensor_type.shape
    dims = list(shape.dim)
    if more:
        dims.insert(0, onnx.TensorShapeProto.Dimension(dim_value=1))
    elif dims:
        dims = dims[1:]
    else:
        return None
    del shape.dim[:]
    shape.dim.extend(dims)
    return model, len(dims)


def main():
    verdicts = collections.defaultdict(list)
    for folder in sorted((common.cache() / "conformance" / "node").iterdir()):
        model = onnx.load(folder / "model.onnx")
        if len(model.graph.node) != 1 or is_refused(without_output_shapes(
                onnx.ModelProto.FromString(model.SerializeToString()))):
            continue
        node = model.graph.node[0]
        opset = next((o.version for o in model.opset_import if o.domain == node.domain), 1)
        try:
            since = onnx.defs.get_schema(node.op_type, opset, node.domain).since_version
        except onnx.defs.SchemaError:
            continue
        operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        for position, name in enumerate(node.input):
            for more in (False, True):
                made = changed(model, name, more) if name else None
                if made:
                    verdicts[operator, since, position, made[1]].append(is_refused(made[0]))
    print(f"# Made by tools/models/ranks.py from onnx {onnx.__version__}.")
    for key, refused in sorted(verdicts.items()):
        if all(refused):
            print(*key)


if __name__ == "__main__":
    sys.exit(main())
