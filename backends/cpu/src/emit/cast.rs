//! Conversions, by the rules of `Scalar::cast`, and reinterpretation of bits.
//!
//! Scalar forms exist for every pair that [`scalar`] accepts; vector forms for the pairs that occur
//! in hot loops. What has no vector form goes lane by lane.

use alula_tensor::{DType, DTypeClass};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_frontend::FunctionBuilder;

use super::ops::{bitcast, float, int, select, wrap};
use super::repr::{Form, Repr, is_signed};
use super::{half, lanes};

/// Whether the pair is converted here, without help from legalization.
pub(super) fn is_native(from: DType, to: DType) -> bool {
    let plain = |dtype: DType| match dtype.class() {
        DTypeClass::Float => matches!(dtype, DType::F32 | DType::F64),
        DTypeClass::String => false,
        DTypeClass::Bool | DTypeClass::Signed | DTypeClass::Unsigned => true,
    };
    let half = |dtype| matches!(dtype, DType::F16 | DType::BF16);
    from == to && Repr::of(from).is_some()
        || plain(from) && plain(to)
        || half(from) && to == DType::F32
        || from == DType::F32 && half(to)
}

/// One value converted; `None` for a pair that is not native.
pub(super) fn scalar(
    b: &mut FunctionBuilder<'_>,
    from: DType,
    to: DType,
    v: Value,
) -> Option<Value> {
    if from == to {
        return Some(v);
    }
    if !is_native(from, to) {
        return None;
    }
    if let Some(value) = half::cast(b, Form::Scalar, from, to, v) {
        return Some(value);
    }
    let (source, target) = (Repr::of(from)?, Repr::of(to)?);
    Some(match (source, target) {
        (Repr::F32, Repr::F64) => b.ins().fpromote(types::F64, v),
        (Repr::F64, Repr::F32) => b.ins().fdemote(types::F32, v),
        (Repr::F32 | Repr::F64, Repr::Bool) => {
            let zero = float(b, Form::Scalar, source, 0.0);
            b.ins().fcmp(FloatCC::NotEqual, v, zero)
        }
        (Repr::F32 | Repr::F64, _) => float_to_int(b, to, v),
        (_, Repr::F32 | Repr::F64) => {
            let ty = target.ty(Form::Scalar);
            match source {
                Repr::Bool => {
                    let wide = b.ins().uextend(types::I32, v);
                    b.ins().fcvt_from_sint(ty, wide)
                }
                // Narrower unsigned integers are normalised to be positive.
                Repr::I32 if from != DType::U32 => b.ins().fcvt_from_sint(ty, v),
                Repr::I32 => {
                    let wide = b.ins().uextend(types::I64, v);
                    b.ins().fcvt_from_sint(ty, wide)
                }
                _ if is_signed(from) => b.ins().fcvt_from_sint(ty, v),
                _ => b.ins().fcvt_from_uint(ty, v),
            }
        }
        (Repr::Bool, _) => b.ins().uextend(target.ty(Form::Scalar), v),
        (_, Repr::Bool) => b.ins().icmp_imm_s(IntCC::NotEqual, v, 0),
        (Repr::I32, Repr::I64) if is_signed(from) => b.ins().sextend(types::I64, v),
        (Repr::I32, Repr::I64) => b.ins().uextend(types::I64, v),
        (Repr::I64, Repr::I64) => v,
        (Repr::I64, Repr::I32) => {
            let low = b.ins().ireduce(types::I32, v);
            wrap(b, Form::Scalar, to, low)
        }
        (Repr::I32, Repr::I32) => wrap(b, Form::Scalar, to, v),
    })
}

/// Truncates, saturates at the range of `to`, and takes NaN to 0.
fn float_to_int(b: &mut FunctionBuilder<'_>, to: DType, v: Value) -> Value {
    let wide = if to.bits() == 64 {
        types::I64
    } else {
        types::I32
    };
    if !is_signed(to) {
        let value = b.ins().fcvt_to_uint_sat(wide, v);
        return clamp_unsigned(b, Form::Scalar, to, value);
    }
    let value = b.ins().fcvt_to_sint_sat(wide, v);
    clamp_signed(b, Form::Scalar, to, value)
}

fn clamp_unsigned(b: &mut FunctionBuilder<'_>, form: Form, to: DType, value: Value) -> Value {
    if to.bits() >= 32 {
        return value;
    }
    let greatest = int(b, form, Repr::I32, (1 << to.bits()) - 1);
    b.ins().umin(value, greatest)
}

fn clamp_signed(b: &mut FunctionBuilder<'_>, form: Form, to: DType, value: Value) -> Value {
    if to.bits() >= 32 {
        return value;
    }
    let half = 1_i64 << (to.bits() - 1);
    let (least, greatest) = (
        int(b, form, Repr::I32, -half),
        int(b, form, Repr::I32, half - 1),
    );
    let value = b.ins().smax(value, least);
    b.ins().smin(value, greatest)
}

/// Four lanes converted (parts in, parts out); `None` where only the scalar form exists.
pub(super) fn quad(
    b: &mut FunctionBuilder<'_>,
    from: DType,
    to: DType,
    parts: &[Value],
) -> Option<Vec<Value>> {
    if from == to {
        return Some(parts.to_vec());
    }
    if let Some(value) = half::cast(b, Form::Vector, from, to, parts[0]) {
        return Some(vec![value]);
    }
    if !is_native(from, to) {
        return None;
    }
    let form = Form::Vector;
    let v = parts[0];
    Some(match (Repr::of(from)?, Repr::of(to)?) {
        (Repr::I32, Repr::I32) => vec![wrap(b, form, to, v)],
        (Repr::I64, Repr::I64) => parts.to_vec(),
        (Repr::I32, Repr::I64) if is_signed(from) => {
            vec![b.ins().swiden_low(v), b.ins().swiden_high(v)]
        }
        (Repr::I32, Repr::I64) => vec![b.ins().uwiden_low(v), b.ins().uwiden_high(v)],
        (Repr::I64, Repr::I32) => {
            let low = lanes::low_halves(b, v, parts[1]);
            vec![wrap(b, form, to, low)]
        }
        (Repr::Bool, Repr::I32) => {
            let one = int(b, form, Repr::I32, 1);
            vec![b.ins().band(v, one)]
        }
        (Repr::Bool, Repr::F32) => {
            let one = float(b, form, Repr::F32, 1.0);
            let bits = bitcast(b, types::I32X4, one);
            let bits = b.ins().band(v, bits);
            vec![bitcast(b, types::F32X4, bits)]
        }
        (Repr::I32, Repr::Bool) => {
            let zero = int(b, form, Repr::I32, 0);
            vec![b.ins().icmp(IntCC::NotEqual, v, zero)]
        }
        (Repr::F32, Repr::Bool) => {
            let zero = float(b, form, Repr::F32, 0.0);
            let mask = b.ins().fcmp(FloatCC::NotEqual, v, zero);
            vec![bitcast(b, types::I32X4, mask)]
        }
        (Repr::I32, Repr::F32) if from != DType::U32 => {
            vec![b.ins().fcvt_from_sint(types::F32X4, v)]
        }
        (Repr::I32, Repr::F32) => vec![b.ins().fcvt_from_uint(types::F32X4, v)],
        (Repr::F32, Repr::I32) if is_signed(to) => {
            let value = b.ins().fcvt_to_sint_sat(types::I32X4, v);
            vec![clamp_signed(b, form, to, value)]
        }
        (Repr::F32, Repr::I32) if to.bits() < 32 => {
            // The signed conversion reaches far enough, and is one instruction shorter.
            let value = b.ins().fcvt_to_sint_sat(types::I32X4, v);
            let zero = int(b, form, Repr::I32, 0);
            let value = b.ins().smax(value, zero);
            vec![clamp_unsigned(b, form, to, value)]
        }
        (Repr::F32, Repr::I32) => vec![b.ins().fcvt_to_uint_sat(types::I32X4, v)],
        (Repr::F32, Repr::F64) => {
            let high = lanes::high_half(b, v);
            vec![b.ins().fvpromote_low(v), b.ins().fvpromote_low(high)]
        }
        (Repr::F64, Repr::F32) => {
            let (low, high) = (b.ins().fvdemote(v), b.ins().fvdemote(parts[1]));
            vec![lanes::join_low(b, low, high)]
        }
        _ => return None,
    })
}

/// The bits of `v` as another dtype of the same size, one value or one part of a vector.
pub(super) fn reinterpret(
    b: &mut FunctionBuilder<'_>,
    form: Form,
    from: DType,
    to: DType,
    v: Value,
) -> Option<Value> {
    let (source, target) = (Repr::of(from)?, Repr::of(to)?);
    if from.size_bytes() != to.size_bytes() {
        return None;
    }
    Some(match (source, target) {
        (Repr::Bool, Repr::Bool) => v,
        (Repr::Bool, _) if form == Form::Scalar => b.ins().uextend(types::I32, v),
        (Repr::Bool, _) => {
            let one = int(b, form, Repr::I32, 1);
            b.ins().band(v, one)
        }
        (_, Repr::Bool) => {
            let zero = int(b, form, source, 0);
            b.ins().icmp(IntCC::NotEqual, v, zero)
        }
        (Repr::I32, Repr::I32) => extend_stored(b, form, to, v),
        _ => bitcast(b, target.ty(form), v),
    })
}

/// Normalises the low bits of a 32-bit register as an element of `dtype` that was stored: bits
/// beyond the dtype's width count as its storage does (a byte of `i4` holds one value).
pub(super) fn extend_stored(
    b: &mut FunctionBuilder<'_>,
    form: Form,
    dtype: DType,
    v: Value,
) -> Value {
    let stored = match (dtype.size_bytes(), is_signed(dtype)) {
        (1, true) => DType::I8,
        (1, false) => DType::U8,
        (2, true) => DType::I16,
        (2, false) => DType::U16,
        _ => return v,
    };
    wrap(b, form, stored, v)
}

/// A mask of the 32-bit lanes, as wide as the parts of `repr`.
pub(super) fn widen_mask(b: &mut FunctionBuilder<'_>, repr: Repr, mask: Value) -> Vec<Value> {
    match repr.parts() {
        1 => vec![mask],
        _ => vec![b.ins().swiden_low(mask), b.ins().swiden_high(mask)],
    }
}

/// A mask of 32-bit lanes out of masks as wide as the parts of `repr`.
pub(super) fn narrow_mask(b: &mut FunctionBuilder<'_>, masks: &[Value]) -> Value {
    match masks {
        [low, high] => lanes::low_halves(b, *low, *high),
        masks => bitcast(b, types::I32X4, masks[0]),
    }
}

/// `if cond {x} else {y}` on parts, with a mask of 32-bit lanes.
pub(super) fn select_quad(
    b: &mut FunctionBuilder<'_>,
    repr: Repr,
    mask: Value,
    x: &[Value],
    y: &[Value],
) -> Vec<Value> {
    let masks = widen_mask(b, repr, mask);
    (0..repr.parts())
        .map(|i| select(b, Form::Vector, masks[i], x[i], y[i]))
        .collect()
}
