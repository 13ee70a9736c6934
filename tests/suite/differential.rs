//! Random graphs: every stage of the pipeline, on every target, gives what the reference gives for
//! the graph as it came.
//!
//! `ALULA_RANDOM_GRAPHS` says how many (300), `ALULA_RANDOM_SEED` which is the first (1). A graph
//! goes through all fusion strategies of the CPU and through a few of the other stages, which take
//! turns; `ALULA_RANDOM_STAGES=all` takes all of them for each graph. A failure prints the
//! smallest graph that fails alike, as IR text with its inputs.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alula_ir::HostValue;
use alula_lower::build::Policy;
use alula_lower::cluster::Strategy;
use alula_lower::layout::Layouts;
use alula_tests::backends::Devices;
use alula_tests::differential::{
    Checked, Failure, Source, Stage, Target, check, describe, references, shrink,
};
use alula_tests::random::{Case, case};

/// Graphs that once found something, which every run tries.
const FOUND: [u64; 11] = [
    50_629, 51_865, 70_886, 90_186, 90_909, 140_592, 220_936, 221_294, 260_480, 261_886, 310_693,
];

/// Failures after which no more graphs are made.
const FAILURES_MAX: usize = 20;

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

/// The stages of a seed.
fn stages(seed: u64, all: bool) -> Vec<Stage> {
    let stage = |source, strategy, target| Stage {
        source,
        strategy,
        target,
    };
    let (plain, optimized) = (Source::Plain, Source::Optimized);
    let mut stages = vec![stage(optimized, Strategy::Auto, Target::Reference)];
    for (k, strategy) in Strategy::ALL.into_iter().enumerate() {
        let source = if (seed + k as u64).is_multiple_of(2) {
            plain
        } else {
            optimized
        };
        let threads = 1 + (seed + k as u64) as usize % 3 / 2;
        stages.push(stage(source, strategy, Target::Cpu(threads)));
    }
    let others = [
        (plain, Strategy::Auto, Target::Built(Policy::Naive)),
        (
            optimized,
            Strategy::Auto,
            Target::Built(Policy::Cpu { lanes: 4 }),
        ),
        (
            plain,
            Strategy::Reduction,
            Target::Built(Policy::Gpu { lanes: 64 }),
        ),
        (
            optimized,
            Strategy::Auto,
            Target::Legal(Layouts::ChannelsLast),
        ),
        (
            plain,
            Strategy::Reduction,
            Target::Legal(Layouts::ChannelsLast),
        ),
        (
            optimized,
            Strategy::Epilogue,
            Target::Legal(Layouts::RowMajor),
        ),
        (plain, Strategy::Auto, Target::Ptx),
        (optimized, Strategy::Auto, Target::Wgpu),
        (plain, Strategy::None, Target::Built(Policy::Naive)),
    ];
    for (k, (source, strategy, target)) in others.into_iter().enumerate() {
        let every = if target == Target::Wgpu { 16 } else { 4 };
        if all || (seed + k as u64).is_multiple_of(every) {
            stages.push(stage(source, strategy, target));
        }
    }
    stages
}

/// Outputs compared. Adapters may refuse 64-bit floats; every other refusal is a failure.
fn checked(
    case: &Case,
    expected: &[Option<Vec<HostValue>>],
    stage: Stage,
    devices: &Devices,
) -> Result<usize, Failure> {
    match check(case, expected, stage, devices)? {
        Checked::Right(compared) => Ok(compared),
        Checked::Absent => Ok(0),
        Checked::Refused(why) if stage.target == Target::Wgpu && why.contains("f64") => Ok(0),
        Checked::Refused(message) => Err(Failure {
            stage,
            feed: 0,
            kind: "refused",
            message,
        }),
    }
}

#[test]
fn random_graphs_agree_with_their_reference() {
    let (count, first) = (
        number("ALULA_RANDOM_GRAPHS", 300),
        number("ALULA_RANDOM_SEED", 1),
    );
    let all = std::env::var("ALULA_RANDOM_STAGES").is_ok_and(|value| value == "all");
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let totals: Mutex<BTreeMap<String, (u64, u64, Duration)>> = Mutex::default();
    let operators: Mutex<BTreeMap<&'static str, u64>> = Mutex::default();
    // Panics are caught and reported with the graph; their own message would come without it.
    std::panic::set_hook(Box::new(|panic| {
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value == "full") {
            eprintln!("{panic}");
        }
    }));
    let worker = || {
        let devices = Devices::open();
        if let Some(reason) = devices.lacks_wgpu() {
            alula_testkit::skip("random_graphs_agree_with_their_reference", reason);
        }
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let is_enough = failures.lock().expect("no panic").len() >= FAILURES_MAX;
            let found = FOUND.get(position.saturating_sub(count) as usize);
            let seed = match (position < count, found) {
                (true, _) if !is_enough => first + position,
                (false, Some(&seed)) if !is_enough => seed,
                _ => return,
            };
            let start = Instant::now();
            let case = match std::panic::catch_unwind(|| case(seed)) {
                Ok(case) => case,
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                    let message = format!("seed {seed}: while the graph is made: {text}");
                    failures.lock().expect("no panic").push(message);
                    continue;
                }
            };
            let expected = references(&case);
            let spent = start.elapsed();
            let totals_of = |name: String, compared: u64, time: Duration| {
                let mut totals = totals.lock().expect("no panic");
                let total = totals.entry(name).or_default();
                *total = (total.0 + 1, total.1 + compared, total.2 + time);
            };
            totals_of(
                "generate".to_owned(),
                expected.iter().flatten().count() as u64,
                spent,
            );
            for id in case.graph.nodes() {
                let name = case.graph.node(id).op.name;
                *operators.lock().expect("no panic").entry(name).or_default() += 1;
            }
            for stage in stages(seed, all) {
                let start = Instant::now();
                match checked(&case, &expected, stage, &devices) {
                    Ok(compared) => {
                        let name = format!("{:?}", stage.target);
                        totals_of(name, compared as u64, start.elapsed());
                    }
                    Err(failure) => {
                        let (small, failure) = shrink(&case, &failure, &devices);
                        let message = format!(
                            "seed {seed}, {:?}: {}: {}\n{}",
                            failure.stage,
                            failure.kind,
                            failure.message,
                            describe(&small)
                        );
                        failures.lock().expect("no panic").push(message);
                        break;
                    }
                }
            }
        }
    };
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    let _ = std::panic::take_hook();
    for (name, (runs, compared, time)) in totals.into_inner().expect("no panic") {
        eprintln!(
            "{name}: {runs} graphs, {compared} compared, {:.1} s",
            time.as_secs_f64()
        );
    }
    let operators = operators.into_inner().expect("no panic");
    eprintln!("{} operators: {operators:?}", operators.len());
    let failures = failures.into_inner().expect("no panic");
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
}
