//! Whole kernels against results computed on the host, under several seeds.

use alula_ptx_interpreter::{Class, Device, LaunchOptions, Module, ParamValue, Stats};

/// Seeds and `cp.async` modes that every kernel must bear.
fn every_mode(mut run: impl FnMut(&LaunchOptions)) {
    for seed in 0..6 {
        for deferred_cp_async in [false, true] {
            run(&LaunchOptions {
                seed,
                deferred_cp_async,
                ..LaunchOptions::default()
            });
        }
    }
}

fn parse(text: &str) -> Module {
    Module::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn launch(
    device: &mut Device,
    module: &Module,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    params: &[ParamValue],
    options: &LaunchOptions,
) -> Stats {
    let name = module.kernels()[0].name().to_owned();
    let result = device.launch(module, &name, grid, block, shared, params, options);
    result.unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

fn upload<T: Copy, const N: usize>(
    device: &mut Device,
    values: &[T],
    bytes: fn(T) -> [u8; N],
) -> u64 {
    let data: Vec<u8> = values.iter().flat_map(|value| bytes(*value)).collect();
    device.alloc_with(&data)
}

fn download(device: &Device, address: u64, count: usize) -> Vec<u32> {
    let unwritten = device
        .first_unwritten(address, count * 4)
        .expect("the allocation is live");
    assert_eq!(unwritten, None, "the kernel leaves a byte unwritten");
    let mut bytes = vec![0; count * 4];
    device
        .read(address, &mut bytes)
        .expect("the allocation is live");
    bytes
        .chunks(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

/// Repeatable values in [-1, 1).
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let step = |index: usize| {
        let mixed = (index as u32 ^ seed)
            .wrapping_mul(0x9e37_79b9)
            .rotate_left(13);
        (mixed.wrapping_mul(0x85eb_ca6b) >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(step).collect()
}

fn near(found: u32, expected: f64, tolerance: f64, what: &str) {
    let found = f64::from(f32::from_bits(found));
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found}, not {expected}"
    );
}

#[test]
fn warp_sum_reaches_every_lane() {
    let module = parse(include_str!("ptx/warp_sum.ptx"));
    let x: Vec<f32> = (0..32).map(|i| i as f32).collect();
    every_mode(|options| {
        let mut device = Device::new();
        let input = upload(&mut device, &x, f32::to_le_bytes);
        let output = device.alloc(128);
        let params = [ParamValue::U64(input), ParamValue::U64(output)];
        let stats = launch(
            &mut device,
            &module,
            [1; 3],
            [32, 1, 1],
            0,
            &params,
            options,
        );
        assert_eq!(download(&device, output, 32), vec![496f32.to_bits(); 32]);
        assert_eq!(stats.of(Class::Warp), 5);
        assert_eq!((stats.global_read_bytes, stats.global_sectors), (128, 8));
    });
}

#[test]
fn softmax_rows_sum_to_one() {
    let module = parse(include_str!("ptx/softmax.ptx"));
    let (rows, cols) = (3, 300);
    let x = noise(rows * cols, 7);
    every_mode(|options| {
        let mut device = Device::new();
        let input = upload(&mut device, &x, f32::to_le_bytes);
        let output = device.alloc(rows * cols * 4);
        let params = [
            ParamValue::U64(input),
            ParamValue::U64(output),
            ParamValue::U32(cols as u32),
        ];
        let grid = [rows as u32, 1, 1];
        let stats = launch(&mut device, &module, grid, [128, 1, 1], 0, &params, options);
        assert_eq!(stats.barriers, 9);
        let found = download(&device, output, rows * cols);
        for (row, found) in x.chunks(cols).zip(found.chunks(cols)) {
            let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
            for (x, found) in row.iter().zip(found) {
                near(*found, f64::from(*x).exp() / sum, 1e-7, "softmax");
            }
        }
    });
}

#[test]
fn tiled_gemm_matches_the_host() {
    let module = parse(include_str!("ptx/gemm_tiled.ptx"));
    let (m, n, k) = (32, 48, 64);
    let (a, b) = (noise(m * k, 1), noise(k * n, 2));
    every_mode(|options| {
        let mut device = Device::new();
        let pa = upload(&mut device, &a, f32::to_le_bytes);
        let pb = upload(&mut device, &b, f32::to_le_bytes);
        let pc = device.alloc(m * n * 4);
        let params = [
            ParamValue::U64(pa),
            ParamValue::U64(pb),
            ParamValue::U64(pc),
            ParamValue::U32(n as u32),
            ParamValue::U32(k as u32),
        ];
        let grid = [n as u32 / 16, m as u32 / 16, 1];
        let stats = launch(&mut device, &module, grid, [16, 16, 1], 0, &params, options);
        let found = download(&device, pc, m * n);
        for row in 0..m {
            for col in 0..n {
                let expected: f64 = (0..k)
                    .map(|i| f64::from(a[row * k + i]) * f64::from(b[i * n + col]))
                    .sum();
                near(found[row * n + col], expected, 1e-5, "product");
            }
        }
        assert_eq!(stats.barriers, 6 * 2 * (k as u64 / 16));
        assert_eq!(stats.blocks, 6);
        assert_eq!(stats.bank_conflicts, 0);
    });
}

#[test]
fn matrix_gemm_bears_both_copy_modes() {
    let module = parse(include_str!("ptx/gemm_mma.ptx"));
    let k = 80;
    // Halves of small integers are exact in f16, and their products in f32.
    let half = |value: f32| -> u16 {
        let bits = (value.abs() * 2.0) as u32;
        if bits == 0 {
            return 0;
        }
        let top = 31 - bits.leading_zeros();
        let fraction = (bits << (10 - top) & 0x3ff) as u16;
        u16::from(value < 0.0) << 15 | (top as u16 + 14) << 10 | fraction
    };
    let small = |count, seed| -> Vec<f32> {
        noise(count, seed)
            .iter()
            .map(|x| (x * 16.0).round() / 2.0)
            .collect()
    };
    let (a, b) = (small(16 * k, 3), small(k * 8, 4));
    let halves = |values: &[f32]| -> Vec<u16> { values.iter().map(|x| half(*x)).collect() };
    every_mode(|options| {
        let mut device = Device::new();
        let pa = upload(&mut device, &halves(&a), u16::to_le_bytes);
        let pb = upload(&mut device, &halves(&b), u16::to_le_bytes);
        let pc = device.alloc(16 * 8 * 4);
        let params = [
            ParamValue::U64(pa),
            ParamValue::U64(pb),
            ParamValue::U64(pc),
            ParamValue::U32(k as u32),
        ];
        let stats = launch(
            &mut device,
            &module,
            [1; 3],
            [32, 1, 1],
            2048,
            &params,
            options,
        );
        let found = download(&device, pc, 128);
        for row in 0..16 {
            for col in 0..8 {
                let expected: f32 = (0..k).map(|i| a[row * k + i] * b[i * 8 + col]).sum();
                assert_eq!(
                    f32::from_bits(found[row * 8 + col]),
                    expected,
                    "row {row} col {col}"
                );
            }
        }
        assert_eq!(stats.matrix_flops, 2 * 16 * 8 * k as u64);
    });
}

#[test]
fn matrix_fragments_lie_as_the_manual_says() {
    let module = parse(include_str!("ptx/mma_small.ptx"));
    let options = LaunchOptions::default();
    // Fragments written by hand from the tables of m16n8k8 (tf32) and m16n8k32 (bytes).
    let a = |row: usize, col: usize| row as i32 - 2 * col as i32;
    let b = |row: usize, col: usize| (3 * row + col) as i32 % 7;
    let mut device = Device::new();
    let (mut fa, mut fb, mut ia, mut ib) = (vec![], vec![], vec![], vec![]);
    for lane in 0..32 {
        let (group, thread) = (lane / 4, lane % 4);
        for (row, col) in [
            (group, thread),
            (group + 8, thread),
            (group, thread + 4),
            (group + 8, thread + 4),
        ] {
            // Low bits below the tf32 mantissa must not matter.
            fa.push((a(row, col) as f32).to_bits() | 0xfff);
        }
        for row in [thread, thread + 4] {
            fb.push((b(row, group) as f32).to_bits());
        }
        for index in 0..16 {
            let row = if index < 4 || (8..12).contains(&index) {
                group
            } else {
                group + 8
            };
            let col = thread * 4 + (index & 3) + if index < 8 { 0 } else { 16 };
            ia.push(a(row, col) as u8);
        }
        for index in 0..8 {
            let row = thread * 4 + (index & 3) + if index < 4 { 0 } else { 16 };
            ib.push(b(row, group) as u8);
        }
    }
    for (kernel, k) in [("tf32", 8), ("s8", 32)] {
        let (pa, pb) = if kernel == "tf32" {
            (
                upload(&mut device, &fa, u32::to_le_bytes),
                upload(&mut device, &fb, u32::to_le_bytes),
            )
        } else {
            (device.alloc_with(&ia), device.alloc_with(&ib))
        };
        let pc = device.alloc(512);
        let params = [
            ParamValue::U64(pa),
            ParamValue::U64(pb),
            ParamValue::U64(pc),
        ];
        let block = [32, 1, 1];
        let result = device.launch(&module, kernel, [1; 3], block, 0, &params, &options);
        result.unwrap_or_else(|error| panic!("{error}"));
        for (index, bits) in download(&device, pc, 128).into_iter().enumerate() {
            let (lane, slot) = (index / 4, index % 4);
            let (row, col) = (lane / 4 + 8 * (slot / 2), 2 * (lane % 4) + slot % 2);
            let sum: i32 = (0..k).map(|i| a(row, i) * b(i, col)).sum();
            let found = if kernel == "tf32" {
                f32::from_bits(bits) as i32 - 1
            } else {
                bits as i32 + 3
            };
            assert_eq!(found, sum, "{kernel} row {row} col {col}");
        }
    }
}

#[test]
fn histogram_counts_with_atomics() {
    let module = parse(include_str!("ptx/histogram.ptx"));
    let x: Vec<u8> = (0..1000u32).map(|i| (i * i % 8) as u8).collect();
    let mut expected = [0u32; 8];
    for byte in &x {
        expected[usize::from(*byte)] += [1, 10, 100, 1000][usize::from(byte & 3)];
    }
    every_mode(|options| {
        let mut device = Device::new();
        let input = device.alloc_with(&x);
        let bins = device.alloc_with(&[0; 32]);
        let params = [
            ParamValue::U64(input),
            ParamValue::U64(bins),
            ParamValue::U32(1000),
        ];
        let stats = launch(
            &mut device,
            &module,
            [8, 1, 1],
            [128, 1, 1],
            0,
            &params,
            options,
        );
        assert_eq!(download(&device, bins, 8), expected);
        assert_eq!(stats.of(Class::Atomic), 32 + 8);
    });
}

#[test]
fn lanes_meet_again_after_a_divergent_loop() {
    let module = parse(include_str!("ptx/collatz.ptx"));
    let x: Vec<u32> = (0..96).collect();
    let steps = |mut value: u32| {
        let mut count = 0;
        while value > 1 {
            value = if value % 2 == 1 {
                3 * value + 1
            } else {
                value / 2
            };
            count += 1;
        }
        count
    };
    every_mode(|options| {
        let mut device = Device::new();
        let data = upload(&mut device, &x, u32::to_le_bytes);
        let params = [ParamValue::U64(data)];
        let stats = launch(
            &mut device,
            &module,
            [1; 3],
            [96, 1, 1],
            0,
            &params,
            options,
        );
        let expected: Vec<u32> = x.iter().map(|value| steps(*value)).collect();
        assert_eq!(download(&device, data, 96), expected);
        assert!(stats.divergent_branches > 0);
    });
}

#[test]
fn lanes_exchange_and_vote() {
    let module = parse(include_str!("ptx/warp_ops.ptx"));
    every_mode(|options| {
        let mut device = Device::new();
        let output = device.alloc(32 * 4 * 10);
        let params = [ParamValue::U64(output)];
        let stats = launch(
            &mut device,
            &module,
            [1; 3],
            [32, 1, 1],
            0,
            &params,
            options,
        );
        let found = download(&device, output, 320);
        for (lane, found) in found.chunks(10).enumerate() {
            let lane = lane as u32;
            let (segment, within) = (lane & !7, lane & 7);
            let expected = [
                // Up by 3 and down by 3 within segments of 8 lanes, with the predicate added.
                if within >= 3 { lane - 3 + 100 } else { lane },
                if within + 3 < 8 { lane + 3 + 100 } else { lane },
                segment | 5,
                lane ^ 9,
                0x5555_5555,
                0,
                1,
                if lane.is_multiple_of(2) {
                    0x5555_5555
                } else {
                    0xaaaa_aaaa
                },
                (0..32).sum(),
                // Lane `l` reads the word that lane `31 - l` wrote 128 bytes apart.
                31 - lane,
            ];
            assert_eq!(found, expected, "lane {lane}");
        }
        // 32 lanes in one bank, once to write and once to read.
        assert_eq!(stats.bank_conflicts, 62);
    });
}
