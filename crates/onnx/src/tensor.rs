//! From a `TensorProto` to a host tensor.

use std::sync::Arc;

use alula_tensor::{DType, DTypeClass, Storage, Tensor};
use bytes::Bytes;

use crate::external::ExternalFiles;
use crate::proto::TensorProto;
use crate::tensor_data::{DecodedTensor, TensorBytes, decode_tensor};
use crate::{ImportError, dtype};

/// A tensor's elements; shared with the model's bytes where these are aligned.
///
/// # Errors
/// [`ImportError::Tensor`] when the payload does not make sense, [`ImportError::DataType`] when its
/// data type is not one of ours.
pub fn import_tensor(proto: &TensorProto, external: &ExternalFiles) -> Result<Tensor, ImportError> {
    let name = proto.name().to_owned();
    let DecodedTensor {
        data_type,
        dims,
        bytes,
    } = decode_tensor(proto, external).map_err(|error| ImportError::Tensor {
        name: name.clone(),
        error,
    })?;
    let fail = |reason: String| ImportError::Model(format!("tensor {name:?}: {reason}"));
    let dtype = dtype::from_code(data_type).map_err(|reason| ImportError::DataType {
        name: name.clone(),
        reason,
    })?;
    let shape: Vec<usize> = dims
        .into_iter()
        .map(|dim| usize::try_from(dim).map_err(|_| fail(format!("extent {dim} is negative"))))
        .collect::<Result<_, _>>()?;
    let made = match bytes {
        TensorBytes::Strings(strings) => Tensor::from_strings(&shape, strings),
        TensorBytes::Raw(bytes) if dtype.bits() < 8 && dtype != DType::Bool => {
            let count = shape.iter().product();
            let storage = Storage::copy_from(&unpack(&bytes, dtype, count));
            Tensor::from_storage(dtype, &shape, storage)
        }
        TensorBytes::Raw(bytes) => Tensor::from_storage(dtype, &shape, share(bytes, dtype)),
    };
    made.map_err(|error| fail(error.to_string()))
}

/// Shares the bytes if their address suits the elements, else copies: protobuf aligns nothing, and
/// all that comes after reads slices of elements. A copied weight leaves memory when it is packed.
fn share(bytes: Bytes, dtype: DType) -> Storage {
    let length = bytes.len();
    if length < 4096
        || !bytes
            .as_ptr()
            .addr()
            .is_multiple_of(dtype.size_bytes().max(1))
    {
        return Storage::copy_from(&bytes);
    }
    let copy = bytes.clone();
    Storage::foreign(Arc::new(bytes), 0..length).unwrap_or_else(|| Storage::copy_from(&copy))
}

/// Elements of 2 or 4 bits, low bits first, to one byte each, sign-extended.
fn unpack(bytes: &[u8], dtype: DType, count: usize) -> Vec<u8> {
    let bits = dtype.bits();
    let per_byte = (8 / bits) as usize;
    (0..count)
        .map(|k| {
            let shift = (k % per_byte) as u32 * bits;
            let code = (bytes[k / per_byte] >> shift) & ((1_u8 << bits) - 1);
            match dtype.class() {
                DTypeClass::Signed => (((code << (8 - bits)) as i8) >> (8 - bits)) as u8,
                _ => code,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nibbles_are_low_first_and_signed() {
        assert_eq!(unpack(&[0x8F, 0x01], DType::I4, 3), [0xFF, 0xF8, 0x01]);
        assert_eq!(unpack(&[0x8F], DType::U4, 2), [15, 8]);
        assert_eq!(unpack(&[0b11_10_01_00], DType::I2, 4), [0, 1, 0xFE, 0xFF]);
    }
}
