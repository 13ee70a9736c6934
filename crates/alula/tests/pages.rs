//! No page of a process that runs compiled code is writable and executable.

use alula::{Model, Tensor};

/// Lines of the system's list of mappings that are both.
fn both(maps: &str) -> Vec<&str> {
    let flags = |line: &str| {
        line.split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned()
    };
    maps.lines()
        .filter(|line| flags(line).contains('w') && flags(line).contains('x'))
        .collect()
}

#[test]
fn code_pages_are_never_writable() {
    let list = "/proc/self/maps";
    let Ok(before) = std::fs::read_to_string(list) else {
        alula_testkit::skip(
            "code_pages_are_never_writable",
            "the system lists no mappings",
        );
        return;
    };
    let digits = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/digits/digits.onnx"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("digits.alula");
    let model = Model::builder(digits).compile().expect("it compiles");
    model.save(&file).expect("it is saved");
    let stored = Model::from_artifact(&file).expect("it opens");
    let sessions = [&model, &stored].map(|model| model.session().expect("it loads"));
    let image = Tensor::zeros(alula::DType::F32, &[1, 1, 8, 8]).expect("a tensor");
    for session in &sessions {
        let name = session.inputs()[0].name.clone();
        let run = session.run(&[(&name, image.clone().into())]);
        run.expect("it runs");
        let maps = std::fs::read_to_string(list).expect("it was there before");
        assert_eq!(both(&maps), Vec::<&str>::new());
        // There is code that was not there before.
        let executable = |maps: &str| maps.lines().filter(|line| line.contains("r-xp")).count();
        assert!(executable(&maps) > executable(&before));
    }
}

#[test]
fn pages_that_are_both_are_seen() {
    let maps = "1-2 rw-p 0 0:0 0\n2-3 r-xp 0 0:0 0\n3-4 rwxp 0 0:0 0 /x\n";
    assert_eq!(both(maps), ["3-4 rwxp 0 0:0 0 /x"]);
}
