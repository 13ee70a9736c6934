//! Instructions as written to instructions as executed.
//!
//! Each family has a file; a mnemonic, modifier or operand form that no family knows is an error.

mod arithmetic;
mod compare;
mod control;
mod convert;
mod memory;
mod moves;
mod warp;

pub(crate) use moves::{LOCAL_WINDOW, SHARED_WINDOW, WINDOW_BYTES};

use crate::body::Body;
use crate::error::ParseError;
use crate::modifiers::Modifiers;
use crate::operand::Operand;
use crate::program::{Instruction, Op, PredUse};
use crate::stats::Class;

/// An operation and the class that counts it.
pub(crate) type Decoded = Result<(Op, Class), ParseError>;

/// Decodes one statement and appends it to the body.
pub(crate) fn instruction(
    body: &mut Body,
    guard: Option<PredUse>,
    opcode: &str,
    operands: &[Operand],
) -> Result<(), ParseError> {
    let mut modifiers = Modifiers::new(opcode, body.line);
    let m = &mut modifiers;
    body.reads_special = matches!(m.mnemonic, "mov" | "cvt");
    let (op, class) = match m.mnemonic {
        "mov" | "cvta" | "isspacep" => moves::decode(body, m, operands)?,
        "add" | "sub" | "mul" | "mad" | "mul24" | "mad24" | "fma" | "div" | "rem" | "min"
        | "max" | "neg" | "abs" | "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos"
        | "tanh" | "copysign" => arithmetic::decode(body, m, operands)?,
        "and" | "or" | "xor" | "not" | "cnot" | "shl" | "shr" | "shf" | "bfe" | "bfi" | "popc"
        | "clz" | "brev" | "lop3" | "prmt" | "dp4a" => arithmetic::bits(body, m, operands)?,
        "setp" | "set" | "selp" | "slct" | "testp" => compare::decode(body, m, operands)?,
        "cvt" => convert::decode(body, m, operands)?,
        "ld" | "st" | "atom" | "red" | "cp" | "prefetch" => memory::decode(body, m, operands)?,
        "bra" | "ret" | "exit" | "trap" | "bar" | "barrier" | "membar" | "fence" => {
            control::decode(body, m, operands)?
        }
        "shfl" | "vote" | "activemask" | "redux" | "ldmatrix" | "mma" => {
            warp::decode(body, m, operands)?
        }
        _ => return Err(m.error("instruction is not supported")),
    };
    m.finish()?;
    append(body, guard, op, class);
    Ok(())
}

fn append(body: &mut Body, guard: Option<PredUse>, op: Op, class: Class) {
    body.pred_reads.extend(guard.map(|(pred, _)| pred));
    body.reads.sort_unstable();
    body.reads.dedup();
    body.code.push(Instruction {
        op,
        guard,
        class,
        line: body.line,
        reads: std::mem::take(&mut body.reads).into(),
        pred_reads: std::mem::take(&mut body.pred_reads).into(),
    });
}

/// Ends the code so that control cannot run off it.
pub(crate) fn implicit_exit(body: &mut Body) {
    append(body, None, Op::Exit, Class::Control);
}

/// Points a branch at the instruction of its label.
pub(crate) fn set_target(instruction: &mut Instruction, at: u32) {
    if let Op::Branch { target, .. } = &mut instruction.op {
        *target = at;
    }
}

/// The operands, which must be exactly `N`.
fn exactly<'o, 'a, const N: usize>(
    m: &Modifiers,
    operands: &'o [Operand<'a>],
) -> Result<&'o [Operand<'a>; N], ParseError> {
    operands
        .try_into()
        .map_err(|_| m.error(format!("takes {N} operands, {} given", operands.len())))
}

/// The elements of a vector operand, or the operand itself.
fn elements<'o, 'a>(operand: &'o Operand<'a>) -> &'o [Operand<'a>] {
    match operand {
        Operand::Vector(parts) => parts,
        single => std::slice::from_ref(single),
    }
}
