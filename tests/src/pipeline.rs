//! From an ONNX message to results: import, compile for the processor, save, load, run.

use std::time::Instant;

use alula::{Error, Model, Target, Value};
use alula_onnx::proto::ModelProto;
use prost::Message;

/// A model in a file of its own, which goes when this does.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// An empty folder.
    ///
    /// # Panics
    /// When there is nowhere to make one.
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder can be made"))
    }

    /// The path of something in it.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }
}

impl Default for Folder {
    fn default() -> Folder {
        Folder::new()
    }
}

/// What a model gives for some inputs, for the processor and through a saved artifact; both must
/// give the same bytes.
///
/// # Errors
/// Of the import, the compiler or the run.
///
/// # Panics
/// When the artifact does not give what the model did.
pub fn run(model: &ModelProto, inputs: &[(&str, Value)]) -> Result<Vec<(String, Value)>, Error> {
    run_bytes(&model.encode_to_vec(), inputs)
}

/// [`run`] of a model's bytes.
///
/// # Errors
/// As [`run`].
///
/// # Panics
/// As [`run`].
pub fn run_bytes(bytes: &[u8], inputs: &[(&str, Value)]) -> Result<Vec<(String, Value)>, Error> {
    let folder = Folder::new();
    let path = folder.path("model.onnx");
    std::fs::write(&path, bytes).expect("the folder can be written");
    let model = Model::builder(&path).verify(true).threads(1).compile()?;
    let artifact = folder.path("model.alula");
    model.save(&artifact)?;
    let loaded = Model::open(&artifact)?.with_threads(1);
    let results = model.session()?.run(inputs);
    let again = loaded.session()?.run(inputs);
    match (results, again) {
        (Ok(results), Ok(again)) => {
            assert_eq!(
                format!("{results:?}"),
                format!("{again:?}"),
                "the artifact agrees"
            );
            Ok(results)
        }
        (Err(error), Err(again)) => {
            assert_eq!(
                error.to_string(),
                again.to_string(),
                "the artifact fails alike"
            );
            Err(error)
        }
        (a, b) => panic!("the model gives {a:?}, its artifact {b:?}"),
    }
}

/// What the operators' references give.
///
/// # Errors
/// Of the import or the evaluation.
///
/// # Panics
/// When there is nowhere to write the model.
pub fn reference(
    model: &ModelProto,
    inputs: &[(&str, Value)],
) -> Result<Vec<(String, Value)>, Error> {
    let folder = Folder::new();
    let path = folder.path("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).expect("the folder can be written");
    let model = Model::builder(&path).target(Target::Reference).compile()?;
    model.session()?.run(inputs)
}

/// Runs something that must not take long: a second of this thread's processor time, more where
/// the compiler is not optimised. A busy machine makes no difference.
///
/// # Panics
/// When it does take long.
pub fn soon<T>(name: &str, act: impl FnOnce() -> T) -> T {
    let (start, busy) = (Instant::now(), processor_seconds());
    let result = act();
    let took = match (busy, processor_seconds()) {
        (Some(before), Some(after)) => after - before,
        _ => start.elapsed().as_secs_f64(),
    };
    let limit = if cfg!(debug_assertions) { 10.0 } else { 1.0 };
    assert!(took < limit, "{name} took {took:.1} s");
    result
}

/// Seconds that this thread has run, where the system says so.
fn processor_seconds() -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
    // The fields after the name, which may hold anything but ends in the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |position: usize| fields.get(position)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// The most bytes of memory that this process has had, where the system says so.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
