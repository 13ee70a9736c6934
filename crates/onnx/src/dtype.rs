//! ONNX's data type codes.

use alula_tensor::DType;

use crate::proto::tensor_proto::DataType;

/// The dtype of an ONNX data type code (`TensorProto.DataType`).
///
/// # Errors
/// The reason, for codes that are undefined or that we do not have: complex numbers and the
/// 6-bit floats.
pub(crate) fn from_code(code: i32) -> Result<DType, String> {
    let data_type = DataType::try_from(code).map_err(|_| format!("data type {code} is unknown"))?;
    Ok(match data_type {
        DataType::Float => DType::F32,
        DataType::Uint8 => DType::U8,
        DataType::Int8 => DType::I8,
        DataType::Uint16 => DType::U16,
        DataType::Int16 => DType::I16,
        DataType::Int32 => DType::I32,
        DataType::Int64 => DType::I64,
        DataType::String => DType::String,
        DataType::Bool => DType::Bool,
        DataType::Float16 => DType::F16,
        DataType::Double => DType::F64,
        DataType::Uint32 => DType::U32,
        DataType::Uint64 => DType::U64,
        DataType::Bfloat16 => DType::BF16,
        DataType::Float8e4m3fn => DType::F8E4M3FN,
        DataType::Float8e4m3fnuz => DType::F8E4M3FNUZ,
        DataType::Float8e5m2 => DType::F8E5M2,
        DataType::Float8e5m2fnuz => DType::F8E5M2FNUZ,
        DataType::Uint4 => DType::U4,
        DataType::Int4 => DType::I4,
        DataType::Float4e2m1 => DType::F4E2M1,
        DataType::Float8e8m0 => DType::F8E8M0,
        DataType::Uint2 => DType::U2,
        DataType::Int2 => DType::I2,
        other => {
            return Err(format!(
                "data type {} is not supported",
                other.as_str_name()
            ));
        }
    })
}
