//! Which optional instructions code may use: recorded when it is compiled, checked when loaded.

use alula_microkernel::{Isa, IsaError};
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

    /// What code may use here: all of [`CpuFeatures::host`], or what
    /// [`ISA_VARIABLE`](crate::ISA_VARIABLE) leaves of it, so that a forced family stands for a
    /// processor that has no more.
    ///
    /// # Errors
    /// [`IsaError`] if the variable names no family, or one that this processor lacks.
    pub fn usable() -> Result<CpuFeatures, IsaError> {
        let host = CpuFeatures::host();
        Ok(match Isa::forced()? {
            None => host,
            Some(isa) => host.up_to(isa),
        })
    }

    /// These without what a processor lacks whose best family of micro-kernels is `isa`.
    #[must_use]
    pub fn up_to(mut self, isa: Isa) -> CpuFeatures {
        self.extensions.retain(|name| is_within(name, isa));
        self
    }

    /// Whether a product and a sum are rounded once, in one instruction.
    #[cfg(feature = "emit")]
    pub(crate) fn has_fma() -> bool {
        #[cfg(target_arch = "x86_64")]
        return std::is_x86_feature_detected!("fma") && is_permitted("fma");
        #[cfg(not(target_arch = "x86_64"))]
        true
    }

    /// Whether there is an instruction that rounds to bf16.
    #[cfg(feature = "emit")]
    pub(crate) fn rounds_bf16() -> bool {
        Isa::current().is_ok_and(|isa| isa == Isa::Amx)
    }

    /// Whether instructions of vectors take memory of any alignment.
    #[cfg(feature = "emit")]
    pub(crate) fn has_avx() -> bool {
        #[cfg(target_arch = "x86_64")]
        return std::is_x86_feature_detected!("avx") && is_permitted("avx");
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

/// Whether the family that is forced, if one is, has an extension.
#[cfg(all(feature = "emit", target_arch = "x86_64"))]
fn is_permitted(extension: &str) -> bool {
    Isa::forced().is_ok_and(|isa| isa.is_none_or(|isa| is_within(extension, isa)))
}

/// Whether processors up to a family of micro-kernels have an extension. The levels are those of
/// the x86-64 psABI: what is not of the second came with AVX2 or after it.
fn is_within(extension: &str, isa: Isa) -> bool {
    match isa {
        Isa::Portable => extension.starts_with("sse") || matches!(extension, "ssse3" | "popcnt"),
        Isa::Neon | Isa::Avx2 => !extension.starts_with("avx512"),
        Isa::Avx512 | Isa::Amx => true,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_leaves_out_what_came_after_it() {
        let names = [
            "avx", "avx2", "avx512f", "bmi2", "fma", "popcnt", "sse4.1", "ssse3",
        ];
        let all = CpuFeatures {
            arch: "x86_64".to_owned(),
            extensions: names.map(str::to_owned).to_vec(),
        };
        let left = |isa| all.clone().up_to(isa).extensions.join(" ");
        assert_eq!(left(Isa::Amx), names.join(" "));
        assert_eq!(left(Isa::Avx512), names.join(" "));
        assert_eq!(left(Isa::Avx2), "avx avx2 bmi2 fma popcnt sse4.1 ssse3");
        assert_eq!(left(Isa::Portable), "popcnt sse4.1 ssse3");
    }
}
