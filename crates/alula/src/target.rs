//! What models can be compiled for.

use std::fmt;
use std::str::FromStr;

/// What a model is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Target {
    /// The operators' reference evaluation: slow, independent of every lowering, the oracle.
    Reference,
    /// This machine's processor.
    #[default]
    Cpu,
    /// A GPU through wgpu.
    Wgpu,
    /// An NVIDIA GPU.
    Cuda,
}

impl Target {
    /// Every target.
    pub const ALL: [Target; 4] = [Target::Reference, Target::Cpu, Target::Wgpu, Target::Cuda];

    /// The name in artifacts and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Target::Reference => "reference",
            Target::Cpu => "cpu",
            Target::Wgpu => "wgpu",
            Target::Cuda => "cuda",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let found = Target::ALL.into_iter().find(|target| target.name() == text);
        found.ok_or_else(|| {
            let names = Target::ALL.map(Target::name).join(", ");
            format!("no target is named {text:?}; there are {names}")
        })
    }
}
