//! Modules and kernels, ready to launch.

use crate::program::{Instruction, Reg, Special};

/// A kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name in the entry's list.
    pub name: String,
    /// Size in bytes.
    pub size: usize,
    /// Byte offset within parameter space.
    pub offset: usize,
}

/// A decoded kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub(crate) name: String,
    pub(crate) params: Vec<Param>,
    pub(crate) param_bytes: usize,
    pub(crate) code: Vec<Instruction>,
    /// For each instruction that branches, where its lanes meet again.
    pub(crate) reconverge: Vec<u32>,
    pub(crate) register_names: Vec<String>,
    pub(crate) pred_names: Vec<String>,
    pub(crate) constants: Vec<(Reg, u64)>,
    pub(crate) specials: Vec<(Reg, Special)>,
    pub(crate) shared_static: usize,
    /// Bytes of the smallest access that may reach shared memory, at most 4.
    pub(crate) shared_granule: usize,
    pub(crate) local_bytes: usize,
    pub(crate) block_required: Option<[u32; 3]>,
    pub(crate) block_max: Option<u32>,
}

impl Kernel {
    /// The entry's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The entry's parameters in order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Bytes of statically declared shared memory.
    pub fn shared_static(&self) -> usize {
        self.shared_static
    }

    /// Number of decoded instructions.
    pub fn instruction_count(&self) -> usize {
        self.code.len()
    }
}

/// A parsed PTX module.
#[derive(Debug, Clone)]
pub struct Module {
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) constants: Vec<u8>,
    pub(crate) lines: Vec<String>,
}

impl Module {
    /// The kernels in source order.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// The kernel named `name`.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }

    pub(crate) fn line(&self, line: u32) -> String {
        self.lines
            .get(line as usize - 1)
            .cloned()
            .unwrap_or_default()
    }
}
