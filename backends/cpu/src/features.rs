//! Which optional instructions code may use: recorded when it is compiled, checked when loaded.

use serde::{Deserialize, Serialize};

/// Architecture and instruction-set extensions that machine code relies on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuFeatures {
    /// Architecture as Rust names it, e.g. `x86_64`.
    pub arch: String,
    /// Extensions as Rust names them, e.g. `sse4.1`; sorted.
    pub extensions: Vec<String>,
}

impl CpuFeatures {
    /// What this process runs on, out of the extensions that the code generator knows.
    pub fn host() -> CpuFeatures {
        let mut extensions: Vec<String> = detected()
            .into_iter()
            .filter(|(_, found)| *found)
            .map(|(name, _)| name.into())
            .collect();
        extensions.sort();
        CpuFeatures {
            arch: std::env::consts::ARCH.to_owned(),
            extensions,
        }
    }

    /// Whether this machine rounds a product and a sum once, in one instruction.
    #[cfg(feature = "emit")]
    pub(crate) fn host_has_fma() -> bool {
        #[cfg(target_arch = "x86_64")]
        return std::is_x86_feature_detected!("fma");
        #[cfg(not(target_arch = "x86_64"))]
        true
    }

    /// The first fact that keeps this code from running on `host`, in words.
    pub fn missing_on(&self, host: &CpuFeatures) -> Option<String> {
        if self.arch != host.arch {
            return Some(format!(
                "architecture {} (this is {})",
                self.arch, host.arch
            ));
        }
        self.extensions
            .iter()
            .find(|name| !host.extensions.contains(name))
            .cloned()
    }

    /// Whether an extension is present.
    pub fn has(&self, extension: &str) -> bool {
        self.extensions.iter().any(|name| name == extension)
    }
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Vec<(&'static str, bool)> {
    macro_rules! detect {
        ($($name:tt),*) => { vec![$(($name, std::is_x86_feature_detected!($name))),*] };
    }
    detect!(
        "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "fma", "bmi1", "bmi2",
        "lzcnt", "avx512f", "avx512vl", "avx512dq"
    )
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> Vec<(&'static str, bool)> {
    Vec::new()
}
