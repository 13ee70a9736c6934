//! Single instructions: a table of instruction text, source bits and expected bits.

use alula_ptx_interpreter::{Device, LaunchOptions, Module, ParamValue};

/// Registers `%a..%d` (32 bits), `%la..%ld` (64), `%ha..%hd` (16), `%fa..%fd` and `%da..%dd`
/// hold the row's sources; the instruction leaves its result in the register named `result`.
const FRAME: &str = "
.version 7.8
.target sm_90
.address_size 64
.visible .entry one(.param .u64 io) {
  .reg .pred %p, %q;
  .reg .b16 %ha, %hb, %hc, %hr;
  .reg .b32 %a, %b, %c, %d, %r;
  .reg .f32 %fa, %fb, %fc, %fr;
  .reg .b64 %la, %lb, %lc, %lr, %io;
  .reg .f64 %da, %db, %dc, %dr;
  ld.param.u64 %io, [io];
  ld.global.b64 %la, [%io];
  ld.global.b64 %lb, [%io+8];
  ld.global.b64 %lc, [%io+16];
  ld.global.b32 %d, [%io+24];
  cvt.u32.u64 %a, %la; cvt.u32.u64 %b, %lb; cvt.u32.u64 %c, %lc;
  cvt.u16.u64 %ha, %la; cvt.u16.u64 %hb, %lb; cvt.u16.u64 %hc, %lc;
  mov.b32 %fa, %a; mov.b32 %fb, %b; mov.b32 %fc, %c;
  mov.b64 %da, %la; mov.b64 %db, %lb; mov.b64 %dc, %lc;
  mov.b64 %lr, 0;
  BODY
  st.global.b64 [%io], %lr;
  ret;
}";

/// Stores of each kind of result into the 64-bit `%lr`.
fn epilogue(body: &str) -> &'static str {
    if body.contains("%fr") {
        "mov.b32 %r, %fr; cvt.u64.u32 %lr, %r;"
    } else if body.contains("%hr") {
        "cvt.u64.u16 %lr, %hr;"
    } else if body.contains("%dr") {
        "mov.b64 %lr, %dr;"
    } else if body.contains("%p") {
        "selp.b64 %lr, 1, 0, %p;"
    } else if body.contains("%r") {
        "cvt.u64.u32 %lr, %r;"
    } else {
        ""
    }
}

/// Runs every row and reports all that fail.
fn check(rows: &[(&str, [u64; 4], u64)]) {
    let mut failures = Vec::new();
    for (body, sources, expected) in rows {
        let text = FRAME.replace("BODY", &format!("{body}\n  {}", epilogue(body)));
        let module = match Module::parse(&text) {
            Ok(module) => module,
            Err(error) => {
                failures.push(format!("{body}: {error}"));
                continue;
            }
        };
        let mut device = Device::new();
        let bytes: Vec<u8> = sources
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let io = device.alloc_with(&bytes);
        let params = [ParamValue::U64(io)];
        let options = LaunchOptions::default();
        match device.launch(&module, "one", [1; 3], [1; 3], 0, &params, &options) {
            Err(error) => failures.push(format!("{body}: {error}")),
            Ok(_) => {
                let mut out = [0; 8];
                device.read(io, &mut out).expect("the allocation is live");
                let found = u64::from_le_bytes(out);
                if found != *expected {
                    failures.push(format!(
                        "{body} {sources:x?}: {found:#x}, not {expected:#x}"
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Bits of an `f32`.
fn s(value: f32) -> u64 {
    u64::from(value.to_bits())
}

/// Bits of an `f64`.
fn d(value: f64) -> u64 {
    value.to_bits()
}

/// A negative 32-bit number as bits.
fn n(value: i32) -> u64 {
    u64::from(value as u32)
}

#[test]
fn integer_arithmetic_wraps_and_widens() {
    check(&[
        ("add.s32 %r, %a, %b;", [n(-1), 3, 0, 0], 2),
        (
            "add.sat.s32 %r, %a, %b;",
            [n(i32::MAX), 3, 0, 0],
            n(i32::MAX),
        ),
        ("sub.u32 %r, %a, %b;", [1, 3, 0, 0], n(-2)),
        ("add.u64 %lr, %la, %lb;", [u64::MAX, 3, 0, 0], 2),
        ("mul.lo.s32 %r, %a, %b;", [n(-7), 6, 0, 0], n(-42)),
        ("mul.hi.u32 %r, %a, %b;", [0x8000_0000, 4, 0, 0], 2),
        ("mul.hi.s32 %r, %a, %b;", [n(-1), 4, 0, 0], n(-1)),
        (
            "mul.wide.s32 %lr, %a, %b;",
            [n(-7), 6, 0, 0],
            (-42i64) as u64,
        ),
        ("mul.wide.u32 %lr, %a, %b;", [n(-1), 2, 0, 0], 0x1_ffff_fffe),
        ("mul.hi.u64 %lr, %la, %lb;", [1 << 63, 4, 0, 0], 2),
        ("mad.lo.s32 %r, %a, %b, %c;", [n(-7), 6, 50, 0], 8),
        (
            "mad.wide.u32 %lr, %a, %b, %lc;",
            [3, 4, 1 << 40, 0],
            (1 << 40) + 12,
        ),
        ("div.s32 %r, %a, %b;", [n(-7), 2, 0, 0], n(-3)),
        ("rem.s32 %r, %a, %b;", [n(-7), 2, 0, 0], n(-1)),
        ("div.u32 %r, %a, %b;", [7, 0, 0, 0], n(-1)),
        (
            "div.s32 %r, %a, %b;",
            [n(i32::MIN), n(-1), 0, 0],
            n(i32::MIN),
        ),
        ("min.s32 %r, %a, %b;", [n(-7), 2, 0, 0], n(-7)),
        ("max.u32 %r, %a, %b;", [n(-7), 2, 0, 0], n(-7)),
        ("neg.s32 %r, %a;", [5, 0, 0, 0], n(-5)),
        ("abs.s32 %r, %a;", [n(-5), 0, 0, 0], 5),
        ("abs.s64 %lr, %la;", [(-5i64) as u64, 0, 0, 0], 5),
        (
            "mul.lo.u16 %hr, %ha, %hb;",
            [300, 300, 0, 0],
            90_000 & 0xffff,
        ),
        ("mul.wide.s16 %r, %ha, %hb;", [0xffff, 3, 0, 0], n(-3)),
        (
            "dp4a.s32.s32 %r, %a, %b, %c;",
            [0xff02_0304, 0x0101_0101, 10, 0],
            18,
        ),
        (
            "dp4a.u32.s32 %r, %a, %b, %c;",
            [0xff02_0304, 0x0101_01ff, 0, 0],
            256,
        ),
    ]);
}

#[test]
fn bits_move_as_the_manual_says() {
    check(&[
        ("and.b32 %r, %a, %b;", [12, 10, 0, 0], 8),
        ("or.b32 %r, %a, %b;", [12, 10, 0, 0], 14),
        ("xor.b64 %lr, %la, %lb;", [12, 10, 0, 0], 6),
        ("not.b32 %r, %a;", [0, 0, 0, 0], 0xffff_ffff),
        ("shl.b32 %r, %a, 4;", [0x1234_5678, 0, 0, 0], 0x2345_6780),
        ("shl.b32 %r, %a, %b;", [1, 32, 0, 0], 0),
        ("shr.u32 %r, %a, %b;", [n(-1), 33, 0, 0], 0),
        ("shr.s32 %r, %a, %b;", [n(-8), 2, 0, 0], n(-2)),
        ("shr.s32 %r, %a, %b;", [n(-8), 40, 0, 0], n(-1)),
        ("shr.s64 %lr, %la, 63;", [1 << 63, 0, 0, 0], u64::MAX),
        (
            "shf.l.wrap.b32 %r, %a, %b, 8;",
            [0xaa00_0000, 0x11, 0, 0],
            0x11aa,
        ),
        ("bfe.u32 %r, %a, 4, 8;", [0xabcd, 0, 0, 0], 0xbc),
        ("bfe.s32 %r, %a, 4, 8;", [0xabcd, 0, 0, 0], n(0xbc - 0x100)),
        ("bfe.s32 %r, %a, 28, 8;", [n(-1), 0, 0, 0], n(-1)),
        ("bfi.b32 %r, %a, %b, 4, 8;", [0xff, 0, 0, 0], 0xff0),
        ("slct.b32.s32 %r, %a, %b, %c;", [1, 2, n(-1), 0], 2),
        (
            "slct.f32.f32 %fr, %fa, %fb, %fc;",
            [s(1.0), s(2.0), s(-0.0), 0],
            s(1.0),
        ),
        (
            "cvt.pack.sat.u8.s32.b32 %r, %a, %b, %c;",
            [300, n(-7), 0x1_1234, 0],
            0x1234_ff00,
        ),
        (
            "cvt.pack.sat.s16.s32 %r, %a, %b;",
            [40_000, n(-7), 0, 0],
            0x7fff_fff9,
        ),
        ("popc.b32 %r, %a;", [0xf0f0, 0, 0, 0], 8),
        ("clz.b32 %r, %a;", [1, 0, 0, 0], 31),
        ("clz.b64 %r, %la;", [1, 0, 0, 0], 63),
        ("brev.b32 %r, %a;", [1, 0, 0, 0], 1 << 31),
        (
            "lop3.b32 %r, %a, %b, %c, 0x96;",
            [12, 10, 6, 0],
            12 ^ 10 ^ 6,
        ),
        (
            "prmt.b32 %r, %a, %b, 0x5410;",
            [0x1111_2222, 0x3333_4444, 0, 0],
            0x4444_2222,
        ),
        (
            "prmt.b32 %r, %a, %b, 0x9;",
            [0x0000_8000, 0, 0, 0],
            0x0000_00ff,
        ),
        ("mov.b64 %lr, {%a, %b};", [1, 2, 0, 0], 0x2_0000_0001),
        (
            "{ .reg .b16 %x; mov.b32 {%x, %hr}, %a; }",
            [0xbeef_1234, 0, 0, 0],
            0xbeef,
        ),
    ]);
}

#[test]
fn single_precision_follows_ieee_and_canonical_nan() {
    let (inf, nan) = (s(f32::INFINITY), s(f32::NAN));
    let tiny = s(f32::from_bits(1));
    check(&[
        ("add.f32 %fr, %fa, %fb;", [s(1.5), s(2.25), 0, 0], s(3.75)),
        (
            "add.rn.f32 %fr, %fa, %fb;",
            [inf, s(f32::NEG_INFINITY), 0, 0],
            0x7fff_ffff,
        ),
        ("add.ftz.f32 %fr, %fa, %fb;", [tiny, tiny, 0, 0], 0),
        ("add.f32 %fr, %fa, %fb;", [tiny, tiny, 0, 0], 2),
        ("mul.sat.f32 %fr, %fa, %fb;", [s(3.0), s(2.0), 0, 0], s(1.0)),
        ("add.sat.f32 %fr, %fa, %fb;", [nan, s(2.0), 0, 0], 0),
        (
            "fma.rn.f32 %fr, %fa, %fb, %fc;",
            [s(1.0 + 1e-4), s(1.0 - 1e-4), s(-1.0), 0],
            s((1.0f32 + 1e-4).mul_add(1.0 - 1e-4, -1.0)),
        ),
        ("min.f32 %fr, %fa, %fb;", [nan, s(2.0), 0, 0], s(2.0)),
        (
            "max.NaN.f32 %fr, %fa, %fb;",
            [nan, s(2.0), 0, 0],
            0x7fff_ffff,
        ),
        ("min.f32 %fr, %fa, %fb;", [s(0.0), s(-0.0), 0, 0], s(-0.0)),
        ("max.f32 %fr, %fa, %fb;", [s(-0.0), s(0.0), 0, 0], s(0.0)),
        ("neg.f32 %fr, %fa;", [s(2.0), 0, 0, 0], s(-2.0)),
        ("abs.f32 %fr, %fa;", [s(-2.0), 0, 0, 0], s(2.0)),
        (
            "div.rn.f32 %fr, %fa, %fb;",
            [s(1.0), s(3.0), 0, 0],
            s(1.0 / 3.0),
        ),
        ("rcp.approx.ftz.f32 %fr, %fa;", [s(4.0), 0, 0, 0], s(0.25)),
        ("sqrt.rn.f32 %fr, %fa;", [s(2.0), 0, 0, 0], s(2f32.sqrt())),
        ("rsqrt.approx.f32 %fr, %fa;", [s(16.0), 0, 0, 0], s(0.25)),
        ("ex2.approx.f32 %fr, %fa;", [s(-3.0), 0, 0, 0], s(0.125)),
        ("lg2.approx.f32 %fr, %fa;", [s(8.0), 0, 0, 0], s(3.0)),
        ("sin.approx.f32 %fr, %fa;", [0, 0, 0, 0], 0),
        ("cos.approx.f32 %fr, %fa;", [0, 0, 0, 0], s(1.0)),
        ("tanh.approx.f32 %fr, %fa;", [s(100.0), 0, 0, 0], s(1.0)),
        (
            "copysign.f32 %fr, %fa, %fb;",
            [s(-1.0), s(3.0), 0, 0],
            s(-3.0),
        ),
        ("add.f32 %fr, %fa, 0f3F800000;", [s(1.0), 0, 0, 0], s(2.0)),
        ("mov.f32 %fr, 0fFFC00001;", [0, 0, 0, 0], 0xffc0_0001),
        (
            "add.f64 %dr, %da, %db;",
            [d(0.1), d(0.2), 0, 0],
            d(0.1 + 0.2),
        ),
        (
            "fma.rn.f64 %dr, %da, %db, %dc;",
            [d(0.1), d(0.2), d(-0.02), 0],
            d(0.1f64.mul_add(0.2, -0.02)),
        ),
        (
            "div.rn.f64 %dr, %da, %db;",
            [d(1.0), d(3.0), 0, 0],
            d(1.0 / 3.0),
        ),
        ("max.f64 %dr, %da, %db;", [d(1.0), d(3.0), 0, 0], d(3.0)),
    ]);
}

#[test]
fn half_precision_rounds_once() {
    check(&[
        // 1 + 2^-10 and 2048 + 1 in f16: the tie goes to even.
        ("add.f16 %hr, %ha, %hb;", [0x6800, 0x3c00, 0, 0], 0x6800),
        ("mul.f16 %hr, %ha, %hb;", [0x3c01, 0x3c01, 0, 0], 0x3c02),
        ("sub.f16 %hr, %ha, %hb;", [0x3c00, 0x4000, 0, 0], 0xbc00),
        (
            "fma.rn.f16 %hr, %ha, %hb, %hc;",
            [0x3c01, 0x3c01, 0xbc02, 0],
            0x0010,
        ),
        (
            "fma.rn.relu.f16 %hr, %ha, %hb, %hc;",
            [0x3c00, 0xbc00, 0, 0],
            0,
        ),
        (
            "add.f16x2 %r, %a, %b;",
            [0x3c00_4000, 0x4000_3c00, 0, 0],
            0x4200_4200,
        ),
        (
            "fma.rn.bf16x2 %r, %a, %b, %c;",
            [0x3f80_4000, 0x4000_4000, 0x3f80_3f80, 0],
            0x4040_40a0,
        ),
        ("max.bf16 %hr, %ha, %hb;", [0x3f80, 0xbf80, 0, 0], 0x3f80),
        ("neg.f16 %hr, %ha;", [0x3c00, 0, 0, 0], 0xbc00),
        ("tanh.approx.f16 %hr, %ha;", [0x7c00, 0, 0, 0], 0x3c00),
    ]);
}

#[test]
fn conversions_round_and_saturate() {
    check(&[
        ("cvt.rni.s32.f32 %r, %fa;", [s(2.5), 0, 0, 0], 2),
        ("cvt.rni.s32.f32 %r, %fa;", [s(3.5), 0, 0, 0], 4),
        ("cvt.rzi.s32.f32 %r, %fa;", [s(-3.9), 0, 0, 0], n(-3)),
        ("cvt.rmi.s32.f32 %r, %fa;", [s(-3.1), 0, 0, 0], n(-4)),
        ("cvt.rpi.s32.f32 %r, %fa;", [s(3.1), 0, 0, 0], 4),
        ("cvt.rzi.s32.f32 %r, %fa;", [s(1e20), 0, 0, 0], n(i32::MAX)),
        ("cvt.rzi.u32.f32 %r, %fa;", [s(-5.0), 0, 0, 0], 0),
        ("cvt.rzi.s32.f32 %r, %fa;", [s(f32::NAN), 0, 0, 0], 0),
        ("cvt.rzi.s64.f32 %lr, %fa;", [s(f32::NAN), 0, 0, 0], 1 << 63),
        ("cvt.rzi.s8.f32 %r, %fa;", [s(-300.0), 0, 0, 0], n(-128)),
        ("cvt.rzi.u8.f32 %r, %fa;", [s(300.0), 0, 0, 0], 255),
        (
            "cvt.rn.f32.s32 %fr, %a;",
            [n(-16_777_217), 0, 0, 0],
            s(-16_777_216.0),
        ),
        (
            "cvt.rp.f32.u32 %fr, %a;",
            [16_777_217, 0, 0, 0],
            s(16_777_218.0),
        ),
        ("cvt.rz.f32.u64 %fr, %la;", [u64::MAX, 0, 0, 0], 0x5f7f_ffff),
        (
            "cvt.rn.f64.s64 %dr, %la;",
            [(-3i64) as u64, 0, 0, 0],
            d(-3.0),
        ),
        ("cvt.s64.s32 %lr, %a;", [n(-3), 0, 0, 0], (-3i64) as u64),
        ("cvt.u64.u32 %lr, %a;", [n(-3), 0, 0, 0], 0xffff_fffd),
        ("cvt.s32.s8 %r, %a;", [0x1ff, 0, 0, 0], n(-1)),
        ("cvt.u32.u8 %r, %a;", [0x1ff, 0, 0, 0], 0xff),
        ("cvt.sat.u8.s32 %r, %a;", [n(-4), 0, 0, 0], 0),
        ("cvt.sat.s8.s32 %r, %a;", [400, 0, 0, 0], 127),
        ("cvt.rn.f16.f32 %hr, %fa;", [s(65_520.0), 0, 0, 0], 0x7c00),
        ("cvt.rz.f16.f32 %hr, %fa;", [s(65_520.0), 0, 0, 0], 0x7bff),
        ("cvt.rn.f16.f32 %hr, %fa;", [s(2f32.powi(-24)), 0, 0, 0], 1),
        ("cvt.rn.f16.f32 %hr, %fa;", [s(2f32.powi(-25)), 0, 0, 0], 0),
        (
            "cvt.rn.f16.f32 %hr, %fa;",
            [s(2f32.powi(-25) * 1.5), 0, 0, 0],
            1,
        ),
        ("cvt.rn.f16.f32 %hr, %fa;", [s(-2.0), 0, 0, 0], 0xc000),
        ("cvt.rn.bf16.f32 %hr, %fa;", [0x3f80_8000, 0, 0, 0], 0x3f80),
        ("cvt.rn.bf16.f32 %hr, %fa;", [0x3f81_8000, 0, 0, 0], 0x3f82),
        ("cvt.rn.relu.bf16.f32 %hr, %fa;", [s(-1.0), 0, 0, 0], 0),
        (
            "cvt.f32.f16 %fr, %ha;",
            [0x0001, 0, 0, 0],
            s(2f32.powi(-24)),
        ),
        ("cvt.f32.bf16 %fr, %ha;", [0x4049, 0, 0, 0], 0x4049_0000),
        (
            "cvt.rn.f16x2.f32 %r, %fa, %fb;",
            [s(1.0), s(2.0), 0, 0],
            0x3c00_4000,
        ),
        (
            "cvt.rn.bf16x2.f32 %r, %fa, %fb;",
            [s(1.0), s(2.0), 0, 0],
            0x3f80_4000,
        ),
        (
            "cvt.rna.tf32.f32 %r, %fa;",
            [0x3f80_1000, 0, 0, 0],
            0x3f80_2000,
        ),
        ("cvt.rn.f32.f64 %fr, %da;", [d(0.1), 0, 0, 0], s(0.1)),
        (
            "cvt.rm.f32.f64 %fr, %da;",
            [d(0.1), 0, 0, 0],
            s(0.1).wrapping_sub(1),
        ),
        (
            "cvt.f64.f32 %dr, %fa;",
            [s(0.1), 0, 0, 0],
            d(f64::from(0.1f32)),
        ),
        ("cvt.rni.f32.f32 %fr, %fa;", [s(2.5), 0, 0, 0], s(2.0)),
        ("cvt.rmi.f32.f32 %fr, %fa;", [s(-2.5), 0, 0, 0], s(-3.0)),
        ("cvt.sat.f32.f32 %fr, %fa;", [s(7.0), 0, 0, 0], s(1.0)),
    ]);
}

#[test]
fn comparisons_treat_nan_as_the_word_says() {
    let nan = s(f32::NAN);
    check(&[
        ("setp.lt.s32 %p, %a, %b;", [n(-1), 1, 0, 0], 1),
        ("setp.lt.u32 %p, %a, %b;", [n(-1), 1, 0, 0], 0),
        ("setp.hs.u32 %p, %a, %b;", [n(-1), 1, 0, 0], 1),
        ("setp.lt.f32 %p, %fa, %fb;", [nan, s(1.0), 0, 0], 0),
        ("setp.ltu.f32 %p, %fa, %fb;", [nan, s(1.0), 0, 0], 1),
        ("setp.ne.f32 %p, %fa, %fb;", [nan, nan, 0, 0], 0),
        ("setp.neu.f32 %p, %fa, %fb;", [nan, nan, 0, 0], 1),
        ("setp.nan.f32 %p, %fa, %fb;", [nan, s(1.0), 0, 0], 1),
        ("setp.num.f32 %p, %fa, %fb;", [nan, s(1.0), 0, 0], 0),
        ("setp.ge.f16 %p, %ha, %hb;", [0x3c00, 0xbc00, 0, 0], 1),
        (
            "setp.eq.s32 %q, %a, %b; setp.gt.and.s32 %p, %a, 3, %q;",
            [7, 7, 0, 0],
            1,
        ),
        (
            "setp.eq.s32 %q, %a, %b; setp.gt.or.s32 %p, %a, 30, !%q;",
            [7, 7, 0, 0],
            0,
        ),
        ("setp.eq.s32 %q|%p, %a, %b;", [7, 8, 0, 0], 1),
        ("setp.eq.s32 %p, %a, %b; not.pred %p, %p;", [7, 8, 0, 0], 1),
        ("testp.subnormal.f32 %p, %fa;", [1, 0, 0, 0], 1),
        ("testp.notanumber.f32 %p, %fa;", [nan, 0, 0, 0], 1),
        (
            "set.lt.u32.f32 %r, %fa, %fb;",
            [s(1.0), s(2.0), 0, 0],
            0xffff_ffff,
        ),
        ("set.lt.f32.s32 %fr, %a, %b;", [1, 2, 0, 0], s(1.0)),
    ]);
}
