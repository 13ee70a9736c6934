//! Compiled kernels as entries of a program.

use std::collections::BTreeSet;

use alula_kernel::Access;
use alula_program::{KernelEntry, KernelParam, ParamAccess};
use alula_tensor::{Dim, Symbol};

use super::{CpuTarget, EmitError, Emitted, FUNCTION_ALIGN};
use crate::entry::CpuEntry;
use crate::{CpuContract, CpuKernel, Isa, TILE_SYMBOLS};

/// A kernel of a program to assemble.
#[derive(Clone, Debug, PartialEq)]
pub enum Unit {
    /// Compiled loops.
    Loops(Box<Emitted>),
    /// A planned contraction, launched with its operands and then the result.
    Contract {
        /// The name in profiles.
        name: String,
        /// The plan.
        contract: Box<CpuContract>,
        /// The compiled epilogue, if the plan gave one.
        tile: Option<Box<Emitted>>,
        /// Elements of the packed right side, if it is passed packed: what
        /// `Packing::elements` says.
        packed_len: Option<u64>,
    },
}

/// Code and entries of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Assembled {
    /// For `Program::features`: the architecture, then extensions.
    pub features: Vec<String>,
    /// For `Program::kernels`, in the order of the units.
    pub kernels: Vec<KernelEntry>,
    /// For `Program::code`.
    pub code: Vec<u8>,
}

/// Places code one after another and describes each kernel, in the order given.
///
/// # Errors
/// [`EmitError::Codegen`] if a description cannot be serialised.
pub fn assemble(
    target: &CpuTarget,
    units: impl IntoIterator<Item = Unit>,
) -> Result<Assembled, EmitError> {
    let features = target.features();
    let names = std::iter::once(features.arch.clone()).chain(features.extensions.clone());
    let mut assembled = Assembled {
        features: names.collect(),
        kernels: Vec::new(),
        code: Vec::new(),
    };
    for unit in units {
        let entry = match unit {
            Unit::Loops(emitted) => loops(place(&mut assembled.code, *emitted))?,
            Unit::Contract {
                name,
                contract,
                tile,
                packed_len,
            } => {
                let tiles = Isa::Amx.name();
                if contract.isa == Isa::Amx && !assembled.features.iter().any(|f| f == tiles) {
                    assembled.features.push(tiles.to_owned());
                }
                let tile = tile.map(|tile| Box::new(place(&mut assembled.code, *tile)));
                contraction(name, contract, tile, packed_len)?
            }
        };
        assembled.kernels.push(entry);
    }
    Ok(assembled)
}

fn place(code: &mut Vec<u8>, emitted: Emitted) -> CpuKernel {
    let offset = code.len().next_multiple_of(FUNCTION_ALIGN);
    code.resize(offset, 0);
    code.extend_from_slice(&emitted.code);
    CpuKernel {
        offset: offset as u64,
        ..emitted.kernel
    }
}

fn loops(kernel: CpuKernel) -> Result<KernelEntry, EmitError> {
    let params = kernel
        .params
        .iter()
        .map(|param| KernelParam {
            access: match param.access {
                Access::Read => ParamAccess::Read,
                Access::Write | Access::ReadWrite => ParamAccess::Write,
            },
            bytes: param.elements.clone() * Dim::from(param.dtype.size_bytes()),
        })
        .collect();
    let (name, symbols) = (kernel.name.clone(), kernel.symbols.clone());
    finish(name, params, symbols, &CpuEntry::Loops(Box::new(kernel)))
}

fn contraction(
    name: String,
    contract: Box<CpuContract>,
    tile: Option<Box<CpuKernel>>,
    packed_len: Option<u64>,
) -> Result<KernelEntry, EmitError> {
    let mut params = contract.params.clone();
    if let (Some(len), Some(param)) = (packed_len, params.get_mut(contract.b as usize)) {
        param.bytes = Dim::from(len as usize) * Dim::from(contract.b_dtype.size_bytes());
    }
    let mut symbols: BTreeSet<Symbol> = contract.symbols.iter().cloned().collect();
    let of_tile = tile.iter().flat_map(|tile| &tile.symbols);
    symbols.extend(
        of_tile
            .filter(|s| !TILE_SYMBOLS.contains(&s.name()))
            .cloned(),
    );
    let entry = CpuEntry::Contract {
        contract,
        tile,
        is_packed: packed_len.is_some(),
    };
    finish(name, params, symbols.into_iter().collect(), &entry)
}

fn finish(
    name: String,
    params: Vec<KernelParam>,
    symbols: Vec<Symbol>,
    entry: &CpuEntry,
) -> Result<KernelEntry, EmitError> {
    let code = postcard::to_allocvec(entry).map_err(|error| EmitError::Codegen {
        kernel: name.clone(),
        detail: error.to_string(),
    })?;
    // Workers keep scratch of their own.
    Ok(KernelEntry {
        name,
        params,
        symbols,
        scratch: Dim::new(0),
        work: Dim::new(0),
        code,
    })
}
