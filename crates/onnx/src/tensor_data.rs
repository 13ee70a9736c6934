//! A `TensorProto`'s payload as plain little-endian bytes, whichever of seven fields holds it.
//!
//! Contract: the length of the result is exactly what dtype and dims ask for, elements packed as
//! `raw_data` packs them (4-bit types two to a byte, 2-bit four, 6-bit four to three bytes, low
//! bits first); booleans are 0 or 1. Nothing is allocated beyond the size of the data present:
//! dims are checked against that first. `raw_data` and external data are not copied, so that
//! their alignment is that of the file: read elements with unaligned loads, or copy.
//!
//! The source for fields and packing is the ONNX specification's TensorProto, IR version 14.

use bytes::Bytes;

use crate::external::{ExternalError, ExternalFiles};
use crate::proto::TensorProto;
use crate::proto::tensor_proto::{DataLocation, DataType};

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

/// Why a tensor's payload does not make sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorDataError {
    /// `data_type` is undefined or newer than IR version 14.
    #[error("data type {code} is unknown")]
    UnknownType {
        /// The code.
        code: i32,
    },
    /// A negative extent.
    #[error("dims {dims:?} hold a negative extent")]
    NegativeDim {
        /// All of them.
        dims: Vec<i64>,
    },
    /// More bytes than can be counted.
    #[error("dims {dims:?} overflow")]
    TooLarge {
        /// All of them.
        dims: Vec<i64>,
    },
    /// A payload of the wrong size.
    #[error("{field} holds {actual} {unit}, {dtype} of dims {dims:?} needs {expected}")]
    WrongLength {
        /// Field of the protobuf, or `external data`.
        field: &'static str,
        /// `bytes` or `entries`.
        unit: &'static str,
        /// Name of the data type.
        dtype: &'static str,
        /// Extents.
        dims: Vec<i64>,
        /// What is needed.
        expected: u64,
        /// What is there.
        actual: u64,
    },
    /// Payload in a field that the data type does not use, or in two fields.
    #[error("{field} holds data that a {dtype} tensor with its data in {used} cannot have")]
    StrayData {
        /// The field too many.
        field: &'static str,
        /// The field that counts.
        used: &'static str,
        /// Name of the data type.
        dtype: &'static str,
    },
    /// An `int32_data` or `uint64_data` entry that its data type cannot hold.
    #[error("{field} entry {index} is {value}, out of range for {dtype}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Which entry.
        index: usize,
        /// Its value.
        value: i128,
        /// Name of the data type.
        dtype: &'static str,
    },
    /// A string that is not UTF-8.
    #[error("string {index} is not UTF-8")]
    NotUtf8 {
        /// Which element.
        index: usize,
    },
    /// A tensor cut in segments, which no writer has produced.
    #[error("the tensor is a segment of another, which is not supported")]
    Segment,
    /// Neither in the file nor beside it.
    #[error("data location {code} is unknown")]
    UnknownLocation {
        /// The code.
        code: i32,
    },
    /// Strings cannot be external.
    #[error("string data cannot be external")]
    ExternalStrings,
    /// External data that cannot be read.
    #[error(transparent)]
    External(#[from] ExternalError),
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

/// What dtype and dims ask of the payload.
struct Wanted<'a> {
    data_type: DataType,
    dims: &'a [i64],
    count: u64,
}

impl Wanted<'_> {
    fn dtype(&self) -> &'static str {
        self.data_type.as_str_name()
    }

    /// `count * bits / 8`, rounded up.
    fn byte_length(&self, bits: u32) -> Result<u64, TensorDataError> {
        let bits = u128::from(self.count) * u128::from(bits);
        u64::try_from(bits.div_ceil(8)).map_err(|_| TensorDataError::TooLarge {
            dims: self.dims.to_vec(),
        })
    }

    fn expect(
        &self,
        field: &'static str,
        unit: &'static str,
        expected: u64,
        actual: usize,
    ) -> Result<(), TensorDataError> {
        let actual = actual as u64;
        if actual == expected {
            return Ok(());
        }
        let (dtype, dims) = (self.dtype(), self.dims.to_vec());
        Err(TensorDataError::WrongLength {
            field,
            unit,
            dtype,
            dims,
            expected,
            actual,
        })
    }

    /// Fails if a field other than `used` holds anything.
    fn no_stray_data(&self, t: &TensorProto, used: &'static str) -> Result<(), TensorDataError> {
        let fields = [
            ("raw_data", t.raw_data.as_ref().map_or(0, Bytes::len)),
            ("float_data", t.float_data.len()),
            ("int32_data", t.int32_data.len()),
            ("string_data", t.string_data.len()),
            ("int64_data", t.int64_data.len()),
            ("double_data", t.double_data.len()),
            ("uint64_data", t.uint64_data.len()),
        ];
        match fields
            .into_iter()
            .find(|&(field, entries)| entries > 0 && field != used)
        {
            Some((field, _)) => Err(TensorDataError::StrayData {
                field,
                used,
                dtype: self.dtype(),
            }),
            None => Ok(()),
        }
    }

    fn check_raw(
        &self,
        field: &'static str,
        bits: u32,
        bytes: Bytes,
    ) -> Result<Bytes, TensorDataError> {
        self.expect(field, "bytes", self.byte_length(bits)?, bytes.len())?;
        if self.data_type == DataType::Bool && bytes.iter().any(|&b| b > 1) {
            return Ok(bytes.iter().map(|&b| u8::from(b != 0)).collect());
        }
        Ok(bytes)
    }

    /// Numbers within the protobuf, in `raw_data` or in the data type's own field.
    fn inline(&self, t: &TensorProto, bits: u32) -> Result<Bytes, TensorDataError> {
        use DataType as T;
        if let Some(raw) = t.raw_data.as_ref().filter(|raw| !raw.is_empty()) {
            self.no_stray_data(t, "raw_data")?;
            return self.check_raw("raw_data", bits, raw.clone());
        }
        let field = match self.data_type {
            T::Float | T::Complex64 => "float_data",
            T::Double | T::Complex128 => "double_data",
            T::Int64 => "int64_data",
            T::Uint32 | T::Uint64 => "uint64_data",
            _ => "int32_data",
        };
        self.no_stray_data(t, field)?;
        let entries = |actual: usize| {
            let expected = match self.data_type {
                T::Complex64 | T::Complex128 => u128::from(self.count) * 2,
                T::Float6e2m3 | T::Float6e3m2 => u128::from(self.count),
                _ if bits < 8 => u128::from(self.count).div_ceil(u128::from(8 / bits)),
                _ => u128::from(self.count),
            };
            let expected = u64::try_from(expected).map_err(|_| TensorDataError::TooLarge {
                dims: self.dims.to_vec(),
            })?;
            self.expect(field, "entries", expected, actual)
        };
        match field {
            "float_data" => {
                entries(t.float_data.len())?;
                Ok(t.float_data.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            "double_data" => {
                entries(t.double_data.len())?;
                Ok(t.double_data.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            "int64_data" => {
                entries(t.int64_data.len())?;
                Ok(t.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            "uint64_data" => {
                entries(t.uint64_data.len())?;
                self.unsigned(&t.uint64_data)
            }
            _ => {
                entries(t.int32_data.len())?;
                self.small(&t.int32_data, bits)
            }
        }
    }

    fn unsigned(&self, values: &[u64]) -> Result<Bytes, TensorDataError> {
        if self.data_type == DataType::Uint64 {
            return Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect());
        }
        let mut out = Vec::with_capacity(values.len() * 4);
        for (index, &value) in values.iter().enumerate() {
            let narrow = u32::try_from(value)
                .map_err(|_| self.out_of_range("uint64_data", index, value.into()))?;
            out.extend(narrow.to_le_bytes());
        }
        Ok(out.into())
    }

    /// `int32_data`: numbers of 32 bits or fewer, or bit patterns of small floats and packed types.
    fn small(&self, values: &[i32], bits: u32) -> Result<Bytes, TensorDataError> {
        use DataType as T;
        let (low, high) = match self.data_type {
            T::Int32 | T::Bool => (i32::MIN, i32::MAX),
            T::Int16 => (i16::MIN.into(), i16::MAX.into()),
            T::Int8 => (i8::MIN.into(), i8::MAX.into()),
            T::Uint16 => (0, u16::MAX.into()),
            T::Uint8 => (0, u8::MAX.into()),
            // Bit patterns are unsigned by the letter; some writers sign-extend them.
            T::Float16 | T::Bfloat16 => (i16::MIN.into(), u16::MAX.into()),
            T::Float6e2m3 | T::Float6e3m2 => (0, 0x3f),
            _ => (i8::MIN.into(), u8::MAX.into()),
        };
        if let Some(index) = values.iter().position(|v| !(low..=high).contains(v)) {
            return Err(self.out_of_range("int32_data", index, values[index].into()));
        }
        Ok(match (self.data_type, bits) {
            (T::Bool, _) => values.iter().map(|&v| u8::from(v != 0)).collect(),
            (_, 6) => pack_sixes(values),
            (_, 32) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            (_, 16) => values
                .iter()
                .flat_map(|v| (*v as u16).to_le_bytes())
                .collect(),
            _ => values.iter().map(|&v| v as u8).collect(),
        })
    }

    fn out_of_range(&self, field: &'static str, index: usize, value: i128) -> TensorDataError {
        TensorDataError::OutOfRange {
            field,
            index,
            value,
            dtype: self.dtype(),
        }
    }

    fn strings(&self, values: &[Vec<u8>]) -> Result<Vec<String>, TensorDataError> {
        self.expect("string_data", "entries", self.count, values.len())?;
        let text = |(index, bytes): (usize, &Vec<u8>)| {
            String::from_utf8(bytes.clone()).map_err(|_| TensorDataError::NotUtf8 { index })
        };
        values.iter().enumerate().map(text).collect()
    }
}

/// Four 6-bit elements to three bytes, low bits first; the last group is padded with zeros.
fn pack_sixes(values: &[i32]) -> Bytes {
    let mut out = Vec::with_capacity(values.len() / 4 * 3 + 3);
    for group in values.chunks(4) {
        let word = group
            .iter()
            .rev()
            .fold(0_u32, |word, &v| word << 6 | (v as u32 & 0x3f));
        let used = (group.len() * 6).div_ceil(8);
        out.extend_from_slice(&word.to_le_bytes()[..used]);
    }
    out.into()
}
