"""Reference outputs by ONNX Runtime, into CACHE/references/MODEL/K/.

Each example k of each model gives input_NAME.npy, output_NAME.npy (the optimised run) and
record.json; in file names a character outside A-Za-z0-9._- becomes _. The record:

  model, sha256, onnxruntime, example, method, unordered
  inputs   [{name, file, dtype, shape}]
  outputs  [{name, file, dtype, shape, max_abs, spread, different, nonfinite}], in graph order
  others   [[file of each output]], runs with other results that are as right

`max_abs` is the greatest finite magnitude, `spread` the farthest that the output moves, over
max_abs, between the optimised run and others that nobody could call wrong: ONNX Runtime without
optimisations, and with inputs moved by at most one unit in the last place. No tolerance should be
asked below it. For other than floats `different` counts the elements that moved. Both are null
where even the shape moved. `unordered` tells that rows of the outputs (a detection's box, score and
label) change places in such a run, where scores are all but equal: then rows are compared wherever
they lie, here and by who uses the record. A model that rounds its values to steps hides what moved
in its inputs, and jumps where a value lies at the edge between two steps. To meet such edges its
weights and scales are moved by a unit in the last place: results that differ from all before by
more than the spread and NEAR are `others`, and an answer is right that is near to any of them. int8 arithmetic and reduction order depend on the CPU,
so references belong to one machine.
"""
import gc
import json
import re
import shutil
import time

import numpy as np
import onnx
import onnxruntime as ort

import common
import examples

METHOD = 3              # of measuring the spread: a record of another is made again
NUDGES = 8              # runs with inputs moved
EDGES = 32              # runs with weights moved: a step that one in ten such runs takes is met
ROWS_MAX = 4096         # more are not looked for in other places
NEAR = 1e-4             # of the largest element: rows that far apart are one row


def session(model, level):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1         # so that reductions keep their order
    options.graph_optimization_level = level
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def outputs(model, feeds, level):
    """(output names, [[array per output] per feed]) of a model's path or bytes"""
    running = session(model, level)
    names = [output.name for output in running.get_outputs()]
    return names, [[np.asarray(value) for value in running.run(None, feed)] for feed in feeds]


def moved(array, random):
    """The array with each float moved to a neighbour or left alone."""
    if array.dtype.kind != "f":
        return array
    toward = random.choice(np.array([-np.inf, 0, np.inf], array.dtype), array.shape)
    return np.where(toward == 0, array, np.nextafter(array, toward))


def nudge(feed, seed):
    """The feed with its floats moved as a seed has it."""
    random = np.random.default_rng(seed)
    return {name: moved(array, random) for name, array in feed.items()}


def nudged_models(path):
    """For a model that rounds to steps: its bytes with floats of its initializers moved, in turn."""
    model = onnx.load(str(path))
    if not any("Quant" in node.op_type or node.op_type.startswith("QLinear")
               for node in model.graph.node):
        return
    given = [(tensor, onnx.numpy_helper.to_array(tensor)) for tensor in model.graph.initializer]
    for seed in range(EDGES):
        random = np.random.default_rng(seed)
        for tensor, array in given:
            if array.dtype.kind == "f":
                tensor.CopyFrom(onnx.numpy_helper.from_array(moved(array, random), tensor.name))
        yield model.SerializeToString()


def compare(value, others):
    """The measured part of an output's record."""
    result = {"max_abs": None, "spread": None, "different": None, "nonfinite": 0}
    others = [other if other.shape == value.shape else None for other in others]
    if value.dtype.kind == "f":
        a = value.astype(np.float64)
        finite = np.isfinite(a)
        largest = float(np.abs(a[finite]).max(initial=0.0))
        result |= {"nonfinite": int(a.size - finite.sum()), "max_abs": largest}

        def spread(other):
            both = finite & np.isfinite(other)
            moved = float(np.abs(a[both] - other[both].astype(np.float64)).max(initial=0.0))
            return moved / largest if largest else moved
        key, measure = "spread", spread
    else:
        key, measure = "different", lambda other: int((value != other).sum())
    if all(other is not None for other in others):
        result[key] = max(map(measure, others))
    return result


def matched(values, others):
    """`others` with their rows in the places of the near rows of `values`; None if they have none.

    Values that share their first extent are columns of one table of rows.
    """
    count = {array.shape[:1] for array in values}
    if len(count) != 1 or not (0 < (rows := next(iter(count))[0]) <= ROWS_MAX):
        return None
    if any(a.shape != b.shape or a.dtype.kind not in "fiub" for a, b in zip(values, others)):
        return None

    def table(arrays):
        return np.concatenate([a.reshape(rows, -1).astype(np.float64) for a in arrays], 1)
    bound = np.concatenate([
        np.full(a[0].size, NEAR * np.abs(a.astype(np.float64)).max(initial=0.0)
                if a.dtype.kind == "f" else 0.0) for a in values])
    left, order = list(range(rows)), []
    right, found = table(values), table(others)
    for row in right:
        near = next((i for i in left if (np.abs(found[i] - row) <= bound).all()), None)
        if near is None:
            return None
        left.remove(near)
        order.append(near)
    return [array[order] for array in others]


def settle(values, runs):
    """(runs with rows in the places of `values`, whether any had to be moved)"""
    settled, unordered = [], False
    for run in runs:
        integers = [(a, b) for a, b in zip(values, run) if a.dtype.kind in "iu"]
        if any(a.shape == b.shape and (a != b).any() for a, b in integers):
            if (moved := matched(values, run)) is not None:
                run, unordered = moved, True
        settled.append(run)
    return settled, unordered


def is_near(a, b, spreads):
    """Whether each output of run `b` is within NEAR or the spread of that of run `a`."""
    def one(a, b, spread):
        if a.shape != b.shape or a.dtype.kind != "f":
            return a.shape == b.shape and not (a != b).any()
        far = compare(a, [b])["spread"]
        return far <= max(NEAR, spread or 0.0)
    return all(map(one, a, b, spreads))


def distinct(values, runs, spreads):
    """The runs that are near neither to `values` nor to a run before them."""
    found = [values]
    for run in runs:
        if not any(is_near(known, run, spreads) for known in found):
            found.append(run)
    return found[1:]


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
        known = (have.get("sha256"), have.get("onnxruntime"), have.get("method"))
        if known != (record["sha256"], ort.__version__, METHOD):
            return False
    return True


def write(path, record, folder):
    """References of one model; the folder appears only when they are complete."""
    seed = record.get("input_seed", record["name"])
    feeds = [examples.example(seed, k, recipe) for k, recipe in enumerate(record["examples"])]
    has_floats = any(array.dtype.kind == "f" for feed in feeds for array in feed.values())
    nudged = [nudge(feed, seed) for seed in range(NUDGES if has_floats else 0) for feed in feeds]
    every = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    names, optimised = outputs(str(path), feeds + nudged, every)
    gc.collect()
    edges = [outputs(model, feeds, every)[1] for model in nudged_models(path)]
    _, plain = outputs(str(path), feeds, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    partial, widest = folder.with_name(folder.name + ".part"), 0.0
    shutil.rmtree(partial, ignore_errors=True)
    for k, feed in enumerate(feeds):
        run_folder = partial / str(k)
        run_folder.mkdir(parents=True)
        inputs = [save(run_folder, "input", name, array) for name, array in feed.items()]
        runs, unordered = settle(optimised[k], [plain[k], *optimised[k + len(feeds)::len(feeds)]])
        outs = [save(run_folder, "output", name, value) | compare(value, others)
                for name, value, *others in zip(names, optimised[k], *runs, strict=True)]
        spreads = [out["spread"] for out in outs]
        others = [[save(run_folder, f"other{n}", name, value)["file"]
                   for name, value in zip(names, other, strict=True)]
                  for n, other in enumerate(
                      distinct(optimised[k], [edge[k] for edge in edges], spreads))]
        widest = max([widest, *(spread or 0.0 for spread in spreads)])
        common.write_json(run_folder / "record.json", {
            "model": record["name"], "sha256": record["sha256"], "onnxruntime": ort.__version__,
            "example": k, "method": METHOD, "unordered": unordered,
            "inputs": inputs, "outputs": outs, "others": others})
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
