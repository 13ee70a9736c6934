//! Results that take the memory of operands that die: `y = exp x` in the buffer of `x`.
//!
//! After kernels are built, because only their loops tell in which order elements are read and
//! written ([`alula_kernel::may_share`]). A result becomes an alias of an operand in planned memory
//! that no later step reads, of the same number of bytes, where the kernel allows it for every
//! parameter that lies in that memory. For targets that may bind a buffer twice.

use alula_program::{Place, Plan, SlotId, Step, SymbolOrigin};

/// A result that took the memory of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The launch: the kernel of the step.
    pub kernel: usize,
    /// Position of the result among the parameters.
    pub written: usize,
    /// Position of the operand.
    pub read: usize,
}

/// Lets the last parameter of launches take the memory of one that dies there. `may_share` tells
/// whether a kernel allows it for a result and an operand.
pub fn share(
    plan: &mut Plan,
    may_share: &mut dyn FnMut(usize, usize, usize) -> bool,
) -> Vec<Shared> {
    let pinned = pinned(plan);
    let mut shared = Vec::new();
    for position in 0..plan.steps.len() {
        let Step::Launch { kernel, args, .. } = &plan.steps[position] else {
            continue;
        };
        let (kernel, Some((&result, operands))) = (*kernel, args.split_last()) else {
            continue;
        };
        let Place::Arena { first, last } = plan.slots[result.0 as usize].place else {
            continue;
        };
        let roots: Vec<usize> = operands.iter().map(|slot| plan.root(*slot)).collect();
        let bytes = &plan.slots[result.0 as usize].bytes;
        let dies = |base: usize| {
            matches!(plan.slots[base].place, Place::Arena { first, last }
                if first < position && last == position)
        };
        let may_take = |read: usize| {
            let base = roots[read];
            // The operand is all of its memory, so that both ranges are the same.
            let is_whole = |slot: SlotId| plan.slots[slot.0 as usize].bytes == *bytes;
            first == position
                && dies(base)
                && plan.slots[base].bytes == *bytes
                && !pinned[base]
                && !pinned[result.0 as usize]
                && (0..roots.len())
                    .filter(|&other| roots[other] == base)
                    .all(|other| is_whole(operands[other]))
        };
        let written = operands.len();
        let taken = (0..operands.len())
            .filter(|&read| may_take(read))
            .find(|&read| {
                let mut same = (0..roots.len()).filter(|&other| roots[other] == roots[read]);
                same.all(|other| may_share(kernel, written, other))
            });
        let Some(read) = taken else {
            continue;
        };
        let base = roots[read];
        plan.slots[result.0 as usize].place = Place::Alias(SlotId(base as u32));
        if let Place::Arena { last: end, .. } = &mut plan.slots[base].place {
            *end = last;
        }
        shared.push(Shared {
            kernel,
            written,
            read,
        });
    }
    shared
}

/// Slots whose memory gives a symbol its value: writing it again would give another.
fn pinned(plan: &Plan) -> Vec<bool> {
    let mut pinned = vec![false; plan.slots.len()];
    for def in &plan.symbols {
        match def.origin {
            SymbolOrigin::Content { slot, .. } | SymbolOrigin::Extent { slot, .. } => {
                pinned[plan.root(slot)] = true;
            }
            SymbolOrigin::Input { .. } | SymbolOrigin::Defined(_) | SymbolOrigin::Outer => {}
        }
    }
    pinned
}
