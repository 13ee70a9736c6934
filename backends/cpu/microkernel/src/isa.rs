//! Instruction-set choice: what this CPU has, and what the user forces.
//!
//! Every entry of this crate takes an [`Isa`] by value; nothing below this module looks at the
//! CPU again. [`Isa::current`] is decided once per process and honours `ALULA_CPU_ISA`.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::{amx::has_amx, error::IsaError};

/// The environment variable that forces the choice: `portable`, `neon`, `avx2`, `avx512` or
/// `amx`. Loops keep to it, too: code is made for a processor that has no more than the family
/// needs.
pub const ISA_VARIABLE: &str = "ALULA_CPU_ISA";

/// A family of micro-kernels, named by the vector instructions that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Isa {
    /// Plain Rust, vectorised by the compiler for the baseline of the target.
    Portable = 0,
    /// AArch64 Advanced SIMD.
    Neon = 1,
    /// x86-64 AVX2 and FMA.
    Avx2 = 2,
    /// x86-64 AVX-512 F, BW, VL and DQ (and AVX2 and FMA).
    Avx512 = 3,
    /// x86-64 AMX for products of bf16 parts and of bytes; AVX-512 for all else. Linux only, since
    /// the system is asked for permission.
    Amx = 4,
}

impl Isa {
    /// Every family, weakest first.
    pub const ALL: [Self; 5] = [
        Self::Portable,
        Self::Neon,
        Self::Avx2,
        Self::Avx512,
        Self::Amx,
    ];

    /// The name that [`ISA_VARIABLE`] takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    /// The family called `name`.
    ///
    /// # Errors
    /// [`IsaError::Unknown`] for any other word.
    pub fn from_name(name: &str) -> Result<Self, IsaError> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| IsaError::Unknown {
                name: name.to_owned(),
            })
    }

    /// Whether this CPU (and this build) can run the family.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Neon => cfg!(target_arch = "aarch64"),
            Self::Avx2 => has_avx2(),
            Self::Avx512 => has_avx512(),
            Self::Amx => has_avx512() && has_amx(),
        }
    }

    /// Passes the family through if this CPU can run it.
    ///
    /// # Errors
    /// [`IsaError::Unavailable`] if it cannot.
    pub fn require(self) -> Result<Self, IsaError> {
        if self.is_available() {
            Ok(self)
        } else {
            Err(IsaError::Unavailable { isa: self })
        }
    }

    /// The families that this CPU can run, weakest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The strongest family that this CPU can run.
    pub fn best() -> Self {
        Self::available().last().unwrap_or(Self::Portable)
    }

    /// The family to use: [`Isa::forced`], else [`Isa::best`].
    ///
    /// # Errors
    /// As [`Isa::forced`].
    pub fn current() -> Result<Self, IsaError> {
        Ok(Self::forced()?.unwrap_or_else(Self::best))
    }

    /// The family named by [`ISA_VARIABLE`], if it is set. Read once.
    ///
    /// # Errors
    /// [`IsaError`] if the variable names no family, or one that this CPU lacks.
    pub fn forced() -> Result<Option<Self>, IsaError> {
        static FORCED: OnceLock<Result<Option<Isa>, IsaError>> = OnceLock::new();
        FORCED
            .get_or_init(|| match std::env::var(ISA_VARIABLE) {
                Ok(name) if !name.is_empty() => Ok(Some(Self::from_name(&name)?.require()?)),
                _ => Ok(None),
            })
            .clone()
    }

    /// The family without its tiles of bf16 and bytes: what runs everything else.
    #[must_use]
    pub const fn without_tiles(self) -> Self {
        match self {
            Self::Amx => Self::Avx512,
            Self::Portable | Self::Neon | Self::Avx2 | Self::Avx512 => self,
        }
    }

    /// Rows and columns of the f32 register tile (MR, NR). NR is the panel width of packed B.
    pub const fn tile_f32(self) -> (usize, usize) {
        match self {
            Self::Portable => (4, 8),
            Self::Neon => (8, 8),
            Self::Avx2 => (6, 16),
            Self::Avx512 | Self::Amx => (14, 32),
        }
    }

    /// Rows and columns of the int8 register tile (MR, NR). NR is the panel width of packed B.
    pub const fn tile_i8(self) -> (usize, usize) {
        match self {
            Self::Portable => (4, 8),
            Self::Neon => (4, 8),
            Self::Avx2 => (4, 16),
            Self::Avx512 | Self::Amx => (14, 32),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("avx512dq")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_names_are_refused() {
        for isa in Isa::ALL {
            assert_eq!(Isa::from_name(isa.name()), Ok(isa));
        }
        assert!(matches!(
            Isa::from_name("sse9"),
            Err(IsaError::Unknown { .. })
        ));
    }

    #[test]
    fn best_is_available_and_the_other_architecture_is_refused() {
        assert!(Isa::best().is_available());
        let foreign = if cfg!(target_arch = "x86_64") {
            Isa::Neon
        } else {
            Isa::Avx2
        };
        assert_eq!(
            foreign.require(),
            Err(IsaError::Unavailable { isa: foreign })
        );
    }
}
