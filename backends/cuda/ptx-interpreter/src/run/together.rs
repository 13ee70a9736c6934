//! Instructions in which lanes or warps take part together: barriers, member masks, shuffles.

use super::block::Launch;
use super::step::Faulty;
use super::warp::{Frame, State, Warp, each};
use crate::error::Fault;
use crate::program::{Reg, Shuffle};

impl Launch<'_> {
    /// Brings a warp to a block barrier.
    pub(super) fn arrive(
        &mut self,
        index: usize,
        frame: Frame,
        mask: u32,
        id: Reg,
        threads: Option<Reg>,
    ) -> Result<(), Faulty> {
        let warp = &mut self.warps[index];
        if mask != warp.live {
            let fault = Fault::DivergentBarrier {
                executing: mask,
                live: warp.live,
            };
            return Err((None, fault));
        }
        let uniform = |reg: Reg, what: &'static str| {
            warp.uniform(reg, mask)
                .ok_or((None, Fault::NotUniform { what }))
        };
        let id = uniform(id, "barrier")?;
        let threads = threads.map_or(Ok(0), |threads| uniform(threads, "thread count"))?;
        if id > 15 {
            return Err((
                None,
                Fault::BadOperand(format!("barrier {id} is outside 0..=15")),
            ));
        }
        if threads % 32 != 0 || threads > 1024 {
            let message = format!("barrier thread count {threads} is not a multiple of 32");
            return Err((None, Fault::BadOperand(message)));
        }
        warp.state = State::Waiting {
            id: id as u32,
            threads: threads as u32,
            at: frame.at,
        };
        Ok(())
    }
}

/// The member mask must name the executing lanes; lanes that have exited may be named too.
pub(super) fn check_members(warp: &Warp, member: Reg, mask: u32) -> Result<(), Faulty> {
    for lane in each(mask) {
        let member = warp.lanes(member)[lane] as u32;
        if member & warp.live != mask {
            return Err((
                Some(lane),
                Fault::MemberMask {
                    member,
                    executing: mask,
                },
            ));
        }
    }
    Ok(())
}

/// `shfl.sync` (PTX ISA): `c` holds the clamp in bits 0–4 and the segment mask in bits 8–12.
pub(super) fn shuffle(
    warp: &mut Warp,
    mask: u32,
    mode: Shuffle,
    d: Reg,
    p: Option<u32>,
    [a, b, c]: [Reg; 3],
) -> Result<(), Faulty> {
    let (a, b, c) = (warp.lanes(a), warp.lanes(b), warp.lanes(c));
    let (mut out, mut valid) = ([0; 32], 0u32);
    for lane in each(mask) {
        let (this, by) = (lane as u32, b[lane] as u32 & 31);
        let (clamp, segment) = (c[lane] as u32 & 31, c[lane] as u32 >> 8 & 31);
        let low = this & segment;
        let high = low | (clamp & !segment);
        let (from, in_range) = match mode {
            Shuffle::Up => (
                this.wrapping_sub(by),
                this as i32 - by as i32 >= high as i32,
            ),
            Shuffle::Down => (this + by, this + by <= high),
            Shuffle::Butterfly => (this ^ by, (this ^ by) <= high),
            Shuffle::Index => (low | (by & !segment), (low | (by & !segment)) <= high),
        };
        let from = if in_range { from } else { this };
        if mask >> from & 1 == 0 {
            return Err((Some(lane), Fault::InactiveSource { source_lane: from }));
        }
        out[lane] = a[from as usize];
        valid |= u32::from(in_range) << lane;
    }
    warp.set(d, mask, &out);
    if let Some(p) = p {
        warp.set_pred(p, mask, valid);
    }
    Ok(())
}
