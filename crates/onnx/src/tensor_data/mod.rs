//! A `TensorProto`'s payload as plain little-endian bytes, whichever of seven fields holds it.
//!
//! Contract: the length of the result is exactly what dtype and dims ask for, elements packed as
//! `raw_data` packs them (4-bit types two to a byte, 2-bit four, 6-bit four to three bytes, low
//! bits first); booleans are 0 or 1. Nothing is allocated beyond the size of the data present:
//! dims are checked against that first. `raw_data` and external data are not copied, so that
//! their alignment is that of the file: read elements with unaligned loads, or copy.
//!
//! The source for fields and packing is the ONNX specification's TensorProto, IR version 14.

mod error;
mod payload;

use bytes::Bytes;

use crate::external::ExternalFiles;
use crate::proto::TensorProto;
use crate::proto::tensor_proto::{DataLocation, DataType};
use payload::Wanted;

pub use error::TensorDataError;

/// A tensor taken out of its protobuf.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedTensor {
    /// ONNX's code (`TensorProto.DataType`); always one that ONNX defines.
    pub data_type: i32,
    /// Extents, none negative; empty for a scalar.
    pub dims: Vec<i64>,
    /// The elements in row-major order.
    pub bytes: TensorBytes,
}

/// Elements of a [`DecodedTensor`].
#[derive(Debug, Clone, PartialEq)]
pub enum TensorBytes {
    /// Little-endian, of any alignment.
    Raw(Bytes),
    /// Of a string tensor.
    Strings(Vec<String>),
}

/// Bits of one element in `raw_data`; `None` for strings and undefined types.
#[must_use]
pub fn element_bits(data_type: DataType) -> Option<u32> {
    use DataType as T;
    Some(match data_type {
        T::Undefined | T::String => return None,
        T::Uint2 | T::Int2 => 2,
        T::Uint4 | T::Int4 | T::Float4e2m1 => 4,
        T::Float6e2m3 | T::Float6e3m2 => 6,
        T::Uint8 | T::Int8 | T::Bool => 8,
        T::Float8e4m3fn | T::Float8e4m3fnuz | T::Float8e5m2 | T::Float8e5m2fnuz => 8,
        T::Float8e8m0 => 8,
        T::Uint16 | T::Int16 | T::Float16 | T::Bfloat16 => 16,
        T::Float | T::Int32 | T::Uint32 => 32,
        T::Double | T::Int64 | T::Uint64 | T::Complex64 => 64,
        T::Complex128 => 128,
    })
}

/// Takes the payload out of `tensor`, reading external data through `files`.
///
/// # Errors
/// Any [`TensorDataError`]; none of them after an allocation larger than the data present.
pub fn decode_tensor(
    tensor: &TensorProto,
    files: &ExternalFiles,
) -> Result<DecodedTensor, TensorDataError> {
    let code = tensor.data_type.unwrap_or_default();
    let data_type = DataType::try_from(code)
        .ok()
        .filter(|t| *t != DataType::Undefined);
    let data_type = data_type.ok_or(TensorDataError::UnknownType { code })?;
    if tensor.segment.is_some() {
        return Err(TensorDataError::Segment);
    }
    let count = element_count(&tensor.dims)?;
    let wanted = Wanted {
        data_type,
        dims: &tensor.dims,
        count,
    };
    let location = tensor.data_location.unwrap_or_default();
    let bytes = match (DataLocation::try_from(location), element_bits(data_type)) {
        (Err(_), _) => return Err(TensorDataError::UnknownLocation { code: location }),
        (Ok(DataLocation::External), None) => return Err(TensorDataError::ExternalStrings),
        (Ok(DataLocation::External), Some(bits)) => {
            wanted.no_stray_data(tensor, "external data")?;
            let bytes = files.read(&tensor.external_data)?;
            TensorBytes::Raw(wanted.check_raw("external data", bits, bytes)?)
        }
        (Ok(DataLocation::Default), None) => {
            wanted.no_stray_data(tensor, "string_data")?;
            TensorBytes::Strings(wanted.strings(&tensor.string_data)?)
        }
        (Ok(DataLocation::Default), Some(bits)) => TensorBytes::Raw(wanted.inline(tensor, bits)?),
    };
    Ok(DecodedTensor {
        data_type: code,
        dims: tensor.dims.clone(),
        bytes,
    })
}

/// The product of the extents; 0 if one is 0, however large the others.
fn element_count(dims: &[i64]) -> Result<u64, TensorDataError> {
    if dims.iter().any(|&d| d < 0) {
        return Err(TensorDataError::NegativeDim {
            dims: dims.to_vec(),
        });
    }
    if dims.contains(&0) {
        return Ok(0);
    }
    dims.iter()
        .try_fold(1_u64, |product, &d| product.checked_mul(d.unsigned_abs()))
        .ok_or_else(|| TensorDataError::TooLarge {
            dims: dims.to_vec(),
        })
}
