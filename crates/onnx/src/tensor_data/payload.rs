//! Checks a payload against dtype and dims, and turns typed fields into bytes.

use bytes::Bytes;

use super::TensorDataError;
use crate::proto::TensorProto;
use crate::proto::tensor_proto::DataType;

/// What dtype and dims ask of the payload.
pub(super) struct Wanted<'a> {
    pub(super) data_type: DataType,
    pub(super) dims: &'a [i64],
    pub(super) count: u64,
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
    pub(super) fn no_stray_data(
        &self,
        t: &TensorProto,
        used: &'static str,
    ) -> Result<(), TensorDataError> {
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

    pub(super) fn check_raw(
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
    pub(super) fn inline(&self, t: &TensorProto, bits: u32) -> Result<Bytes, TensorDataError> {
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

    pub(super) fn strings(&self, values: &[Vec<u8>]) -> Result<Vec<String>, TensorDataError> {
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
