//! Packed bytes and their version: an artifact holds them for longer than a build lives.

use alula_microkernel::{
    BStrides, ByteSign, Isa, PACK_VERSION, PackedLayout, pack_b, pack_b_i8, pack_depthwise,
};

/// What each form packed when [`PACK_VERSION`] was last raised: the hash of its bytes.
const PACKED: (u32, &[(&str, u64)]) = (
    3,
    &[
        ("f32 portable", 0xd912_e6a9_1ed5_97e5),
        ("i8 portable", 0xefe4_c1bb_d24d_0106),
        ("u8 portable", 0xc411_a60f_43d1_26c6),
        ("f32 neon", 0xd912_e6a9_1ed5_97e5),
        ("i8 neon", 0xefe4_c1bb_d24d_0106),
        ("u8 neon", 0xc411_a60f_43d1_26c6),
        ("f32 avx2", 0x79de_376e_564b_03d1),
        ("i8 avx2", 0x61c2_23e1_fa45_4396),
        ("u8 avx2", 0x43b6_d464_5324_1b56),
        ("f32 avx512", 0xca9b_d6cd_3ac9_9af9),
        ("i8 avx512", 0x07ed_6a97_16a9_7b76),
        ("u8 avx512", 0xfb69_9947_5850_6796),
        ("f32 amx", 0xca9b_d6cd_3ac9_9af9),
        ("i8 amx", 0x07ed_6a97_16a9_7b76),
        ("u8 amx", 0xfb69_9947_5850_6796),
        ("1 bf16 portable", 0x1fe1_ef6c_a5ed_d248),
        ("2 bf16 portable", 0xcf63_123f_fb68_8e07),
        ("3 bf16 portable", 0xca1b_157c_6b36_0e07),
        ("1 bf16 neon", 0x1fe1_ef6c_a5ed_d248),
        ("2 bf16 neon", 0xcf63_123f_fb68_8e07),
        ("3 bf16 neon", 0xca1b_157c_6b36_0e07),
        ("1 bf16 avx2", 0x1fe1_ef6c_a5ed_d248),
        ("2 bf16 avx2", 0xcf63_123f_fb68_8e07),
        ("3 bf16 avx2", 0xca1b_157c_6b36_0e07),
        ("1 bf16 avx512", 0x1fe1_ef6c_a5ed_d248),
        ("2 bf16 avx512", 0xcf63_123f_fb68_8e07),
        ("3 bf16 avx512", 0xca1b_157c_6b36_0e07),
        ("1 bf16 amx", 0x1fe1_ef6c_a5ed_d248),
        ("2 bf16 amx", 0xcf63_123f_fb68_8e07),
        ("3 bf16 amx", 0xca1b_157c_6b36_0e07),
        ("depthwise", 0xccf5_88a1_793e_a71f),
    ],
);

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
        for parts in 1..=3 {
            let layout = PackedLayout::bf16(isa, parts, TAPS, K, N);
            let mut out = vec![0.0; layout.len()];
            pack_b(&layout, &floats, strides, 0..layout.panels(), &mut out).unwrap();
            let found = hash(out.iter().flat_map(|x| x.to_le_bytes()));
            forms.push((format!("{parts} bf16 {}", isa.name()), found));
        }
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
    let is_known = |name: &str| known.iter().any(|(form, _)| *form == name);
    let new = packed().into_iter().filter(|(name, _)| !is_known(name));
    let new: Vec<String> = new
        .map(|(form, hash)| format!("(\"{form}\", {hash:#018x}),"))
        .collect();
    assert!(new.is_empty(), "write these down: {new:#?}");
}
