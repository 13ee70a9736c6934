"""Exports the standard architectures from PyTorch into CACHE/standard: `setup.py export`.

Heavy (about 7 GB of packages, minutes of time), and not part of the tests, so that it is tried
only when somebody needs it. The models have the operators, inputs and outputs of the pinned
files, not the same bytes: weights follow from the names of parameters, and some differ here.
References are made anew for them.
"""
import gc
import re
import tempfile
import time
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

import common
import examples
import weights
from architectures import ARCHITECTURES, IMAGES, TOKENS, Call


def reseed(model, name):
    """Large parameters get values that any machine makes alike, of the initial distribution."""
    for key, parameter in model.named_parameters():
        if parameter.numel() < 2048:
            continue
        data = parameter.detach().float()
        mean, std = data.mean().item(), data.std().item()
        if std == 0.0 and parameter.dim() > 1:      # a head of zeros would make every output zero
            mean, std = 0.0, 0.02
        fresh = torch.from_numpy(weights.values(f"{name}/{key}", parameter.numel(), mean, std))
        with torch.no_grad():
            parameter.copy_(fresh.reshape(parameter.shape))


def set_statistics(model, inputs):
    """One pass sets BatchNorm's statistics, so that activations neither vanish nor explode."""
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None

    def train_if_it_can(norm, arguments):
        norm.train(arguments[0].numel() > arguments[0].shape[1])    # one value has no variance
    hooks = [norm.register_forward_pre_hook(train_if_it_can) for norm in norms]
    if norms:
        with torch.no_grad():
            model(*inputs)
    for hook in hooks:
        hook.remove()
    model.eval()


def tidy(model, axes):
    """Folds and names as PyTorch's optimizer does, but leaves BatchNormalization unfused."""
    import onnx_ir
    import onnx_ir.passes.common as passes
    import onnxscript.optimizer
    ir = onnx_ir.serde.deserialize_model(model)
    for _ in range(2):
        onnxscript.optimizer.fold_constants_ir(ir)
        for step in (passes.IdentityEliminationPass, passes.RemoveUnusedNodesPass,
                     passes.RemoveUnusedFunctionsPass, passes.RemoveUnusedOpsetsPass,
                     passes.LiftConstantsToInitializersPass, passes.DeduplicateInitializersPass):
            step()(ir)
    model, names = onnx_ir.serde.serialize_model(ir), {}
    graph = model.graph
    for value in graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param:
                names.setdefault(dim.dim_param, axes.get(value.name, {}).get(axis, dim.dim_param))
    for value in [*graph.input, *graph.output, *graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\bs\d+\b", lambda s: names.get(s[0], s[0]), dim.dim_param)
    return model


def scrub(model):
    """Stack traces and paths of the exporting machine."""
    graph = model.graph
    model.doc_string = graph.doc_string = ""
    for node in graph.node:
        node.doc_string = ""
    for holder in [model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output,
                   *graph.initializer]:
        del holder.metadata_props[:]
    return model


def export(record, path):
    name = record["name"]
    build, exporter, opset, axes, outputs = ARCHITECTURES[name]
    torch.manual_seed(1234)
    model, recipes, half = build().eval(), record["examples"][0], name.endswith("-fp16")
    reseed(model, name)
    feeds = examples.example(name, 0, recipes)
    inputs = tuple(torch.from_numpy(x).float() if half else torch.from_numpy(x)
                   for x in feeds.values())
    set_statistics(model, inputs)
    if half:
        model, inputs = model.half(), tuple(x.half() for x in inputs)
    names = list(recipes)
    common_options = {"opset_version": opset, "input_names": names, "output_names": outputs}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        raw = Path(folder) / "model.onnx"
        if exporter == "script":
            torch.onnx.export(model, inputs, raw, dynamo=False, dynamic_axes=axes or None,
                              training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=True,
                              **common_options)
        else:
            if axes is IMAGES or axes is TOKENS:    # a batch of one would be taken for a constant
                inputs = tuple(torch.cat([x, x]) for x in inputs)
            dynamic = tuple({axis: torch.export.Dim.DYNAMIC for axis in axes.get(name, {})}
                            for name in names)
            if isinstance(model, Call):             # its one argument stands for all inputs
                dynamic = (dynamic,)
            torch.onnx.export(model, inputs, raw, dynamo=True, external_data=False, optimize=False,
                              dynamic_shapes=dynamic if axes else None, verbose=False,
                              **common_options)
        made = onnx.load(raw)
    made = scrub(tidy(made, axes) if exporter == "dynamo" else made)
    common.write_atomically(path, made.SerializeToString())


def run(names, _skeletons):
    """Exports the named models, all where `names` is empty."""
    known, folder = common.catalogue("standard"), common.cache() / "standard"
    warnings.filterwarnings("ignore")   # of the exporters', about code that is not ours
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    failed = []
    for name in names or known:
        if name not in known:
            raise common.Failed(f"no standard model is called {name}; known: {', '.join(known)}")
        path, start = folder / f"{name}.onnx", time.monotonic()
        if not names and path.is_file():
            print(f"ok    {name:20} present", flush=True)
            continue
        try:
            export(known[name], path)
            common.write_manifest(folder, [known[name]])
            print(f"ok    {name:20} exported in {time.monotonic() - start:.0f} s", flush=True)
        except Exception as error:      # one model's failure must not hide the others'
            failed.append(name)
            print(f"FAIL  {name:20} {type(error).__name__}: {error}", flush=True)
        gc.collect()
    if failed:
        raise common.Failed(f"not exported: {', '.join(failed)}")
