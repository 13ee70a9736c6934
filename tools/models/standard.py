"""The standard architectures with seeded weights, and their variants, into CACHE/standard."""
import gzip
import logging
import os
import time
from pathlib import Path

import onnx

import common
import weights
from variants import VARIANTS


def base(record, folder, skeletons):
    path = folder / f"{record['name']}.onnx"
    if path.is_file() and common.sha256(path) == record["sha256"]:
        return "present"
    if skeletons is None and path.is_file():
        return "exported here"
    if skeletons is None:
        raise common.Failed("no skeleton folder: pass --skeletons or set $ALULA_SKELETONS, "
                            "or make the model with `setup.py export` (needs PyTorch)")
    skeleton = skeletons / f"{record['name']}.onnx.gz"
    model = onnx.load_from_string(gzip.decompress(skeleton.read_bytes()))
    common.write_atomically(path, weights.fill(model).SerializeToString())
    digest = common.sha256(path)
    if digest != record["sha256"]:
        raise common.Failed(f"sha256 is {digest}, pinned is {record['sha256']}")
    return "made"


def variant(name, folder):
    """Makes a variant unless the one that lies there came of the same base file."""
    source, make, _, _ = VARIANTS[name]
    path, stamp = folder / f"{name}.onnx", folder / f"{name}.base"
    digest = common.sha256(folder / f"{source}.onnx")
    if path.is_file() and stamp.is_file() and stamp.read_text() == digest:
        return "present"
    part = folder / f"{name}.part.onnx"
    make(folder / f"{source}.onnx", part)
    os.replace(part, path)
    common.write_atomically(stamp, digest.encode())
    return "made"


def run(names, skeletons):
    """Makes the named models (all where `names` is empty); a variant brings its base along."""
    logging.getLogger().setLevel(logging.ERROR)     # the quantizer warns about every bias
    known, folder = common.catalogue("standard"), common.cache() / "standard"
    folder.mkdir(parents=True, exist_ok=True)
    skeletons = skeletons or os.environ.get("ALULA_SKELETONS")
    skeletons = Path(skeletons) if skeletons else None
    if not names and skeletons is None and not any(folder.glob("*.onnx")):
        print("skip  standard: no skeleton folder ($ALULA_SKELETONS) and no exported models")
        return
    wanted = list(names or [*known, *VARIANTS])
    for name in wanted:
        if name not in known and name not in VARIANTS:
            raise common.Failed(f"no standard model is called {name}; "
                                f"known: {', '.join([*known, *VARIANTS])}")
    bases = {VARIANTS[n][0] for n in wanted if n in VARIANTS}
    todo = sorted(bases | {n for n in wanted if n in known})
    todo += [n for n in wanted if n in VARIANTS]
    failed = []
    for name in todo:
        start = time.monotonic()
        try:
            if name in known:
                record, state = known[name], base(known[name], folder, skeletons)
            else:
                source, _, tags, what = VARIANTS[name]
                state = variant(name, folder)
                record = {k: v for k, v in known[source].items() if k not in ("sha256", "bytes")}
                record |= {"name": name, "input_seed": source,
                           "tags": ["standard", "variant", *tags],
                           "task": f"{record['task']}; {what}"}
            common.write_manifest(folder, [record])
            size = (folder / f"{name}.onnx").stat().st_size / 1e6
            print(f"ok    {name:20} {size:7.1f} MB  {state} in {time.monotonic() - start:.1f} s",
                  flush=True)
        except Exception as error:      # one model's failure must not hide the others'
            failed.append(name)
            print(f"FAIL  {name:20} {type(error).__name__}: {error}", flush=True)
    if failed:
        raise common.Failed(f"not made: {', '.join(failed)}")
