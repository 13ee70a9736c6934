//! Compiles the repository's own trained model, runs it from memory and from a file, and prints
//! predictions, what fused, and times.
//!
//! ```sh
//! cargo run -p alula --example digits
//! ```

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use alula::{Model, Target, Tensor, npy};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits");
    let images = npy::read(folder.join("test_images.npy"))?;
    let labels = npy::read(folder.join("test_labels.npy"))?
        .to_i64s()
        .unwrap_or_default();
    let expected = npy::read(folder.join("expected.npy"))?;

    let start = Instant::now();
    let model = Model::builder(folder.join("digits.onnx"))
        .threads(1)
        .compile()?;
    say(format!("compiled in {:.1?}", start.elapsed()));
    fusions(&model);

    let session = model.session()?;
    let outputs = session.run(&[("image", images.clone().into())])?;
    let probabilities = outputs[0].1.as_tensor().ok_or("a tensor")?;
    predictions(probabilities, &labels);
    let (ours, theirs) = (probabilities.to_f64s(), expected.to_f64s());
    let worst = ours
        .iter()
        .zip(&theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    say(format!("largest difference from ONNX Runtime: {worst:.1e}"));
    if worst > 1e-4 {
        return Err("the probabilities are not those of ONNX Runtime".into());
    }

    let runs = 200;
    let start = Instant::now();
    for _ in 0..runs {
        session.run(&[("image", images.clone().into())])?;
    }
    let each = start.elapsed() / runs;
    say(format!(
        "{} images in {each:.1?} on 1 thread, mean of {runs} runs",
        labels.len()
    ));

    let path = std::env::temp_dir().join(format!("alula-digits-{}.alula", std::process::id()));
    model.save(&path)?;
    let start = Instant::now();
    let loaded = Model::from_artifact(&path)?.session()?;
    let took = start.elapsed();
    let again = loaded.run(&[("image", images.into())])?;
    let bytes = std::fs::metadata(&path)?.len();
    std::fs::remove_file(&path)?;
    if again != outputs {
        return Err("the artifact's outputs differ from the compiled model's".into());
    }
    say(format!(
        "saved as {bytes} bytes, loaded in {took:.1?}: outputs are byte-identical"
    ));
    Ok(())
}

/// A line for the reader.
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn say(line: impl AsRef<str>) {
    println!("{}", line.as_ref());
}

/// Rules that fired, and the nodes of each kernel that stands for more than one.
fn fusions(model: &Model) {
    let Some(report) = model.report(Target::Cpu) else {
        return;
    };
    let fires: Vec<String> = report
        .rewrites
        .fires
        .iter()
        .map(|(rule, count)| format!("{rule} x{count}"))
        .collect();
    say(format!("rules: {}", fires.join(", ")));
    for group in report.fusion.iter().flat_map(|plan| &plan.groups) {
        if group.len() > 1 {
            say(format!("fused: {}", group.join(" + ")));
        }
    }
}

/// The most probable digit of each image, sixteen a line.
fn predictions(probabilities: &Tensor, labels: &[i64]) {
    let classes = probabilities.shape()[1];
    let digits: Vec<i64> = probabilities
        .to_f64s()
        .chunks(classes)
        .map(|row| (0..classes).fold(0, |best, k| if row[k] > row[best] { k } else { best }) as i64)
        .collect();
    for (digits, labels) in digits.chunks(16).zip(labels.chunks(16)) {
        let cell = |(digit, label): (&i64, &i64)| match digit == label {
            true => format!("{digit}"),
            false => format!("{digit} (not {label})"),
        };
        say(digits
            .iter()
            .zip(labels)
            .map(cell)
            .collect::<Vec<_>>()
            .join(" "));
    }
    let right = digits
        .iter()
        .zip(labels)
        .filter(|(digit, label)| digit == label)
        .count();
    say(format!("{right} of {} right", labels.len()));
}
