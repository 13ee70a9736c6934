//! The function around a body: whole groups of lanes, the lanes that are left, and folding.

use alula_tensor::Scalar;
use iced_x86::{Code, Instruction, Register as R};

use super::assembler::{Label, Rm, Zmm, mask, memory, zmm};
use super::body::{AT, Body, FRAME, KEPT, POINTERS, TAIL, Uniform};
use super::plan::{Plan, WIDE, bits};

/// Where iterations end.
const END: R = R::RDX;
/// Whether folds begin; then scratch.
const IS_FIRST: R = R::RCX;
const COUNT: R = R::RCX;
/// Bodies of at most this many instructions are printed for four registers of lanes at once, when
/// iterations carry nothing. Longer ones for two: chains of functions wait for themselves.
const UNROLL_BY_4: usize = 6;

/// One loop as a function, and what its caller must know.
pub(in crate::emit) struct Function {
    pub(in crate::emit) code: Vec<u8>,
    /// The instructions, if asked for.
    pub(in crate::emit) text: String,
    /// Registers of lanes in a group.
    pub(in crate::emit) copies: usize,
    /// Whether the processor rounds to bf16.
    pub(in crate::emit) rounds_bf16: bool,
}

/// How often a function runs its loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emit) enum Runs {
    /// Once, all iterations.
    Whole,
    /// Once; a call may go on with folds that another began.
    Split,
    /// For a number of rows, from one of which to the next pointers advance.
    Rows,
}

/// Bytes of the frame: slots, then a quad for each fold, then all of its partial values; or, for
/// rows, by how much pointers advance, and the number of rows.
pub(in crate::emit) fn frame_bytes(plan: &Plan<'_>) -> u32 {
    let carried = plan.of.carried.len();
    let rows = (plan.pointers.len() + 1) * 8;
    let folds = carried * 16 + carried * plan.fold_registers() * 64;
    (plan.slots() * 8 + rows.max(folds)) as u32
}

/// Where it is said by how much a pointer advances from row to row.
pub(in crate::emit) fn advance_at(plan: &Plan<'_>, pointer: usize) -> i32 {
    ((plan.slots() + pointer) * 8) as i32
}

/// Where the number of rows is.
pub(in crate::emit) fn rows_at(plan: &Plan<'_>) -> i32 {
    advance_at(plan, plan.pointers.len())
}

/// Where the four last partial values of a fold lie.
pub(in crate::emit) fn quad_at(plan: &Plan<'_>, position: usize) -> i32 {
    (plan.slots() * 8 + position * 16) as i32
}

/// Prints a loop.
///
/// # Errors
/// Why it cannot be printed, in words.
pub(in crate::emit) fn print(
    plan: &Plan<'_>,
    extent: Option<i64>,
    runs: Runs,
    is_listed: bool,
) -> Result<Function, String> {
    let mut copies = copies(plan, extent);
    loop {
        let tried = build(plan, copies, runs, &[]).map(|body| {
            // What must be in a register anyway stays there, as far as registers go.
            let mut wanted: Vec<_> = body.wanted.iter().collect();
            wanted.sort_by_key(|&(uniform, count)| (std::cmp::Reverse(*count), *uniform));
            wanted.truncate(body.least_free as usize);
            let pins: Vec<Uniform> = wanted.into_iter().map(|(uniform, _)| *uniform).collect();
            build(plan, copies, runs, &pins).unwrap_or(body)
        });
        match tried {
            Ok(body) => {
                let (code, text) = body.asm.finish(is_listed)?;
                return Ok(Function {
                    code,
                    text,
                    copies,
                    rounds_bf16: !plan.narrowed.is_empty(),
                });
            }
            Err(_) if copies > 1 && plan.of.carried.is_empty() => copies /= 2,
            Err(reason) => return Err(reason),
        }
    }
}

/// Registers of lanes side by side.
fn copies(plan: &Plan<'_>, extent: Option<i64>) -> usize {
    if !plan.of.carried.is_empty() {
        return plan.fold_registers();
    }
    let mut copies = match plan.insts.len() {
        size if size <= UNROLL_BY_4 => 4,
        _ => 2,
    };
    while copies > 1 && extent.is_some_and(|extent| extent < i64::from(WIDE) * copies as i64) {
        copies /= 2;
    }
    copies
}

fn build<'p>(
    plan: &'p Plan<'p>,
    copies: usize,
    runs: Runs,
    pins: &[Uniform],
) -> Result<Body<'p>, String> {
    let split = runs == Runs::Split;
    let mut body = Body::new(plan);
    let count = plan.pointers.len().min(POINTERS.len());
    let kept = POINTERS.get(KEPT..count).unwrap_or(&[]);
    for &register in kept {
        body.asm.push(Instruction::with1(Code::Push_r64, register));
    }
    body.asm.enter();
    for &uniform in pins {
        body.pin(uniform)?;
    }
    let row = body.asm.label();
    if runs == Runs::Rows {
        body.asm.bind(row);
        let zero = Instruction::with2(Code::Xor_r32_rm32, R::ESI, R::ESI);
        body.asm.push(zero);
    }
    for (position, &register) in POINTERS[..count].iter().enumerate() {
        let slot = memory(FRAME, R::None, 1, position as i64 * 8);
        body.asm
            .push(Instruction::with2(Code::Mov_r64_rm64, register, slot));
    }
    let accs = begin(&mut body, copies, split)?;

    let group = i64::from(WIDE) * copies as i64;
    let (top, rest, done) = (body.asm.label(), body.asm.label(), body.asm.label());
    let last = memory(END, R::None, 1, -group);
    body.asm
        .push(Instruction::with2(Code::Lea_r64_m, COUNT, last));
    body.asm
        .push(Instruction::with2(Code::Cmp_r64_rm64, AT, COUNT));
    body.asm.jump(Code::Jg_rel32_64, rest);
    body.asm.bind(top);
    let of_copies: Vec<&[Zmm]> = accs.iter().map(Vec::as_slice).collect();
    body.print(&of_copies, false)?;
    body.asm
        .push(Instruction::with2(Code::Add_rm64_imm32, AT, group as i32));
    body.asm
        .push(Instruction::with2(Code::Cmp_r64_rm64, AT, COUNT));
    body.asm.jump(Code::Jle_rel32_64, top);
    body.asm.bind(rest);
    if plan.of.carried.is_empty() {
        let again = body.asm.label();
        body.asm.bind(again);
        tail(&mut body, &[], done)?;
        body.asm.jump(Code::Jmp_rel32_64, again);
    } else {
        for accs in &accs {
            tail(&mut body, accs, done)?;
        }
    }
    body.asm.bind(done);
    if runs == Runs::Rows {
        advance(&mut body, row);
    }
    end(&mut body, &accs, split)?;
    body.asm.push(Ok(Instruction::with(Code::VEX_Vzeroupper)));
    for &register in kept.iter().rev() {
        body.asm.push(Instruction::with1(Code::Pop_r64, register));
    }
    body.asm.push(Ok(Instruction::with(Code::Retnq)));
    Ok(body)
}

/// On to the next row, if there is one.
fn advance(body: &mut Body<'_>, row: Label) {
    let plan = body.plan;
    let asm = &mut body.asm;
    let slot = |at: i32| memory(FRAME, R::None, 1, i64::from(at));
    for position in 0..plan.pointers.len() {
        let by = slot(advance_at(plan, position));
        asm.push(Instruction::with2(Code::Mov_r64_rm64, COUNT, by));
        let pointer = slot(position as i32 * 8);
        asm.push(Instruction::with2(Code::Add_rm64_r64, pointer, COUNT));
    }
    asm.push(Instruction::with1(Code::Dec_rm64, slot(rows_at(plan))));
    asm.jump(Code::Jne_rel32_64, row);
}

/// The lanes of one register that are left, if any are.
fn tail(body: &mut Body<'_>, accs: &[Zmm], done: Label) -> Result<(), String> {
    let asm = &mut body.asm;
    asm.push(Instruction::with2(Code::Mov_r64_rm64, COUNT, END));
    asm.push(Instruction::with2(Code::Sub_r64_rm64, COUNT, AT));
    asm.jump(Code::Jle_rel32_64, done);
    // Fewer than a group are left, so that the count fits its byte.
    asm.push(Instruction::with2(
        Code::Mov_r32_imm32,
        R::R11D,
        (1_u32 << WIDE) - 1,
    ));
    asm.push(Instruction::with3(
        Code::VEX_Bzhi_r32_rm32_r32,
        R::R11D,
        R::R11D,
        R::ECX,
    ));
    asm.push(Instruction::with2(
        Code::VEX_Kmovw_kr_r32,
        mask(TAIL),
        R::R11D,
    ));
    body.print(&[accs], true)?;
    body.asm
        .push(Instruction::with2(Code::Add_rm64_imm32, AT, WIDE as i32));
    Ok(())
}

/// Accumulators, with the identity or with what an earlier call left.
fn begin(body: &mut Body<'_>, copies: usize, split: bool) -> Result<Vec<Vec<Zmm>>, String> {
    let carried = &body.plan.of.carried;
    let mut accs = vec![Vec::new(); copies];
    for accs in &mut accs {
        for _ in carried {
            accs.push(body.keep()?);
        }
    }
    if carried.is_empty() {
        return Ok(accs);
    }
    let (resume, start) = (body.asm.label(), body.asm.label());
    if split {
        body.asm
            .push(Instruction::with2(Code::Test_rm64_r64, IS_FIRST, IS_FIRST));
        body.asm.jump(Code::Je_rel32_64, resume);
    }
    for (position, carried) in carried.iter().enumerate() {
        let dtype = body.plan.dtype(carried.acc);
        let identity: Option<Scalar> = carried.combine.map(|fold| fold.identity(dtype));
        let identity = identity.and_then(|identity| bits(dtype, identity));
        let identity = identity.ok_or_else(|| "it folds without an identity".to_owned())?;
        let identity = body.asm.constant(identity);
        for accs in &accs {
            body.asm.copy(accs[position], Rm::Mem(identity), None);
        }
    }
    if split {
        body.asm.jump(Code::Jmp_rel32_64, start);
        body.asm.bind(resume);
        partials(body, &accs, |body, place, acc| {
            let code = Code::EVEX_Vmovups_zmm_k1z_zmmm512;
            body.asm.push(Instruction::with2(code, zmm(acc), place));
        });
        body.asm.bind(start);
    }
    Ok(accs)
}

fn partials(
    body: &mut Body<'_>,
    accs: &[Vec<Zmm>],
    mut each: impl FnMut(&mut Body<'_>, iced_x86::MemoryOperand, Zmm),
) {
    let carried = body.plan.of.carried.len();
    let first = body.plan.slots() * 8 + carried * 16;
    for (position, &acc) in accs.iter().flatten().enumerate() {
        let place = memory(FRAME, R::None, 1, (first + position * 64) as i64);
        each(body, place, acc);
    }
}

/// Stores partial values, and combines them by halves to four.
fn end(body: &mut Body<'_>, accs: &[Vec<Zmm>], split: bool) -> Result<(), String> {
    if split {
        partials(body, accs, |body, place, acc| {
            let code = Code::EVEX_Vmovups_zmmm512_k1z_zmm;
            body.asm.push(Instruction::with2(code, place, zmm(acc)));
        });
    }
    for (position, carried) in body.plan.of.carried.iter().enumerate() {
        let dtype = body.plan.dtype(carried.acc);
        let fold = carried
            .combine
            .ok_or_else(|| "it carries without an operator".to_owned())?;
        let op = fold.scalar_op();
        let mut count = accs.len();
        while count > 1 {
            count /= 2;
            for i in 0..count {
                body.fold(op, dtype, accs[i][position], accs[i + count][position])?;
            }
        }
        let (acc, upper) = (accs[0][position], body.zmm()?);
        let (half, low) = (u32::from(upper), u32::from(acc));
        let code = Code::EVEX_Vextracti64x4_ymmm256_k1z_zmm_imm8;
        body.asm
            .push(Instruction::with3(code, R::YMM0 + half, zmm(acc), 1_u32));
        body.fold(op, dtype, acc, upper)?;
        let code = Code::EVEX_Vextracti32x4_xmmm128_k1z_zmm_imm8;
        body.asm
            .push(Instruction::with3(code, R::XMM0 + half, zmm(acc), 1_u32));
        body.fold(op, dtype, acc, upper)?;
        let place = memory(FRAME, R::None, 1, i64::from(quad_at(body.plan, position)));
        let code = Code::EVEX_Vmovups_xmmm128_k1z_xmm;
        body.asm
            .push(Instruction::with2(code, place, R::XMM0 + low));
        body.release(super::body::Place::Zmm(upper));
    }
    Ok(())
}
