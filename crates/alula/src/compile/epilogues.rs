//! What epilogues of contractions cost on a CPU.
//!
//! The micro-kernels add a bias and a residual and clip at no cost. Anything else is a kernel of
//! its own that finishes each tile: row by row, two or four vectors at a time, it brings its
//! constants again each time. Measured, that takes longer than loops over the whole result, which
//! the caches still hold, save where there is little to do and a launch counts.

use alula_cpu::{Isa, Layout, Wanted, plan_contract};
use alula_kernel::Contract;
use alula_tensor::{DType, Dim, Scalar};

use super::scalars;

/// Elements that a launch of its own is not worth.
const FEW: i64 = 2048;

/// Whether a longer epilogue is worth it; the reason if not.
pub(super) fn cost(before: &Contract, after: &Contract) -> Result<(), String> {
    if after.acc != DType::F32 {
        // Sums of bytes are rounded to bytes by a kernel in any case.
        return Ok(());
    }
    match (has_tile(before), has_tile(after)) {
        (Some(_), None) => Err("the micro-kernels would not take the contraction".to_owned()),
        (Some(_), Some(true)) if !is_small(after) => {
            Err("not built into the micro-kernels: loops of its own are faster".to_owned())
        }
        _ => Ok(()),
    }
}

fn is_small(contract: &Contract) -> bool {
    let elements: Dim = contract.epilogue.shape().into_iter().product();
    elements.as_const().is_some_and(|elements| elements <= FEW)
}

/// Whether a kernel finishes each tile; `None` if the micro-kernels do not take the contraction.
/// Neither depends on the family, nor, as a rule, on how buffers lie. One element is taken for a
/// number, as nearly all are (the bounds of a clip); which one makes no difference.
fn has_tile(contract: &Contract) -> Option<bool> {
    let mut contract = contract.clone();
    let operands = contract.epilogue.operands.iter();
    let numbers = operands.map(|operand| {
        let is_one = operand.shape.iter().all(|extent| extent.is(1));
        let number = (DType::F32, Scalar::Float(0.0));
        (is_one && operand.dtype == DType::F32).then_some(number)
    });
    let numbers: Vec<_> = numbers.collect();
    scalars::inline(&mut contract.epilogue, &numbers);
    let operands = contract.epilogue.operands.iter();
    let layouts: Vec<Layout> = operands.map(|o| Layout::row_major(&o.shape)).collect();
    let result = Layout::row_major(&contract.epilogue.shape());
    let planned = plan_contract(&contract, &layouts, &result, Wanted::whole(Isa::Portable));
    planned.ok().map(|(_, tile)| tile.is_some())
}
