//! Whether a kernel may be given one buffer as an operand and as its result.
//!
//! Grid points run in any order and at once, so it must hold that no element is stored before every
//! load of it is done, wherever that load is. There are two ways to know, both relying on a fact
//! about kernels that were built of definitions: each element of the result is stored once.
//!
//! - A load that is followed, in its own block, by the store of the same element: there is no
//!   earlier store of it.
//! - Everything that one *context* (a grid point, and an iteration of the loops around) loads and
//!   stores lies in a stretch of the buffer that is this context's alone, and the context's loads
//!   come before its stores. So a softmax may overwrite its rows.
//!
//! A kernel without a grid that copies an operand to its result, and only then updates that, may
//! have both in one buffer as well: the copy changes nothing and can go.

use std::collections::{BTreeMap, BTreeSet};

use alula_tensor::{DType, Dim, ScalarOp, Symbol};

use crate::{Access, Block, BufferId, Inst, Kernel, Rhs, ValueId};

/// Whether parameter `read` may be the memory of parameter `written`. A `written` that is only
/// stored to must be stored to once for each element, as kernels do that are built of definitions.
pub fn may_share(kernel: &Kernel, written: usize, read: usize) -> bool {
    let (Some(result), Some(operand)) = (kernel.params.get(written), kernel.params.get(read))
    else {
        return false;
    };
    let fits = operand.access == Access::Read
        && result.elements == operand.elements
        && result.dtype.size_bytes() == operand.dtype.size_bytes();
    if !fits || kernel.lanes != 1 {
        return false;
    }
    match result.access {
        Access::Read => return false,
        Access::ReadWrite => return copies_first(kernel, written, read),
        Access::Write => {}
    }
    let mut walk = Walk {
        kernel,
        buffers: [written, read].map(|position| BufferId::Param(position as u32)),
        values: BTreeMap::new(),
        path: Vec::new(),
        around: Vec::new(),
        extents: BTreeMap::new(),
        stores: Vec::new(),
        loads: Vec::new(),
    };
    for axis in &kernel.grid {
        let var = walk.unknown(axis.var);
        walk.values.insert(axis.var, Dim::symbol(var));
    }
    walk.block(&kernel.body);
    let Walk {
        stores,
        loads,
        extents,
        ..
    } = walk;
    let is_followed = |load: &Site| {
        stores.iter().any(|store| {
            store.index == load.index
                && store.block() == load.block()
                && store.path.last() > load.path.last()
        })
    };
    let early: Vec<&Site> = loads.iter().filter(|load| !is_followed(load)).collect();
    early.is_empty() || each_has_its_own(&early, &stores, &extents)
}

/// Whether all that the kernel does with `read` is to copy it to `written` before anything else.
fn copies_first(kernel: &Kernel, written: usize, read: usize) -> bool {
    let [written, read] = [written, read].map(|position| BufferId::Param(position as u32));
    let mut copy = None;
    for (position, inst) in kernel.body.0.iter().enumerate() {
        let mut rest = Block(vec![inst.clone()]);
        let copies = drop_copies(&mut rest, written, read);
        if copies && copy.replace(position).is_some() {
            return false;
        }
        let (mut loads, mut touches) = (false, false);
        rest.each_buffer(&mut |buffer| {
            loads |= buffer == read;
            touches |= buffer == written;
        });
        // A loop that copies and updates, and an update before the copy, are not understood.
        if loads || touches && copy.is_none_or(|copy| copy == position) {
            return false;
        }
    }
    kernel.grid.is_empty() && copy.is_some()
}

/// The kernel for when `read` and `written` are one buffer, as [`may_share`] allows: what it copies
/// from one to the other stays where it is.
pub fn without_copy(kernel: &Kernel, written: usize, read: usize) -> Kernel {
    let mut kernel = kernel.clone();
    if kernel.params[written].access == Access::ReadWrite {
        let [written, read] = [written, read].map(|position| BufferId::Param(position as u32));
        drop_copies(&mut kernel.body, written, read);
    }
    kernel
}

/// Drops every load from `read` that is only stored at the same index of `written`, with its store,
/// and loops that do nothing then. Whether there was any.
fn drop_copies(block: &mut Block, written: BufferId, read: BufferId) -> bool {
    let mut found = false;
    for inst in &mut block.0 {
        if let Inst::Loop(inner) = inst {
            found |= drop_copies(&mut inner.body, written, read);
        }
    }
    let loaded = block.0.iter().filter_map(|inst| match inst {
        Inst::Let {
            id,
            rhs: Rhs::Load { buffer, index },
        } if *buffer == read => Some((*id, *index)),
        _ => None,
    });
    let loaded: BTreeMap<ValueId, ValueId> = loaded.collect();
    let is_copy = |inst: &Inst| {
        matches!(inst, Inst::Store { buffer, index, value }
            if *buffer == written && loaded.get(value) == Some(index))
    };
    let copied: BTreeSet<ValueId> = block
        .0
        .iter()
        .filter(|inst| is_copy(inst))
        .filter_map(|inst| match inst {
            Inst::Store { value, .. } => Some(*value),
            _ => None,
        })
        .collect();
    found |= !copied.is_empty();
    block.0.retain(|inst| !is_copy(inst));
    let mut used = BTreeSet::new();
    block.each_value(&mut |value| {
        used.insert(value);
    });
    block.0.retain(|inst| match inst {
        Inst::Let { id, .. } => !copied.contains(id) || used.contains(id),
        Inst::Loop(inner) => !(inner.carried.is_empty() && inner.body.is_idle()),
        _ => true,
    });
    found
}

/// A load or store.
struct Site {
    /// Position in each block around, from the body inwards.
    path: Vec<usize>,
    /// For each block around but the body: the variable of its loop, `None` for a branch.
    around: Vec<Option<Symbol>>,
    /// The linear index, over the variables of loops.
    index: Dim,
}

impl Site {
    fn block(&self) -> &[usize] {
        &self.path[..self.path.len() - 1]
    }
}

/// The second way: loads before stores in the innermost block around all, whose variables give each
/// context a stretch of its own.
fn each_has_its_own(
    loads: &[&Site],
    stores: &[Site],
    extents: &BTreeMap<Symbol, Option<Dim>>,
) -> bool {
    let Some(first) = stores.first() else {
        return false;
    };
    let depth = loads
        .iter()
        .copied()
        .chain(stores)
        .fold(first.block().len(), |depth, site| {
            let same = site.block().iter().zip(first.block());
            same.take(depth).take_while(|(a, b)| a == b).count()
        });
    let last_load = loads.iter().map(|load| load.path[depth]).max();
    let first_store = stores.iter().map(|store| store.path[depth]).min();
    // Stores under a condition may leave their stretch to another context.
    let is_certain = |site: &Site| site.around.iter().all(Option::is_some);
    if last_load >= first_store || !stores.iter().all(is_certain) {
        return false;
    }
    let inside = |site: &Site| -> BTreeSet<Symbol> {
        site.around[depth..].iter().flatten().cloned().collect()
    };
    let Some((base, most)) = stretch(&first.index, &inside(first), extents) else {
        return false;
    };
    let sites = loads.iter().copied().chain(stores);
    let is_within = |site: &Site| {
        stretch(&site.index, &inside(site), extents)
            .is_some_and(|(own, reach)| own == base && (most.clone() - reach).is_nonnegative())
    };
    base.exact_div(&(most.clone() + Dim::new(1))).is_some() && sites.into_iter().all(is_within)
}

/// An index as what the context decides and the most that the loops inside of it add to it.
fn stretch(
    index: &Dim,
    inside: &BTreeSet<Symbol>,
    extents: &BTreeMap<Symbol, Option<Dim>>,
) -> Option<(Dim, Dim)> {
    let base = index.substitute(&|symbol| inside.contains(symbol).then(|| Dim::new(0)));
    let added = index.clone() - base.clone();
    // A sum of products of variables and extents: it grows with every variable.
    let is_plain = added.terms().iter().all(|(monomial, coefficient)| {
        let is_symbol = |(atom, _): &(alula_tensor::Atom, u32)| {
            matches!(atom, alula_tensor::Atom::Sym(symbol)
                if extents.contains_key(symbol) || !symbol.name().starts_with('$'))
        };
        *coefficient >= 0 && monomial.iter().all(is_symbol)
    });
    if !is_plain {
        return None;
    }
    let mut most = added;
    // Inner loops' extents may depend on outer variables, not the other way around.
    while let Some(var) = first_of(&most, inside) {
        let last = extents.get(&var)?.clone()? - Dim::new(1);
        most = most.substitute(&|symbol| (*symbol == var).then(|| last.clone()));
    }
    Some((base, most))
}

fn first_of(dim: &Dim, among: &BTreeSet<Symbol>) -> Option<Symbol> {
    let mut symbols = BTreeSet::new();
    dim.collect_symbols(&mut symbols);
    symbols
        .into_iter()
        .rev()
        .find(|symbol| among.contains(symbol))
}

/// Begins the names of a kernel's own values: symbols of models have others.
const UNKNOWN: &str = "$\u{0}";

fn is_unknown(symbol: &Symbol) -> bool {
    symbol.name().starts_with(UNKNOWN)
}

struct Walk<'k> {
    kernel: &'k Kernel,
    /// What is written, and what is read.
    buffers: [BufferId; 2],
    /// Integers as dims over the variables of grid and loops.
    values: BTreeMap<ValueId, Dim>,
    path: Vec<usize>,
    around: Vec<Option<Symbol>>,
    /// Extents of loops.
    extents: BTreeMap<Symbol, Option<Dim>>,
    stores: Vec<Site>,
    loads: Vec<Site>,
}

impl Walk<'_> {
    /// A value about which nothing is known, not even its sign, unless it is a variable.
    fn unknown(&self, value: ValueId) -> Symbol {
        Symbol::new(format!("{UNKNOWN}{}", value.0))
    }

    fn dim(&self, value: ValueId) -> Dim {
        let known = self.values.get(&value).cloned();
        known.unwrap_or_else(|| Dim::symbol(self.unknown(value)))
    }

    fn block(&mut self, block: &Block) {
        for (position, inst) in block.0.iter().enumerate() {
            self.path.push(position);
            match inst {
                Inst::Let { id, rhs } => {
                    if let Rhs::Load { buffer, index } = rhs
                        && *buffer == self.buffers[1]
                    {
                        let site = self.site(*index);
                        self.loads.push(site);
                    }
                    if self.kernel.dtype(*id) == DType::I64
                        && let Some(dim) = self.value(rhs)
                    {
                        self.values.insert(*id, dim);
                    }
                }
                Inst::Store { buffer, index, .. } => {
                    if *buffer == self.buffers[0] {
                        let site = self.site(*index);
                        self.stores.push(site);
                    }
                }
                Inst::Loop(inner) => {
                    let var = self.unknown(inner.var);
                    let extent = self.dim(inner.extent);
                    let mut mentioned = BTreeSet::new();
                    extent.collect_symbols(&mut mentioned);
                    let is_known = mentioned.iter().all(|symbol| !is_unknown(symbol));
                    self.extents.insert(var.clone(), is_known.then_some(extent));
                    self.values.insert(inner.var, Dim::symbol(var.clone()));
                    self.around.push(Some(var));
                    self.block(&inner.body);
                    self.around.pop();
                }
                Inst::If { then, .. } => {
                    self.around.push(None);
                    self.block(then);
                    self.around.pop();
                }
                Inst::Barrier => {}
            }
            self.path.pop();
        }
    }

    fn site(&self, index: ValueId) -> Site {
        Site {
            path: self.path.clone(),
            around: self.around.clone(),
            index: self.dim(index),
        }
    }

    /// An integer as a dim; `None` for what is none.
    fn value(&self, rhs: &Rhs) -> Option<Dim> {
        match rhs {
            Rhs::Const(literal) => Some(Dim::new(i64::try_from(literal.0.as_int()?).ok()?)),
            Rhs::Dim(dim) => Some(dim.clone()),
            Rhs::Apply { op, operands } => {
                let (a, b) = (self.dim(*operands.first()?), self.dim(*operands.get(1)?));
                match op {
                    ScalarOp::Add => Some(a + b),
                    ScalarOp::Sub => Some(a - b),
                    ScalarOp::Mul => Some(a * b),
                    _ => None,
                }
            }
            Rhs::Cast(_) | Rhs::Bitcast(_) | Rhs::Load { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
