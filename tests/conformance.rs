//! ONNX's own tests on wgpu and as PTX in its interpreter: none is wrong, none crashes, and every
//! one passes that is not in the list of those that do not, with what is refused, in `conformance`.
//! `BLESS=1` renews the lists.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use alula::Target;
use alula_program::Device;
use alula_tests::backends::Devices;
use alula_tests::judge::{NoPass, judge};

const KINDS: [&str; 4] = ["node", "simple", "pytorch-operator", "pytorch-converted"];

/// Tests of onnx 1.23.2 that the test data hold; fewer would say less.
const TESTS: usize = 2024;

/// Names and folders of all tests, sorted; none where there is no test data.
fn tests() -> Vec<(String, PathBuf)> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let cache = std::env::var_os("ALULA_CACHE");
    let cache = cache.map_or_else(|| home().join(".cache/alula"), PathBuf::from);
    let mut tests = Vec::new();
    for kind in KINDS {
        let Ok(entries) = std::fs::read_dir(cache.join("conformance").join(kind)) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.path().join("model.onnx").is_file() {
                let name = format!("{kind}/{}", entry.file_name().to_string_lossy());
                tests.push((name, entry.path()));
            }
        }
    }
    tests.sort();
    tests
}

/// Whether a test's reference is a draw.
fn is_random(name: &str) -> bool {
    let is_dropout = name.contains("training_dropout") && !name.contains("zero_ratio");
    name.contains("bernoulli") || is_dropout
}

/// The status of a test, and why it is not `pass`.
fn status(
    name: &str,
    folder: &Path,
    target: Target,
    device: &dyn Device,
) -> (&'static str, String) {
    let judged = catch_unwind(AssertUnwindSafe(|| judge(folder, target, device)));
    match judged {
        Ok(Ok(())) => ("pass", String::new()),
        // The references are draws of NumPy's generator, which ONNX does not ask for.
        Ok(Err(NoPass::Wrong(_))) if is_random(name) => ("random", String::new()),
        Ok(Err(NoPass::Wrong(why))) => ("wrong", why),
        Ok(Err(NoPass::Refused(why))) => ("refused", why),
        Err(panic) => (
            "crash",
            panic.downcast_ref::<String>().cloned().unwrap_or_default(),
        ),
    }
}

/// The last part of what an error says, without the names of kernels and nodes.
fn reason(why: &str) -> &str {
    why.rsplit(": ").next().unwrap_or_default()
}

fn check(test: &str, target: Target, device: &dyn Device) {
    let tests = tests();
    if tests.is_empty() {
        return alula_testkit::skip(test, "no conformance tests in the cache");
    }
    assert_eq!(tests.len(), TESTS, "tools/models/setup.py fetches them");
    let start = Instant::now();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((name, folder)) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (status, why) = status(name, folder, target, device);
            let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
            let mut outcomes = outcomes.lock().expect("no panic with the lock");
            outcomes.insert(name.as_str(), (status, why));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let outcomes = outcomes.into_inner().expect("no panic with the lock");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut list = String::new();
    for (name, (status, why)) in &outcomes {
        *counts.entry(status).or_default() += 1;
        if *status != "pass" {
            let _ = writeln!(list, "{status} {name} {}", reason(why));
        }
    }
    let score: Vec<String> = counts
        .iter()
        .map(|(status, n)| format!("{n} {status}"))
        .collect();
    let score = format!(
        "; {target}: {} of {TESTS}. Written with BLESS=1.",
        score.join(", ")
    );
    let list = format!("{score}\n{list}");
    eprintln!(
        "{target}: {counts:?} in {:.0} s",
        start.elapsed().as_secs_f64()
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("conformance/{target}.txt"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &list).expect("the list can be written");
    }
    let listed = std::fs::read_to_string(&file).expect("the list is there");
    let listed: BTreeMap<&str, &str> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let status = words.next()?;
            Some((words.next()?, status))
        })
        .collect();
    let findings: Vec<String> = outcomes
        .iter()
        .filter_map(|(name, (status, why))| {
            let wanted = listed.get(name).copied().unwrap_or("pass");
            let is_bad = *status != wanted || ["wrong", "crash"].contains(status);
            is_bad.then(|| format!("{name}: {status}, not {wanted}: {why}"))
        })
        .collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn no_test_of_onnx_is_wrong_on_wgpu() {
    let devices = Devices::open();
    match devices.wgpu() {
        Ok(device) => check("no_test_of_onnx_is_wrong_on_wgpu", Target::Wgpu, device),
        Err(why) => alula_testkit::skip("no_test_of_onnx_is_wrong_on_wgpu", &format!("{why:?}")),
    }
}

#[test]
fn no_test_of_onnx_is_wrong_as_ptx() {
    let device = Devices::open().cuda();
    check("no_test_of_onnx_is_wrong_as_ptx", Target::Cuda, &device);
}
