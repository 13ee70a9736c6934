//! The state of one warp: registers, predicates, and the stack of diverged lanes.

use crate::module::Kernel;
use crate::program::{Pred, PredUse, Reg, Special};

/// One value a lane.
pub(super) type Lanes = [u64; 32];
/// Every lane.
pub(super) const FULL: u32 = u32::MAX;

/// Lanes that run together until they reach `meet`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) at: u32,
    pub(super) meet: u32,
    pub(super) mask: u32,
}

/// What a warp waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    /// At a block barrier; `threads` is zero for the whole block.
    Waiting {
        id: u32,
        threads: u32,
        at: u32,
    },
    Done,
}

/// A `cp.async` that has been issued.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copy {
    pub(super) lane: u32,
    /// Index of the lane's group that holds it.
    pub(super) group: u32,
    pub(super) at: u32,
    pub(super) to: usize,
    pub(super) size: usize,
    /// Source bytes to fetch on completion, or `None` where they were fetched at issue.
    pub(super) fetch: Option<(u64, usize)>,
}

#[derive(Debug)]
pub(super) struct Warp {
    pub(super) index: u32,
    pub(super) registers: Vec<Lanes>,
    /// Lanes in which each register was written.
    pub(super) defined: Vec<u32>,
    pub(super) preds: Vec<u32>,
    pub(super) preds_defined: Vec<u32>,
    pub(super) frames: Vec<Frame>,
    pub(super) live: u32,
    pub(super) state: State,
    pub(super) copies: Vec<Copy>,
    /// For each lane, how many groups it has committed.
    pub(super) committed: [u32; 32],
}

/// What special registers need to know of the launch.
pub(super) struct Shape {
    pub(super) grid: [u32; 3],
    pub(super) block: [u32; 3],
    pub(super) shared_dynamic: u32,
    pub(super) shared_total: u32,
}

impl Shape {
    pub(super) fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    fn special(&self, special: Special, warp: u32, lane: u32, block: [u32; 3]) -> u32 {
        let thread = warp * 32 + lane;
        let [x, y, _] = self.block;
        match special {
            Special::Tid(0) => thread % x,
            Special::Tid(1) => thread / x % y,
            Special::Tid(_) => thread / x / y,
            Special::Ntid(axis) => self.block[axis],
            Special::Ctaid(axis) => block[axis],
            Special::Nctaid(axis) => self.grid[axis],
            Special::Lane => lane,
            Special::Warp => warp,
            Special::Warps => self.threads().div_ceil(32),
            Special::LanemaskEq => 1 << lane,
            Special::LanemaskLt => (1 << lane) - 1,
            Special::LanemaskLe => FULL >> (31 - lane),
            Special::LanemaskGt => !(FULL >> (31 - lane)),
            Special::LanemaskGe => !((1 << lane) - 1),
            Special::DynamicShared => self.shared_dynamic,
            Special::TotalShared => self.shared_total,
        }
    }
}

impl Warp {
    pub(super) fn new(kernel: &Kernel, index: u32) -> Self {
        let mut registers = vec![[0; 32]; kernel.register_names.len()];
        for (reg, value) in &kernel.constants {
            registers[*reg as usize] = [*value; 32];
        }
        Self {
            index,
            registers,
            defined: vec![0; kernel.register_names.len()],
            preds: vec![0; kernel.pred_names.len()],
            preds_defined: vec![0; kernel.pred_names.len()],
            frames: Vec::new(),
            live: 0,
            state: State::Done,
            copies: Vec::new(),
            committed: [0; 32],
        }
    }

    /// Makes the warp ready to run a block from the start.
    pub(super) fn start(&mut self, kernel: &Kernel, shape: &Shape, block: [u32; 3]) {
        self.defined.fill(0);
        self.preds_defined.fill(0);
        for (reg, special) in &kernel.specials {
            let lanes = &mut self.registers[*reg as usize];
            for (lane, value) in lanes.iter_mut().enumerate() {
                *value = u64::from(shape.special(*special, self.index, lane as u32, block));
            }
        }
        let lanes = (shape.threads() - self.index * 32).min(32);
        self.live = FULL >> (32 - lanes);
        self.frames.clear();
        self.frames.push(Frame {
            at: 0,
            meet: u32::MAX,
            mask: self.live,
        });
        self.state = State::Ready;
        self.copies.clear();
        self.committed = [0; 32];
    }

    pub(super) fn lanes(&self, reg: Reg) -> &Lanes {
        &self.registers[reg as usize]
    }

    pub(super) fn set(&mut self, reg: Reg, mask: u32, values: &Lanes) {
        let target = &mut self.registers[reg as usize];
        if mask == FULL {
            *target = *values;
        } else {
            for lane in 0..32 {
                if mask >> lane & 1 == 1 {
                    target[lane] = values[lane];
                }
            }
        }
        self.defined[reg as usize] |= mask;
    }

    /// The lanes in which a predicate operand holds.
    pub(super) fn holds(&self, (pred, negated): PredUse) -> u32 {
        let bits = self.preds[pred as usize];
        if negated { !bits } else { bits }
    }

    pub(super) fn set_pred(&mut self, pred: Pred, mask: u32, bits: u32) {
        let target = &mut self.preds[pred as usize];
        *target = (*target & !mask) | (bits & mask);
        self.preds_defined[pred as usize] |= mask;
    }

    /// The value of a register that must be the same in the lanes of `mask`.
    pub(super) fn uniform(&self, reg: Reg, mask: u32) -> Option<u64> {
        let lanes = self.lanes(reg);
        let first = lanes[mask.trailing_zeros() as usize & 31];
        each(mask).all(|lane| lanes[lane] == first).then_some(first)
    }

    /// The frame to run next; drops those that are empty or have reached their meeting point.
    pub(super) fn top(&mut self) -> Option<Frame> {
        loop {
            let frame = *self.frames.last()?;
            if frame.mask != 0 && frame.at != frame.meet {
                return Some(frame);
            }
            self.frames.pop();
        }
    }

    /// Sends the lanes of `taken` to `target`, the rest of the top frame on; true if it split.
    pub(super) fn branch(&mut self, taken: u32, target: u32, meet: u32) -> bool {
        let Some(frame) = self.frames.last_mut() else {
            return false;
        };
        let rest = frame.mask & !taken;
        let next = frame.at + 1;
        if rest == 0 {
            frame.at = target;
            return false;
        }
        if taken == 0 {
            frame.at = next;
            return false;
        }
        if meet == frame.meet {
            // The frame below already waits there.
            self.frames.pop();
        } else {
            frame.at = meet;
        }
        for (at, mask) in [(next, rest), (target, taken)] {
            if at != meet {
                self.frames.push(Frame { at, meet, mask });
            }
        }
        true
    }

    /// Ends the lanes of `mask`.
    pub(super) fn exit(&mut self, mask: u32) {
        self.live &= !mask;
        for frame in &mut self.frames {
            frame.mask &= !mask;
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.at += 1;
        }
    }
}

/// The lanes of a mask in ascending order.
pub(super) fn each(mask: u32) -> impl Iterator<Item = usize> {
    let mut left = mask;
    std::iter::from_fn(move || {
        (left != 0).then(|| {
            let lane = left.trailing_zeros() as usize;
            left &= left - 1;
            lane
        })
    })
}
