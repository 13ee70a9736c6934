//! From an ONNX message to results: import, compile for the processor, save, load, run.

use std::path::Path;

use alula::{Error, Model, Target, Value};
use alula_onnx::proto::ModelProto;
use prost::Message;

use crate::child::folder_of;

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
    run_file(&folder_of(bytes).path("model.onnx"), inputs)
}

/// [`run`] of a model in a file; the artifact is written beside it.
///
/// # Errors
/// As [`run`].
///
/// # Panics
/// As [`run`].
pub fn run_file(path: &Path, inputs: &[(&str, Value)]) -> Result<Vec<(String, Value)>, Error> {
    let model = Model::builder(path).verify(true).threads(1).compile()?;
    let artifact = path.with_extension("alula");
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
            // A limit of memory is what the machine has left at the moment.
            let cause = |error: &Error| {
                let text = error.to_string();
                text.split(", the limit is").next().map(str::to_owned)
            };
            assert_eq!(cause(&error), cause(&again), "the artifact fails alike");
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
