//! How exact contractions are.

use std::fmt;
use std::str::FromStr;

use alula_cpu::Isa;

use crate::Target;

/// What contractions of `f32` may cost in exactness, the most exact first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Precision {
    /// As exact as `f32` arithmetic: products of `f32`, or six of bf16 parts where nothing is lost.
    #[default]
    Highest,
    /// Three products of two bf16 parts: relative errors of some 1e-5 of each product.
    High,
    /// Products of 16-bit floats: of bf16 on CPUs, where values that products read may be stored
    /// so, too. A target that lacks them is more exact.
    Medium,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Precision; 3] = [Precision::Highest, Precision::High, Precision::Medium];

    /// By how much a product of two numbers may be off, relative to itself, where one of `f32` is
    /// not: what the bf16 parts that are taken of the numbers leave over.
    pub const fn rounding(self) -> f64 {
        match self {
            Precision::Highest => 0.0,
            // Two parts leave 2^-18 of each number, and the product of the lesser parts goes, too.
            Precision::High => 3.0 / 262_144.0,
            // One part leaves 2^-9 of each number.
            Precision::Medium => 1.0 / 256.0,
        }
    }

    /// What contractions on a target of this machine are at the least exact if this is asked for,
    /// and why they are not this.
    pub fn on(self, target: Target) -> (Precision, Option<&'static str>) {
        if self == Precision::Highest {
            return (self, None);
        }
        match (target, Isa::current()) {
            (Target::Cpu, Ok(Isa::Amx)) => (self, None),
            // Without tiles, few rows are multiplied by weights in bf16; all else is exact.
            (Target::Cpu, Ok(Isa::Avx512)) if self == Precision::Medium => (self, None),
            (Target::Cpu, _) => {
                let reason = "products of bf16 take AMX, which is not there or is switched off";
                (Precision::Highest, Some(reason))
            }
            (Target::Wgpu | Target::Cuda | Target::Reference, _) => {
                let reason = "no kernel of this target gives up exactness for speed yet";
                (Precision::Highest, Some(reason))
            }
        }
    }

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::Highest => "highest",
            Precision::High => "high",
            Precision::Medium => "medium",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Precision, String> {
        let found = Precision::ALL.into_iter().find(|p| p.name() == text);
        found.ok_or_else(|| {
            let names = Precision::ALL.map(Precision::name).join(", ");
            format!("no precision is named {text:?}; there are {names}")
        })
    }
}
