//! Short loops inside of a loop of lanes, written out: windows of pooling, sums over a few taps.
//!
//! What is left is straight-line code, which printers can keep in registers, at any width, and from
//! which they take what is the same for all lanes. Every iteration does what it did, in order.

use alula_kernel::{Block, Inst, Loop, LoopKind};

/// What loops of lanes become at most, in instructions.
const INSTS_MAX: u64 = 640;

/// Whether the loops inside of a loop of lanes are written out: all of them have extents that are
/// known, and what becomes of them is not long.
pub(super) fn pays(lanes: &Loop, integers: &[Option<i64>]) -> bool {
    let LoopKind::Lanes(_) = lanes.kind else {
        return false;
    };
    let has_loop = lanes.body.0.iter().any(|i| matches!(i, Inst::Loop(_)));
    has_loop && size(&lanes.body, integers).is_some_and(|size| size <= INSTS_MAX)
}

/// Instructions of a block whose loops are written out, with one for each iteration.
fn size(block: &Block, integers: &[Option<i64>]) -> Option<u64> {
    block.0.iter().try_fold(0_u64, |sum, inst| {
        let own = match inst {
            Inst::Let { .. } | Inst::Store { .. } => 1,
            Inst::Loop(inner) => {
                let times = integers[inner.extent.0 as usize]?;
                let times = u64::try_from(times).unwrap_or(0);
                times.saturating_mul(size(&inner.body, integers)?.saturating_add(1))
            }
            Inst::If { .. } | Inst::Barrier => return None,
        };
        Some(sum.saturating_add(own))
    })
}
