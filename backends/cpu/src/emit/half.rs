//! Conversions between `f32` and the 16-bit floats by integer arithmetic, in one value or four.
//!
//! Narrow floats are raw bits in 32-bit lanes. Rounding is to nearest even; NaN keeps its sign and
//! becomes the quiet one.

use alula_tensor::DType;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_frontend::FunctionBuilder;

use super::ops::{bitcast, int, select};
use super::repr::{Form, Repr};

/// The conversion, if it is one of `f16` and `bf16` from or to `f32`.
pub(super) fn cast(
    b: &mut FunctionBuilder<'_>,
    form: Form,
    from: DType,
    to: DType,
    v: Value,
) -> Option<Value> {
    let mut bits = Bits { b, form };
    match (from, to) {
        (DType::BF16, DType::F32) => {
            let wide = bits.shl(v, 16);
            Some(bits.as_float(wide))
        }
        (DType::F16, DType::F32) => Some(bits.widen_f16(v)),
        (DType::F32, DType::BF16) => Some(bits.round_to_bf16(v)),
        (DType::F32, DType::F16) => Some(bits.round_to_f16(v)),
        _ => None,
    }
}

/// 32-bit integer arithmetic in one form.
struct Bits<'a, 'f> {
    b: &'a mut FunctionBuilder<'f>,
    form: Form,
}

impl Bits<'_, '_> {
    fn constant(&mut self, value: i64) -> Value {
        int(self.b, self.form, Repr::I32, value)
    }

    fn shl(&mut self, v: Value, by: i64) -> Value {
        let by = int(self.b, Form::Scalar, Repr::I32, by);
        self.b.ins().ishl(v, by)
    }

    fn shr(&mut self, v: Value, by: i64) -> Value {
        let by = int(self.b, Form::Scalar, Repr::I32, by);
        self.b.ins().ushr(v, by)
    }

    fn and(&mut self, v: Value, mask: i64) -> Value {
        let mask = self.constant(mask);
        self.b.ins().band(v, mask)
    }

    fn or(&mut self, v: Value, mask: i64) -> Value {
        let mask = self.constant(mask);
        self.b.ins().bor(v, mask)
    }

    fn add(&mut self, v: Value, other: i64) -> Value {
        let other = self.constant(other);
        self.b.ins().iadd(v, other)
    }

    /// Where a non-negative `v` exceeds `bound`.
    fn above(&mut self, v: Value, bound: i64) -> Value {
        let bound = self.constant(bound);
        self.b.ins().icmp(IntCC::SignedGreaterThan, v, bound)
    }

    fn select(&mut self, cond: Value, x: Value, y: Value) -> Value {
        select(self.b, self.form, cond, x, y)
    }

    fn as_float(&mut self, bits: Value) -> Value {
        bitcast(self.b, Repr::F32.ty(self.form), bits)
    }

    fn as_bits(&mut self, value: Value) -> Value {
        bitcast(self.b, Repr::I32.ty(self.form), value)
    }

    /// Exponent and mantissa move up; multiplying by 2^112 corrects the exponent and normalises
    /// subnormals at once.
    fn widen_f16(&mut self, v: Value) -> Value {
        let sign = self.and(v, 0x8000);
        let sign = self.shl(sign, 16);
        let magnitude = self.and(v, 0x7fff);
        let magnitude = self.shl(magnitude, 13);
        let special = self.above(magnitude, (0x7c00 << 13) - 1);
        let scale = self.constant(0x7780_0000);
        let (scale, value) = (self.as_float(scale), self.as_float(magnitude));
        let value = self.b.ins().fmul(value, scale);
        let value = self.as_bits(value);
        let infinite = self.or(magnitude, 0x7f80_0000);
        let value = self.select(special, infinite, value);
        let value = self.b.ins().bor(value, sign);
        self.as_float(value)
    }

    fn round_to_bf16(&mut self, v: Value) -> Value {
        let bits = self.as_bits(v);
        let magnitude = self.and(bits, 0x7fff_ffff);
        let nan = self.above(magnitude, 0x7f80_0000);
        let odd = self.shr(bits, 16);
        let odd = self.and(odd, 1);
        let rounded = self.add(bits, 0x7fff);
        let rounded = self.b.ins().iadd(rounded, odd);
        let rounded = self.shr(rounded, 16);
        let sign = self.shr(bits, 16);
        let sign = self.and(sign, 0x8000);
        let quiet = self.or(sign, 0x7fc0);
        self.select(nan, quiet, rounded)
    }

    /// Three ranges: too great or NaN; normal, by integer rounding; subnormal, by an addition that
    /// lets the adder round.
    fn round_to_f16(&mut self, v: Value) -> Value {
        let bits = self.as_bits(v);
        let magnitude = self.and(bits, 0x7fff_ffff);
        let sign = self.shr(bits, 16);
        let sign = self.and(sign, 0x8000);

        let odd = self.shr(magnitude, 13);
        let odd = self.and(odd, 1);
        let normal = self.add(magnitude, (15 - 127) * (1 << 23) + 0xfff);
        let normal = self.b.ins().iadd(normal, odd);
        let normal = self.shr(normal, 13);

        let half = self.constant(126 << 23);
        let (half, value) = (self.as_float(half), self.as_float(magnitude));
        let sum = self.b.ins().fadd(value, half);
        let sum = self.as_bits(sum);
        let subnormal = self.add(sum, -(126 << 23));

        let is_normal = self.above(magnitude, (113 << 23) - 1);
        let finite = self.select(is_normal, normal, subnormal);
        let too_great = self.above(magnitude, (143 << 23) - 1);
        let nan = self.above(magnitude, 0x7f80_0000);
        let (infinity, quiet) = (self.constant(0x7c00), self.constant(0x7e00));
        let special = self.select(nan, quiet, infinity);
        let result = self.select(too_great, special, finite);
        self.b.ins().bor(result, sign)
    }
}
