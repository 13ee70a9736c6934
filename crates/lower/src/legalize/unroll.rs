//! Short loops inside of a loop of lanes, written out: windows of pooling, sums over a few taps.
//!
//! What is left is straight-line code, which printers can keep in registers, at any width, and from
//! which they take what is the same for all lanes. Every iteration does what it did, in order.

use alula_kernel::{Block, Inst, Kernel, Literal, Loop, LoopKind, Rhs};

/// What loops of lanes become at most, in instructions.
const INSTS_MAX: u64 = 640;

/// The constants of a kernel, by value.
pub(super) fn constants(kernel: &Kernel) -> Vec<Option<i64>> {
    let mut found = vec![None; kernel.dtypes.len()];
    let mut open = vec![&kernel.body];
    while let Some(block) = open.pop() {
        for inst in &block.0 {
            match inst {
                Inst::Let {
                    id,
                    rhs: Rhs::Const(Literal(scalar)),
                } => {
                    found[id.0 as usize] = scalar.as_int().and_then(|n| i64::try_from(n).ok());
                }
                Inst::Let { .. } | Inst::Store { .. } | Inst::Barrier => {}
                Inst::Loop(inner) => open.push(&inner.body),
                Inst::If { then, .. } => open.push(then),
            }
        }
    }
    found
}

/// Whether the loops inside of a loop of lanes are written out: all of them have extents that are
/// known, and what becomes of them is not long.
pub(super) fn pays(lanes: &Loop, constants: &[Option<i64>]) -> bool {
    let LoopKind::Lanes(_) = lanes.kind else {
        return false;
    };
    let has_loop = lanes.body.0.iter().any(|i| matches!(i, Inst::Loop(_)));
    has_loop && size(&lanes.body, constants).is_some_and(|size| size <= INSTS_MAX)
}

/// Instructions of a block whose loops are written out, with one for each iteration.
fn size(block: &Block, constants: &[Option<i64>]) -> Option<u64> {
    block.0.iter().try_fold(0_u64, |sum, inst| {
        let own = match inst {
            Inst::Let { .. } | Inst::Store { .. } => 1,
            Inst::Loop(inner) => {
                let times = constants[inner.extent.0 as usize]?;
                let times = u64::try_from(times).unwrap_or(0);
                times.saturating_mul(size(&inner.body, constants)?.saturating_add(1))
            }
            Inst::If { .. } | Inst::Barrier => return None,
        };
        Some(sum.saturating_add(own))
    })
}
