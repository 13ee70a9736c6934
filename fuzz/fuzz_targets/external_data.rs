//! Any entries as the place of a tensor's data: an error, or bytes out of the one file beneath the
//! model's folder, and none that lie outside of it.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use alula_onnx::external::ExternalFiles;
use alula_onnx::proto::StringStringEntryProto;
use libfuzzer_sys::fuzz_target;

const INSIDE: &[u8] = b"what is beneath the model's folder";

/// `F/secret`, `F/model/data.bin`, `F/model/deep/data.bin`; the model is `F/model/model.onnx`.
static MODEL: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("alula-fuzz-{}", std::process::id()));
    let deep = folder.join("model/deep");
    std::fs::create_dir_all(&deep).expect("folders");
    std::fs::write(folder.join("secret"), b"SECRET").expect("a file");
    std::fs::write(folder.join("model/data.bin"), INSIDE).expect("a file");
    std::fs::write(deep.join("data.bin"), INSIDE).expect("a file");
    folder.join("model/model.onnx")
});

fuzz_target!(|text: &str| {
    let entry = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
        }
    };
    let entries: Vec<StringStringEntryProto> = text.lines().map(entry).collect();
    let files = ExternalFiles::beside(&MODEL).expect("the folder is there");
    if let Ok(bytes) = files.read(&entries) {
        let is_inside = bytes.is_empty() || INSIDE.windows(bytes.len()).any(|part| part == bytes);
        assert!(is_inside, "{entries:?} reached {bytes:?}");
    }
});
