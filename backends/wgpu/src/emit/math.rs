//! Elementary functions of `f32`, within 4 ULP, in `f32` and integers throughout.
//!
//! WGSL's own may be off by thousands of ULP, and few adapters have `f64`. Polynomials are least
//! squares fits on the reduced intervals. Numbers that a driver must not simplify pass through
//! `opaque`. Infinities and NaN are made at run time, from bits.

use super::functions::Row;

/// Name, what it calls, text. A function comes after those that it calls.
pub(super) const MATH: &[Row] = &[
    (
        "infinity_f32",
        &[],
        "fn infinity_f32() -> f32 {
  return bitcast<f32>(0x7f800000u | u32(sizes[0].x));
}",
    ),
    (
        "nan_f32",
        &[],
        "fn nan_f32() -> f32 {
  return bitcast<f32>(0x7fc00000u | u32(sizes[0].x));
}",
    ),
    (
        // x * 2^n in two steps, so that results reach the subnormals and infinity.
        "scale_f32",
        &[],
        "fn scale_f32(x: f32, n: i32) -> f32 {
  let half = n >> 1u;
  let a = bitcast<f32>((half + 127i) << 23u);
  let b = bitcast<f32>((n - half + 127i) << 23u);
  return x * a * b;
}",
    ),
    (
        "exp_f32",
        &["is_nan_f32", "scale_f32"],
        "fn exp_f32(x: f32) -> f32 {
  if (is_nan_f32(x)) { return x; }
  let limited = clamp(x, -104.0f, 89.0f);
  let n = round(limited * 1.442695f);
  let r = (limited - n * 0.693359375f) - n * -2.1219444e-4f;
  let p = 0.5f + r * (0.16666578f + r * (0.041666944f + r * (0.0083631305f + r * 0.0013893832f)));
  return scale_f32(1.0f + (r + r * r * p), i32(n));
}",
    ),
    (
        "expm1_f32",
        &["exp_f32"],
        "fn expm1_f32(x: f32) -> f32 {
  if (abs(x) > 0.5f || is_nan_f32(x)) { return exp_f32(x) - 1.0f; }
  let p = 0.16666667f + x * (0.041666664f + x * (0.008333237f + x * (0.0013889008f
    + x * (1.994471e-4f + x * 2.4835967e-5f))));
  return x + x * x * (0.5f + x * p);
}",
    ),
    (
        "log_f32",
        &["is_nan_f32", "infinity_f32", "nan_f32"],
        "fn log_f32(x: f32) -> f32 {
  if (is_nan_f32(x) || x < 0.0f) { return nan_f32(); }
  var bits = bitcast<u32>(x) & 0x7fffffffu;
  if (bits == 0u) { return -infinity_f32(); }
  if (bits == 0x7f800000u) { return x; }
  var offset = 0i;
  if (bits < 0x00800000u) {
    bits = bitcast<u32>(x * 8388608.0f);
    offset = -23i;
    if (bits == 0u) { return -infinity_f32(); }
  }
  let shifted = bits - 0x3f3504f3u;
  let e = f32((bitcast<i32>(shifted) >> 23u) + offset);
  let f = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  let s = f / (2.0f + f);
  let z = s * s;
  let r = z * (0.6666667f + z * (0.4f + z * (0.2857143f + z * 0.2222222f)));
  let h = 0.5f * f * f;
  return e * 0.693359375f - ((h - (s * (h + r) + e * -2.1219444e-4f)) - f);
}",
    ),
    (
        "log1p_f32",
        &["log_f32", "opaque"],
        "fn log1p_f32(x: f32) -> f32 {
  if (is_nan_f32(x) || x <= -1.0f || x > 1e10f) { return log_f32(1.0f + x); }
  let u = opaque(1.0f + x);
  // What the sum lost, of the smaller part.
  let whole = opaque(u - 1.0f);
  let lost = select(x - whole, 1.0f - (u - x), abs(x) > 1.0f);
  return select(log_f32(u) + lost / u, x, abs(x) < 1e-7f);
}",
    ),
    (
        "mul_wide",
        &[],
        "fn mul_wide(a: u32, b: u32) -> vec2<u32> {
  let al = a & 0xffffu;
  let ah = a >> 16u;
  let bl = b & 0xffffu;
  let bh = b >> 16u;
  let low = al * bl;
  let middle = ah * bl + (low >> 16u);
  let other = al * bh + (middle & 0xffffu);
  return vec2<u32>((other << 16u) | (low & 0xffffu), ah * bh + (middle >> 16u) + (other >> 16u));
}",
    ),
    (
        // The bits of 2 / pi from a place on.
        "two_over_pi",
        &[],
        "fn two_over_pi(start: u32) -> u32 {
  var words = array<u32, 7>(0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u,
    0x3c439041u, 0xfe5163abu);
  let word = start >> 5u;
  let shift = start & 31u;
  if (shift == 0u) { return words[word]; }
  return (words[word] << shift) | (words[word + 1u] >> (32u - shift));
}",
    ),
    (
        // The nearest multiple of pi / 2, modulo 4, and what is left.
        "quarter_turns",
        &["mul_wide", "two_over_pi"],
        "struct Turned {
  quarter: u32,
  rest: f32,
}
fn quarter_turns(x: f32) -> Turned {
  if (abs(x) < 10000.0f) {
    let n = round(x * 0.63661975f);
    let rest = ((x - n * 1.5703125f) - n * 4.837513e-4f) - n * 7.5497894e-8f;
    return Turned(bitcast<u32>(i32(n)) & 3u, rest);
  }
  let bits = bitcast<u32>(x) & 0x7fffffffu;
  let mantissa = (bits & 0x007fffffu) | 0x00800000u;
  let exponent = i32(bits >> 23u) - 150i;
  // The product with 96 bits; those above count whole turns.
  let start = u32(max(exponent - 2i, 0i));
  let shift = u32(2i - min(exponent, 2i));
  let p0 = mul_wide(mantissa, two_over_pi(start + 64u));
  let p1 = mul_wide(mantissa, two_over_pi(start + 32u));
  let p2 = mul_wide(mantissa, two_over_pi(start));
  let w1 = p0.y + p1.x;
  let carry1 = select(0u, 1u, w1 < p1.x);
  let w2a = p1.y + carry1;
  let w2 = w2a + p2.x;
  let w3 = p2.y + select(0u, 1u, w2 < p2.x);
  var high = w2;
  var low = w1;
  if (shift > 0u) {
    high = (w3 << (32u - shift)) | (w2 >> shift);
    low = (w2 << (32u - shift)) | (w1 >> shift);
  }
  // Two bits of quarters, the rest a fraction with a sign.
  var quarter = high >> 30u;
  high = (high << 2u) | (low >> 30u);
  low = low << 2u;
  let negative = (high >> 31u) != 0u;
  if (negative) {
    quarter = (quarter + 1u) & 3u;
    low = ~low + 1u;
    high = ~high + select(0u, 1u, low == 0u);
  }
  var rest = (f32(high) * 2.3283064e-10f + f32(low) * 5.421011e-20f) * 1.5707964f;
  if (negative) { rest = -rest; }
  if (x < 0.0f) { return Turned((4u - quarter) & 3u, -rest); }
  return Turned(quarter, rest);
}",
    ),
    (
        "sin_near_0",
        &[],
        "fn sin_near_0(x: f32) -> f32 {
  let z = x * x;
  let p = -0.16666667f + z * (0.008333332f + z * (-1.9840029e-4f + z * 2.7242743e-6f));
  return x + x * z * p;
}
fn cos_near_0(x: f32) -> f32 {
  let z = x * x;
  let p = 0.041666664f + z * (-0.0013888244f + z * 2.453841e-5f);
  return 1.0f - (0.5f * z - z * z * p);
}",
    ),
    (
        "sin_f32",
        &["is_nan_f32", "nan_f32", "quarter_turns", "sin_near_0"],
        "fn sin_f32(x: f32) -> f32 {
  if ((bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u) { return nan_f32(); }
  let turned = quarter_turns(x);
  let odd = (turned.quarter & 1u) != 0u;
  let y = select(sin_near_0(turned.rest), cos_near_0(turned.rest), odd);
  return select(y, -y, turned.quarter > 1u);
}",
    ),
    (
        "cos_f32",
        &["is_nan_f32", "nan_f32", "quarter_turns", "sin_near_0"],
        "fn cos_f32(x: f32) -> f32 {
  if ((bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u) { return nan_f32(); }
  let turned = quarter_turns(x);
  let odd = (turned.quarter & 1u) != 0u;
  let y = select(cos_near_0(turned.rest), sin_near_0(turned.rest), odd);
  return select(y, -y, turned.quarter == 1u || turned.quarter == 2u);
}",
    ),
    (
        "tan_f32",
        &["is_nan_f32", "nan_f32", "quarter_turns", "sin_near_0"],
        "fn tan_f32(x: f32) -> f32 {
  if ((bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u) { return nan_f32(); }
  let turned = quarter_turns(x);
  let s = sin_near_0(turned.rest);
  let c = cos_near_0(turned.rest);
  if ((turned.quarter & 1u) != 0u) { return -c / s; }
  return s / c;
}",
    ),
    (
        "atan_f32",
        &["is_nan_f32"],
        "fn atan_f32(x: f32) -> f32 {
  if (is_nan_f32(x)) { return x; }
  let a = abs(x);
  var t = a;
  var base = 0.0f;
  if (a > 2.4142137f) {
    t = -1.0f / a;
    base = 1.5707964f;
  } else if (a > 0.41421357f) {
    t = (a - 1.0f) / (a + 1.0f);
    base = 0.7853982f;
  }
  let z = t * t;
  let p = -0.3333333f + z * (0.19999532f + z * (-0.14263754f + z * (0.107419305f
    + z * -0.06446767f)));
  let y = base + (t + t * z * p);
  return select(y, -y, x < 0.0f);
}",
    ),
    (
        "asin_near_0",
        &[],
        "fn asin_near_0(x: f32) -> f32 {
  let z = x * x;
  let p = 0.16666666f + z * (0.075001016f + z * (0.044597846f + z * (0.031114822f
    + z * (0.01709279f + z * 0.033772755f))));
  return x + x * z * p;
}",
    ),
    (
        "asin_f32",
        &["is_nan_f32", "nan_f32", "asin_near_0"],
        "fn asin_f32(x: f32) -> f32 {
  let a = abs(x);
  if (is_nan_f32(x) || a > 1.0f) { return nan_f32(); }
  if (a <= 0.5f) { return asin_near_0(x); }
  let y = 1.5707964f - 2.0f * asin_near_0(sqrt(0.5f * (1.0f - a)));
  return select(y, -y, x < 0.0f);
}",
    ),
    (
        "acos_f32",
        &["is_nan_f32", "nan_f32", "asin_near_0"],
        "fn acos_f32(x: f32) -> f32 {
  let a = abs(x);
  if (is_nan_f32(x) || a > 1.0f) { return nan_f32(); }
  if (a <= 0.5f) { return 1.5707964f - asin_near_0(x); }
  let y = 2.0f * asin_near_0(sqrt(0.5f * (1.0f - a)));
  return select(y, 3.1415927f - y, x < 0.0f);
}",
    ),
    (
        "sinh_f32",
        &["exp_f32", "expm1_f32"],
        "fn sinh_f32(x: f32) -> f32 {
  if (is_nan_f32(x)) { return x; }
  let a = abs(x);
  var y = 0.0f;
  if (a > 80.0f) {
    let half = exp_f32(0.5f * a);
    y = 0.5f * half * half;
  } else {
    let e = expm1_f32(a);
    y = 0.5f * (e + e / (e + 1.0f));
  }
  return select(y, -y, x < 0.0f);
}",
    ),
    (
        "cosh_f32",
        &["exp_f32"],
        "fn cosh_f32(x: f32) -> f32 {
  if (is_nan_f32(x)) { return x; }
  let a = abs(x);
  if (a > 80.0f) {
    let half = exp_f32(0.5f * a);
    return 0.5f * half * half;
  }
  let e = exp_f32(a);
  return 0.5f * e + 0.5f / e;
}",
    ),
    (
        "asinh_f32",
        &["log_f32", "log1p_f32"],
        "fn asinh_f32(x: f32) -> f32 {
  if (is_nan_f32(x)) { return x; }
  let a = abs(x);
  var y = 0.0f;
  if (a > 1e9f) {
    y = log_f32(a) + 0.6931472f;
  } else {
    y = log1p_f32(a + a * a / (1.0f + sqrt(a * a + 1.0f)));
  }
  return select(y, -y, x < 0.0f);
}",
    ),
    (
        "acosh_f32",
        &["log_f32", "log1p_f32", "nan_f32"],
        "fn acosh_f32(x: f32) -> f32 {
  if (is_nan_f32(x) || x < 1.0f) { return nan_f32(); }
  if (x > 1e9f) { return log_f32(x) + 0.6931472f; }
  let t = x - 1.0f;
  return log1p_f32(t + sqrt(t * (t + 2.0f)));
}",
    ),
    (
        "atanh_f32",
        &["log1p_f32", "nan_f32", "infinity_f32"],
        "fn atanh_f32(x: f32) -> f32 {
  let a = abs(x);
  if (is_nan_f32(x) || a > 1.0f) { return nan_f32(); }
  if (a == 1.0f) { return select(infinity_f32(), -infinity_f32(), x < 0.0f); }
  if (a < 1e-4f) { return x; }
  let y = 0.5f * log1p_f32(2.0f * a / (1.0f - a));
  return select(y, -y, x < 0.0f);
}",
    ),
    (
        // A number as its upper 12 bits and the rest, both of which multiply exactly.
        "split_f32",
        &[],
        "fn split_f32(x: f32) -> vec2<f32> {
  let high = bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
  return vec2<f32>(high, x - high);
}",
    ),
    (
        // A product as two numbers.
        "product_f32",
        &["split_f32", "opaque"],
        "fn product_f32(a: f32, b: f32) -> vec2<f32> {
  let p = opaque(a * b);
  let x = split_f32(a);
  let y = split_f32(b);
  let e = opaque(opaque(opaque(x.x * y.x) - p) + opaque(x.x * y.y)) + opaque(x.y * y.x);
  return vec2<f32>(p, opaque(e) + x.y * y.y);
}",
    ),
    (
        // The logarithm to base 2 of a positive number, as two numbers.
        "log2_pair",
        &["product_f32"],
        "fn log2_pair(x: f32) -> vec2<f32> {
  var bits = bitcast<u32>(x);
  var offset = 0i;
  if (bits < 0x00800000u) {
    bits = bitcast<u32>(x * 8388608.0f);
    offset = -23i;
  }
  let shifted = bits - 0x3f3504f3u;
  let e = f32((bitcast<i32>(shifted) >> 23u) + offset);
  let f = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  // s = f / (2 + f) and its rest: 2 + f is exact as two numbers.
  let d = opaque(2.0f + f);
  let d_rest = f - opaque(d - 2.0f);
  let s = opaque(f / d);
  let sd = product_f32(s, d);
  let s_rest = ((opaque(f - sd.x) - sd.y) - s * d_rest) / d;
  // ln(1 + f) = 2 s + s^3 (2/3 + ...): the first term as two numbers, the others as one.
  let z = s * s;
  let tail = s * z * (0.6666667f + z * (0.4f + z * (0.2857143f + z * 0.2222222f)));
  let small = 2.0f * s_rest + tail;
  let high = opaque(2.0f * s + small);
  let low = small - opaque(high - 2.0f * s);
  // Over ln 2, itself as two numbers.
  let scaled = product_f32(high, 1.442695f);
  let scaled_low = scaled.y + (low * 1.442695f + high * 1.925963e-8f);
  let sum = opaque(e + scaled.x);
  let rest = opaque(scaled.x - opaque(sum - e)) + scaled_low;
  return vec2<f32>(sum, rest);
}",
    ),
    (
        // 2 to a power given as two numbers.
        "exp2_pair",
        &["scale_f32", "opaque"],
        "fn exp2_pair(high: f32, low: f32) -> f32 {
  if (high > 130.0f) { return scale_f32(1.0f, 128i) * 4.0f; }
  if (high < -160.0f) { return 0.0f; }
  let n = round(high);
  let r = opaque(high - n) + low;
  let p = 0.6931472f + r * (0.2402265f + r * (0.055504106f + r * (0.009618057f
    + r * (0.0013333693f + r * (1.5461302e-4f + r * 1.5246358e-5f)))));
  return scale_f32(1.0f + r * p, i32(n));
}",
    ),
    (
        "pow_f32",
        &[
            "is_nan_f32",
            "infinity_f32",
            "nan_f32",
            "log2_pair",
            "exp2_pair",
        ],
        "fn pow_f32(x: f32, y: f32) -> f32 {
  if (y == 0.0f || x == 1.0f) { return 1.0f; }
  if (is_nan_f32(x) || is_nan_f32(y)) { return nan_f32(); }
  let infinity = infinity_f32();
  let a = abs(x);
  let negative = (bitcast<u32>(x) >> 31u) != 0u;
  let size = abs(y);
  // Numbers from 2^24 on are even.
  let whole = size >= 16777216.0f || floor(size) == size;
  let odd = whole && size < 16777216.0f && (u32(min(size, 16777216.0f)) & 1u) != 0u;
  let flips = negative && odd;
  var result = 0.0f;
  if (size == infinity) {
    if (a == 1.0f) { return 1.0f; }
    return select(0.0f, infinity, (a > 1.0f) == (y > 0.0f));
  }
  if (a == 0.0f || a == infinity) {
    result = select(0.0f, infinity, (a == 0.0f) == (y < 0.0f));
  } else {
    if (negative && !whole) { return nan_f32(); }
    let l = log2_pair(a);
    if (abs(l.x) * size > 200.0f) {
      result = select(0.0f, infinity, (l.x > 0.0f) == (y > 0.0f));
    } else {
      let p = product_f32(y, l.x);
      result = exp2_pair(p.x, p.y + y * l.y);
    }
  }
  return select(result, -result, flips);
}",
    ),
];
