//! What GPU back ends print for kernels in their text form, `emit/<target>/<name>.kernel`.
//!
//! A case is a kernel; it is verified, legalized for the target and printed.

use std::path::Path;
use std::process::ExitCode;

use alula_kernel::text::parse_kernel;
use alula_kernel::{Kernel, verify};
use alula_lower::legalize::{Caps, legalize};
use alula_testkit::filetest;
use libtest_mimic::Arguments;

const WGSL: Caps = Caps {
    op: alula_wgpu::is_native,
    cast: alula_wgpu::is_native_cast,
    storage: alula_wgpu::is_stored,
};

const PTX: Caps = Caps {
    op: alula_cuda::is_native,
    cast: alula_cuda::is_native_cast,
    storage: alula_cuda::is_stored,
};

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("emit");
    let mut trials = filetest::trials(&folder.join("wgsl"), stage);
    trials.extend(filetest::trials(&folder.join("ptx"), stage));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn stage(target: &str, text: &str) -> Result<String, String> {
    match target {
        "wgsl" => {
            let emitted = alula_wgpu::emit_kernel(&legal(text, &WGSL)?);
            emitted
                .map(|emitted| emitted.text)
                .map_err(|error| error.to_string())
        }
        "ptx" => {
            let emitted = alula_cuda::emit_kernel(&legal(text, &PTX)?);
            emitted
                .map(|emitted| emitted.text)
                .map_err(|error| error.to_string())
        }
        other => Err(format!("there is no target {other}")),
    }
}

fn legal(text: &str, caps: &Caps) -> Result<Kernel, String> {
    let mut kernel = parse_kernel(text).map_err(|error| error.to_string())?;
    verify(&kernel).map_err(|errors| format!("{errors:?}"))?;
    legalize(&mut kernel, caps).map_err(|error| error.to_string())?;
    verify(&kernel).map_err(|errors| format!("{errors:?}"))?;
    Ok(kernel)
}
