//! Elements as integers of the same order: sorting and comparing without looking at dtypes.

use alula_tensor::{DType, Tensor};

use super::Room;
use crate::StepError;

/// For each element an integer such that `a < b` as numbers exactly if its key is less. Both zeros
/// have one key; every NaN has the greatest.
pub(super) fn keys(tensor: &Tensor, room: &Room) -> Result<Vec<u64>, StepError> {
    let mut keys: Vec<u64> = room.vec(tensor.len())?;
    let bytes = tensor.bytes();
    fn map<const N: usize>(keys: &mut Vec<u64>, bytes: &[u8], key: impl Fn([u8; N]) -> u64) {
        let chunks = bytes.as_chunks::<N>().0;
        keys.extend(chunks.iter().map(|chunk| key(*chunk)));
    }
    let out = &mut keys;
    match tensor.dtype() {
        DType::Bool | DType::U8 | DType::U4 | DType::U2 => map::<1>(out, bytes, |b| b[0].into()),
        DType::U16 => map(out, bytes, |b| u16::from_le_bytes(b).into()),
        DType::U32 => map(out, bytes, |b| u32::from_le_bytes(b).into()),
        DType::U64 => map(out, bytes, u64::from_le_bytes),
        DType::I8 | DType::I4 | DType::I2 => {
            map(out, bytes, |b| signed(i8::from_le_bytes(b).into()));
        }
        DType::I16 => map(out, bytes, |b| signed(i16::from_le_bytes(b).into())),
        DType::I32 => map(out, bytes, |b| signed(i32::from_le_bytes(b).into())),
        DType::I64 => map(out, bytes, |b| signed(i64::from_le_bytes(b))),
        DType::F32 => map(out, bytes, |b| float(f32::from_le_bytes(b).into())),
        DType::F64 => map(out, bytes, |b| float(f64::from_le_bytes(b))),
        DType::F16
        | DType::BF16
        | DType::F4E2M1
        | DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0 => {
            let elements = (0..tensor.len()).filter_map(|k| tensor.get(k));
            out.extend(elements.map(|element| float(element.to_f64())));
        }
        DType::String => return Err(StepError::value("strings have no order here")),
    }
    Ok(keys)
}

fn signed(value: i64) -> u64 {
    value as u64 ^ (1 << 63)
}

/// Floats order like their bits once negative ones are turned around.
fn float(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    let bits = (value + 0.0).to_bits(); // -0 + 0 is 0
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}
