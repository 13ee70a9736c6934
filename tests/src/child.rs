//! A model in a process of its own: what becomes of it, and what it costs.
//!
//! The process is the test binary again, told by [`CASE`] to run one test that does nothing but
//! [`serve`]. It counts its own processor time, of all threads, and its own peak memory. A process
//! that does not end by itself is ended by the system: limits of processor time and address space
//! are set before it starts.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use alula::{Tensor, Value};
use alula_tensor::{DType, Storage};

use crate::pipeline::{Folder, run_file};

/// Names the folder of the case, in the environment of the process.
const CASE: &str = "ALULA_TEST_CASE";

/// Seconds of processor time that a case may take in a release build.
const SECONDS_MAX: f64 = 1.0;
/// What a build for tests may take more: our crates are optimised lightly in it, and keep their
/// assertions. Compiling chains, concatenations and slices takes it 1.3 to 2 times as long.
const TEST_BUILD_FACTOR: f64 = 2.0;
/// Bytes of memory that a case may take, all of the process counted.
const BYTES_MAX: u64 = 256 << 20;

/// Where the system ends a process: seconds of processor time, and KiB of address space, which
/// code that is mapped and memory that is never touched count towards.
const SECONDS_END: u64 = 60;
const ADDRESSES_END: u64 = 4 << 20;

/// Outputs of a model: shape and elements of the first.
pub type First = (Vec<usize>, Vec<f64>);

/// Runs the model of a folder on some inputs, in a process of its own that calls [`serve`] in the
/// test `test`: for the processor, and through a saved artifact.
///
/// # Errors
/// What the model's error says.
///
/// # Panics
/// If the process takes too long, takes too much memory, or does not end well.
pub fn alone(
    test: &str,
    name: &str,
    folder: &Folder,
    inputs: &[(&str, Value)],
) -> Result<First, String> {
    std::fs::write(folder.path("inputs"), encode(inputs)).expect("the folder can be written");
    let binary = std::env::current_exe().expect("this process has a file");
    let ends = format!("ulimit -t {SECONDS_END}; ulimit -v {ADDRESSES_END}; exec \"$0\" \"$@\"");
    let done = Command::new("sh")
        .args(["-c", &ends])
        .arg(binary)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CASE, folder.path(""))
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .expect("a shell can be started");
    let outcome = std::fs::read_to_string(folder.path("outcome")).unwrap_or_default();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{name}: {}: {said}", done.status);
    let mut lines = outcome.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (costs, fate, text) = (line(), line(), line());
    if let Some((seconds, bytes)) = costs.split_once(' ') {
        let seconds: f64 = seconds.parse().expect("a number of seconds");
        let bytes: u64 = bytes.parse().expect("a number of bytes");
        let factor = if cfg!(debug_assertions) {
            TEST_BUILD_FACTOR
        } else {
            1.0
        };
        assert!(seconds < SECONDS_MAX * factor, "{name} took {seconds:.2} s");
        assert!(bytes < BYTES_MAX, "{name} took {} MiB", bytes >> 20);
        if std::env::var_os("ALULA_TEST_COSTS").is_some() {
            eprintln!("{seconds:.2} s {:4} MiB {name}", bytes >> 20);
        }
    }
    match fate {
        "error" => Err(text.to_owned()),
        shape => Ok((numbers(shape), numbers(text))),
    }
}

fn numbers<T: std::str::FromStr>(line: &str) -> Vec<T> {
    let number = |word: &str| word.parse().ok();
    let numbers = line.split_whitespace().map(number);
    numbers.collect::<Option<_>>().expect("numbers")
}

/// In a process that [`alone`] started: runs its case and never returns. Elsewhere does nothing.
///
/// # Panics
/// When the case cannot be read.
pub fn serve() {
    let Some(folder) = std::env::var_os(CASE).map(PathBuf::from) else {
        return;
    };
    let inputs = std::fs::read(folder.join("inputs")).expect("the case has inputs");
    let inputs = decode(&inputs);
    let named: Vec<(&str, Value)> = inputs
        .iter()
        .map(|(n, v)| (n.as_str(), v.clone()))
        .collect();
    let outcome = match run_file(&folder.join("model.onnx"), &named) {
        Ok(outputs) => {
            let tensor = outputs[0].1.as_tensor().expect("a tensor");
            let shape: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
            let mut text = format!("{}\n", shape.join(" "));
            for value in tensor.to_scalars() {
                let _ = write!(text, "{} ", value.to_f64());
            }
            text
        }
        Err(error) => format!("error\n{error}"),
    };
    let costs = match (processor_seconds(), peak_bytes()) {
        (Some(seconds), Some(bytes)) => format!("{seconds} {bytes}"),
        _ => String::new(),
    };
    let outcome = format!("{costs}\n{outcome}");
    std::fs::write(folder.join("outcome"), outcome).expect("the folder can be written");
}

/// Seconds that all threads of this process have run, where the system says so.
fn processor_seconds() -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The fields after the name, which may hold anything but ends in the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |position: usize| fields.get(position)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// The most bytes of memory that this process has had, where the system says so.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// A line for each input (name, dtype, extents) with its bytes behind it.
fn encode(inputs: &[(&str, Value)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in inputs {
        let tensor = value.as_tensor().expect("cases take tensors");
        let mut line = format!("{name} {}", tensor.dtype().name());
        for extent in tensor.shape() {
            let _ = write!(line, " {extent}");
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(tensor.bytes());
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Vec<(String, Value)> {
    let mut inputs = Vec::new();
    while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
        let line = std::str::from_utf8(&bytes[..end]).expect("a line of text");
        let mut words = line.split(' ');
        let mut word = || words.next().expect("a name and a dtype");
        let (name, dtype) = (
            word().to_owned(),
            DType::from_name(word()).expect("a dtype"),
        );
        let shape: Vec<usize> = words.map(|word| word.parse().expect("an extent")).collect();
        let length = shape.iter().product::<usize>() * dtype.size_bytes();
        let (own, rest) = bytes[end + 1..].split_at(length);
        let tensor = Tensor::from_storage(dtype, &shape, Storage::copy_from(own));
        inputs.push((name, tensor.expect("as many bytes as it says").into()));
        bytes = rest;
    }
    inputs
}

/// A new folder with a model.
///
/// # Panics
/// When there is nowhere to write it.
pub fn folder_of(model: &[u8]) -> Folder {
    let folder = Folder::new();
    let written = std::fs::write(folder.path("model.onnx"), model);
    written.expect("the folder can be written");
    folder
}
