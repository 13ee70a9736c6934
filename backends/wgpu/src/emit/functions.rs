//! Functions that WGSL lacks or leaves inexact, printed into the shaders that need them.

use std::collections::BTreeSet;

use alula_tensor::ScalarOp;

use super::math::MATH;
use super::repr::Repr;

/// Name, what it calls, text.
pub(super) type Row = (&'static str, &'static [&'static str], &'static str);

/// The functions that a shader needs.
#[derive(Debug, Default)]
pub(super) struct Functions {
    needed: BTreeSet<&'static str>,
    divisions: BTreeSet<(&'static str, &'static str)>,
}

impl Functions {
    /// Notes a function by name; names that this table does not have are WGSL's own.
    pub(super) fn need(&mut self, name: &'static str) {
        if let Some((_, needs, _)) = TABLE.iter().chain(MATH).find(|row| row.0 == name)
            && self.needed.insert(name)
        {
            needs.iter().for_each(|other| self.need(other));
        }
    }

    /// Notes a division; returns the function's name.
    pub(super) fn division(&mut self, op: ScalarOp, repr: Repr) -> String {
        self.divisions.insert((op.name(), repr.name()));
        format!("{}_{}", op.name(), repr.name())
    }

    /// The text of what was noted, callees first.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (op, ty) in &self.divisions {
            text.push_str(&division(op, ty));
        }
        for (name, _, body) in TABLE.iter().chain(MATH) {
            if self.needed.contains(name) {
                text.push_str(body);
                text.push('\n');
            }
        }
        text
    }
}

/// Integer divisions by any divisor, 0 included.
fn division(op: &str, ty: &str) -> String {
    let signed = ty.starts_with('i');
    let apart = "((rest < zero) != (b < zero))";
    let body = match (op, signed) {
        ("floordiv", true) => {
            format!("let rest = a % b;\n  result = a / b - {ty}(rest != zero && {apart});")
        }
        ("floormod", true) => {
            format!(
                "let rest = a % b;\n  result = rest + select(zero, b, rest != zero && {apart});"
            )
        }
        ("div" | "floordiv", _) => "result = a / b;".to_owned(),
        _ => "result = a % b;".to_owned(),
    };
    // Division by -1 is apart: the least number over -1 overflows.
    let negate = match (op, signed) {
        ("div" | "floordiv", true) => " else if (b + one == zero) { result = zero - a; }",
        (_, true) => " else if (b + one == zero) { result = zero; }",
        _ => "",
    };
    let one = if signed {
        format!("\n  let one = {ty}(1);")
    } else {
        String::new()
    };
    format!(
        "fn {op}_{ty}(a: {ty}, b: {ty}) -> {ty} {{\n  let zero = {ty}(0);{one}\n  var result = \
         zero;\n  if (b == zero) {{ return zero; }}{negate} else {{\n  {body}\n  }}\n  return \
         result;\n}}\n"
    )
}

/// Conversions and comparisons. A function comes after those that it calls.
const TABLE: &[Row] = &[
    (
        // A number that drivers know nothing of: the first of the sizes is 0.
        "opaque",
        &[],
        "fn opaque(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) | u32(sizes[0].x));
}",
    ),
    (
        // The same for 64-bit integers, and not known to be 32 bits made wider.
        "opaque_i64",
        &[],
        "fn opaque_i64(x: i64) -> i64 {
  return x + (i64(sizes[0].x) << 32u);
}",
    ),
    (
        "is_nan_f32",
        &[],
        "fn is_nan_f32(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}",
    ),
    (
        "f32_to_i32",
        &["is_nan_f32"],
        "fn f32_to_i32(x: f32) -> i32 {
  if (is_nan_f32(x)) { return 0i; }
  if (x >= 2147483648.0f) { return 2147483647i; }
  if (x < -2147483648.0f) { return -2147483647i - 1i; }
  return i32(x);
}",
    ),
    (
        "f32_to_u32",
        &["is_nan_f32"],
        "fn f32_to_u32(x: f32) -> u32 {
  if (is_nan_f32(x) || x <= 0.0f) { return 0u; }
  if (x >= 4294967296.0f) { return 4294967295u; }
  return u32(x);
}",
    ),
    (
        "f32_to_i64",
        &["is_nan_f32"],
        "fn f32_to_i64(x: f32) -> i64 {
  if (is_nan_f32(x)) { return 0li; }
  if (x >= 9223372036854775808.0f) { return 9223372036854775807li; }
  if (x < -9223372036854775808.0f) { return -9223372036854775807li - 1li; }
  return i64(x);
}",
    ),
    (
        "f32_to_u64",
        &["is_nan_f32"],
        "fn f32_to_u64(x: f32) -> u64 {
  if (is_nan_f32(x) || x <= 0.0f) { return 0lu; }
  if (x >= 18446744073709551616.0f) { return 18446744073709551615lu; }
  return u64(x);
}",
    ),
    (
        "sign_f32",
        &[],
        "fn sign_f32(x: f32) -> f32 {
  return select(select(x, 1.0f, x > 0.0f), -1.0f, x < 0.0f);
}",
    ),
    (
        // Drivers take WGSL's own for false with NaN.
        "ne_f32",
        &["is_nan_f32"],
        "fn ne_f32(a: f32, b: f32) -> bool {
  return a != b || is_nan_f32(a) || is_nan_f32(b);
}",
    ),
    (
        "min_f32",
        &["is_nan_f32"],
        "fn min_f32(a: f32, b: f32) -> f32 {
  return select(select(a, b, b < a || is_nan_f32(b)), a, is_nan_f32(a));
}",
    ),
    (
        "max_f32",
        &["is_nan_f32"],
        "fn max_f32(a: f32, b: f32) -> f32 {
  return select(select(a, b, b > a || is_nan_f32(b)), a, is_nan_f32(a));
}",
    ),
    (
        // A quotient that was rounded up to a whole number is one too great.
        "floor_div_f32",
        &["product_f32"],
        "fn floor_div_f32(a: f32, b: f32) -> f32 {
  let q = floor(a / b);
  let p = product_f32(q, b);
  let over = opaque(p.x - a) + p.y;
  let high = (b > 0.0f && over > 0.0f) || (b < 0.0f && over < 0.0f);
  return select(q, q - 1.0f, high && abs(q) < 16777216.0f);
}",
    ),
    (
        // Long division of the significands, a bit at a time: exact, whatever the quotient.
        "rem_f32",
        &["nan_f32"],
        "fn rem_f32(a: f32, b: f32) -> f32 {
  let x = bitcast<u32>(a) & 0x7fffffffu;
  let y = bitcast<u32>(b) & 0x7fffffffu;
  if (x >= 0x7f800000u || y > 0x7f800000u || y == 0u) { return nan_f32(); }
  if (x < y) { return a; }
  let start = max(i32(x >> 23u), 1i);
  var exponent = max(i32(y >> 23u), 1i);
  let divisor = (y & 0x7fffffu) | select(0u, 0x800000u, y > 0x7fffffu);
  var rest = ((x & 0x7fffffu) | select(0u, 0x800000u, x > 0x7fffffu)) % divisor;
  for (var k = exponent; k < start; k += 1i) {
    rest <<= 1u;
    rest -= select(0u, divisor, rest >= divisor);
  }
  let shift = min(i32(countLeadingZeros(rest)) - 8i, exponent - 1i);
  rest <<= u32(shift);
  exponent -= shift;
  let normal = (u32(exponent) << 23u) | (rest & 0x7fffffu);
  let bits = select(rest, normal, rest > 0x7fffffu);
  return bitcast<f32>(bits | (bitcast<u32>(a) & 0x80000000u));
}",
    ),
    (
        "floor_mod_f32",
        &["rem_f32"],
        "fn floor_mod_f32(a: f32, b: f32) -> f32 {
  let rest = rem_f32(a, b);
  let bits = bitcast<u32>(rest);
  let apart = ((bits ^ bitcast<u32>(b)) >> 31u) != 0u;
  return select(rest, rest + b, apart && (bits & 0x7fffffffu) != 0u);
}",
    ),
];
