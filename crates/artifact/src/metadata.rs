//! The header of an artifact: what made it and what it needs, in words.

use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::error::ReadError;

/// What an artifact says of itself. Holds no time, path or machine name, so that the same input
/// gives the same bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Name and version of the compiler.
    pub producer: String,
    /// Version of what the sections hold. Whoever fills and reads them compares it.
    pub contents: u32,
    /// The back ends that the artifact holds code for.
    #[serde(deserialize_with = "strings_grown_as_read")]
    pub targets: Vec<String>,
    /// The CPU features that its machine code uses, in the words of Rust's feature detection.
    #[serde(deserialize_with = "strings_grown_as_read")]
    pub cpu_features: Vec<String>,
}

impl Metadata {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("strings always encode")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Metadata, ReadError> {
        let (metadata, rest) =
            postcard::take_from_bytes::<Metadata>(bytes).map_err(|error| ReadError::Header {
                reason: error.to_string(),
            })?;
        if !rest.is_empty() {
            return Err(ReadError::Header {
                reason: format!("{} bytes are left over", rest.len()),
            });
        }
        Ok(metadata)
    }
}

/// Reads a list of strings without reserving room for its stated length, which is untrusted: memory
/// grows with the strings that are really there.
fn strings_grown_as_read<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Strings;
    impl<'de> Visitor<'de> for Strings {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of strings")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut strings = Vec::new();
            while let Some(item) = items.next_element()? {
                strings.push(item);
            }
            Ok(strings)
        }
    }
    from.deserialize_seq(Strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_count_that_the_header_cannot_hold() {
        // Empty producer, version 0, then a list that claims 2^63 strings.
        let mut bytes = vec![0, 0];
        bytes.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
        assert!(matches!(
            Metadata::decode(&bytes),
            Err(ReadError::Header { .. })
        ));
    }

    #[test]
    fn refuses_bytes_after_the_header() {
        let mut bytes = Metadata::default().encode();
        bytes.push(0);
        assert!(matches!(
            Metadata::decode(&bytes),
            Err(ReadError::Header { .. })
        ));
    }
}
