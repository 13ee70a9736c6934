#!/usr/bin/env python3
"""Lists the versions at which ONNX's operators were defined anew, from the installed onnx package.

    python3 tools/models/since_versions.py > crates/onnx/tests/since_versions.txt

One line an operator: its name with the domain before it, then its versions; `!` is before one in
which the operator is deprecated. `crates/onnx/tests/versions.rs` holds the rows to this list.
"""
import sys

import onnx


def main():
    versions = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        mark = "!" if schema.deprecated else ""
        name = f"{schema.domain}::{schema.name}" if schema.domain else schema.name
        versions.setdefault(name, []).append((schema.since_version, mark))
    print(f"# Made by tools/models/since_versions.py from onnx {onnx.__version__}.")
    for name, since in sorted(versions.items()):
        print(name, *(f"{mark}{version}" for version, mark in sorted(since)))


if __name__ == "__main__":
    sys.exit(main())
