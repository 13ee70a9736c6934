//! Whatever a file holds, opening it ends in an error that says what is wrong.

use std::fs;

use alula_artifact::layout::{ENTRY_BYTES, FORMAT_VERSION, PREFIX_BYTES};
use alula_artifact::{Artifact, Builder, Kind, Metadata, ReadError, SectionProblem, Verify};

/// Three sections with gaps before each.
fn sample() -> Vec<u8> {
    let metadata = Metadata {
        producer: "alula 0.1.0".into(),
        contents: 7,
        targets: vec!["cpu".into()],
        cpu_features: vec![],
    };
    Builder::new(metadata)
        .bytes("plan", Kind::Plan, b"some steps")
        .bytes("weights", Kind::Weights, vec![7; 65])
        .bytes("notes", Kind::Plan, b"end")
        .to_bytes()
        .unwrap()
}

fn read(bytes: &[u8]) -> Result<Artifact, ReadError> {
    Artifact::from_bytes(bytes, Verify::All)
}

/// Writes `value` at `at` and repairs the root, as an attacker would.
fn forged(at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = sample();
    bytes[at..at + value.len()].copy_from_slice(value);
    seal(&mut bytes);
    bytes
}

fn seal(bytes: &mut [u8]) {
    let count = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let table_end = (PREFIX_BYTES + count * ENTRY_BYTES).min(bytes.len());
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&bytes[..64])
        .update(&bytes[PREFIX_BYTES..table_end]);
    bytes[64..96].copy_from_slice(hasher.finalize().as_bytes());
}

/// The problem of the section `index` in `bytes`.
fn problem(bytes: &[u8], index: usize) -> SectionProblem {
    match read(bytes).unwrap_err() {
        ReadError::Section {
            index: found,
            problem,
            ..
        } if found == index => problem,
        other => panic!("expected a problem of section {index}, got: {other}"),
    }
}

/// Where the weights of the sample begin.
fn weights_at(bytes: &[u8]) -> usize {
    bytes
        .windows(65)
        .position(|window| window == [7; 65])
        .unwrap()
}

fn entry(index: usize) -> usize {
    PREFIX_BYTES + index * ENTRY_BYTES
}

#[test]
fn truncation_at_every_byte_is_an_error() {
    let bytes = sample();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.alula");
    for length in 0..bytes.len() {
        for verify in [Verify::All, Verify::HeaderAndCode] {
            let error = Artifact::from_bytes(&bytes[..length], verify).unwrap_err();
            let expected = matches!(
                error,
                ReadError::Truncated { .. } | ReadError::Length { .. }
            );
            assert!(expected, "{length} bytes: {error}");
        }
        fs::write(&path, &bytes[..length]).unwrap();
        Artifact::open(&path, Verify::All).unwrap_err();
    }
}

#[test]
fn extra_bytes_are_an_error() {
    let mut bytes = sample();
    bytes.push(0);
    assert!(matches!(read(&bytes), Err(ReadError::Length { .. })));
    // Even if the prefix owns up to them.
    let length = bytes.len() as u64;
    bytes[24..32].copy_from_slice(&length.to_le_bytes());
    seal(&mut bytes);
    assert!(matches!(read(&bytes), Err(ReadError::Length { .. })));
}

#[test]
fn every_flipped_bit_is_an_error() {
    let good = sample();
    read(&good).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&bytes).is_err(), "bit {} of byte {}", bit % 8, bit / 8);
    }
}

#[test]
fn flipped_bits_with_a_repaired_root_never_panic() {
    let good = sample();
    for bit in 0..entry(3) * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        seal(&mut bytes);
        // Only a name may change without any other sign.
        if let Ok(artifact) = read(&bytes) {
            let at = bit / 8;
            let in_name = at >= PREFIX_BYTES && (at - PREFIX_BYTES) % ENTRY_BYTES < 40;
            // The root itself is repaired, reserved bytes are covered by the hash alone.
            assert!(
                in_name || (64..96).contains(&at) || (20..24).contains(&at),
                "byte {at}"
            );
            for section in artifact.sections() {
                artifact.section(section.name).unwrap();
            }
        }
    }
}

#[test]
fn damaged_weights_open_only_on_request_and_fail_when_asked() {
    let mut bytes = sample();
    let at = weights_at(&bytes);
    bytes[at] = 8;
    assert_eq!(problem(&bytes, 1), SectionProblem::Hash);
    let artifact = Artifact::from_bytes(&bytes, Verify::HeaderAndCode).unwrap();
    artifact.verify("plan").unwrap();
    let error = artifact.verify("weights").unwrap_err();
    assert!(
        error.to_string().contains("\"weights\"): damaged"),
        "{error}"
    );
}

#[test]
fn damaged_plan_fails_under_both_modes() {
    let mut bytes = sample();
    let at = bytes
        .windows(4)
        .position(|window| window == b"some")
        .unwrap();
    bytes[at] ^= 1;
    for verify in [Verify::All, Verify::HeaderAndCode] {
        assert!(matches!(
            Artifact::from_bytes(&bytes, verify),
            Err(ReadError::Section {
                index: 0,
                problem: SectionProblem::Hash,
                ..
            })
        ));
    }
}

#[test]
fn other_files_are_told_from_other_versions() {
    assert!(matches!(
        read(b"\x08\x07 an onnx model"),
        Err(ReadError::Magic)
    ));
    assert!(matches!(read(b""), Err(ReadError::Truncated { .. })));
    let version = |version: u32| read(&forged(8, &version.to_le_bytes())).unwrap_err();
    let newer = version(FORMAT_VERSION + 1);
    assert!(matches!(newer, ReadError::VersionTooNew { .. }), "{newer}");
    let older = version(FORMAT_VERSION - 1);
    assert!(matches!(older, ReadError::VersionTooOld { .. }), "{older}");
}

#[test]
fn huge_counts_are_refused_before_anything_is_reserved() {
    for count in [4, 1000, u32::MAX] {
        let error = read(&forged(12, &count.to_le_bytes())).unwrap_err();
        let refused = matches!(
            error,
            ReadError::Truncated { .. } | ReadError::HeaderHash | ReadError::RootHash
        );
        assert!(refused, "{count} sections: {error}");
    }
    let error = read(&forged(16, &u32::MAX.to_le_bytes())).unwrap_err();
    assert!(matches!(error, ReadError::Truncated { .. }), "{error}");
    let error = read(&forged(24, &u64::MAX.to_le_bytes())).unwrap_err();
    assert!(matches!(error, ReadError::Length { .. }), "{error}");
}

#[test]
fn sections_cannot_overlap_leave_gaps_or_overflow() {
    let offset_of = |bytes: &[u8], index: usize| {
        u64::from_le_bytes(
            bytes[entry(index) + 48..entry(index) + 56]
                .try_into()
                .unwrap(),
        )
    };
    let good = sample();
    let (first, last) = (offset_of(&good, 0), offset_of(&good, 2));
    for offset in [
        0,
        first,
        last - 8,
        last + 8,
        last + 1,
        u64::MAX,
        u64::MAX - 7,
    ] {
        let bytes = forged(entry(2) + 48, &offset.to_le_bytes());
        let expected = SectionProblem::Offset {
            found: offset,
            expected: last,
        };
        assert_eq!(problem(&bytes, 2), expected);
    }
    for length in [4, u64::MAX, u64::MAX - last, u64::MAX - last + 1, 1 << 62] {
        let bytes = forged(entry(2) + 56, &length.to_le_bytes());
        let found = problem(&bytes, 2);
        assert!(
            matches!(found, SectionProblem::OutOfFile { .. }),
            "{length}: {found}"
        );
    }
    // A longer first section runs into the second.
    let bytes = forged(entry(0) + 56, &100_u64.to_le_bytes());
    assert!(matches!(problem(&bytes, 1), SectionProblem::Offset { .. }));
}

#[test]
fn tables_cannot_lie_about_names_kinds_and_alignments() {
    assert_eq!(
        problem(&forged(entry(2), b"plan\0"), 2),
        SectionProblem::DuplicateName
    );
    assert_eq!(
        problem(&forged(entry(1), &[0; 40]), 1),
        SectionProblem::Name
    );
    assert_eq!(
        problem(&forged(entry(1), &[0xff; 40]), 1),
        SectionProblem::Name
    );
    assert_eq!(
        problem(&forged(entry(1) + 39, b"x"), 1),
        SectionProblem::Name
    );
    let kind = forged(entry(1) + 40, &9_u32.to_le_bytes());
    assert_eq!(problem(&kind, 1), SectionProblem::Kind { found: 9 });
    for alignment in [0, 1, 3, 4096, u32::MAX] {
        let bytes = forged(entry(1) + 44, &alignment.to_le_bytes());
        let expected = SectionProblem::Alignment {
            found: alignment,
            expected: 64,
        };
        assert_eq!(problem(&bytes, 1), expected);
    }
}

#[test]
fn gaps_between_sections_hold_zeros() {
    let mut bytes = sample();
    let weights = weights_at(&bytes);
    bytes[weights - 1] = 1;
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, ReadError::Padding { offset } if offset == weights as u64 - 1));
}

#[test]
fn random_bytes_behind_a_good_start_are_errors() {
    // A fixed linear congruential sequence: the cases are the same in every run.
    let mut state = 1_u64;
    for _ in 0..2000 {
        let mut bytes = sample();
        for _ in 0..8 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = 12 + (state >> 33) as usize % (bytes.len() - 12);
            bytes[at] = (state >> 56) as u8;
        }
        let changed = bytes != sample();
        assert_eq!(read(&bytes).is_err(), changed);
        seal_if_possible(&mut bytes);
        // With the root repaired the rest of the checks are reached; none of them may panic.
        let _ = read(&bytes).map(|artifact| artifact.sections().len());
    }
}

/// Seals whatever the count says, where the table fits.
fn seal_if_possible(bytes: &mut [u8]) {
    let count = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    if count <= (bytes.len() - PREFIX_BYTES) / ENTRY_BYTES {
        seal(bytes);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    assert!(matches!(
        Artifact::open(&path, Verify::All),
        Err(ReadError::NotAFile { .. })
    ));
}
