//! An application that ships a compiled model: it loads an artifact and runs it. Built without the
//! feature `emit`, it links no compiler.
//!
//! ```sh
//! alula compile model.onnx -o model.alula
//! cargo run -p alula --no-default-features --example load -- model.alula
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use alula::{Limits, Model, Port, RunOptions, SessionOptions, Tensor, Value, Verify};

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args()
        .nth(1)
        .ok_or("want the path of an artifact")?;
    let start = Instant::now();
    let limits = Limits {
        bytes_max: 1 << 30,
        ..Limits::default()
    };
    // Whoever trusts where the file is from leaves out `Verify::All`, which reads all the weights.
    let session = Model::from_artifact_with(file, Verify::All)?
        .with_threads(1)
        .with_options(SessionOptions { limits })
        .session()?;
    say(format!(
        "loaded for {} in {:.1?}",
        session.target(),
        start.elapsed()
    ));

    let inputs: Vec<(&str, Value)> = session
        .inputs()
        .iter()
        .map(|port| Ok((port.name.as_str(), zeros(port)?)))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let options = RunOptions {
        deadline: Some(Duration::from_secs(60)),
        ..RunOptions::default()
    };
    let start = Instant::now();
    let outcome = session.run_with(&inputs, &options)?;
    say(format!("ran in {:.1?}", start.elapsed()));
    for (name, value) in &outcome.outputs {
        say(format!("{name}: {}", value.describe()));
    }
    Ok(())
}

/// A tensor of zeros, with 1 for each extent that the model leaves open.
fn zeros(port: &Port) -> Result<Value, Box<dyn Error>> {
    let ty = port.ty.as_tensor().ok_or("an input is no tensor")?;
    let extents = ty.shape.iter().map(|dim| dim.eval(&|_| Some(1)));
    let shape: Vec<usize> = extents
        .map(|extent| Ok(usize::try_from(extent?)?))
        .collect::<Result<_, Box<dyn Error>>>()?;
    Ok(Tensor::zeros(ty.dtype, &shape)?.into())
}

/// A line for the reader.
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn say(line: impl AsRef<str>) {
    println!("{}", line.as_ref());
}
