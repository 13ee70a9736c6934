"""Generated cases of single operators, with the outputs of two independent judges.

Each case is a folder CACHE/judged/NAME in the layout of ONNX's own tests: `model.onnx` of one node,
inputs in `test_data_set_0`. Outputs are there twice: of ONNX Runtime without optimisations in
`onnxruntime`, of the onnx reference evaluator in `reference`; for operators that it does not know,
of a formula in the maker, where there is one. A judge that refuses the case has no folder; a case
that both refuse is not kept. Where ONNX defines the operator by a function body,
`expanded.onnx` is that body. `alula conformance --judged` compares.

A case depends on the seed, its operator and its number only, so that a smaller run is a part of a
larger one.
"""
import collections
import shutil
import warnings
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.backend.test.case.node import function_testcase_helper
from onnx.reference import ReferenceEvaluator

import common
import judged_cases
import judged_classes
import judged_fused
import judged_heads
import judged_learning
import judged_maps
import judged_microsoft
import judged_quantized
import judged_trees

OPERATORS = (judged_cases.OPERATORS + judged_learning.OPERATORS + judged_microsoft.OPERATORS
             + judged_quantized.OPERATORS + judged_fused.OPERATORS
             + judged_heads.OPERATORS + judged_trees.OPERATORS + judged_classes.OPERATORS
             + judged_maps.OPERATORS)
OPSETS = (21, 21, 18, 13)                 # both judges know these; drawn with these weights
IR_VERSIONS = {13: 7, 18: 8, 21: 10, 23: 11}
TYPES = {number: f"tensor({name.lower()})" for name, number in onnx.TensorProto.DataType.items()}
VERSIONS = {"ai.onnx.ml": 3, "com.microsoft": 1}


def dtype_of(x):
    """ONNX's code of an array's dtype; objects are strings."""
    return onnx.TensorProto.STRING if x.dtype == object else helper.np_dtype_to_tensor_dtype(x.dtype)


def sides(x):
    """Keys and values of a dict as arrays of one dtype each."""
    keys, held = np.array(list(x)), np.array(list(x.values()))
    if any(type(value) is float for value in x.values()):
        held = held.astype(np.float32)          # ONNX Runtime's are Python's
    return tensor_of(keys), tensor_of(held)


def map_type(x):
    key, held = (dtype_of(side) for side in sides(x))
    return helper.make_map_type_proto(key, helper.make_tensor_type_proto(held, []))


def map_proto(x, name):
    keys, held = sides(x)
    values = [numpy_helper.from_array(np.array(value, held.dtype)) for value in held]
    made = onnx.MapProto(name=name, key_type=dtype_of(keys))
    if keys.dtype == object:
        made.string_keys.extend(key.encode() for key in keys)
    else:
        made.keys.extend(keys.tolist())
    made.values.CopyFrom(helper.make_sequence("", onnx.SequenceProto.TENSOR, values))
    return made


def proto(value, name):
    """A tensor, a map or a list of maps as a message."""
    if isinstance(value, dict):
        return map_proto(value, name)
    if isinstance(value, list) and all(isinstance(x, dict) for x in value):
        maps = [map_proto(x, "") for x in value]
        return helper.make_sequence(name, onnx.SequenceProto.MAP, maps)
    return numpy_helper.from_array(tensor_of(value), name)


def model_of(case, opset):
    """The case's node as a model; inputs with None are absent, outputs have no types."""
    names = [f"x{k}" if x is not None else "" for k, x in enumerate(case.inputs)]
    outputs = ["" if k in case.skipped else f"y{k}" for k in range(case.outputs)]
    while names and not names[-1]:
        names.pop()
    node = helper.make_node(case.op, names, outputs, domain=case.domain, **case.attributes)
    inputs, constants = [], []
    for position, (name, x, fixed) in enumerate(zip(names, case.inputs, case.fixed)):
        if not name:
            continue
        if fixed:
            constants.append(numpy_helper.from_array(x, name))
            continue
        if isinstance(x, dict):
            inputs.append(helper.make_value_info(name, map_type(x)))
            continue
        dtype = dtype_of(x)
        dims, letters = list(x.shape), case.symbols.get(position, "")
        for axis, letter in enumerate(letters[:x.ndim]):
            dims[axis] = dims[axis] if letter == "_" else letter
        inputs.append(helper.make_tensor_value_info(name, dtype, dims))
    values = [helper.make_empty_tensor_value_info(name) for name in outputs if name]
    graph = helper.make_graph([node], case.op, inputs, values, constants)
    opsets = [helper.make_opsetid("", opset)]
    if case.domain:
        opsets.append(helper.make_opsetid(case.domain, VERSIONS[case.domain]))
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSIONS[opset])


def expanded(model):
    """The model with the body of the node's operator in its place, if ONNX has one."""
    node = onnx.NodeProto()
    node.CopyFrom(model.graph.node[0])
    types = {x.name: x.type for x in model.graph.input}
    types |= {x.name: helper.make_tensor_type_proto(x.data_type, x.dims)
              for x in model.graph.initializer}
    absent = helper.make_tensor_type_proto(0, None)
    inputs = [types.get(name, absent) for name in node.input]
    try:
        bodies, _ = function_testcase_helper(node, inputs, "judged", model.opset_import)
    except Exception:       # a body that does not take these types
        return None
    if not bodies:
        return None
    nodes, opsets = bodies[-1]
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    del graph.node[:]
    graph.node.extend(nodes)
    return helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)


def is_allowed(model, case):
    """Whether the operator's version takes operands of these types: the reference takes any."""
    if case.domain == "com.microsoft":
        return True
    versions = {entry.domain: entry.version for entry in model.opset_import}
    try:
        schema = onnx.defs.get_schema(case.op, versions[case.domain], case.domain)
    except onnx.defs.SchemaError:
        return True         # ONNX Runtime's own
    for position, x in enumerate(case.inputs):
        operand = schema.inputs[min(position, len(schema.inputs) - 1)]
        # What takes maps takes those that makers make.
        if x is None or isinstance(x, dict):
            continue
        if TYPES[dtype_of(x)] not in operand.types:
            return False
    return True


def given(case):
    return {f"x{k}": x for k, x in enumerate(case.inputs) if x is not None and not case.fixed[k]}


def by_onnxruntime(model, case):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, given(case))


def by_reference(model, case):
    if case.expected is not None:
        return case.expected
    return ReferenceEvaluator(model).run(None, given(case))


JUDGES = (("onnxruntime", by_onnxruntime), ("reference", by_reference))


def tensor_of(value):
    value = np.asarray(value)
    return value.astype(object) if value.dtype.kind == "U" else value


def judged(model, case):
    """Outputs by judge; what is no list of tensors and maps is as good as none."""
    outputs = {}
    for name, judge in JUDGES:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                values = judge(model, case)
            outputs[name] = [proto(y, f"y{k}") for k, y in enumerate(values)]
        except Exception:       # whatever a judge says: it has no vote
            pass
    return outputs


def write(folder, model, case, outputs):
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    body = expanded(model)
    if body is not None:
        (folder / "expanded.onnx").write_bytes(body.SerializeToString())
    tensors = [proto(x, name) for name, x in given(case).items()]
    for k, tensor in enumerate(tensors):
        (data / f"input_{k}.pb").write_bytes(tensor.SerializeToString())
    for judge, values in outputs.items():
        (folder / judge).mkdir()
        for k, tensor in enumerate(values):
            (folder / judge / f"output_{k}.pb").write_bytes(tensor.SerializeToString())


def makers():
    """Makers under names of their own: those of one operator after the first are numbered."""
    seen = collections.Counter()
    for name, make in OPERATORS:
        seen[name] += 1
        yield (name if seen[name] == 1 else f"{name}-{seen[name]}"), make


def run(count=500, seed=0):
    """Makes `count` cases, the same number of each maker but for the remainder."""
    target = common.cache() / "judged"
    stamp, wanted = target / "made.txt", f"{count} {seed} {source_hash()}\n"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(target, ignore_errors=True)
    onnxruntime.set_default_logger_severity(4)
    counts, operators = collections.Counter(), list(makers())
    for position in range(count):
        name, make = operators[position % len(operators)]
        number = position // len(operators)
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
        opset = int(rng.choice(OPSETS))
        case = make(rng, opset)
        if case is None:
            counts["not in the opset"] += 1
            continue
        model = model_of(case, case.opset or opset)
        if not is_allowed(model, case):
            counts["not what ONNX allows"] += 1
            continue
        outputs = judged(model, case)
        counts[" and ".join(outputs) or "neither"] += 1
        if outputs:
            write(target / f"{name}_{number:04}", model, case, outputs)
    common.write_atomically(stamp, wanted.encode())
    votes = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    print(f"judged: {count} cases: {votes}")


def source_hash():
    files = sorted(common.HERE.glob("judged*.py"))
    return zlib.crc32(b"".join(file.read_bytes() for file in files))
