//! Compiled kernels as entries of a program.

use std::collections::{BTreeMap, BTreeSet};

use alula_kernel::Access;
use alula_program::{KernelEntry, KernelParam, ParamAccess};
use alula_tensor::{Dim, Symbol};

use super::{CpuTarget, EmitError, Emitted, FUNCTION_ALIGN};
use crate::chain::{BLOCK_SYMBOLS, ChainPart, CpuChain};
use crate::entry::CpuEntry;
use crate::{ChainArg, CpuContract, CpuKernel, Isa, TILE_SYMBOLS};

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
    /// Parts that run block by block of rows, launched with what they share with others.
    Chain {
        /// The name in profiles.
        name: String,
        /// Independent entries, and the rows of each.
        size: [Dim; 2],
        /// Bytes of a row of each value in between.
        between: Vec<Dim>,
        /// Loops over a block of rows or contractions, with what their parameters are.
        parts: Vec<(Unit, Vec<ChainArg>)>,
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
        let kernel = assembled.add(unit);
        assembled.kernels.push(kernel.entry()?);
    }
    Ok(assembled)
}

/// A kernel whose code is placed.
struct Placed {
    name: String,
    params: Vec<KernelParam>,
    symbols: Vec<Symbol>,
    code: CpuEntry,
}

impl Assembled {
    /// Places the code of a unit.
    fn add(&mut self, unit: Unit) -> Placed {
        match unit {
            Unit::Loops(emitted) => loops(self.place(*emitted)),
            Unit::Contract {
                name,
                contract,
                tile,
                packed_len,
            } => {
                if contract.isa == Isa::Amx {
                    self.require_tiles();
                }
                let tile = tile.map(|tile| Box::new(self.place(*tile)));
                contraction(name, contract, tile, packed_len)
            }
            Unit::Chain {
                name,
                size,
                between,
                parts,
            } => {
                let parts = parts.into_iter().map(|(unit, args)| (self.add(unit), args));
                chain(name, size, between, parts.collect())
            }
        }
    }

    fn place(&mut self, emitted: Emitted) -> CpuKernel {
        if emitted.rounds_bf16 {
            self.require_tiles();
        }
        let offset = self.code.len().next_multiple_of(FUNCTION_ALIGN);
        self.code.resize(offset, 0);
        self.code.extend_from_slice(&emitted.code);
        CpuKernel {
            offset: offset as u64,
            ..emitted.kernel
        }
    }

    fn require_tiles(&mut self) {
        let tiles = Isa::Amx.name();
        if !self.features.iter().any(|feature| feature == tiles) {
            self.features.push(tiles.to_owned());
        }
    }
}

fn loops(kernel: CpuKernel) -> Placed {
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
    Placed {
        name: kernel.name.clone(),
        params,
        symbols: kernel.symbols.clone(),
        code: CpuEntry::Loops(Box::new(kernel)),
    }
}

fn contraction(
    name: String,
    contract: Box<CpuContract>,
    tile: Option<Box<CpuKernel>>,
    packed_len: Option<u64>,
) -> Placed {
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
    Placed {
        name,
        params,
        symbols: symbols.into_iter().collect(),
        code: CpuEntry::Contract {
            contract,
            tile,
            is_packed: packed_len.is_some(),
        },
    }
}

/// The parts under the parameters that they share with others: each is as long as the part that
/// reaches furthest asks for.
fn chain(
    name: String,
    [entries, rows]: [Dim; 2],
    between: Vec<Dim>,
    parts: Vec<(Placed, Vec<ChainArg>)>,
) -> Placed {
    let mut params: BTreeMap<u32, KernelParam> = BTreeMap::new();
    let mut symbols = BTreeSet::new();
    for dim in [&entries, &rows].into_iter().chain(&between) {
        dim.collect_symbols(&mut symbols);
    }
    for (part, args) in &parts {
        let own = part.symbols.iter();
        symbols.extend(own.filter(|s| !BLOCK_SYMBOLS.contains(&s.name())).cloned());
        for (param, arg) in part.params.iter().zip(args) {
            let ChainArg::Outer(position) = *arg else {
                continue;
            };
            params
                .entry(position)
                .and_modify(|known| {
                    known.bytes = known.bytes.maximum(&param.bytes);
                    if param.access == ParamAccess::Write {
                        known.access = ParamAccess::Write;
                    }
                })
                .or_insert_with(|| param.clone());
        }
    }
    let parts = parts.into_iter().map(|(part, args)| ChainPart {
        work: part.code,
        args,
    });
    Placed {
        name,
        params: params.into_values().collect(),
        symbols: symbols.into_iter().collect(),
        code: CpuEntry::Chain(Box::new(CpuChain {
            entries,
            rows,
            between,
            parts: parts.collect(),
        })),
    }
}

impl Placed {
    /// # Errors
    /// [`EmitError::Codegen`] if it cannot be serialised.
    fn entry(self) -> Result<KernelEntry, EmitError> {
        let code = postcard::to_allocvec(&self.code).map_err(|error| EmitError::Codegen {
            kernel: self.name.clone(),
            detail: error.to_string(),
        })?;
        // Workers keep scratch of their own.
        Ok(KernelEntry {
            name: self.name,
            params: self.params,
            symbols: self.symbols,
            scratch: Dim::new(0),
            work: Dim::new(0),
            code,
        })
    }
}
