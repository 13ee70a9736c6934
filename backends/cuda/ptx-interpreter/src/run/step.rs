//! One instruction of one warp.

use super::block::Launch;
use super::defined::check_defined;
use super::together::{check_members, shuffle};
use super::value;
use super::warp::{FULL, Frame, Lanes, each};
use crate::decode::{LOCAL_WINDOW, SHARED_WINDOW, WINDOW_BYTES};
use crate::error::Fault;
use crate::float;
use crate::program::{Combine, Instruction, Op, Vote};
use crate::types::{Space, Type};

/// A fault and the lane at fault, where one is.
pub(super) type Faulty = (Option<usize>, Fault);

impl Launch<'_> {
    /// Executes the instruction at `frame.at` and moves the warp on.
    pub(super) fn step(&mut self, index: usize, frame: Frame) -> Result<(), Faulty> {
        let kernel = self.kernel;
        let instruction = &kernel.code[frame.at as usize];
        let warp = &mut self.warps[index];
        let mut mask = frame.mask;
        if self.options.check_poison {
            check_defined(kernel, warp, instruction, mask)?;
        }
        if let Some(guard) = instruction.guard {
            mask &= warp.holds(guard);
        }
        self.stats.instructions[instruction.class as usize] += 1;
        self.stats.lane_instructions += u64::from(mask.count_ones());
        match &instruction.op {
            Op::Branch { target, uniform } => {
                let meet = kernel.reconverge[frame.at as usize];
                let split = warp.branch(mask, *target, meet);
                if split && *uniform {
                    return Err((
                        None,
                        Fault::NotUniform {
                            what: "guard of bra.uni",
                        },
                    ));
                }
                self.stats.divergent_branches += u64::from(split);
                return Ok(());
            }
            Op::Exit => {
                warp.exit(mask);
                return Ok(());
            }
            _ => {}
        }
        if mask != 0 {
            self.execute(index, frame, mask, instruction)?;
        }
        if let Some(top) = self.warps[index].frames.last_mut() {
            top.at += 1;
        }
        Ok(())
    }

    fn execute(
        &mut self,
        index: usize,
        frame: Frame,
        mask: u32,
        instruction: &Instruction,
    ) -> Result<(), Faulty> {
        let warp = &mut self.warps[index];
        match &instruction.op {
            Op::Branch { .. } | Op::Exit => unreachable!("handled by the caller"),
            Op::Trap => return Err((None, Fault::Trap)),
            // Blocks run one after another and a warp's accesses in order: nothing to do.
            Op::Fence => {}
            Op::Mov { d, a } => {
                let out = *warp.lanes(*a);
                warp.set(*d, mask, &out);
            }
            Op::MovPred { p, a } => {
                let bits = warp.holds(*a);
                warp.set_pred(*p, mask, bits);
            }
            Op::Int {
                f,
                d,
                a,
                b,
                c,
                e,
                mask: width,
            } => {
                let (f, a, b) = (*f, warp.lanes(*a), warp.lanes(*b));
                let (c, e) = (warp.lanes(*c), warp.lanes(*e));
                let mut out = [0; 32];
                for lane in 0..32 {
                    out[lane] = f(a[lane], b[lane], c[lane], e[lane]) & width;
                }
                warp.set(*d, mask, &out);
            }
            Op::F32 {
                f,
                ftz,
                sat,
                d,
                a,
                b,
                c,
            } => {
                let out = single(
                    *f,
                    *ftz,
                    *sat,
                    [warp.lanes(*a), warp.lanes(*b), warp.lanes(*c)],
                );
                warp.set(*d, mask, &out);
            }
            Op::F64 { f, d, a, b, c } => {
                let (a, b, c) = (warp.lanes(*a), warp.lanes(*b), warp.lanes(*c));
                let value = |lanes: &Lanes, lane: usize| f64::from_bits(lanes[lane]);
                let out = std::array::from_fn(|lane| {
                    f(value(a, lane), value(b, lane), value(c, lane)).to_bits()
                });
                warp.set(*d, mask, &out);
            }
            Op::Half {
                f,
                format,
                packed,
                fit,
                d,
                a,
                b,
                c,
            } => {
                let (a, b, c) = (warp.lanes(*a), warp.lanes(*b), warp.lanes(*c));
                let out = std::array::from_fn(|lane| {
                    value::half(*f, *format, *packed, *fit, a[lane], b[lane], c[lane])
                });
                warp.set(*d, mask, &out);
            }
            Op::Convert { convert, d, a } => {
                let out = warp.lanes(*a).map(|bits| value::convert(convert, bits));
                warp.set(*d, mask, &out);
            }
            Op::ConvertPair { convert, d, a, b } => {
                let (a, b) = (warp.lanes(*a), warp.lanes(*b));
                let out = std::array::from_fn(|lane| {
                    value::convert(convert, a[lane]) << 16 | value::convert(convert, b[lane])
                });
                warp.set(*d, mask, &out);
            }
            Op::Pack { d, parts, bits } => {
                let mut out = [0; 32];
                for (slot, part) in parts.iter().enumerate() {
                    for (out, value) in out.iter_mut().zip(warp.lanes(*part)) {
                        *out |= value << (slot as u32 * bits);
                    }
                }
                warp.set(*d, mask, &out);
            }
            Op::Unpack { parts, a, bits } => {
                let source = *warp.lanes(*a);
                for (slot, part) in parts.iter().enumerate() {
                    let shift = slot as u32 * bits;
                    let out = source.map(|value| value >> shift & (u64::MAX >> (64 - bits)));
                    if let Some(part) = part {
                        warp.set(*part, mask, &out);
                    }
                }
            }
            Op::Set {
                compare,
                with,
                p,
                q,
                a,
                b,
            } => {
                let (a, b) = (warp.lanes(*a), warp.lanes(*b));
                let mut holds = 0;
                for lane in 0..32 {
                    holds |= u32::from(value::compare(compare, a[lane], b[lane])) << lane;
                }
                let (mut first, mut second) = (holds, !holds);
                if let Some((combine, other)) = with {
                    let other = warp.holds(*other);
                    first = combined(*combine, first, other);
                    second = combined(*combine, second, other);
                }
                if let Some(p) = p {
                    warp.set_pred(*p, mask, first);
                }
                if let Some(q) = q {
                    warp.set_pred(*q, mask, second);
                }
            }
            Op::SetValue {
                compare,
                with,
                truth,
                d,
                a,
                b,
            } => {
                let (a, b) = (warp.lanes(*a), warp.lanes(*b));
                let other = with.map(|(combine, other)| (combine, warp.holds(other)));
                let out = std::array::from_fn(|lane| {
                    let mut holds = value::compare(compare, a[lane], b[lane]);
                    if let Some((combine, other)) = other {
                        holds = combined(combine, u32::from(holds), other >> lane & 1) == 1;
                    }
                    if holds { *truth } else { 0 }
                });
                warp.set(*d, mask, &out);
            }
            Op::Select { d, a, b, p } => {
                let holds = warp.holds(*p);
                let (a, b) = (warp.lanes(*a), warp.lanes(*b));
                let out = std::array::from_fn(|lane| {
                    if holds >> lane & 1 == 1 {
                        a[lane]
                    } else {
                        b[lane]
                    }
                });
                warp.set(*d, mask, &out);
            }
            Op::PredLogic { combine, p, a, b } => {
                let bits = combined(*combine, warp.holds(*a), warp.holds(*b));
                warp.set_pred(*p, mask, bits);
            }
            Op::TestFloat {
                class,
                format,
                p,
                a,
            } => {
                let a = warp.lanes(*a);
                let test = |lane: usize| value::is_class(*class, *format, a[lane]);
                let bits = (0..32).fold(0, |bits, lane| bits | u32::from(test(lane)) << lane);
                warp.set_pred(*p, mask, bits);
            }
            Op::IsSpace { space, p, a } => {
                let a = warp.lanes(*a);
                let bits = (0..32).fold(0, |bits, lane| {
                    bits | u32::from(window_of(a[lane]).0 == *space) << lane
                });
                warp.set_pred(*p, mask, bits);
            }
            Op::Barrier { id, threads } => return self.arrive(index, frame, mask, *id, *threads),
            Op::WarpBarrier { member } => check_members(warp, *member, mask)?,
            Op::Shuffle {
                mode,
                d,
                p,
                a,
                b,
                c,
                member,
            } => {
                check_members(warp, *member, mask)?;
                shuffle(warp, mask, *mode, *d, *p, [*a, *b, *c])?;
            }
            Op::Vote {
                mode,
                d,
                p,
                a,
                member,
            } => {
                check_members(warp, *member, mask)?;
                let holds = warp.holds(*a) & mask;
                let truth = |holds: bool| if holds { FULL } else { 0 };
                match mode {
                    Vote::All => warp.set_pred(*p, mask, truth(holds == mask)),
                    Vote::Any => warp.set_pred(*p, mask, truth(holds != 0)),
                    Vote::Uniform => warp.set_pred(*p, mask, truth(holds == 0 || holds == mask)),
                    Vote::Ballot => warp.set(*d, mask, &[u64::from(holds); 32]),
                }
            }
            Op::Reduce { f, d, a, member } => {
                check_members(warp, *member, mask)?;
                let a = warp.lanes(*a);
                let all = each(mask)
                    .map(|lane| a[lane])
                    .reduce(|x, y| f(x, y, 0, 0) & 0xffff_ffff);
                warp.set(*d, mask, &[all.unwrap_or(0); 32]);
            }
            Op::ActiveMask { d } => warp.set(*d, mask, &[u64::from(mask); 32]),
            Op::Load { address, ty, parts } => {
                return self.load(index, frame.at, mask, *address, *ty, parts);
            }
            Op::Store { address, ty, parts } => {
                return self.store(index, frame.at, mask, *address, *ty, parts);
            }
            Op::Atomic {
                f,
                ty,
                address,
                d,
                b,
                c,
            } => {
                return self.atomic(index, frame.at, mask, *f, *ty, *address, *d, [*b, *c]);
            }
            Op::LoadMatrix {
                address,
                transpose,
                parts,
            } => {
                return self.load_matrix(index, frame.at, mask, *address, *transpose, parts);
            }
            Op::Mma(mma) => return self.multiply(index, mask, mma),
            Op::AsyncCopy {
                to,
                from,
                size,
                source_size,
            } => {
                return self.issue_copy(index, frame.at, mask, *to, *from, *size, *source_size);
            }
            Op::AsyncCommit => each(mask).for_each(|lane| warp.committed[lane] += 1),
            Op::AsyncWait { groups } => return self.wait_copies(index, mask, *groups),
        }
        Ok(())
    }
}

/// The space that a generic address points into, and the address there.
pub(super) fn window_of(address: u64) -> (Space, u64) {
    if (SHARED_WINDOW..SHARED_WINDOW + WINDOW_BYTES).contains(&address) {
        (Space::Shared, address - SHARED_WINDOW)
    } else if (LOCAL_WINDOW..LOCAL_WINDOW + WINDOW_BYTES).contains(&address) {
        (Space::Local, address - LOCAL_WINDOW)
    } else {
        (Space::Global, address)
    }
}

fn combined(combine: Combine, a: u32, b: u32) -> u32 {
    match combine {
        Combine::And => a & b,
        Combine::Or => a | b,
        Combine::Xor => a ^ b,
    }
}

fn single(f: float::F32Fn, ftz: bool, sat: bool, sources: [&Lanes; 3]) -> Lanes {
    let [a, b, c] = sources;
    std::array::from_fn(|lane| {
        let value = |lanes: &Lanes| {
            let value = f32::from_bits(lanes[lane] as u32);
            if ftz { float::flush(value) } else { value }
        };
        let mut out = f(value(a), value(b), value(c));
        if ftz {
            out = float::flush(out);
        }
        if sat {
            // NaN saturates to +0.
            out = if out >= 1.0 {
                1.0
            } else if out > 0.0 {
                out
            } else {
                0.0
            };
        }
        if out.is_nan() {
            float::F32.nan()
        } else {
            u64::from(out.to_bits())
        }
    })
}

/// The width of `ty` elements in a register.
pub(super) fn element(bits: u128, slot: usize, ty: Type) -> u64 {
    (bits >> (slot as u32 * ty.bits())) as u64 & ty.mask()
}
