"""Reference outputs by ONNX Runtime, into CACHE/references/MODEL/K/.

Each example k of each model gives input_NAME.npy, output_NAME.npy (the optimised run) and
record.json; in file names a character outside A-Za-z0-9._- becomes _. The record:

  model, sha256, onnxruntime, example
  inputs   [{name, file, dtype, shape}]
  outputs  [{name, file, dtype, shape, max_abs, spread, different, nonfinite}], in graph order

`max_abs` is the greatest finite magnitude, `spread` how far the output moves between ONNX Runtime
with all optimisations and with none, over max_abs: no tolerance should be asked below it. For
other than floats `different` counts the elements that moved. Both are null where even the shape
moved. int8 arithmetic and reduction order depend on the CPU, so references belong to one machine.
"""
import gc
import json
import re
import shutil
import time

import numpy as np
import onnxruntime as ort

import common
import examples


def session(path, level):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1         # so that reductions keep their order
    options.graph_optimization_level = level
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs(path, feeds, level):
    """(output names, [[array per output] per feed])"""
    running = session(path, level)
    names = [output.name for output in running.get_outputs()]
    return names, [[np.asarray(value) for value in running.run(None, feed)] for feed in feeds]


def compare(value, other):
    """The measured part of an output's record."""
    result = {"max_abs": None, "spread": None, "different": None, "nonfinite": 0}
    same_shape = value.shape == other.shape
    if value.dtype.kind == "f":
        a, b = value.astype(np.float64), other.astype(np.float64)
        finite = np.isfinite(a)
        result["nonfinite"] = int(a.size - finite.sum())
        result["max_abs"] = float(np.abs(a[finite]).max(initial=0.0))
        if same_shape:
            both = finite & np.isfinite(b)
            moved = float(np.abs(a[both] - b[both]).max(initial=0.0))
            result["spread"] = moved / result["max_abs"] if result["max_abs"] else moved
    elif same_shape:
        result["different"] = int((value != other).sum())
    return result


def save(folder, prefix, name, array):
    file = f"{prefix}_{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.npy"
    if (folder / file).exists():
        raise common.Failed(f"two tensors want the file {file}")
    if array.dtype.kind == "O":             # strings: fixed-width, readable without pickle
        array = array.astype(str)
    np.save(folder / file, array, allow_pickle=False)
    return {"name": name, "file": file, "dtype": str(array.dtype), "shape": list(array.shape)}


def present(folder, record):
    for k in range(len(record["examples"])):
        path = folder / str(k) / "record.json"
        have = json.loads(path.read_text()) if path.is_file() else {}
        if (have.get("sha256"), have.get("onnxruntime")) != (record["sha256"], ort.__version__):
            return False
    return True


def write(path, record, folder):
    """References of one model; the folder appears only when they are complete."""
    seed = record.get("input_seed", record["name"])
    feeds = [examples.example(seed, k, recipe) for k, recipe in enumerate(record["examples"])]
    names, optimised = outputs(path, feeds, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    gc.collect()
    _, plain = outputs(path, feeds, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    partial, widest = folder.with_name(folder.name + ".part"), 0.0
    shutil.rmtree(partial, ignore_errors=True)
    for k, feed in enumerate(feeds):
        run_folder = partial / str(k)
        run_folder.mkdir(parents=True)
        inputs = [save(run_folder, "input", name, array) for name, array in feed.items()]
        outs = [save(run_folder, "output", name, a) | compare(a, b)
                for name, a, b in zip(names, optimised[k], plain[k], strict=True)]
        widest = max([widest, *(out["spread"] or 0.0 for out in outs)])
        common.write_json(run_folder / "record.json", {
            "model": record["name"], "sha256": record["sha256"], "onnxruntime": ort.__version__,
            "example": k, "inputs": inputs, "outputs": outs})
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return widest


def run(names):
    ort.set_default_logger_severity(3)
    failed, found = [], set()
    for kind in ("real", "standard"):
        models = common.cache() / kind
        manifest = models / "manifest.json"
        if not manifest.is_file():
            print(f"note  no {kind} models in the cache: run `setup.py {kind}` first")
            continue
        for record in json.loads(manifest.read_text())["models"]:
            name = record["name"]
            if names and name not in names:
                continue
            found.add(name)
            folder, start = common.cache() / "references" / name, time.monotonic()
            try:
                if present(folder, record):
                    print(f"ok    {name:20} present", flush=True)
                    continue
                widest = write(models / record["file"], record, folder)
                print(f"ok    {name:20} spread {widest:.1e}  {time.monotonic() - start:.1f} s",
                      flush=True)
            except Exception as error:      # one model's failure must not hide the others'
                failed.append(name)
                print(f"FAIL  {name:20} {type(error).__name__}: {error}", flush=True)
            gc.collect()
    missing = sorted(set(names or []) - found)
    if failed or missing:
        raise common.Failed(f"without references: {', '.join(failed + missing)}")
