//! `cp.async`: issue, group, wait.
//!
//! A copy that was not waited for leaves its bytes pending: touching them is a fault in either
//! mode. In the eager mode the bytes move at issue, in the deferred mode when they are waited
//! for, so that a kernel that depends on either moment shows.

use super::block::Launch;
use super::step::Faulty;
use super::warp::{Copy, each};
use crate::program::{Address, Reg};
use crate::shared::{Access, Touch};
use crate::types::Space;

impl Launch<'_> {
    pub(super) fn issue_copy(
        &mut self,
        index: usize,
        at: u32,
        mask: u32,
        to: Address,
        from: Address,
        size: usize,
        source_size: Option<Reg>,
    ) -> Result<(), Faulty> {
        let access = Access {
            warp: index as u32,
            at,
        };
        let (mut sources, mut targets) = ([None; 32], [None; 32]);
        for lane in each(mask) {
            let copied = match source_size {
                Some(reg) => (self.warps[index].lanes(reg)[lane] as usize).min(size),
                None => size,
            };
            let faulty = |fault| (Some(lane), fault);
            let target = self.place(index, lane, to, size).map_err(faulty)?;
            targets[lane] = Some(target);
            // Nothing is read where nothing is copied; the address may then point anywhere.
            let mut fetch = None;
            if copied > 0 {
                let address = self.warps[index].lanes(from.base)[lane];
                let address = address.wrapping_add_signed(from.offset);
                self.check_source(address, copied, size).map_err(faulty)?;
                fetch = Some((address, copied));
            }
            sources[lane] = fetch.map(|_| target);
            let noted = self.shared.note(target.at, size, access, Touch::Write);
            noted.map_err(|conflict| (Some(lane), self.race(conflict)))?;
            self.shared.begin_copy(target.at, size, access);
            if !self.options.deferred_cp_async {
                self.move_bytes(target.at, size, fetch).map_err(faulty)?;
                fetch = None;
            } else if fetch.is_none() {
                self.shared.bytes.write(target.at, size, 0);
            }
            let group = self.warps[index].committed[lane];
            let lane = lane as u32;
            self.warps[index].copies.push(Copy {
                lane,
                group,
                at,
                to: target.at,
                size,
                fetch,
            });
        }
        self.count(&targets, size, true);
        self.stats.global_read_bytes += (sources.iter().flatten().count() * size) as u64;
        Ok(())
    }

    /// Completes the copies of all but the youngest `groups` groups of each lane.
    pub(super) fn wait_copies(
        &mut self,
        index: usize,
        mask: u32,
        groups: Option<u32>,
    ) -> Result<(), Faulty> {
        let copies = std::mem::take(&mut self.warps[index].copies);
        let mut left = Vec::with_capacity(copies.len());
        for copy in copies {
            let committed = self.warps[index].committed[copy.lane as usize];
            let is_done = mask >> copy.lane & 1 == 1
                && groups
                    .is_none_or(|groups| copy.group < committed && committed - copy.group > groups);
            if !is_done {
                left.push(copy);
                continue;
            }
            if copy.fetch.is_some() {
                let moved = self.move_bytes(copy.to, copy.size, copy.fetch);
                moved.map_err(|fault| (Some(copy.lane as usize), fault))?;
            }
            let access = Access {
                warp: index as u32,
                at: copy.at,
            };
            self.shared.end_copy(copy.to, copy.size, access);
        }
        self.warps[index].copies = left;
        Ok(())
    }

    /// Checks the source of a copy: aligned to the copy's size, in bounds for what is read.
    fn check_source(
        &mut self,
        address: u64,
        copied: usize,
        size: usize,
    ) -> Result<(), crate::Fault> {
        if !address.is_multiple_of(size as u64) {
            let space = Space::Global;
            return Err(crate::Fault::Misaligned {
                space,
                address,
                align: size,
            });
        }
        self.hint = self.device.locate(address, copied, self.hint)?.0;
        Ok(())
    }

    /// Fills shared bytes from device memory; what is not fetched becomes zero.
    fn move_bytes(
        &mut self,
        to: usize,
        size: usize,
        fetch: Option<(u64, usize)>,
    ) -> Result<(), crate::Fault> {
        let mut value = 0;
        if let Some((address, copied)) = fetch {
            let (region, at) = self.device.locate(address, copied, self.hint)?;
            let bytes = self.device.bytes(region);
            let unwritten = bytes.first_unwritten(at, copied);
            if self.options.check_poison
                && let Some(found) = unwritten
            {
                let address = address + (found - at) as u64;
                return Err(crate::Fault::Uninitialised {
                    space: Space::Global,
                    address,
                });
            }
            value = bytes.read(at, copied);
        }
        self.shared.bytes.write(to, size, value);
        Ok(())
    }
}
