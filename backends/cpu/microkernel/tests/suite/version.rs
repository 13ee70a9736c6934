//! Packed bytes and their version: an artifact holds them for longer than a build lives.

use alula_microkernel::{
    BStrides, ByteSign, Isa, PACK_VERSION, PackedLayout, pack_b, pack_b_i8, pack_depthwise,
};

/// What each form packed when [`PACK_VERSION`] was last raised: the hash of its bytes.
const PACKED: (u32, &[(&str, u64)]) = (1, &[]);

const TAPS: usize = 2;
const K: usize = 13;
const N: usize = 45;

/// FNV-1a.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn packed() -> Vec<(String, u64)> {
    let strides = BStrides {
        tap: (K * N) as isize,
        k: N as isize,
        n: 1,
    };
    let floats: Vec<f32> = (0..TAPS * K * N).map(|i| i as f32 + 0.5).collect();
    let bytes: Vec<u8> = (0..TAPS * K * N).map(|i| (i * 7) as u8).collect();
    let mut forms = Vec::new();
    for isa in Isa::ALL {
        let layout = PackedLayout::f32(isa, TAPS, K, N);
        let mut out = vec![0.0; layout.len()];
        pack_b(&layout, &floats, strides, 0..layout.panels(), &mut out).unwrap();
        let found = hash(out.iter().flat_map(|x| x.to_le_bytes()));
        forms.push((format!("f32 {}", isa.name()), found));
        let layout = PackedLayout::i8(isa, TAPS, K, N);
        for (name, sign) in [("i8", ByteSign::Signed), ("u8", ByteSign::Unsigned)] {
            let mut out = vec![0; layout.len()];
            let panels = 0..layout.panels();
            pack_b_i8(&layout, (&bytes, sign), strides, panels, &mut out).unwrap();
            forms.push((format!("{name} {}", isa.name()), hash(out.into_iter())));
        }
    }
    let mut out = vec![0.0; N * K];
    pack_depthwise(&floats, N, K, &mut out).unwrap();
    let found = hash(out.iter().flat_map(|x| x.to_le_bytes()));
    forms.push(("depthwise".to_owned(), found));
    forms
}

#[test]
fn packed_operands_keep_their_bytes_or_raise_their_version() {
    let (version, known) = PACKED;
    assert_eq!(version, PACK_VERSION, "write down what this version packs");
    for (name, hash) in known {
        let found = packed().into_iter().find(|(form, _)| form == name);
        let (_, found) = found.unwrap_or_else(|| panic!("{name} is gone: raise PACK_VERSION"));
        assert_eq!(found, *hash, "{name} is {found:#x}: raise PACK_VERSION");
    }
    for (name, hash) in packed() {
        let is_known = known.iter().any(|(form, _)| *form == name);
        assert!(is_known, "{name} is new: write it down as {hash:#x}");
    }
}
