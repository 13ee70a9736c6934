#!/usr/bin/env python3
"""Speed beside other engines: `alula bench` and each peer in turns, each in a process of its own.

  cargo build --release -p alula-cli
  python3 tools/models/speed.py                           every set, 1 thread
  python3 tools/models/speed.py --set f32 resnet50 --threads 2
  python3 tools/models/speed.py --threads 1,2 --write docs/PERFORMANCE.md

Models are those of the cache (README.md beside this file), run on the inputs of their first
example. Every round runs each side once, in an order that changes, so that what else the machine
does meets all; the least time of all rounds counts. With one thread that is processor time, which
passes for the measured process alone; with more it is time, for threads that wait take processors.
A ratio is the best peer's least time over Alula's: above 1, Alula is faster.
"""
import argparse
import datetime
import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import common

ROOT = common.HERE.parent.parent
DENSE = ["resnet50", "unet", "deit-tiny", "bert-base", "whisper-tiny-enc", "gpt2", "matmul_1024"]
F32 = ["resnet50", "mobilenet-v2", "efficientnet-b0", "unet", "deit-tiny", "swin-t", "bert-base",
       "whisper-tiny-enc", "gpt2", "gpt2-kv", "llama-160m-kv", "speech-lstm", "silero-vad",
       "matmul_1024", "mlp_b1", "eltwise_chain", "softmax_ln", "tiny_mlp", "lstm_small"]
INT8 = ["resnet50-qdq", "resnet50-qop", "mobilenet-v2-qdq", "distilbert-dynq", "mlp_b1-qdq"]
# name: (what it is, our precision, peers, models)
SETS = {
    "f32": ("`--precision highest` beside peers in f32", "highest",
            ["onnxruntime", "openvino-f32"], F32),
    "high": ("`--precision high` beside peers in f32", "high",
             ["onnxruntime", "openvino-f32"], DENSE),
    "medium": ("`--precision medium` beside OpenVINO's default", "medium", ["openvino"], F32),
    "int8": ("quantized models", "highest", ["onnxruntime", "openvino"], INT8),
}


# ------------------------------------------------------------------ one process of a peer
def record_of(path):
    records = json.loads((path.parent / "manifest.json").read_text())["models"]
    return next(record for record in records if record["file"] == path.name)


def onnxruntime(path, feed, threads):
    """A function that runs the model once, inputs and outputs bound."""
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return lambda: session.run_with_iobinding(binding)


def openvino(path, feed, threads, precision=None):
    import openvino as ov
    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    if precision:
        options["INFERENCE_PRECISION_HINT"] = precision
    core = ov.Core()
    model = core.read_model(path)
    model.reshape({name: array.shape for name, array in feed.items()})
    request = core.compile_model(model, "CPU", options).create_infer_request()
    for name, array in feed.items():
        request.set_tensor(name, ov.Tensor(array))
    return request.infer


PEERS = {"onnxruntime": onnxruntime, "openvino": openvino,
         "openvino-f32": lambda *given: openvino(*given, precision="f32")}
TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "openvino-f32": "OpenVINO f32"}


def measure(peer, path, args):
    """Prints the least times of a peer's runs."""
    import examples
    record = record_of(path)
    seed = record.get("input_seed", record["name"])
    feed = examples.example(seed, 0, record["examples"][0])
    run = PEERS[peer](path, feed, int(args.threads))
    times, processor_times = [], []
    end = time.monotonic() + args.seconds
    while len(times) < 4 or time.monotonic() < end:
        start, processor_start = time.perf_counter(), time.process_time()
        run()
        processor_times.append((time.process_time() - processor_start) * 1e3)
        times.append((time.perf_counter() - start) * 1e3)
    print(json.dumps({"min_ms": min(times[1:]), "cpu_min_ms": min(processor_times[1:])}))


# ------------------------------------------------------------------ all of them in turns
def least(command, threads):
    """The least time that a process measured, in ms; `None` if it failed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"  failed: {command[0]} {command[-1]}: {last}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])[
        "cpu_min_ms" if threads == 1 else "min_ms"]


def path_of(name):
    for kind in ("real", "standard", "small"):
        path = common.cache() / kind / f"{name}.onnx"
        if path.is_file():
            return path
    raise common.Failed(f"{name} is not in {common.cache()}: run tools/models/setup.py")


def measure_all(path, precision, peers, threads, turn, args, python):
    """{side: least time} of one round, Alula's under "alula"."""
    # Engines that can are told the shapes before they compile.
    shapes = [word for name, recipe in record_of(path)["examples"][0].items()
              for word in ("--shape", f"{name}={'x'.join(map(str, recipe['shape']))}")]
    commands = {"alula": [args.alula, "--json", "bench", path, "--precision", precision,
                          "--duration", args.seconds, "--threads", threads, *shapes]}
    for peer in peers:
        commands[peer] = [python, __file__, "--measure", peer, path, "--seconds", args.seconds,
                          "--threads", threads]
    sides = list(commands)
    sides = sides[turn % len(sides):] + sides[:turn % len(sides)]
    times = {side: least(commands[side], threads) for side in sides}
    return {side: time for side, time in times.items() if time is not None}


def rounds(models, precision, peers, threads, args, python):
    """{model: {side: least time}}. All models are measured before the next round begins: whatever
    else uses the machine slows for seconds, and one round of a model is over sooner."""
    best = {model: {} for model in models}
    for turn in range(args.rounds):
        for model in models:
            print(f"  round {turn + 1} of {args.rounds}: {model}", file=sys.stderr)
            found = measure_all(path_of(model), precision, peers, threads, turn, args, python)
            for side, time in found.items():
                best[model][side] = min(time, best[model].get(side, math.inf))
    return best


def shown(value):
    return "-" if value is None else f"{value:.3f}" if value < 1 else f"{value:.1f}"


def table(name, threads, args, python):
    """The lines of a set's table."""
    title, precision, peers, models = SETS[name]
    lines, ratios = [], []

    def line(*cells):
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)

    line("model", *(TITLES[peer] for peer in peers), "Alula", "ratio")
    line(*["---"] * (len(peers) + 3))
    measured = rounds(args.models or models, precision, peers, threads, args, python)
    for model, best in measured.items():
        others, ours = [best[peer] for peer in peers if peer in best], best.get("alula")
        ratio = min(others) / ours if others and ours else None
        ratios += [ratio] if ratio else []
        line(model, *(shown(best.get(peer)) for peer in peers), shown(ours),
             f"{ratio:.2f}" if ratio else "-")
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        line("geometric mean", *[""] * (len(peers) + 1), f"{mean:.2f}")
    return title, lines


def machine():
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    info = {key.strip(): value.strip() for key, value in pairs}
    flags = set(info.get("flags", "").split())
    kinds = [kind for flag, kind in (("avx2", "AVX2"), ("avx512f", "AVX-512"),
                                     ("avx512_vnni", "VNNI"), ("amx_tile", "AMX")) if flag in flags]
    return (f"{info.get('model name', platform.processor())}, {os.cpu_count()} cores, "
            f"{' '.join(kinds)}")


def page(tables, args, python):
    versions = subprocess.run([python, "-c", "import onnxruntime as o, openvino as v;"
                               "print('ONNX Runtime', o.__version__ + ', OpenVINO',"
                               "v.__version__.split('-')[0])"], capture_output=True, text=True)
    sets = "".join(f"--set {name} " for name in args.set or [])
    here = machine()
    text = [f"""# Performance{"" if "AMX" in here else " without AMX"}

<!-- Written by `tools/models/speed.py --write`. -->

{here}; {versions.stdout.strip()}; {datetime.date.today()}.

Least times in milliseconds of {args.rounds} rounds of {args.seconds:g} s, in which each engine
runs in turn and in a process of its own. *Ratio* is the best peer's time over Alula's: above 1,
Alula is faster. With one thread times are of the processor. The machine is shared: only ratios of
one run count, and differences under 10 % are noise.

    python3 tools/models/setup.py all && python3 tools/models/setup.py small
    cargo build --release -p alula-cli
    python3 tools/models/speed.py {sets}--threads {args.threads} --write {args.write}

`cargo bench -p alula-benches --bench kernels` measures kernels by themselves: products, convolutions
and loops in GFLOP/s or GB/s, and per cent of what this machine reaches from registers or memory."""]
    for threads, title, lines in tables:
        text += ["", f"## {title[0].upper()}{title[1:]}, {threads} thread{'s' * (threads > 1)}", "",
                 *lines]
    return "\n".join(text) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="default: those of the set")
    parser.add_argument("--set", choices=SETS, action="append", help="default: all")
    parser.add_argument("--alula", default=ROOT / "target" / "release" / "alula")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", default="1", help="such as 1,2 (default: 1)")
    parser.add_argument("--write", metavar="FILE", help="a page of the tables")
    parser.add_argument("--measure", nargs=2, metavar=("PEER", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return measure(args.measure[0], Path(args.measure[1]), args)
    import setup
    python = setup.environment("venv-peers", ("requirements.txt", "requirements-peers.txt"))
    tables = []
    for name in args.set or SETS:
        for threads in map(int, args.threads.split(",")):
            print(f"\n{SETS[name][0]}, {threads} thread(s)\n", flush=True)
            title, lines = table(name, threads, args, python)
            tables.append((threads, title, lines))
    if args.write:
        common.write_atomically(Path(args.write), page(tables, args, python).encode())


if __name__ == "__main__":
    try:
        main()
    except common.Failed as failed:
        sys.exit(f"speed.py: {failed}")
