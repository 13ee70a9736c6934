//! How often long loops look at the flag that ends a run: the byte behind the buffers' pointers.
//!
//! A loop that is not known to be short looks each time when about [`LOOK_WORK`] instructions are
//! done. Between two looks it is the loop that it would be otherwise, with a nearer end. A loop
//! that ends early leaves accumulators as they are; nobody reads what comes of it.

use alula_kernel::{Block, Inst, Kernel, Loop, Rhs};
use alula_tensor::Symbol;

use crate::TILE_SYMBOLS;

/// Instructions between two looks.
const LOOK_WORK: i64 = 1 << 20;
/// More iterations than a tile has rows or columns.
const TILE_MAX: i64 = 1 << 10;

/// What is known of a kernel's loops before it is printed.
pub(super) struct Looks {
    /// Numbers of iterations that values are known to be at most.
    most: Vec<Option<i64>>,
    /// Whether any loop looks.
    pub(super) has_any: bool,
}

impl Looks {
    pub(super) fn new(kernel: &Kernel) -> Looks {
        let mut looks = Looks {
            most: vec![None; kernel.dtypes.len()],
            has_any: false,
        };
        looks.gather(&kernel.body);
        looks.has_any = looks.look_within(&kernel.body);
        looks
    }

    fn gather(&mut self, block: &Block) {
        for inst in &block.0 {
            match inst {
                Inst::Let { id, rhs } => {
                    if let Some(most) = self.most.get_mut(id.0 as usize) {
                        *most = at_most(rhs);
                    }
                }
                Inst::Loop(inner) => self.gather(&inner.body),
                Inst::If { then, .. } => self.gather(then),
                Inst::Store { .. } | Inst::Barrier => {}
            }
        }
    }

    fn look_within(&self, block: &Block) -> bool {
        block.0.iter().any(|inst| match inst {
            Inst::Loop(l) => self.iterations(l, 1).is_some() || self.look_within(&l.body),
            Inst::If { then, .. } => self.look_within(then),
            Inst::Let { .. } | Inst::Store { .. } | Inst::Barrier => false,
        })
    }

    /// After how many steps of `lanes` iterations a loop looks; `None` if it is short.
    pub(super) fn iterations(&self, l: &Loop, lanes: i64) -> Option<i64> {
        let work = self.work(&l.body);
        match self.most(l) {
            Some(most) if most.saturating_mul(work) <= LOOK_WORK => None,
            _ => Some((LOOK_WORK / work.saturating_mul(lanes)).max(1)),
        }
    }

    fn most(&self, l: &Loop) -> Option<i64> {
        self.most.get(l.extent.0 as usize).copied().flatten()
    }

    /// Instructions of a block; as many as can be said where a loop's end is not known.
    fn work(&self, block: &Block) -> i64 {
        let insts = block.0.iter().map(|inst| match inst {
            Inst::Let { .. } | Inst::Store { .. } | Inst::Barrier => 1,
            Inst::If { then, .. } => self.work(then),
            Inst::Loop(l) => match self.most(l) {
                Some(most) => most.max(1).saturating_mul(self.work(&l.body)),
                None => i64::MAX,
            },
        });
        insts.fold(1, i64::saturating_add)
    }
}

fn at_most(rhs: &Rhs) -> Option<i64> {
    match rhs {
        Rhs::Const(value) => value
            .0
            .as_int()
            .map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
        Rhs::Dim(dim) => {
            let is_tile = |symbol: &Symbol| TILE_SYMBOLS.contains(&symbol.name());
            let is_tile = dim.as_symbol().is_some_and(is_tile);
            dim.as_const().or(is_tile.then_some(TILE_MAX))
        }
        Rhs::Apply { .. } | Rhs::Cast(_) | Rhs::Bitcast(_) | Rhs::Load { .. } => None,
    }
}
