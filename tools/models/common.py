"""What the model tools share: the cache folder, checksums, manifests. Standard library only."""
import hashlib
import json
import os
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Failed(Exception):
    """A step that did not do what it was asked; the message is for the user."""


def cache():
    """The folder that holds everything fetched or made: $ALULA_CACHE or ~/.cache/alula."""
    return Path(os.environ.get("ALULA_CACHE") or Path.home() / ".cache" / "alula").resolve()


def catalogue(name):
    """The records of tools/models/NAME.json by model name, examples written out in full."""
    records = json.loads((HERE / f"{name}.json").read_text())
    for record in records:
        record["examples"] = [expand(example) for example in record["examples"]]
    return {record["name"]: record for record in records}


def expand(example):
    """`past_{k,v}_{0..2}` stands for past_k_0, past_v_0, past_k_1, past_v_1."""
    out = {}
    for name, spec in example.items():
        if "{" not in name:
            out[name] = spec
            continue
        stem, letters, last = name.replace("}", "").split("{")
        low, high = map(int, last.split(".."))
        for index in range(low, high):
            for letter in letters.rstrip("_").split(","):
                out[f"{stem}{letter}_{index}"] = spec
    return out


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path, data):
    """A reader sees the old file or the whole new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def write_json(path, value):
    write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def write_manifest(folder, records):
    """folder/manifest.json: what is known of each model file that lies there, sorted by name.

    A record holds name, file, bytes, sha256, licence, task, tags and examples; of packaged models
    also the source. An example gives dtype, shape and generator per input: see examples.py.
    """
    path = folder / "manifest.json"
    old = json.loads(path.read_text())["models"] if path.is_file() else []
    known = {record["name"]: record for record in old}
    for record in records:
        file = folder / f"{record['name']}.onnx"
        known[record["name"]] = record | {"file": file.name, "bytes": file.stat().st_size,
                                          "sha256": sha256(file)}
    kept = [known[name] for name in sorted(known) if (folder / f"{name}.onnx").is_file()]
    write_json(path, {"models": kept})
