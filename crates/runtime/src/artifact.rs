//! Programs in a file and back.
//!
//! | Section | Kind | Holds |
//! |---|---|---|
//! | `TARGET/plan` | plan | the [`Program`] in postcard, without code and constants' bytes |
//! | `TARGET/where` | plan | for each constant where in `weights` it begins, in postcard |
//! | `TARGET/code` | code | machine code or shader text, as the back end wrote it |
//! | `weights` | weights | constants of all targets at multiples of 64 bytes, equal ones once |
//!
//! The same programs give the same bytes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use alula_artifact::{Artifact, Builder, Kind, Metadata, Verify, WriteError};
use alula_program::{PROGRAM_ABI, Program};
use alula_tensor::Storage;

use crate::SessionError;

const ALIGNMENT: usize = 64;

/// Strings as a constant's bytes: each its length (`u32`, little-endian) and its UTF-8.
pub fn encode_strings(strings: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for string in strings {
        bytes.extend_from_slice(&(string.len() as u32).to_le_bytes());
        bytes.extend_from_slice(string.as_bytes());
    }
    bytes
}

/// The strings that [`encode_strings`] wrote; `None` if it did not write these bytes.
pub fn decode_strings(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut strings = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        strings.push(str::from_utf8(rest.get(..length)?).ok()?.to_owned());
        bytes = &rest[length..];
    }
    bytes.is_empty().then_some(strings)
}

/// A program as it is stored.
fn builder<'a>(programs: &[&'a Program]) -> Result<Builder<'a>, WriteError> {
    let mut features: Vec<String> = Vec::new();
    for program in programs.iter().filter(|program| program.target == "cpu") {
        features.extend(program.features.iter().cloned());
    }
    features.sort();
    features.dedup();
    let mut builder = Builder::new(Metadata {
        producer: format!("alula {}", env!("CARGO_PKG_VERSION")),
        contents: PROGRAM_ABI,
        targets: programs.iter().map(|p| p.target.clone()).collect(),
        cpu_features: features,
    });
    let mut weights = Weights::default();
    for program in programs {
        let places: Vec<u64> = program
            .data
            .iter()
            .map(|data| weights.place(data))
            .collect();
        let target = &program.target;
        let code = program.code.as_slice();
        let slim = Program {
            target: target.clone(),
            precision: program.precision.clone(),
            abi: program.abi.clone(),
            features: program.features.clone(),
            tuned: program.tuned.clone(),
            plans: program.plans.clone(),
            kernels: program.kernels.clone(),
            code: Vec::new(),
            constants: program.constants.clone(),
            data: Vec::new(),
        };
        let plan = encode(&slim)?;
        let places = encode(&places)?;
        builder = builder
            .bytes(format!("{target}/plan"), Kind::Plan, plan)
            .bytes(format!("{target}/where"), Kind::Plan, places)
            .bytes(format!("{target}/code"), Kind::Code, code);
    }
    let parts = weights.parts;
    Ok(builder.stream("weights", Kind::Weights, move |out| {
        for (data, padding) in parts {
            out.write_all(data.bytes())?;
            out.write_all(&[0; ALIGNMENT][..padding])?;
        }
        Ok(())
    }))
}

/// Constants one after the other, equal ones once.
#[derive(Default)]
struct Weights {
    parts: Vec<(Storage, usize)>,
    known: HashMap<u64, Vec<(u64, Storage)>>,
    end: u64,
}

impl Weights {
    fn place(&mut self, data: &Storage) -> u64 {
        use std::hash::{DefaultHasher, Hasher};
        let bytes = data.bytes();
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        let same = self.known.entry(hasher.finish()).or_default();
        if let Some((place, _)) = same.iter().find(|(_, known)| known == data) {
            return *place;
        }
        let place = self.end;
        same.push((place, data.clone()));
        let padding = bytes.len().next_multiple_of(ALIGNMENT) - bytes.len();
        self.parts.push((data.clone(), padding));
        self.end += (bytes.len() + padding) as u64;
        place
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, WriteError> {
    postcard::to_stdvec(value).map_err(|error| WriteError::Io {
        path: "(memory)".into(),
        source: std::io::Error::other(error),
    })
}

/// Writes programs, one a target, to a file: whole, or not at all.
///
/// # Errors
/// [`WriteError`].
pub fn save(path: impl AsRef<Path>, programs: &[&Program]) -> Result<(), WriteError> {
    let path = path.as_ref();
    let _span = tracing::info_span!("save", path = %path.display()).entered();
    builder(programs)?.save(path)?;
    Ok(())
}

/// The artifact of programs, one a target, in memory.
///
/// # Errors
/// [`WriteError`].
pub fn to_bytes(programs: &[&Program]) -> Result<Vec<u8>, WriteError> {
    builder(programs)?.to_bytes()
}

/// Reads the program for a target from a file. Constants stay where they are, mapped. Header,
/// plan and code are verified; weights are not, as that would read all of them.
///
/// # Errors
/// [`SessionError::Artifact`], [`SessionError::NoTarget`], [`SessionError::Damaged`].
pub fn load(path: impl AsRef<Path>, target: &str) -> Result<Program, SessionError> {
    let path = path.as_ref();
    let _span = tracing::info_span!("open", path = %path.display()).entered();
    let artifact = Artifact::open(path, Verify::HeaderAndCode)?;
    program(&artifact, target)
}

/// The program for a target out of an artifact that was opened.
///
/// # Errors
/// As [`load`].
pub fn program(artifact: &Artifact, target: &str) -> Result<Program, SessionError> {
    let metadata = artifact.metadata();
    if metadata.contents != PROGRAM_ABI {
        return Err(SessionError::Version {
            producer: metadata.producer.clone(),
            found: metadata.contents,
            supported: PROGRAM_ABI,
        });
    }
    if !metadata.targets.iter().any(|present| present == target) {
        return Err(SessionError::NoTarget {
            target: target.to_owned(),
            present: metadata.targets.clone(),
        });
    }
    let section = |name: &str| artifact.section(&format!("{target}/{name}"));
    let damaged = |what: &str| SessionError::Damaged(format!("{target}: {what}"));
    let mut program: Program = postcard::from_bytes(&section("plan")?)
        .map_err(|error| damaged(&format!("its plan does not decode: {error}")))?;
    let places: Vec<u64> = postcard::from_bytes(&section("where")?)
        .map_err(|error| damaged(&format!("its constants do not decode: {error}")))?;
    if program.target != target || places.len() != program.constants.len() {
        return Err(damaged("its plan is another's"));
    }
    program.code = section("code")?.to_vec();
    let weights: Arc<dyn AsRef<[u8]> + Send + Sync> = Arc::new(artifact.section("weights")?);
    program.data = places
        .iter()
        .zip(&program.constants)
        .map(|(&place, constant)| {
            let begin = usize::try_from(place).ok()?;
            let end = begin.checked_add(usize::try_from(constant.bytes).ok()?)?;
            Storage::foreign(Arc::clone(&weights), begin..end)
        })
        .collect::<Option<Vec<Storage>>>()
        .ok_or_else(|| damaged("a constant lies outside of the weights"))?;
    Ok(program)
}
