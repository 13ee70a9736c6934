//! Tensors as `.npy` files (NumPy's format, versions 1 to 3; source: NEP 1 and `numpy.lib.format`).
//!
//! Dtypes that NumPy does not have (`bf16`, 8-bit floats, integers of 2 and 4 bits) are refused:
//! ONNX's `.pb` files hold every dtype.

use std::fs;
use std::path::Path;

use alula_tensor::{DType, Storage, Tensor};

use crate::Error;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a tensor from a file.
///
/// # Errors
/// [`Error::Io`], or [`Error::Tensor`] saying what is wrong with the contents.
pub fn read(path: impl AsRef<Path>) -> Result<Tensor, Error> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    from_bytes(&bytes).map_err(|reason| Error::Tensor {
        path: path.to_owned(),
        reason,
    })
}

/// Writes a tensor to a file.
///
/// # Errors
/// [`Error::Io`], or [`Error::Tensor`] for a dtype that the format does not have.
pub fn write(path: impl AsRef<Path>, tensor: &Tensor) -> Result<(), Error> {
    let path = path.as_ref();
    let bytes = to_bytes(tensor).map_err(|reason| Error::Tensor {
        path: path.to_owned(),
        reason,
    })?;
    fs::write(path, bytes).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// A tensor out of the bytes of a file.
///
/// # Errors
/// What is wrong with them.
pub fn from_bytes(bytes: &[u8]) -> Result<Tensor, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("not an .npy file")?;
    let short = || "the header is cut short".to_owned();
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [version, ..] if *version > 3 => return Err(format!("unknown version {version}")),
        _ => return Err(short()),
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(short)?;
    let header = str::from_utf8(header).map_err(|_| "the header is no text")?;
    let descr = field(header, "descr")?;
    let descr = descr
        .split(['\'', '"'])
        .nth(1)
        .ok_or("structured elements are not supported")?;
    let fortran = field(header, "fortran_order")?.starts_with("True");
    let shape = field(header, "shape")?;
    let shape = shape
        .strip_prefix('(')
        .and_then(|shape| shape.split(')').next())
        .ok_or("the shape is no tuple")?;
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|extent| !extent.is_empty())
        .map(|extent| extent.parse().map_err(|_| format!("extent {extent:?}")))
        .collect::<Result<_, _>>()?;
    let tensor = if let Some(width) = descr.strip_prefix("<U").or(descr.strip_prefix("|U")) {
        strings(width, &shape, data)?
    } else {
        let dtype = dtype(descr)?;
        let storage = Storage::copy_from(data);
        Tensor::from_storage(dtype, &shape, storage).map_err(|error| error.to_string())?
    };
    if fortran && shape.len() > 1 {
        return row_major(&tensor);
    }
    Ok(tensor)
}

/// What follows a key of the header's dictionary.
fn field<'h>(header: &'h str, key: &str) -> Result<&'h str, String> {
    let missing = || format!("the header has no {key}");
    let (_, rest) = header.split_once(&format!("'{key}'")).ok_or_else(missing)?;
    let rest = rest.trim_start().strip_prefix(':').ok_or_else(missing)?;
    Ok(rest.trim_start())
}

fn dtype(descr: &str) -> Result<DType, String> {
    Ok(match descr {
        "|b1" => DType::Bool,
        "|i1" | "<i1" => DType::I8,
        "|u1" | "<u1" => DType::U8,
        "<i2" => DType::I16,
        "<i4" => DType::I32,
        "<i8" => DType::I64,
        "<u2" => DType::U16,
        "<u4" => DType::U32,
        "<u8" => DType::U64,
        "<f2" => DType::F16,
        "<f4" => DType::F32,
        "<f8" => DType::F64,
        other => return Err(format!("elements of type {other:?} are not supported")),
    })
}

/// Strings of a fixed number of UTF-32 characters, padded with zeros.
fn strings(width: &str, shape: &[usize], data: &[u8]) -> Result<Tensor, String> {
    let width: usize = width.parse().map_err(|_| "the strings have no width")?;
    let count = shape.iter().try_fold(1_usize, |n, &e| n.checked_mul(e));
    let needed = count.and_then(|count| count.checked_mul(width)?.checked_mul(4));
    if needed != Some(data.len()) {
        return Err(format!(
            "{} bytes of strings do not fill the shape",
            data.len()
        ));
    }
    let text = |bytes: &[u8]| -> Result<String, String> {
        let codes = bytes.as_chunks::<4>().0.iter();
        let codes = codes.map(|code| u32::from_le_bytes(*code));
        codes
            .take_while(|code| *code != 0)
            .map(|code| char::from_u32(code).ok_or_else(|| format!("character {code:#x}")))
            .collect()
    };
    if width == 0 {
        return Tensor::zeros(DType::String, shape).map_err(|error| error.to_string());
    }
    let values = data.chunks_exact(width * 4).map(text);
    let values = values.collect::<Result<_, _>>()?;
    Tensor::from_strings(shape, values).map_err(|error| error.to_string())
}

/// The elements of a column-major tensor in row-major order.
fn row_major(tensor: &Tensor) -> Result<Tensor, String> {
    if tensor.dtype() == DType::String {
        return Err("strings in column-major order are not supported".to_owned());
    }
    let (shape, size) = (tensor.shape(), tensor.dtype().size_bytes());
    let storage = Storage::try_zeroed(tensor.bytes().len());
    let mut storage = storage.map_err(|error| error.to_string())?;
    let into = storage.to_mut();
    let mut index = vec![0; shape.len()];
    for element in 0..tensor.len() {
        let (mut from, mut stride) = (0, 1);
        for (position, extent) in index.iter().zip(shape) {
            from += position * stride;
            stride *= extent;
        }
        into[element * size..][..size].copy_from_slice(&tensor.bytes()[from * size..][..size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Tensor::from_storage(tensor.dtype(), shape, storage).map_err(|error| error.to_string())
}

/// The bytes of a file that holds a tensor.
///
/// # Errors
/// The dtype, if NumPy does not have it.
pub fn to_bytes(tensor: &Tensor) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let (descr, data) = match tensor.strings() {
        Some(strings) => {
            let width = strings.iter().map(|s| s.chars().count()).max();
            let width = width.unwrap_or(0).max(1);
            for string in strings {
                let codes = string.chars().map(u32::from).chain(std::iter::repeat(0));
                text.extend(codes.take(width).flat_map(u32::to_le_bytes));
            }
            (format!("<U{width}"), text.as_slice())
        }
        None => (descr(tensor.dtype())?.to_owned(), tensor.bytes()),
    };
    let extents: String = tensor
        .shape()
        .iter()
        .map(|extent| format!("{extent}, "))
        .collect();
    let shape = match tensor.rank() {
        0 | 1 => extents.trim_end(),
        _ => extents.trim_end_matches(", "),
    };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length are 10 bytes; the data begins at a multiple of 64.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', padded - header.len() - 1));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(|_| "the shape is too long")?;
    let mut bytes = Vec::with_capacity(10 + header.len() + data.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    Ok(bytes)
}

fn descr(dtype: DType) -> Result<&'static str, String> {
    Ok(match dtype {
        DType::Bool => "|b1",
        DType::I8 => "|i1",
        DType::U8 => "|u1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U16 => "<u2",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        other => return Err(format!("NumPy has no {other}: write .pb instead")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_survive_the_way_out_and_back() {
        let tensors = [
            Tensor::scalar(1.5_f32),
            Tensor::from_i64s(&[1, -2, 3]),
            Tensor::from_slice(&[2, 3], &[0_u8; 6]).expect("tensor"),
            Tensor::zeros(DType::F64, &[0, 4]).expect("tensor"),
            Tensor::from_bools(&[2], &[true, false]).expect("tensor"),
            Tensor::from_strings(&[2], vec!["ä".into(), "longer".into()]).expect("tensor"),
        ];
        for tensor in tensors {
            let bytes = to_bytes(&tensor).expect("a dtype of NumPy");
            assert_eq!(from_bytes(&bytes).expect("read"), tensor);
        }
    }

    #[test]
    fn column_major_data_is_turned() {
        let tensor = Tensor::from_slice(&[2, 3], &[0_u8, 3, 1, 4, 2, 5]).expect("tensor");
        let bytes = to_bytes(&tensor).expect("bytes");
        let at = bytes.windows(5).position(|w| w == b"False").expect("flag");
        let mut fortran = bytes.clone();
        fortran[at..at + 5].copy_from_slice(b"True ");
        let turned = from_bytes(&fortran).expect("read");
        assert_eq!(turned.to_vec::<u8>().expect("u8"), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn damage_is_refused() {
        let bytes = to_bytes(&Tensor::from_i64s(&[1, 2])).expect("bytes");
        for cut in 0..bytes.len() {
            assert!(from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(to_bytes(&Tensor::zeros(DType::BF16, &[1]).expect("tensor")).is_err());
    }
}
