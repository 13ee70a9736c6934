#!/usr/bin/env python3
"""Lists what ONNX's operators take: operands with their types, attributes, numbers of outputs.

    ~/.cache/alula/venv/bin/python tools/models/schemas.py > crates/onnx/src/schemas.txt

From the installed packages: onnx for its own domains, onnxruntime for `com.microsoft` and for what
it adds to the main domain. First the sets of types, numbered; then one line for each version of
each operator that is defined there: `[DOMAIN::]NAME VERSION OUTPUTS | OPERANDS | ATTRIBUTES`, with
the greatest number of outputs, or `*`. An operand is `NAME:VARIABLE=SET`; operands of one variable
have one type, those without one have any of the set. `?` after a name is optional, `*N` any number,
at least N. `!` after an attribute is required. `crates/onnx/src/schema.rs` reads this.
"""
import sys

import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort

WORDS = {"float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16",
         "float4e2m1": "f4e2m1"}
WORDS |= {f"{sign}int{bits}": f"{short}{bits}" for sign, short in (("", "i"), ("u", "u"))
          for bits in (2, 4, 8, 16, 32, 64)}


def word(ty):
    """`tensor(float)` is `f32`, `optional(seq(tensor(int64)))` is `opt(seq(i64))`,
    `map(string,tensor(double))` is `map(string,f64)`."""
    for long, short in (("seq(", "seq("), ("optional(", "opt(")):
        if ty.startswith(long):
            return f"{short}{word(ty[len(long):-1])})"
    if ty.startswith("map("):
        key, value = ty[4:-1].split(",", 1)
        return f"map({WORDS.get(key, key)},{word(value)})"
    if ty.startswith("tensor("):
        name = ty[7:-1]
        return WORDS.get(name, name.replace("float", "f"))
    return ty


class Sets:
    def __init__(self):
        self.numbers = {}

    def number(self, types):
        key = " ".join(sorted({word(ty) for ty in types}))
        return self.numbers.setdefault(key, len(self.numbers))


def operand(schema, x, sets):
    option = {"Single": "", "Optional": "?", "Variadic": "*"}[str(x.option).split(".")[-1]]
    is_alike = x.isHomogeneous if hasattr(x, "isHomogeneous") else x.is_homogeneous
    variable = x.typeStr if hasattr(x, "typeStr") else x.type_str
    if option == "*":
        option += str(schema.min_input - len(schema.inputs) + 1 if hasattr(x, "typeStr")
                      else x.min_arity)
    if "(" in variable or not is_alike:         # a type, or one of each operand's own
        variable = ""
    return f"{x.name}{option}:{variable}={sets.number(x.types)}"


def line(schema, sets):
    name = f"{schema.domain}::{schema.name}" if schema.domain else schema.name
    operands = [operand(schema, x, sets) for x in schema.inputs]
    attributes = [f"{key}{'!' if given.required else ''}"
                  for key, given in sorted(schema.attributes.items())]
    most = "*" if schema.max_output > 1000 else str(schema.max_output)
    return " ".join([name, str(schema.since_version), most, "|", *operands, "|", *attributes])


def main():
    schemas = [s for s in onnx.defs.get_all_schemas_with_history() if s.inputs or not s.deprecated]
    known = {(s.domain, s.name) for s in onnx.defs.get_all_schemas_with_history()}
    more = [s for s in ort.get_all_operator_schema() if s.domain in ("", "com.microsoft")]
    schemas += [s for s in more if (s.domain, s.name) not in known and not s.deprecated]
    sets = Sets()
    schemas.sort(key=lambda s: (s.domain, s.name, s.since_version))
    lines = [line(schema, sets) for schema in schemas]
    versions = f"onnx {onnx.__version__} and onnxruntime {onnxruntime.__version__}"
    print(f"# Made by tools/models/schemas.py from {versions}.")
    for types, number in sets.numbers.items():
        print(f"{number} = {types}")
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
