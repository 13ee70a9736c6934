//! ONNX's protobuf messages and the way from bytes to them.
//!
//! The types are made by `cargo xtask codegen-proto` from `proto/onnx.proto` (IR version 14) and
//! follow the ONNX specification's IR.md field by field; every field is optional, as on the wire.
//! Only `TensorProto::raw_data` is a [`Bytes`]: decoded from a memory-mapped file it stays a slice
//! of that mapping, so that a model's weights are not copied (nor paged in) by decoding.
//!
//! Promises on hostile bytes: no panic; messages nest at most 100 deep, the limit of other readers
//! too; unknown fields are skipped, as newer IR versions need; memory is bounded by a multiple of
//! the input's length.

#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated; documented by ONNX")]
mod onnx;

use bytes::Bytes;
use prost::Message;

pub use onnx::*;

/// Why bytes are not an ONNX message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing to read.
    #[error("the model file is empty")]
    Empty,
    /// The file stands for a model that was never downloaded.
    #[error("this is a git-lfs pointer, not the model itself: fetch the file with `git lfs pull`")]
    LfsPointer,
    /// Messages (types, sub-graphs) nest deeper than the reader goes.
    #[error("messages nest more than {limit} deep (sub-graphs or types within one another)")]
    TooDeep {
        /// The greatest depth read.
        limit: usize,
    },
    /// Not protobuf, cut short, or not of ONNX's schema; `detail` names message and field.
    #[error("not a valid ONNX protobuf: {detail}")]
    Malformed {
        /// What the protobuf reader found, and where.
        detail: String,
    },
    /// A protobuf without the one field that makes it a model.
    #[error("the file holds no graph: not an ONNX model, or cut short")]
    NoGraph,
}

/// The depth at which prost gives up; part of its contract, not configurable.
const RECURSION_LIMIT: usize = 100;

/// Reads a whole model file.
///
/// Pass `Bytes::from_owner(mapping)` to leave weights in the file, or `Bytes::from(vec)`.
///
/// # Errors
/// Any [`DecodeError`]; a model without a graph is one of them.
pub fn decode_model(bytes: impl Into<Bytes>) -> Result<ModelProto, DecodeError> {
    let bytes = bytes.into();
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(DecodeError::LfsPointer);
    }
    let model: ModelProto = decode(bytes)?;
    if model.graph.is_none() {
        return Err(DecodeError::NoGraph);
    }
    Ok(model)
}

/// Reads any one message: a `TensorProto`, `SequenceProto` or `OptionalProto` of test data.
///
/// # Errors
/// [`DecodeError::TooDeep`] and [`DecodeError::Malformed`].
pub fn decode<M: Message + Default>(bytes: impl Into<Bytes>) -> Result<M, DecodeError> {
    M::decode(bytes.into()).map_err(|error| {
        let text = error.to_string();
        if text.ends_with("recursion limit reached") {
            return DecodeError::TooDeep {
                limit: RECURSION_LIMIT,
            };
        }
        let detail = text
            .strip_prefix("failed to decode Protobuf message: ")
            .unwrap_or(&text);
        DecodeError::Malformed {
            detail: detail.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model whose graph holds `If` in `If`, `depth` of them.
    fn nested(depth: usize) -> Vec<u8> {
        let field = |tag: u8, body: &[u8]| {
            let mut out = vec![tag << 3 | 2];
            prost::encoding::encode_varint(body.len() as u64, &mut out);
            out.extend_from_slice(body);
            out
        };
        let mut graph = Vec::new();
        for _ in 0..depth {
            graph = field(1, &field(5, &field(6, &graph))); // node { attribute { g } }
        }
        field(7, &graph)
    }

    fn small() -> ModelProto {
        let weight = TensorProto {
            dims: vec![2],
            data_type: Some(1),
            raw_data: Some(Bytes::from_static(&[0, 0, 128, 63, 0, 0, 0, 64])),
            name: Some("w".into()),
            ..Default::default()
        };
        let node = NodeProto {
            op_type: Some("Identity".into()),
            input: vec!["w".into()],
            output: vec!["y".into()],
            ..Default::default()
        };
        ModelProto {
            ir_version: Some(10),
            graph: Some(GraphProto {
                node: vec![node],
                initializer: vec![weight],
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn round_trip() {
        let model = small();
        assert_eq!(decode_model(model.encode_to_vec()), Ok(model));
    }

    #[test]
    fn raw_data_is_a_slice_of_the_input() {
        let bytes = Bytes::from(small().encode_to_vec());
        let model = decode_model(bytes.clone()).expect("decode");
        let graph = model.graph.expect("graph");
        let raw = graph.initializer[0].raw_data.clone().expect("raw");
        assert!(
            bytes.as_ptr_range().contains(&raw.as_ptr()),
            "raw_data was copied"
        );
    }

    #[test]
    fn depth_is_limited_and_named() {
        assert!(decode_model(nested(32)).is_ok());
        for depth in [34, 5_000] {
            let error = decode_model(nested(depth)).expect_err("too deep");
            assert_eq!(error, DecodeError::TooDeep { limit: 100 });
        }
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let mut bytes = small().encode_to_vec();
        bytes.extend_from_slice(&[0xfa, 0x3f, 3, 1, 2, 3]); // field 1023, three bytes
        assert_eq!(decode_model(bytes), Ok(small()));
    }

    #[test]
    fn every_truncation_is_an_error() {
        // The graph comes last here, so that no cut leaves a whole model.
        let bytes = small().encode_to_vec();
        for cut in 0..bytes.len() {
            assert!(decode_model(bytes[..cut].to_vec()).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn every_bit_flip_is_read_or_refused() {
        let bytes = small().encode_to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(model) = decode_model(damaged) {
                assert!(model.graph.is_some());
            }
        }
    }

    #[test]
    fn what_is_no_model_says_so() {
        let cases: [(&[u8], &str); 4] = [
            (b"", "empty"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
            (&[8, 10], "no graph"),
            (b"PK\x03\x04 a zip archive", "not a valid ONNX protobuf"),
        ];
        for (bytes, want) in cases {
            let error = decode_model(bytes.to_vec()).expect_err(want).to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
