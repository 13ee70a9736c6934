#!/usr/bin/env python3
"""Speed beside ONNX Runtime: `alula bench` and ONNX Runtime in turns, each in a process of its own.

  cargo build --release -p alula-cli
  python3 tools/models/speed.py resnet50 mobilenet-v2 bert-base

Models are those of the cache (README.md beside this file), run on the inputs of their first
example. Every round runs each side once, in an order that changes, so that what else the machine
does meets both; the least time of all rounds counts. With one thread that is processor time, which
passes for the measured process alone; with more it is time, for threads that wait take processors.
"""
import argparse
import json
import subprocess
import sys
import time

import common

ROOT = common.HERE.parent.parent


def last_line(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise common.Failed(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measured(args):
    return "cpu_min_ms" if args.threads == 1 else "min_ms"


def alula(program, model, args):
    return last_line([program, "--json", "bench", model, "--threads", str(args.threads),
                      "--duration", str(args.seconds)])[measured(args)]


def onnxruntime(model, name, args):
    python = common.cache() / "venv" / "bin" / "python"
    return last_line([python, __file__, "--measure", model, name, "--threads", str(args.threads),
                      "--seconds", str(args.seconds)])[measured(args)]


def measure(model, name, args):
    """In the virtual environment: the least time of ONNX Runtime's runs."""
    import numpy as np
    import onnxruntime as ort
    folder = common.cache() / "references" / name / "0"
    record = json.loads((folder / "record.json").read_text())
    feed = {entry["name"]: np.load(folder / entry["file"]) for entry in record["inputs"]}
    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    times, processor_times = [], []
    end = time.monotonic() + args.seconds
    while len(times) < 4 or time.monotonic() < end:
        start, processor_start = time.perf_counter(), time.process_time()
        session.run(None, feed)
        times.append((time.perf_counter() - start) * 1e3)
        processor_times.append((time.process_time() - processor_start) * 1e3)
    print(json.dumps({"min_ms": min(times[1:]), "cpu_min_ms": min(processor_times[1:]),
                      "runs": len(times)}))


def path_of(name):
    for kind in ("real", "standard"):
        path = common.cache() / kind / f"{name}.onnx"
        if path.is_file():
            return path
    raise common.Failed(f"{name} is not in {common.cache()}: run tools/models/setup.py")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--alula", default=ROOT / "target" / "release" / "alula")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "NAME"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return measure(*args.measure, args)
    print("| model | ONNX Runtime | Alula | Alula's speed |\n|---|---|---|---|")
    for name in args.models:
        model = path_of(name)
        ours, theirs = [], []
        for turn in range(args.rounds):
            sides = [lambda: ours.append(alula(args.alula, model, args)),
                     lambda: theirs.append(onnxruntime(model, name, args))]
            for side in sides if turn % 2 == 0 else reversed(sides):
                side()
        best, other = min(ours), min(theirs)
        print(f"| {name} | {other:.1f} | {best:.1f} | {other / best:.2f} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except common.Failed as failed:
        sys.exit(f"speed.py: {failed}")
