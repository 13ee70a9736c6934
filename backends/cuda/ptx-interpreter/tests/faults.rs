//! Planted bugs: each must be caught, and named as what it is.

use alula_ptx_interpreter::{Device, Error, LaunchOptions, Module, ParamValue};

/// A kernel of two warps: each thread has its index in `%t`, its element's global address in
/// `%g`, its shared slot in `%s` and a value in `%v`.
const FRAME: &str = "
.version 7.0
.target sm_80
.address_size 64
.visible .entry planted(.param .u64 data, .param .u32 n)
{
  .reg .pred %p, %q;
  .reg .b32 %t, %s, %v, %w, %n, %lane;
  .reg .b64 %g, %o, %data;
  .shared .align 16 .b32 slots[64];
  ld.param.u64 %data, [data];
  ld.param.u32 %n, [n];
  mov.u32 %t, %tid.x;
  and.b32 %lane, %t, 31;
  mul.wide.u32 %o, %t, 4;
  add.s64 %g, %data, %o;
  mov.u32 %s, slots;
  mad.lo.u32 %s, %t, 4, %s;
  mov.u32 %v, %t;
  BODY
  ret;
}";

fn run(body: &str, options: &LaunchOptions) -> Result<(), String> {
    let module = Module::parse(&FRAME.replace("BODY", body)).map_err(|error| error.to_string())?;
    let mut device = Device::new();
    let data = device.alloc(256);
    device
        .write(data, &[0; 128])
        .expect("the allocation is live");
    let params = [ParamValue::U64(data), ParamValue::U32(64)];
    let result = device.launch(&module, "planted", [1; 3], [64, 1, 1], 0, &params, options);
    result.map(|_| ()).map_err(|error| error.to_string())
}

/// Each body must fail under every seed with a message that holds all the words.
fn check_caught(rows: &[(&str, &[&str])]) {
    let mut failures = Vec::new();
    for (body, words) in rows {
        for seed in 0..8 {
            let options = LaunchOptions {
                seed,
                instruction_limit: 1 << 16,
                ..Default::default()
            };
            match run(body, &options) {
                Ok(()) => failures.push(format!("not caught (seed {seed}): {body}")),
                Err(message) if !words.iter().all(|word| message.contains(word)) => {
                    failures.push(format!("{body}\n  wants {words:?}, says: {message}"));
                }
                Err(_) => {}
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Each body must pass under every seed and both copy modes.
fn check_passes(bodies: &[&str]) {
    for body in bodies {
        for seed in 0..8 {
            for deferred_cp_async in [false, true] {
                let options = LaunchOptions {
                    seed,
                    deferred_cp_async,
                    ..Default::default()
                };
                if let Err(message) = run(body, &options) {
                    panic!("{body}\n  fails with seed {seed}: {message}");
                }
            }
        }
    }
}

#[test]
fn catches_memory_faults() {
    check_caught(&[
        (
            "st.global.u32 [%g+192], %v;",
            &["global", "out of bounds", "st.global.u32 [%g+192]"],
        ),
        ("st.global.u32 [%g-4], %v;", &["out of bounds", "lane 0"]),
        (
            "st.shared.u32 [%s+4], %v;",
            &["shared", "out of bounds", "warp 1 lane 31"],
        ),
        ("ld.local.u32 %w, [%s];", &["local", "out of bounds"]),
        ("st.global.u32 [%g+2], %v;", &["not aligned to 4"]),
        ("ld.global.v4.u32 {%v, %w, %v, %w}, [%g];", &["lane"]),
        (
            "ld.global.u32 %w, [%g];",
            &["uninitialised global", "warp 1 lane 0"],
        ),
        ("ld.shared.u32 %w, [%s];", &["uninitialised shared"]),
        ("add.u32 %v, %v, %w;", &["register %w before it is written"]),
        (
            "@%p add.u32 %v, %v, 1;",
            &["register %p before it is written"],
        ),
        (
            "mov.u64 %o, 64; ld.global.u32 %w, [%o];",
            &["out of bounds"],
        ),
        (
            "add.u32 %s, %s, 512; st.shared.u32 [%s], %v;",
            &["shared", "out of bounds"],
        ),
    ]);
}

#[test]
fn catches_shared_memory_races() {
    check_caught(&[
        // Threads read the slot of the other warp with no barrier between.
        (
            "st.shared.u32 [%s], 0;
             bar.sync 0;
             st.shared.u32 [%s], %v;
             xor.b32 %s, %s, 128;
             ld.shared.u32 %w, [%s];",
            &[
                "st.shared.u32 [%s], %v",
                "ld.shared.u32 %w, [%s]",
                "no barrier between",
            ],
        ),
        // The barrier before the reuse of the slots is missing.
        (
            "st.shared.u32 [%s], %v;
             bar.sync 0;
             xor.b32 %n, %s, 128;
             ld.shared.u32 %w, [%n];
             st.shared.u32 [%s], %w;",
            &["race", "no barrier between"],
        ),
        ("st.shared.u32 [slots], %v;", &["write after write"]),
        (
            "setp.eq.u32 %p, %t, 0;
             @%p st.shared.u32 [slots], 0;
             bar.sync 0;
             @%p st.shared.u32 [slots], 1;
             atom.shared.add.u32 %w, [slots], 1;",
            &["race"],
        ),
    ]);
    check_passes(&[
        "st.shared.u32 [%s], %v;
         bar.sync 0;
         xor.b32 %s, %s, 128;
         ld.shared.u32 %w, [%s];
         bar.sync 0;
         st.shared.u32 [%s], %w;",
        // Atomics do not race with each other.
        "setp.eq.u32 %p, %t, 0;
         @%p st.shared.u32 [slots], 0;
         bar.sync 0;
         red.shared.add.u32 [slots], 1;
         bar.sync 0;
         ld.shared.u32 %w, [slots];",
        // Both warps may read the same slot.
        "st.shared.u32 [%s], %v; bar.sync 0; ld.shared.u32 %w, [slots]; ld.shared.u32 %w, [slots];",
        // A named barrier of one warp each orders that warp with itself only.
        "shr.u32 %w, %t, 5; add.u32 %w, %w, 1; st.shared.u32 [%s], %v; bar.sync %w, 32;
         ld.shared.u32 %v, [%s];",
    ]);
}

#[test]
fn catches_missing_waits_of_asynchronous_copies() {
    let start = "st.shared.u32 [%s], 0;
         bar.sync 0;
         setp.lt.u32 %p, %t, 8;
         mul.wide.u32 %o, %t, 16;
         add.s64 %g, %data, %o;
         mov.u32 %s, slots;
         mad.lo.u32 %s, %t, 16, %s;
         @%p cp.async.cg.shared.global [%s], [%g], 16;
         cp.async.commit_group;";
    let read = "ld.shared.u32 %w, [slots+16];";
    check_caught(&[
        (
            &format!("{start} bar.sync 0; {read}"),
            &["still being filled"],
        ),
        (
            &format!("{start} cp.async.wait_group 1; bar.sync 0; {read}"),
            &["still being filled"],
        ),
        // A wait orders only the warp that waits.
        (
            &format!("{start} cp.async.wait_group 0; setp.ge.u32 %q, %t, 32; @%q {read}"),
            &["cp.async"],
        ),
    ]);
    check_passes(&[&format!(
        "{start} cp.async.wait_group 0; bar.sync 0; {read}"
    )]);
}

#[test]
fn catches_divergent_barriers_and_endless_loops() {
    check_caught(&[
        (
            "setp.lt.u32 %p, %t, 16; @%p bar.sync 0;",
            &["divergent barrier", "0x0000ffff"],
        ),
        (
            "setp.lt.u32 %p, %t, 32; @%p bra one; bar.sync 0; bra end; one: bar.sync 0; end:",
            &["divergent barrier"],
        ),
        (
            "setp.lt.u32 %p, %t, 32; @%p bra one; bar.sync 1; bra end; one: bar.sync 2; end:",
            &["divergent barrier"],
        ),
        ("again: bra again;", &["without ending"]),
        (
            "setp.lt.u32 %p, %t, 16; @%p shfl.sync.down.b32 %w, %v, 1, 31, 0xffffffff;",
            &["member mask"],
        ),
        (
            "setp.lt.u32 %p, %lane, 16; @%p shfl.sync.down.b32 %w, %v, 1, 31, 0xffff;",
            &["inactive lane 16"],
        ),
        (
            "setp.lt.u32 %p, %t, 16; @%p bra.uni out; add.u32 %v, %v, 1; out:",
            &["uni"],
        ),
        ("trap;", &["executes trap"]),
    ]);
    check_passes(&[
        // Threads that have exited are not waited for.
        "setp.ge.u32 %p, %t, 40; @%p exit; bar.sync 0;",
        "setp.ge.u32 %p, %t, 32; @%p bra out; bar.sync 0; out:",
    ]);
}

#[test]
fn refuses_text_it_does_not_know() {
    check_caught(&[
        (
            "frobnicate.u32 %v, %v;",
            &["line 20", "frobnicate", "not supported"],
        ),
        ("add.rz.f32 %v, %v, %v;", &["rounding `.rz`"]),
        ("add.magic.u32 %v, %v, %v;", &["modifier `.magic`"]),
        ("add.u32 %v, %v;", &["takes 3 operands, 2 given"]),
        (
            "add.u64 %o, %o, %v;",
            &["register `%v` is .b32, the instruction wants .u64"],
        ),
        ("add.u32 %v, %v, %unknown;", &["`%unknown` is not declared"]),
        ("bra nowhere;", &["label `nowhere` is not declared"]),
        ("ld.global.u32 %v, [%s];", &["cannot address global"]),
        (
            "ld.shared.u32 %v, [data];",
            &["`data` is in param space, not shared"],
        ),
        ("mov.u32 %v, 0x1ffffffff;", &["literal does not fit .u32"]),
        ("st.param.u32 [data], %v;", &["read-only"]),
        ("cvt.s32.f32 %v, %v;", &["takes an integer rounding"]),
        ("cvt.f16.f32 %v, %v;", &["takes a float rounding"]),
        ("ld.global.evil::hint.u32 %v, [%g];", &["evil::hint"]),
        ("mov.u32 %v, %clock;", &["`%clock` is not declared"]),
        (".reg .b32 %v2, %v2;", &["declared twice"]),
        ("mov.u32 %v, 0fzz;", &["malformed number"]),
        ("add.u32 %v %v, 1;", &["expected `,`"]),
        ("call foo;", &["not supported"]),
    ]);
    for text in [
        "",
        "/* open",
        ".version 7.0\n.entry k(",
        ".entry k() {",
        ".entry k() { ret",
    ] {
        let parsed = Module::parse(text);
        assert_eq!(parsed.is_ok(), text.is_empty(), "{text:?}");
    }
}

#[test]
fn refuses_unfit_launches() {
    let module = Module::parse(&FRAME.replace("BODY", "")).expect("the frame parses");
    let launch = |kernel: &str, block: [u32; 3], shared: u32, params: &[ParamValue]| {
        let options = LaunchOptions::default();
        Device::new().launch(&module, kernel, [1; 3], block, shared, params, &options)
    };
    let good = [ParamValue::U64(0), ParamValue::U32(0)];
    let block = [32, 1, 1];
    assert!(launch("planted", block, 0, &good).is_ok());
    let unknown = launch("other", block, 0, &good);
    assert!(
        matches!(unknown, Err(Error::UnknownKernel(_))),
        "{unknown:?}"
    );
    let count = launch("planted", block, 0, &good[..1]);
    assert!(
        matches!(
            count,
            Err(Error::ParamCount {
                expected: 2,
                found: 1,
                ..
            })
        ),
        "{count:?}"
    );
    let size = launch(
        "planted",
        block,
        0,
        &[ParamValue::U32(0), ParamValue::U32(0)],
    );
    assert!(
        matches!(
            size,
            Err(Error::ParamSize {
                expected: 8,
                found: 4,
                ..
            })
        ),
        "{size:?}"
    );
    let threads = launch("planted", [1025, 1, 1], 0, &good);
    assert!(matches!(threads, Err(Error::Config { .. })), "{threads:?}");
    let shared = launch("planted", block, 1 << 20, &good);
    assert!(matches!(shared, Err(Error::Config { .. })), "{shared:?}");
}

#[test]
fn keeps_allocations_apart() {
    let mut device = Device::new();
    let (first, second) = (device.alloc(100), device.alloc(100));
    assert_eq!((first % 256, second % 256), (0, 0));
    assert!(second > first + 100);
    assert!(device.write(first, &[1; 100]).is_ok());
    assert!(device.write(first + 1, &[1; 100]).is_err());
    assert_eq!(device.first_unwritten(first, 100), Ok(None));
    assert_eq!(device.first_unwritten(second, 100), Ok(Some(second)));
    assert!(device.free(first + 1).is_err());
    assert!(device.free(first).is_ok());
    assert!(device.free(first).is_err());
    let freed = device
        .read(first, &mut [0; 4])
        .expect_err("the allocation is gone");
    assert!(freed.to_string().contains("were freed"), "{freed}");
}

#[test]
fn poison_checks_can_be_switched_off() {
    let options = LaunchOptions {
        check_poison: false,
        ..LaunchOptions::default()
    };
    assert_eq!(
        run("ld.shared.u32 %w, [%s]; add.u32 %v, %v, %w;", &options),
        Ok(())
    );
}

#[test]
fn damaged_text_never_panics() {
    let texts = [
        include_str!("ptx/softmax.ptx"),
        include_str!("ptx/gemm_mma.ptx"),
        include_str!("ptx/histogram.ptx"),
        include_str!("ptx/mma_small.ptx"),
    ];
    let inserts = [
        "{", "}", "[", ";", ",", "-", "!", "|", ".", "0x", "0f", "%", "\"", "é", "/*",
    ];
    let mut state = 1u64;
    let mut random = |limit: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    let (mut refused, rounds) = (0, 2000);
    for round in 0..rounds {
        let mut text = texts[round % texts.len()].to_owned();
        for _ in 0..=random(3) {
            let at = random(text.len());
            if !text.is_char_boundary(at) || text.len() - at < 9 {
                continue;
            }
            match random(3) {
                0 => text.insert_str(at, inserts[random(inserts.len())]),
                1 => text.truncate(at),
                _ => {
                    let end = (at..at + 8).find(|end| text.is_char_boundary(end + 1));
                    text.replace_range(at..end.unwrap_or(at) + 1, "");
                }
            }
            if text.is_empty() {
                break;
            }
        }
        let Ok(module) = Module::parse(&text) else {
            refused += 1;
            continue;
        };
        // What still parses may fault, but must not panic.
        let mut device = Device::new();
        let data = device.alloc_with(&[0; 4096]);
        let options = LaunchOptions {
            instruction_limit: 1 << 12,
            ..Default::default()
        };
        for kernel in module.kernels() {
            let params: Vec<_> = kernel
                .params()
                .iter()
                .map(|param| match param.size {
                    8 => ParamValue::U64(data),
                    size => ParamValue::Bytes(vec![1; size]),
                })
                .collect();
            let block = [128, 1, 1];
            let _ = device.launch(
                &module,
                kernel.name(),
                [2, 1, 1],
                block,
                2048,
                &params,
                &options,
            );
        }
    }
    assert!(
        refused > rounds / 4,
        "only {refused} of {rounds} damaged texts were refused"
    );
}
