//! Loads, stores and atomics of every space, with bounds, alignment, poison, races and counters.

use super::block::Launch;
use super::step::{Faulty, element, window_of};
use super::value;
use super::warp::each;
use crate::bytes::Bytes;
use crate::error::Fault;
use crate::program::{Address, Atomic, Fit, Reg};
use crate::shared::{Access, Conflict, Touch};
use crate::types::{Space, Type};

/// Bytes of a sector of device memory.
const SECTOR_BYTES: u64 = 32;

/// Where one lane's access goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) space: Space,
    /// Region of device memory.
    region: usize,
    /// Offset in the region or space.
    pub(super) at: usize,
    /// Address as the kernel sees it.
    pub(super) address: u64,
}

impl Launch<'_> {
    pub(super) fn load(
        &mut self,
        index: usize,
        at: u32,
        mask: u32,
        address: Address,
        ty: Type,
        parts: &[Option<(Reg, u32)>],
    ) -> Result<(), Faulty> {
        let size = ty.bytes() * parts.len();
        let access = Access {
            warp: index as u32,
            at,
        };
        let mut values = [0u128; 32];
        let mut places = [None; 32];
        for lane in each(mask) {
            let value = self.place(index, lane, address, size).and_then(|place| {
                places[lane] = Some(place);
                self.read(place, size, access, Touch::Read)
            });
            values[lane] = value.map_err(|fault| (Some(lane), fault))?;
        }
        self.count(&places, size, false);
        let warp = &mut self.warps[index];
        for (slot, part) in parts.iter().enumerate() {
            let Some((reg, bits)) = part else { continue };
            let out = values.map(|value| ty.extend(element(value, slot, ty), *bits));
            warp.set(*reg, mask, &out);
        }
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        index: usize,
        at: u32,
        mask: u32,
        address: Address,
        ty: Type,
        parts: &[Reg],
    ) -> Result<(), Faulty> {
        let size = ty.bytes() * parts.len();
        let access = Access {
            warp: index as u32,
            at,
        };
        let mut places = [None; 32];
        for lane in each(mask) {
            let mut value = 0u128;
            for (slot, part) in parts.iter().enumerate() {
                let bits = self.warps[index].lanes(*part)[lane] & ty.mask();
                value |= u128::from(bits) << (slot as u32 * ty.bits());
            }
            let done = self.place(index, lane, address, size).and_then(|place| {
                places[lane] = Some(place);
                self.write(place, size, value, Some(access))
            });
            done.map_err(|fault| (Some(lane), fault))?;
        }
        self.count(&places, size, true);
        Ok(())
    }

    pub(super) fn atomic(
        &mut self,
        index: usize,
        at: u32,
        mask: u32,
        f: Atomic,
        ty: Type,
        address: Address,
        d: Option<Reg>,
        [b, c]: [Reg; 2],
    ) -> Result<(), Faulty> {
        let access = Access {
            warp: index as u32,
            at,
        };
        let mut out = [0; 32];
        let mut places = [None; 32];
        for lane in each(mask) {
            let (b, c) = (
                self.warps[index].lanes(b)[lane],
                self.warps[index].lanes(c)[lane],
            );
            let old = self
                .place(index, lane, address, ty.bytes())
                .and_then(|place| {
                    places[lane] = Some(place);
                    let old = self.read(place, ty.bytes(), access, Touch::Atomic)? as u64;
                    let new = updated(f, old, b, c) & ty.mask();
                    self.write(place, ty.bytes(), u128::from(new), None)?;
                    Ok(old)
                });
            out[lane] = old.map_err(|fault| (Some(lane), fault))?;
        }
        self.count(&places, ty.bytes(), true);
        if let Some(d) = d {
            self.warps[index].set(d, mask, &out);
        }
        Ok(())
    }

    /// The place of a lane's access, checked for alignment and bounds.
    pub(super) fn place(
        &mut self,
        index: usize,
        lane: usize,
        address: Address,
        size: usize,
    ) -> Result<Place, Fault> {
        let base = self.warps[index].lanes(address.base)[lane];
        let ea = base.wrapping_add_signed(address.offset);
        let (space, local) = match address.space {
            Space::Generic => window_of(ea),
            space => (space, ea),
        };
        if !local.is_multiple_of(size as u64) {
            return Err(Fault::Misaligned {
                space,
                address: ea,
                align: size,
            });
        }
        let outside = Fault::OutOfBounds {
            space,
            address: ea,
            size,
        };
        let (region, at) = match space {
            Space::Global | Space::Generic => {
                let found = self.device.locate(ea, size, self.hint)?;
                self.hint = found.0;
                found
            }
            Space::Local => {
                if local
                    .checked_add(size as u64)
                    .is_none_or(|e| e > self.kernel.local_bytes as u64)
                {
                    return Err(outside);
                }
                (
                    0,
                    (index * 32 + lane) * self.kernel.local_bytes + local as usize,
                )
            }
            Space::Shared if self.shared.bytes.contains(local, size) => (0, local as usize),
            Space::Param if self.params.contains(local, size) => (0, local as usize),
            Space::Const
                if local
                    .checked_add(size as u64)
                    .is_some_and(|end| end <= self.module.constants.len() as u64) =>
            {
                (0, local as usize)
            }
            Space::Shared | Space::Param | Space::Const => return Err(outside),
        };
        Ok(Place {
            space,
            region,
            at,
            address: ea,
        })
    }

    pub(super) fn read(
        &mut self,
        place: Place,
        size: usize,
        access: Access,
        touch: Touch,
    ) -> Result<u128, Fault> {
        let bytes: &Bytes = match place.space {
            Space::Global | Space::Generic => self.device.bytes(place.region),
            Space::Shared => {
                let noted = self.shared.note(place.at, size, access, touch);
                noted.map_err(|conflict| self.race(conflict))?;
                &self.shared.bytes
            }
            Space::Local => &self.local,
            Space::Param => &self.params,
            Space::Const => {
                let mut wide = [0; 16];
                wide[..size].copy_from_slice(&self.module.constants[place.at..place.at + size]);
                return Ok(u128::from_le_bytes(wide));
            }
        };
        if self.options.check_poison
            && let Some(at) = bytes.first_unwritten(place.at, size)
        {
            let address = place.address + (at - place.at) as u64;
            return Err(Fault::Uninitialised {
                space: place.space,
                address,
            });
        }
        Ok(bytes.read(place.at, size))
    }

    /// Writes; `access` is `None` where the read of the same atomic was noted.
    pub(super) fn write(
        &mut self,
        place: Place,
        size: usize,
        value: u128,
        access: Option<Access>,
    ) -> Result<(), Fault> {
        let bytes = match place.space {
            Space::Global | Space::Generic => self.device.bytes_mut(place.region),
            Space::Shared => {
                if let Some(access) = access {
                    let noted = self.shared.note(place.at, size, access, Touch::Write);
                    noted.map_err(|conflict| self.race(conflict))?;
                }
                &mut self.shared.bytes
            }
            Space::Local => &mut self.local,
            Space::Param | Space::Const => {
                return Err(Fault::ReadOnly {
                    space: place.space,
                    address: place.address,
                });
            }
        };
        bytes.write(place.at, size, value);
        Ok(())
    }

    pub(super) fn race(&self, conflict: Conflict) -> Fault {
        let other_line = self.line_of(conflict.other_at);
        match conflict.kind {
            None => Fault::PendingCopy {
                address: conflict.byte as u64,
                other_warp: conflict.other_warp,
                other_line,
            },
            Some(kind) => Fault::Race {
                address: conflict.byte as u64,
                kind,
                other_warp: conflict.other_warp,
                other_line,
                other_instruction: self.module.line(other_line),
            },
        }
    }

    /// Counts the bytes, sectors and bank conflicts of one warp access.
    pub(super) fn count(&mut self, places: &[Option<Place>; 32], size: usize, is_write: bool) {
        let bytes = |space: Space| {
            (size
                * places
                    .iter()
                    .flatten()
                    .filter(|place| place.space == space)
                    .count()) as u64
        };
        let stats = &mut self.stats;
        let (global, shared) = (bytes(Space::Global), bytes(Space::Shared));
        if is_write {
            stats.global_write_bytes += global;
            stats.shared_write_bytes += shared;
        } else {
            stats.global_read_bytes += global;
            stats.shared_read_bytes += shared;
        }
        stats.local_bytes += bytes(Space::Local);
        if global > 0 {
            stats.global_sectors += sectors(places);
        }
        if shared > 0 {
            stats.bank_conflicts += bank_conflicts(places, size);
        }
    }
}

/// Distinct sectors that one warp access touches; an access never crosses a sector.
fn sectors(places: &[Option<Place>; 32]) -> u64 {
    let mut seen = [0u64; 32];
    let mut count = 0;
    for place in places
        .iter()
        .flatten()
        .filter(|place| place.space == Space::Global)
    {
        let sector = place.address / SECTOR_BYTES;
        // Neighbouring lanes mostly share the latest sector.
        if !seen[..count].iter().rev().any(|other| *other == sector) {
            seen[count] = sector;
            count += 1;
        }
    }
    count as u64
}

/// Passes beyond the first that banks need: 32 banks of 4 bytes, and accesses of 8 and 16 bytes
/// served in two and four groups of lanes.
fn bank_conflicts(places: &[Option<Place>; 32], size: usize) -> u64 {
    let words = size.div_ceil(4);
    let group = 32 / words;
    let mut extra = 0;
    for lanes in places.chunks(group) {
        let mut seen = [0usize; 128];
        let mut count = 0;
        let mut depth = [0u8; 32];
        for place in lanes
            .iter()
            .flatten()
            .filter(|place| place.space == Space::Shared)
        {
            for word in place.at / 4..place.at / 4 + words {
                if !seen[..count].iter().rev().any(|other| *other == word) {
                    seen[count] = word;
                    count += 1;
                    depth[word % 32] += 1;
                }
            }
        }
        extra += u64::from(depth.iter().max().copied().unwrap_or(0).saturating_sub(1));
    }
    extra
}

/// The value that a read-modify-write leaves.
fn updated(f: Atomic, old: u64, b: u64, c: u64) -> u64 {
    match f {
        Atomic::Int(f) => f(old, b, 0, 0),
        Atomic::F32 => {
            let sum = f32::from_bits(old as u32) + f32::from_bits(b as u32);
            u64::from(sum.to_bits())
        }
        Atomic::F64 => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        Atomic::Half { format, packed } => {
            value::half(|a, b, _| a + b, format, packed, Fit::Plain, old, b, 0)
        }
        Atomic::Exchange => b,
        Atomic::CompareSwap => {
            if old == b {
                c
            } else {
                old
            }
        }
        Atomic::Increment => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        Atomic::Decrement => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    }
}
