//! Every data type out of every field that can hold it, and what is refused.

use alula_onnx::external::ExternalFiles;
use alula_onnx::proto::tensor_proto::{DataLocation, DataType, Segment};
use alula_onnx::proto::{StringStringEntryProto, TensorProto};
use alula_onnx::tensor_data::{TensorBytes, TensorDataError, decode_tensor, element_bits};
use bytes::Bytes;

fn tensor(data_type: DataType, dims: &[i64]) -> TensorProto {
    TensorProto {
        data_type: Some(data_type as i32),
        dims: dims.to_vec(),
        ..Default::default()
    }
}

fn raw(data_type: DataType, dims: &[i64], bytes: &[u8]) -> TensorProto {
    let raw_data = Some(Bytes::copy_from_slice(bytes));
    TensorProto {
        raw_data,
        ..tensor(data_type, dims)
    }
}

fn small(data_type: DataType, dims: &[i64], entries: &[i32]) -> TensorProto {
    TensorProto {
        int32_data: entries.to_vec(),
        ..tensor(data_type, dims)
    }
}

fn decode(tensor: &TensorProto) -> Result<Vec<u8>, TensorDataError> {
    match decode_tensor(tensor, &ExternalFiles::none())?.bytes {
        TensorBytes::Raw(bytes) => Ok(bytes.to_vec()),
        TensorBytes::Strings(strings) => panic!("strings: {strings:?}"),
    }
}

#[test]
fn raw_data_of_every_type_has_the_length_of_its_bits() {
    let mut seen = 0;
    for code in 1..=28 {
        let data_type = DataType::try_from(code).expect("ONNX numbers types 1 to 28");
        let Some(bits) = element_bits(data_type) else {
            continue;
        };
        for (dims, count) in [(&[3_i64, 5][..], 15_u32), (&[], 1), (&[2, 0], 0)] {
            let length = (count * bits).div_ceil(8) as usize;
            let bytes = vec![1; length];
            let decoded = decode(&raw(data_type, dims, &bytes)).expect("right length");
            assert_eq!(decoded, bytes, "{data_type:?} {dims:?}");
            let result = decode(&raw(data_type, dims, &vec![1; length + 1]));
            assert!(
                matches!(result, Err(TensorDataError::WrongLength { .. })),
                "{data_type:?}"
            );
            if length > 0 {
                let result = decode(&raw(data_type, dims, &bytes[1..]));
                assert!(matches!(result, Err(TensorDataError::WrongLength { .. })));
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 27);
}

#[test]
fn raw_data_is_not_copied() {
    let bytes = Bytes::from_static(&[1, 2, 3, 4]);
    let tensor = TensorProto {
        raw_data: Some(bytes.clone()),
        ..tensor(DataType::Uint8, &[4])
    };
    let decoded = decode_tensor(&tensor, &ExternalFiles::none()).expect("decode");
    let TensorBytes::Raw(out) = decoded.bytes else {
        panic!("numbers")
    };
    assert_eq!(out.as_ptr(), bytes.as_ptr());
}

#[test]
fn int32_data_is_narrowed_to_its_type() {
    use DataType as T;
    let cases: &[(T, &[i64], &[i32], &[u8])] = &[
        (
            T::Int32,
            &[2],
            &[-2, 258],
            &[0xfe, 0xff, 0xff, 0xff, 2, 1, 0, 0],
        ),
        (T::Int16, &[2], &[-2, 258], &[0xfe, 0xff, 2, 1]),
        (T::Uint16, &[1], &[65535], &[0xff, 0xff]),
        (T::Int8, &[2], &[-128, 127], &[0x80, 0x7f]),
        (T::Uint8, &[2], &[0, 255], &[0, 255]),
        (T::Bool, &[3], &[0, 1, 7], &[0, 1, 1]),
        (T::Float16, &[2], &[0x3c00, 0xbc00], &[0, 0x3c, 0, 0xbc]),
        (T::Float16, &[1], &[-17408], &[0, 0xbc]), // 0xbc00, sign-extended by its writer
        (T::Bfloat16, &[1], &[0x3f80], &[0x80, 0x3f]),
        (T::Float8e4m3fn, &[2], &[0x38, 0xff], &[0x38, 0xff]),
        (T::Float8e8m0, &[1], &[127], &[127]),
        // Three 4-bit elements in two entries, five 2-bit ones in two.
        (T::Int4, &[3], &[0x21, 0x03], &[0x21, 0x03]),
        (T::Uint4, &[2], &[0xf1], &[0xf1]),
        (T::Float4e2m1, &[4], &[0x21, 0x43], &[0x21, 0x43]),
        (T::Uint2, &[5], &[0b1110_0100, 0b01], &[0b1110_0100, 0b01]),
        // 6-bit elements take an entry each and are packed: 1, 2, 3, 4, then 63.
        (
            T::Float6e2m3,
            &[5],
            &[1, 2, 3, 4, 63],
            &[0x81, 0x30, 0x10, 0x3f],
        ),
        (T::Float6e3m2, &[2], &[63, 63], &[0xff, 0x0f]),
        (T::Int32, &[0], &[], &[]),
    ];
    for (data_type, dims, entries, want) in cases {
        let decoded = decode(&small(*data_type, dims, entries)).expect("in range");
        assert_eq!(decoded, *want, "{data_type:?} {entries:?}");
    }
}

#[test]
fn int32_data_out_of_its_types_range_is_refused() {
    use DataType as T;
    for (data_type, value) in [
        (T::Int8, 128),
        (T::Int8, -129),
        (T::Uint8, 256),
        (T::Uint8, -1),
        (T::Int16, 40000),
        (T::Uint16, -1),
        (T::Float16, 65536),
        (T::Float8e5m2, 256),
        (T::Float6e3m2, 64),
    ] {
        let result = decode(&small(data_type, &[2], &[0, value]));
        assert!(
            matches!(result, Err(TensorDataError::OutOfRange { index: 1, .. })),
            "{data_type:?} {value}: {result:?}"
        );
    }
    let wide = TensorProto {
        uint64_data: vec![1 << 32],
        ..tensor(T::Uint32, &[1])
    };
    assert!(matches!(
        decode(&wide),
        Err(TensorDataError::OutOfRange { .. })
    ));
}

#[test]
fn other_fields_hold_their_types() {
    use DataType as T;
    let float = TensorProto {
        float_data: vec![1.0, -2.0],
        ..tensor(T::Float, &[2])
    };
    assert_eq!(
        decode(&float).expect("f32"),
        [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]
    );
    let complex = TensorProto {
        data_type: Some(T::Complex64 as i32),
        dims: vec![1],
        ..float
    };
    assert_eq!(
        decode(&complex).expect("c64"),
        [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]
    );
    let double = TensorProto {
        double_data: vec![1.5],
        ..tensor(T::Double, &[])
    };
    assert_eq!(decode(&double).expect("f64"), 1.5_f64.to_le_bytes());
    let complex = TensorProto {
        double_data: vec![1.5, 0.0],
        ..tensor(T::Complex128, &[1])
    };
    assert_eq!(decode(&complex).expect("c128").len(), 16);
    let long = TensorProto {
        int64_data: vec![-1],
        ..tensor(T::Int64, &[1])
    };
    assert_eq!(decode(&long).expect("i64"), [0xff; 8]);
    let unsigned = TensorProto {
        uint64_data: vec![7],
        ..tensor(T::Uint32, &[1])
    };
    assert_eq!(decode(&unsigned).expect("u32"), [7, 0, 0, 0]);
    let unsigned = TensorProto {
        uint64_data: vec![u64::MAX],
        ..tensor(T::Uint64, &[1])
    };
    assert_eq!(decode(&unsigned).expect("u64"), [0xff; 8]);
}

#[test]
fn entries_too_few_or_in_the_wrong_field_are_refused() {
    use DataType as T;
    let short = TensorProto {
        float_data: vec![1.0],
        ..tensor(T::Float, &[2])
    };
    let error = decode(&short).expect_err("short").to_string();
    assert_eq!(
        error,
        "float_data holds 1 entries, FLOAT of dims [2] needs 2"
    );
    let wrong = TensorProto {
        int64_data: vec![1, 2],
        ..tensor(T::Float, &[2])
    };
    assert!(matches!(
        decode(&wrong),
        Err(TensorDataError::StrayData { .. })
    ));
    let both = TensorProto {
        float_data: vec![1.0],
        ..raw(T::Float, &[1], &[0; 4])
    };
    assert!(matches!(
        decode(&both),
        Err(TensorDataError::StrayData { .. })
    ));
    assert!(matches!(
        decode(&tensor(T::Float, &[1])),
        Err(TensorDataError::WrongLength { .. })
    ));
}

#[test]
fn bool_bytes_are_made_zero_or_one() {
    assert_eq!(
        decode(&raw(DataType::Bool, &[3], &[0, 1, 0xff])).expect("bool"),
        [0, 1, 1]
    );
}

#[test]
fn hostile_dims_are_refused_before_anything_is_allocated() {
    let huge = 1_i64 << 40;
    let cases: [(&[i64], &str); 4] = [
        (&[2, -1], "dims [2, -1] hold a negative extent"),
        (
            &[huge, huge],
            "dims [1099511627776, 1099511627776] overflow",
        ),
        (&[i64::MAX, 2], "overflow"),
        (
            &[huge],
            "raw_data holds 4 bytes, FLOAT of dims [1099511627776] needs 4398046511104",
        ),
    ];
    for (dims, want) in cases {
        let error = decode(&raw(DataType::Float, dims, &[0; 4])).expect_err(want);
        assert!(error.to_string().contains(want), "{error}");
        assert!(decode(&small(DataType::Int8, dims, &[1])).is_err());
    }
    assert_eq!(
        decode(&raw(DataType::Float, &[huge, 0, huge], &[])).expect("no element"),
        []
    );
}

#[test]
fn strings() {
    let strings = |values: &[&[u8]], dims: &[i64]| {
        let string_data = values.iter().map(|v| v.to_vec()).collect();
        let tensor = TensorProto {
            string_data,
            ..tensor(DataType::String, dims)
        };
        decode_tensor(&tensor, &ExternalFiles::none()).map(|t| t.bytes)
    };
    let two = strings(&[b"a", "ü".as_bytes()], &[2]).expect("two strings");
    assert_eq!(
        two,
        TensorBytes::Strings(vec!["a".to_owned(), "ü".to_owned()])
    );
    assert!(matches!(
        strings(&[b"a"], &[2]),
        Err(TensorDataError::WrongLength { .. })
    ));
    assert!(matches!(
        strings(&[b"\xff"], &[1]),
        Err(TensorDataError::NotUtf8 { index: 0 })
    ));
    let bytes = raw(DataType::String, &[1], b"a");
    let result = decode_tensor(&bytes, &ExternalFiles::none());
    assert!(matches!(result, Err(TensorDataError::StrayData { .. })));
}

#[test]
fn unknown_types_places_and_segments_are_refused() {
    for code in [0, 29, -1, i32::MAX] {
        let odd = TensorProto {
            data_type: Some(code),
            ..TensorProto::default()
        };
        assert!(
            matches!(decode(&odd), Err(TensorDataError::UnknownType { .. })),
            "{code}"
        );
    }
    let segment = Some(Segment::default());
    let odd = TensorProto {
        segment,
        ..raw(DataType::Uint8, &[1], &[1])
    };
    assert!(matches!(decode(&odd), Err(TensorDataError::Segment)));
    let odd = TensorProto {
        data_location: Some(7),
        ..raw(DataType::Uint8, &[1], &[1])
    };
    assert!(matches!(
        decode(&odd),
        Err(TensorDataError::UnknownLocation { code: 7 })
    ));
}

#[test]
fn external_data_must_have_the_tensors_length() {
    let dir = tempfile::TempDir::new().expect("temporary folder");
    std::fs::write(dir.path().join("w.bin"), [1, 2, 3, 4, 5]).expect("write");
    let files = ExternalFiles::beside(&dir.path().join("model.onnx")).expect("folder");
    let external = |data_type, dims: &[i64], length: Option<&str>| {
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
        };
        let mut external_data = vec![entry("location", "w.bin")];
        external_data.extend(length.map(|length| entry("length", length)));
        let data_location = Some(DataLocation::External as i32);
        let tensor = TensorProto {
            external_data,
            data_location,
            ..tensor(data_type, dims)
        };
        decode_tensor(&tensor, &files).map(|t| t.bytes)
    };
    let four = external(DataType::Uint16, &[2], Some("4")).expect("four bytes");
    assert_eq!(four, TensorBytes::Raw(Bytes::from_static(&[1, 2, 3, 4])));
    let rest = external(DataType::Uint16, &[2], None);
    assert!(
        matches!(rest, Err(TensorDataError::WrongLength { actual: 5, .. })),
        "{rest:?}"
    );
    let far = external(DataType::Uint16, &[2], Some("6"));
    assert!(matches!(far, Err(TensorDataError::External(_))), "{far:?}");
    let strings = external(DataType::String, &[1], None);
    assert!(
        matches!(strings, Err(TensorDataError::ExternalStrings)),
        "{strings:?}"
    );
}
