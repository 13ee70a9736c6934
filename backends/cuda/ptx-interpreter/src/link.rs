//! Turns a decoded body into a kernel.

use crate::body::Body;
use crate::decode;
use crate::error::ParseError;
use crate::flow;
use crate::module::Kernel;
use crate::program::{Instruction, Op};
use crate::types::Space;

/// Resolves labels and dynamic addresses and computes reconvergence points.
pub(crate) fn link(
    name: String,
    mut body: Body,
    block_required: Option<[u32; 3]>,
    block_max: Option<u32>,
) -> Result<Kernel, ParseError> {
    decode::implicit_exit(&mut body);
    for (at, label, line) in std::mem::take(&mut body.jumps) {
        let Some(found) = body.labels.get(&label) else {
            return Err(ParseError::new(
                line,
                format!("label `{label}` is not declared"),
            ));
        };
        decode::set_target(&mut body.code[at], *found);
    }
    let align = body
        .dynamic
        .iter()
        .map(|(_, align)| *align)
        .max()
        .unwrap_or(1);
    let shared_static = body.shared_bytes.next_multiple_of(align);
    let mut constants: Vec<_> = body
        .constants
        .iter()
        .map(|(value, reg)| (*reg, *value))
        .collect();
    constants.extend(
        body.dynamic
            .iter()
            .map(|(reg, _)| (*reg, shared_static as u64)),
    );
    let shared_granule = body.code.iter().map(shared_access).fold(4, usize::min);
    Ok(Kernel {
        name,
        params: body.params,
        param_bytes: body.param_bytes,
        reconverge: flow::reconvergence(&body.code),
        code: body.code,
        register_names: body.register_names,
        pred_names: body.pred_names,
        constants,
        specials: body.specials,
        shared_static,
        shared_granule,
        local_bytes: body.local_bytes,
        block_required,
        block_max,
    })
}

/// Bytes of the smallest access that an instruction makes to memory that may be shared.
fn shared_access(instruction: &Instruction) -> usize {
    let (space, bytes) = match &instruction.op {
        Op::Load { address, ty, .. } | Op::Store { address, ty, .. } => (address.space, ty.bytes()),
        Op::Atomic { address, ty, .. } => (address.space, ty.bytes()),
        _ => return usize::MAX,
    };
    if matches!(space, Space::Shared | Space::Generic) {
        bytes
    } else {
        usize::MAX
    }
}
