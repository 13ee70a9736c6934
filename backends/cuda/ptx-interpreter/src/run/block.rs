//! Runs blocks one after another, and the warps of a block in shuffled turns.

use super::LaunchOptions;
use super::warp::{Shape, State, Warp};
use crate::bytes::Bytes;
use crate::device::Device;
use crate::error::{Error, Fault, Trap};
use crate::module::{Kernel, Module};
use crate::shared::Shared;
use crate::stats::Stats;

/// Most instructions a warp runs before another has its turn.
const TURN_MAX: u64 = 48;

/// A small seeded generator (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Everything one launch needs.
pub(super) struct Launch<'a> {
    pub(super) module: &'a Module,
    pub(super) kernel: &'a Kernel,
    pub(super) device: &'a mut Device,
    pub(super) options: LaunchOptions,
    pub(super) shape: Shape,
    /// `%ctaid` of the block that runs.
    pub(super) block_id: [u32; 3],
    pub(super) params: Bytes,
    pub(super) shared: Shared,
    pub(super) local: Bytes,
    pub(super) warps: Vec<Warp>,
    pub(super) random: Random,
    pub(super) stats: Stats,
    pub(super) executed: u64,
    /// The region of the last global access.
    pub(super) hint: usize,
}

impl Launch<'_> {
    /// Runs every block, in an order that the seed rotates and may reverse.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        let [x, y, z] = self.shape.grid.map(u64::from);
        let blocks = x * y * z;
        let start = self.random.below(blocks);
        let reverse = self.random.below(2) == 1;
        for step in 0..blocks {
            let index = (start + step) % blocks;
            let index = if reverse { blocks - 1 - index } else { index };
            self.block_id = [index % x, index / x % y, index / x / y].map(|n| n as u32);
            self.run_block()?;
        }
        Ok(())
    }

    fn run_block(&mut self) -> Result<(), Error> {
        self.stats.blocks += 1;
        if self.stats.blocks > 1 {
            self.shared.reset();
            self.local.poison();
        }
        for warp in &mut self.warps {
            warp.start(self.kernel, &self.shape, self.block_id);
        }
        let mut ready: Vec<usize> = (0..self.warps.len()).collect();
        while !ready.is_empty() {
            let pick = self.random.below(ready.len() as u64) as usize;
            let warp = ready[pick];
            let turn = 1 + self.random.below(TURN_MAX);
            self.run_warp(warp, turn)?;
            if self.warps[warp].state != State::Ready {
                ready.swap_remove(pick);
                self.release(&mut ready)?;
            }
        }
        Ok(())
    }

    /// Runs one warp for at most `turn` instructions.
    fn run_warp(&mut self, index: usize, turn: u64) -> Result<(), Error> {
        for _ in 0..turn {
            let Some(frame) = self.warps[index].top() else {
                self.warps[index].state = State::Done;
                return Ok(());
            };
            if self.executed >= self.options.instruction_limit {
                let limit = self.options.instruction_limit;
                let fault = Fault::InstructionLimit { limit };
                return Err(self.trap(index, frame.at, None, fault));
            }
            self.executed += 1;
            if let Err((lane, fault)) = self.step(index, frame) {
                return Err(self.trap(index, frame.at, lane, fault));
            }
            if self.warps[index].state != State::Ready {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(super) fn trap(&self, warp: usize, at: u32, lane: Option<usize>, fault: Fault) -> Error {
        let line = self.line_of(at);
        Error::Trap(Box::new(Trap {
            kernel: self.kernel.name.clone(),
            line,
            instruction: self.module.line(line),
            block: self.block_id,
            warp: warp as u32,
            lane: lane.map(|lane| lane as u32),
            fault,
        }))
    }

    pub(super) fn line_of(&self, at: u32) -> u32 {
        self.kernel.code[at as usize].line
    }

    /// Lets warps pass barriers that are complete; all waiting with none complete is an error.
    fn release(&mut self, ready: &mut Vec<usize>) -> Result<(), Error> {
        let live = self.members(|warp| warp.state != State::Done);
        let waiting = self.members(|warp| matches!(warp.state, State::Waiting { .. }));
        let Some(first) = (waiting != 0).then(|| waiting.trailing_zeros() as usize) else {
            return Ok(());
        };
        for index in 0..16 {
            let members =
                self.members(|w| matches!(w.state, State::Waiting { id, .. } if id == index));
            if members == 0 {
                continue;
            }
            let sample = &self.warps[members.trailing_zeros() as usize];
            let State::Waiting { threads, at, .. } = sample.state else {
                continue;
            };
            // Same barrier, other instruction or count: the code paths of the warps differ.
            let other = self.warps.iter().find(|warp| {
                matches!(warp.state, State::Waiting { id, threads: t, at: a }
                    if id == index && (t != threads || (t == 0 && a != at)))
            });
            if let Some(other) = other {
                let State::Waiting { at: other_at, .. } = other.state else {
                    continue;
                };
                let fault = Fault::BarrierMismatch {
                    other_warp: other.index,
                    other_line: self.line_of(other_at),
                };
                return Err(self.trap(members.trailing_zeros() as usize, at, None, fault));
            }
            let complete = if threads == 0 {
                members == live
            } else {
                members.count_ones() * 32 >= threads
            };
            if complete {
                self.stats.barriers += 1;
                self.shared.join(members);
                for (warp, state) in self.warps.iter_mut().enumerate() {
                    if members >> warp & 1 == 1 {
                        state.state = State::Ready;
                        ready.push(warp);
                    }
                }
            }
        }
        if !ready.is_empty() {
            return Ok(());
        }
        // Every warp waits, at barriers that cannot complete.
        let State::Waiting { at, id, .. } = self.warps[first].state else {
            return Ok(());
        };
        let other = self
            .warps
            .iter()
            .find(|warp| matches!(warp.state, State::Waiting { id: other, .. } if other != id));
        let fault = match other.map(|warp| (warp.index, warp.state)) {
            Some((other_warp, State::Waiting { at, .. })) => Fault::BarrierMismatch {
                other_warp,
                other_line: self.line_of(at),
            },
            _ => Fault::BadOperand(format!(
                "barrier {id} waits for more threads than there are"
            )),
        };
        Err(self.trap(first, at, None, fault))
    }

    fn members(&self, test: impl Fn(&Warp) -> bool) -> u32 {
        let bits = self
            .warps
            .iter()
            .filter(|warp| test(warp))
            .map(|warp| 1 << warp.index);
        bits.fold(0, |all, bit: u32| all | bit)
    }
}
