//! Programs through the device: loops and contractions, from entries that were serialised.

mod support;

use std::sync::Arc;

use alula_cpu::{
    CpuDevice, CpuTarget, Dump, Emitted, Layout, Unit, Wanted, assemble, emit_kernel, plan_contract,
};
use alula_kernel::{Access, Kernel, LoopKind};
use alula_microkernel::{Isa, Products};
use alula_program::{Arena, Arg, Constant, Device, DeviceError, Launch, Module, Program};
use alula_tensor::{DType, ScalarOp, Storage};
use support::Builder;
use support::contractions::{After, Conv, noise};

/// `y[i] = x[i] * x[i]` over `rows` grid points of 100 elements.
fn squares() -> Kernel {
    let mut b = Builder::new("squares");
    let rows = b.symbol("rows");
    let elements = rows.clone() * alula_tensor::Dim::new(100);
    let x = b.param(DType::F32, elements.clone(), Access::Read);
    let y = b.param(DType::F32, elements, Access::Write);
    let row = b.grid(rows);
    let hundred = b.int(100);
    let first = b.apply(ScalarOp::Mul, &[row, hundred]);
    b.each(LoopKind::Lanes(4), hundred, |b, i| {
        let at = b.apply(ScalarOp::Add, &[first, i]);
        let value = b.load(x, at);
        let square = b.apply(ScalarOp::Mul, &[value, value]);
        b.store(y, at, square);
    });
    b.finish()
}

fn conv() -> Conv {
    Conv {
        images: 1,
        groups: 1,
        channels: [8, 12],
        input: vec![6, 7],
        kernel: vec![3, 3],
        stride: 1,
        dilation: 1,
        pad: 1,
    }
}

fn program(weights: &[f32]) -> Program {
    with_weights(weights, false)
}

/// A program whose convolution takes its weights packed, or as they are.
fn with_weights(weights: &[f32], packed: bool) -> Program {
    planned_for(weights, packed, (Isa::best(), Products::Whole))
}

/// The same, planned for these micro-kernels.
fn planned_for(weights: &[f32], packed: bool, kernels: (Isa, Products)) -> Program {
    let target = CpuTarget::host().expect("a target");
    let emitted: Emitted = emit_kernel(&squares(), &target, Dump::default()).expect("printed");
    let contract = conv().contract(After::BiasRelu);
    let layouts: Vec<Layout> = contract
        .epilogue
        .operands
        .iter()
        .map(|o| Layout::row_major(&o.shape))
        .collect();
    let result = Layout::row_major(&contract.epilogue.shape());
    let (mut planned, tile) =
        plan_contract(&contract, &layouts, &result, Wanted::whole(Isa::best())).expect("planned");
    assert!(tile.is_none(), "bias and relu are built in");
    (planned.isa, planned.products) = kernels;
    let packing = planned.packing(&|_| None).expect("no sizes are open");
    let packed_len = packed.then(|| packing.elements().expect("a length"));
    let units = [
        Unit::Loops(Box::new(emitted)),
        Unit::Contract {
            name: "conv".to_owned(),
            contract: Box::new(planned),
            tile: None,
            packed_len: packed_len.map(|len| len as u64),
        },
    ];
    let assembled = assemble(&target, units.clone()).expect("assembled");
    assert_eq!(
        assembled,
        assemble(&target, units).expect("assembled"),
        "the same bytes again"
    );
    Program {
        target: "cpu".to_owned(),
        precision: "highest".to_owned(),
        abi: alula_cpu::abi(),
        features: assembled.features,
        tuned: None,
        plans: Vec::new(),
        kernels: assembled.kernels,
        code: assembled.code,
        constants: ["weights", "doubled"]
            .map(|name| constant(name, packed_len))
            .to_vec(),
        data: [1.0, 2.0]
            .map(|factor| {
                let mut scaled: Vec<f32> = weights.iter().map(|weight| weight * factor).collect();
                if let Some(len) = packed_len {
                    let mut out = vec![f32::NAN; len];
                    packing
                        .pack(&scaled, 0..packing.parts(), &mut out)
                        .expect("packed");
                    scaled = out;
                }
                Storage::copy_from(&bytes(&scaled))
            })
            .to_vec(),
    }
}

fn constant(name: &str, packed_len: Option<usize>) -> Constant {
    let shape = packed_len.map_or_else(|| vec![12, 8, 3, 3], |len| vec![len]);
    Constant {
        dtype: DType::F32,
        bytes: shape.iter().product::<usize>() as u64 * 4,
        shape,
        name: name.to_owned(),
    }
}

/// The convolution with the second constant as weights.
fn run_second(module: &dyn Module, arena: &mut dyn Arena, bias: &[f32]) -> Vec<u8> {
    let (x, bias) = (bytes(&noise(8 * 42, 3)), bytes(bias));
    let mut y = vec![0_u8; 12 * 42 * 4];
    let mut args = [
        Arg::Host(&x),
        Arg::Constant(1),
        Arg::Host(&bias),
        Arg::HostMut(&mut y),
    ];
    let launch = Launch {
        kernel: 1,
        args: &mut args,
        symbols: &[],
        work: 1,
        deadline: None,
    };
    module.launch(arena, launch).expect("in order");
    y
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn load(program: Program, threads: usize) -> Box<dyn Module> {
    CpuDevice::new(threads)
        .expect("a device")
        .load(Arc::new(program))
        .expect("loaded")
}

#[test]
fn loops_run_in_an_arena_with_any_number_of_threads() {
    for threads in [1, 2, 3] {
        let module = load(program(&[0.0; 864]), threads);
        for rows in [0_usize, 1, 3, 50] {
            let len = rows * 400;
            let mut arena = module.arena(2 * len + 64).expect("memory");
            let x = noise(rows * 100, 5);
            arena.write(0, &bytes(&x)).expect("inside");
            let mut args = [Arg::Arena(0..len), Arg::Arena(len..2 * len)];
            let launch = Launch {
                kernel: 0,
                args: &mut args,
                symbols: &[rows as i64],
                work: 1,
                deadline: None,
            };
            module.launch(arena.as_mut(), launch).expect("in order");
            let mut y = vec![0; len];
            arena.read(len..2 * len, &mut y).expect("inside");
            let wanted: Vec<f32> = x.iter().map(|x| x * x).collect();
            assert_eq!(y, bytes(&wanted), "{rows} rows, {threads} threads");
        }
    }
}

#[test]
fn contractions_pack_constants_once_and_other_weights_each_time() {
    let (weights, bias) = (noise(864, 1), noise(12, 2));
    let module = load(program(&weights), 2);
    let mut arena = module.arena(64).expect("memory");
    let weight_bytes = bytes(&weights);
    let run = |module: &dyn Module, arena: &mut dyn Arena, constant: bool| {
        let (x, bias) = (bytes(&noise(8 * 42, 3)), bytes(&bias));
        let mut y = vec![0_u8; 12 * 42 * 4];
        let weights = if constant {
            Arg::Constant(0)
        } else {
            Arg::Host(&weight_bytes)
        };
        let mut args = [
            Arg::Host(&x),
            weights,
            Arg::Host(&bias),
            Arg::HostMut(&mut y),
        ];
        let launch = Launch {
            kernel: 1,
            args: &mut args,
            symbols: &[],
            work: 1,
            deadline: None,
        };
        module.launch(arena, launch).expect("in order");
        y
    };
    let first = run(&*module, arena.as_mut(), true);
    assert_eq!(first, run(&*module, arena.as_mut(), true));
    assert_eq!(first, run(&*module, arena.as_mut(), false));
    // Layers of the same shape share a kernel, each with its own weights.
    let (doubled, x) = (
        run_second(&*module, arena.as_mut(), &bias),
        noise(8 * 42, 3),
    );
    assert_ne!(first, doubled);
    assert_eq!(first, run(&*module, arena.as_mut(), true));
    // One element by hand: channel 0 at row 2, column 3.
    let mut sum = f64::from(bias[0]);
    for c in 0..8 {
        for (kh, kw) in (0..9).map(|tap| (tap / 3, tap % 3)) {
            let at = c * 42 + (2 + kh - 1) * 7 + (3 + kw - 1);
            sum += f64::from(x[at]) * f64::from(weights[c * 9 + kh * 3 + kw]);
        }
    }
    let at = (2 * 7 + 3) * 4;
    let got = f32::from_le_bytes(first[at..at + 4].try_into().expect("4 bytes"));
    assert!(
        (f64::from(got) - sum.max(0.0)).abs() < 1e-5,
        "{got}, not {sum}"
    );
}

#[test]
fn weights_packed_for_one_family_run_on_all() {
    let (weights, bias) = (noise(864, 1), noise(12, 2));
    for isa in Isa::available() {
        let run = |packed: bool| {
            let device = CpuDevice::with_isa(2, isa).expect("a device");
            let module = device.load(Arc::new(with_weights(&weights, packed)));
            let module = module.expect("loaded");
            let mut arena = module.arena(64).expect("memory");
            run_second(&*module, arena.as_mut(), &bias)
        };
        assert_eq!(run(true), run(false), "{}", isa.name());
    }
}

#[test]
fn weights_packed_in_parts_run_on_all_families() {
    let (weights, bias) = (noise(864, 1), noise(12, 2));
    let program = Arc::new(planned_for(&weights, true, (Isa::Amx, Products::Six)));
    assert!(program.features.contains(&"amx".to_owned()));
    for isa in Isa::available() {
        let device = CpuDevice::with_isa(2, isa).expect("a device");
        let run = |program: Arc<Program>| {
            let module = device.load(program).expect("loaded");
            let mut arena = module.arena(64).expect("memory");
            run_second(&*module, arena.as_mut(), &bias)
        };
        let plain = run(Arc::new(with_weights(&weights, false)));
        let parts = run(Arc::clone(&program));
        if isa == Isa::Amx {
            let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("4 bytes"));
            for (x, y) in parts.chunks(4).zip(plain.chunks(4)) {
                let (x, y) = (float(x), float(y));
                assert!((x - y).abs() < 1e-5, "{x}, not {y}");
            }
        } else {
            // Three parts add up to the weights again.
            assert_eq!(parts, plain, "{}", isa.name());
        }
    }
}

#[test]
fn a_family_that_this_cpu_lacks_is_refused_by_name() {
    let foreign = match cfg!(target_arch = "x86_64") {
        true => Isa::Neon,
        false => Isa::Avx512,
    };
    let program = planned_for(&noise(864, 1), true, (foreign, Products::Whole));
    let device = CpuDevice::new(1).expect("a device");
    if Isa::forced() != Ok(None) {
        return;
    }
    let refused = device.load(Arc::new(program)).err().expect("refused");
    let (name, best) = (foreign.name(), Isa::best().name());
    let said = refused.to_string();
    assert!(
        said.contains(&format!("instruction set {name} is not available")),
        "{said}"
    );
    assert!(said.contains(&format!("ALULA_CPU_ISA={best}")), "{said}");
}

#[test]
fn packed_weights_that_are_too_short_are_refused() {
    let mut short = with_weights(&noise(864, 1), true);
    short.data[1] = Storage::zeroed(short.data[1].bytes().len() - 4);
    let module = load(short, 1);
    let mut arena = module.arena(64).expect("memory");
    let (x, bias, mut y) = (vec![0; 8 * 42 * 4], vec![0; 48], vec![0; 12 * 42 * 4]);
    let mut args = [
        Arg::Host(&x),
        Arg::Constant(1),
        Arg::Host(&bias),
        Arg::HostMut(&mut y),
    ];
    let launch = Launch {
        kernel: 1,
        args: &mut args,
        symbols: &[],
        work: 1,
        deadline: None,
    };
    let refused = module.launch(arena.as_mut(), launch).expect_err("refused");
    assert!(
        matches!(refused, DeviceError::BadArg { param: 1, .. }),
        "{refused}"
    );
}

#[test]
fn launches_that_break_the_contract_are_refused() {
    let module = load(program(&[0.0; 864]), 1);
    let mut arena = module.arena(4096).expect("memory");
    let mut refuse = |mut args: Vec<Arg<'_>>, symbols: &[i64]| {
        let launch = Launch {
            kernel: 0,
            args: &mut args,
            symbols,
            work: 1,
            deadline: None,
        };
        module.launch(arena.as_mut(), launch).expect_err("refused")
    };
    let too_short = refuse(vec![Arg::Arena(0..399), Arg::Arena(800..1200)], &[1]);
    assert!(
        matches!(too_short, DeviceError::BadArg { param: 0, .. }),
        "{too_short}"
    );
    let overlap = refuse(vec![Arg::Arena(0..400), Arg::Arena(396..800)], &[1]);
    assert!(
        matches!(overlap, DeviceError::BadArg { param: 1, .. }),
        "{overlap}"
    );
    let outside = refuse(vec![Arg::Arena(0..400), Arg::Arena(4000..5000)], &[1]);
    assert!(
        matches!(outside, DeviceError::BadArg { param: 1, .. }),
        "{outside}"
    );
    let constant = refuse(vec![Arg::Arena(0..400), Arg::Constant(0)], &[1]);
    assert!(
        matches!(constant, DeviceError::BadArg { param: 1, .. }),
        "{constant}"
    );
    let missing = refuse(vec![Arg::Arena(0..400)], &[1]);
    assert!(matches!(missing, DeviceError::BadArg { .. }), "{missing}");
    let symbols = refuse(vec![Arg::Arena(0..400), Arg::Arena(400..800)], &[]);
    assert!(matches!(symbols, DeviceError::Launch { .. }), "{symbols}");
}

#[test]
fn programs_for_other_machines_are_refused_before_anything_runs() {
    let device = CpuDevice::new(1).expect("a device");
    let mut foreign = program(&[0.0; 864]);
    foreign.features[0] = "mips".to_owned();
    let refused = device.load(Arc::new(foreign)).err().expect("refused");
    assert!(refused.to_string().contains("mips"), "{refused}");
    let mut newer = program(&[0.0; 864]);
    newer.features.push("avx9000".to_owned());
    let refused = device.load(Arc::new(newer)).err().expect("refused");
    assert!(refused.to_string().contains("avx9000"), "{refused}");
    let mut cut = program(&[0.0; 864]);
    cut.code.truncate(16);
    let refused = device.load(Arc::new(cut)).err().expect("refused");
    assert!(matches!(refused, DeviceError::BadCode(_)), "{refused}");
}
