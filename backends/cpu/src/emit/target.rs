//! The code generator's target: the instruction set of this machine, without library calls.

use std::sync::Arc;

use cranelift_codegen::isa::{self, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};

use super::EmitError;
use crate::CpuFeatures;

/// Extension names of Rust and the flags of the code generator.
const FLAGS: [(&str, &str); 14] = [
    ("sse3", "has_sse3"),
    ("ssse3", "has_ssse3"),
    ("sse4.1", "has_sse41"),
    ("sse4.2", "has_sse42"),
    ("popcnt", "has_popcnt"),
    ("avx", "has_avx"),
    ("avx2", "has_avx2"),
    ("fma", "has_fma"),
    ("bmi1", "has_bmi1"),
    ("bmi2", "has_bmi2"),
    ("lzcnt", "has_lzcnt"),
    ("avx512f", "has_avx512f"),
    ("avx512vl", "has_avx512vl"),
    ("avx512dq", "has_avx512dq"),
];

/// What code is generated for. Cheap to clone, usable from many threads.
#[derive(Clone)]
pub struct CpuTarget {
    pub(super) isa: Arc<dyn TargetIsa>,
    features: CpuFeatures,
}

impl CpuTarget {
    /// What code may use on this machine: [`CpuFeatures::usable`].
    ///
    /// # Errors
    /// [`EmitError::Target`] if the code generator does not know the architecture, a baseline
    /// extension is missing (SSE4.1 on x86-64: without it rounding would be a library call), or
    /// [`ISA_VARIABLE`](crate::ISA_VARIABLE) names no family of this machine.
    pub fn host() -> Result<CpuTarget, EmitError> {
        CpuTarget::with_features(usable()?)
    }

    /// As [`CpuTarget::host`] without wide loops: everything is the code generator's.
    ///
    /// # Errors
    /// As [`CpuTarget::host`].
    pub fn narrow() -> Result<CpuTarget, EmitError> {
        let mut features = usable()?;
        features
            .extensions
            .retain(|name| !name.starts_with("avx512"));
        CpuTarget::with_features(features)
    }

    /// A machine with these features; the architecture must be this one.
    ///
    /// # Errors
    /// As [`CpuTarget::host`].
    pub fn with_features(features: CpuFeatures) -> Result<CpuTarget, EmitError> {
        let fail = |detail: String| EmitError::Target { detail };
        if features.arch == "x86_64" && !features.has("sse4.1") {
            return Err(fail("x86_64 needs sse4.1".into()));
        }
        let mut shared = settings::builder();
        let verify = if cfg!(debug_assertions) {
            "true"
        } else {
            "false"
        };
        let options = [
            ("opt_level", "speed"),
            ("enable_verifier", verify),
            ("unwind_info", "false"),
            ("is_pic", "true"),
        ];
        for (name, value) in options {
            shared
                .set(name, value)
                .map_err(|e| fail(format!("setting {name}: {e}")))?;
        }
        let triple = target_lexicon_host();
        let mut builder = isa::lookup_by_name(&triple).map_err(|e| fail(e.to_string()))?;
        for (name, flag) in FLAGS {
            if features.has(name) {
                builder
                    .enable(flag)
                    .map_err(|e| fail(format!("flag {flag}: {e}")))?;
            }
        }
        let isa: OwnedTargetIsa = builder
            .finish(settings::Flags::new(shared))
            .map_err(|e| fail(e.to_string()))?;
        Ok(CpuTarget { isa, features })
    }

    /// What generated code relies on.
    pub fn features(&self) -> &CpuFeatures {
        &self.features
    }
}

fn usable() -> Result<CpuFeatures, EmitError> {
    CpuFeatures::usable().map_err(|error| EmitError::Target {
        detail: error.to_string(),
    })
}

/// The target's name as the code generator spells it. The calling convention follows from it.
fn target_lexicon_host() -> String {
    let system = match std::env::consts::OS {
        "macos" => "apple-darwin",
        "windows" => "pc-windows-msvc",
        _ => "unknown-linux-gnu",
    };
    format!("{}-{system}", std::env::consts::ARCH)
}
