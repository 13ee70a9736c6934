//! Moving lanes: packing scalars into vectors, taking them apart, halves and masks.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{ConstantData, InstBuilder, Value, types};
use cranelift_frontend::FunctionBuilder;

use super::ops::{bitcast, constant};
use super::repr::{Form, QUAD, Repr};

/// Picks 16 bytes out of `a` (0 to 15) and `b` (16 to 31).
fn shuffle(b: &mut FunctionBuilder<'_>, x: Value, y: Value, pick: [u8; 16]) -> Value {
    let ty = b.func.dfg.value_type(x);
    let (x, y) = (bitcast(b, types::I8X16, x), bitcast(b, types::I8X16, y));
    let mask = b.func.dfg.immediates.push(ConstantData::from(&pick[..]));
    let picked = b.ins().shuffle(x, y, mask);
    bitcast(b, ty, picked)
}

/// The 32-bit words `pick` of two vectors (0 to 3 of `x`, 4 to 7 of `y`).
fn shuffle_words(b: &mut FunctionBuilder<'_>, x: Value, y: Value, pick: [u8; 4]) -> Value {
    let mut bytes = [0; 16];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = pick[i / 4] * 4 + i as u8 % 4;
    }
    shuffle(b, x, y, bytes)
}

/// The low 32 bits of each of four 64-bit lanes in two vectors.
pub(super) fn low_halves(b: &mut FunctionBuilder<'_>, low: Value, high: Value) -> Value {
    let words = shuffle_words(b, low, high, [0, 2, 4, 6]);
    bitcast(b, types::I32X4, words)
}

/// The two upper 32-bit lanes moved to the bottom.
pub(super) fn high_half(b: &mut FunctionBuilder<'_>, v: Value) -> Value {
    shuffle_words(b, v, v, [2, 3, 2, 3])
}

/// The two lower 32-bit lanes of each.
pub(super) fn join_low(b: &mut FunctionBuilder<'_>, low: Value, high: Value) -> Value {
    shuffle_words(b, low, high, [0, 1, 4, 5])
}

/// The lowest `bytes` (1 or 2) of each 32-bit lane, next to each other at the bottom.
pub(super) fn gather_low_bytes(b: &mut FunctionBuilder<'_>, v: Value, bytes: u8) -> Value {
    let mut pick = [0; 16];
    for (i, byte) in pick.iter_mut().enumerate() {
        let i = i as u8 % (QUAD as u8 * bytes);
        *byte = i / bytes * 4 + i % bytes;
    }
    shuffle(b, v, v, pick)
}

/// Lane `lane` (0 to 3) of four as a scalar.
pub(super) fn extract(b: &mut FunctionBuilder<'_>, repr: Repr, parts: &[Value], lane: u8) -> Value {
    let per_part = QUAD as u8 / repr.parts() as u8;
    let part = parts[usize::from(lane / per_part)];
    let value = b.ins().extractlane(part, lane % per_part);
    match repr {
        Repr::Bool => b.ins().icmp_imm_s(IntCC::NotEqual, value, 0),
        _ => value,
    }
}

/// Four scalars as parts.
pub(super) fn pack(b: &mut FunctionBuilder<'_>, repr: Repr, scalars: &[Value]) -> Vec<Value> {
    let ty = repr.ty(Form::Vector);
    let lanes: Vec<Value> = match repr {
        Repr::Bool => scalars
            .iter()
            .map(|&v| {
                let wide = b.ins().uextend(types::I32, v);
                b.ins().ineg(wide)
            })
            .collect(),
        _ => scalars.to_vec(),
    };
    lanes
        .chunks(QUAD as usize / repr.parts())
        .map(|lanes| {
            let first = b.ins().scalar_to_vector(ty, lanes[0]);
            lanes
                .iter()
                .enumerate()
                .skip(1)
                .fold(first, |vector, (lane, &value)| {
                    b.ins().insertlane(vector, value, lane as u8)
                })
        })
        .collect()
}

/// `[first * stride, (first + 1) * stride]` as a constant vector.
pub(super) fn ramp(b: &mut FunctionBuilder<'_>, first: i64, stride: i64) -> Value {
    let lanes = [first.wrapping_mul(stride), (first + 1).wrapping_mul(stride)];
    let bytes: Vec<u8> = lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect();
    let handle = b.func.dfg.constants.insert(ConstantData::from(bytes));
    b.ins().vconst(types::I64X2, handle)
}

/// `base + lane * stride` for a lane of a group.
pub(super) fn step(b: &mut FunctionBuilder<'_>, base: Value, stride: Value, lane: i64) -> Value {
    if lane == 0 {
        return base;
    }
    let lane = constant(b, types::I64, lane);
    let offset = b.ins().imul(stride, lane);
    b.ins().iadd(base, offset)
}
