//! What `KernelEntry::code` of a CPU program holds.

use alula_program::Program;
use serde::{Deserialize, Serialize};

use crate::chain::CpuChain;
use crate::{CpuContract, CpuKernel};

/// A kernel of a CPU program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum CpuEntry {
    /// Compiled loops.
    Loops(Box<CpuKernel>),
    /// A contraction. Parameters are its operands, then the result.
    Contract {
        /// The plan.
        contract: Box<CpuContract>,
        /// The compiled epilogue, if it is not built in.
        tile: Option<Box<CpuKernel>>,
        /// Whether the right side comes packed.
        is_packed: bool,
    },
    /// Contractions and loops that run block by block of rows.
    Chain(Box<CpuChain>),
}

/// Each contraction of a program with its sizes and its arithmetic, in words.
pub fn contractions(program: &Program) -> Vec<(String, String)> {
    let entries = program.kernels.iter();
    let read = |entry: &alula_program::KernelEntry| {
        let code: CpuEntry = postcard::from_bytes(&entry.code).ok()?;
        Some((entry.name.clone(), code.describe()?))
    };
    entries.filter_map(read).collect()
}

impl CpuEntry {
    /// What is multiplied and how; `None` if nothing is.
    fn describe(&self) -> Option<String> {
        match self {
            CpuEntry::Loops(_) => None,
            CpuEntry::Contract { contract, .. } => Some(contract.describe()),
            CpuEntry::Chain(chain) => {
                let parts = chain.parts.iter().filter_map(|part| part.work.describe());
                let parts: Vec<String> = parts.collect();
                Some(format!("by blocks of rows: {}", parts.join(", then ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use alula_kernel::Access;
    use alula_program::ParamAccess;
    use alula_tensor::{Atom, DType, Dim};
    use alula_testkit::schema;

    use super::CpuEntry;
    use crate::{BiasAxis, ChainArg, Epilogue, Form, Isa, Products};

    #[test]
    fn kernels_keep_their_form_or_raise_their_version() {
        let form = schema::Form::default()
            .with::<Dim>("Repr")
            .with::<Atom>("Atom")
            .with::<DType>("DType")
            .with::<Access>("Access")
            .with::<ParamAccess>("ParamAccess")
            .with::<Isa>("Isa")
            .with::<Products>("Products")
            .with::<BiasAxis>("BiasAxis")
            .with::<Epilogue>("Epilogue")
            .with::<Form>("Form")
            .with::<ChainArg>("ChainArg")
            .with::<CpuEntry>("CpuEntry");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/code.txt");
        schema::hold(&file, crate::CODE_VERSION, &form.text());
    }
}
