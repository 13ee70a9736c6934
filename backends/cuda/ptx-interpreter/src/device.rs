//! Device memory: allocations with gaps between, each with bounds and initialisation of its own.

use crate::bytes::Bytes;
use crate::error::{Error, Fault};
use crate::types::Space;

/// Where the first allocation lies, and the gap kept between allocations.
const BASE: u64 = 0x7000_0000_0000;
const GAP: u64 = 1 << 20;
/// Alignment of allocations, as drivers give it.
const ALIGN: u64 = 256;

#[derive(Debug)]
struct Region {
    base: u64,
    bytes: Bytes,
    size: usize,
    live: bool,
}

/// A simulated device: its memory outlives launches.
#[derive(Debug)]
pub struct Device {
    /// By ascending base; freed regions stay so that late accesses are named.
    regions: Vec<Region>,
    next: u64,
}

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

impl Device {
    /// A device with no allocation.
    pub fn new() -> Self {
        Self {
            regions: Vec::new(),
            next: BASE,
        }
    }

    /// Allocates `size` bytes of poisoned memory, aligned to 256 bytes.
    pub fn alloc(&mut self, size: usize) -> u64 {
        let base = self.next;
        self.next = (base + size as u64 + GAP).next_multiple_of(ALIGN);
        self.regions.push(Region {
            base,
            bytes: Bytes::poisoned(size),
            size,
            live: true,
        });
        base
    }

    /// Allocates and fills.
    pub fn alloc_with(&mut self, data: &[u8]) -> u64 {
        let base = self.alloc(data.len());
        if let Some(region) = self.regions.last_mut() {
            region.bytes.write_slice(0, data);
        }
        base
    }

    /// Frees the allocation that starts at `address`.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] where no live allocation starts there.
    pub fn free(&mut self, address: u64) -> Result<(), Error> {
        let found = self
            .regions
            .iter_mut()
            .find(|r| r.live && r.base == address);
        let outside = Fault::OutOfBounds {
            space: Space::Global,
            address,
            size: 0,
        };
        let region = found.ok_or(Error::Host(outside))?;
        region.live = false;
        region.bytes = Bytes::default();
        Ok(())
    }

    /// Writes `data` at `address`, anywhere inside one allocation.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] where the bytes are not inside one live allocation.
    pub fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Error> {
        let (index, at) = self.locate(address, data.len(), 0).map_err(Error::Host)?;
        self.regions[index].bytes.write_slice(at, data);
        Ok(())
    }

    /// Reads `into.len()` bytes at `address`; bytes never written read as `0xff`.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] where the bytes are not inside one live allocation.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Error> {
        let (index, at) = self.locate(address, into.len(), 0).map_err(Error::Host)?;
        into.copy_from_slice(&self.regions[index].bytes.data()[at..at + into.len()]);
        Ok(())
    }

    /// Address of the first byte in the range that neither host nor kernel has written.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] where the bytes are not inside one live allocation.
    pub fn first_unwritten(&self, address: u64, size: usize) -> Result<Option<u64>, Error> {
        let (index, at) = self.locate(address, size, 0).map_err(Error::Host)?;
        let region = &self.regions[index];
        Ok(region
            .bytes
            .first_unwritten(at, size)
            .map(|at| region.base + at as u64))
    }

    /// The region of an access and the offset in it; `hint` is a region likely to hold it.
    pub(crate) fn locate(
        &self,
        address: u64,
        size: usize,
        hint: usize,
    ) -> Result<(usize, usize), Fault> {
        let inside = |region: &Region| {
            address >= region.base && region.bytes.contains(address - region.base, size)
        };
        if let Some(region) = self.regions.get(hint).filter(|r| r.live && inside(r)) {
            return Ok((hint, (address - region.base) as usize));
        }
        let after = self
            .regions
            .partition_point(|region| region.base <= address);
        let outside = Fault::OutOfBounds {
            space: Space::Global,
            address,
            size,
        };
        let Some(index) = after.checked_sub(1) else {
            return Err(outside);
        };
        let region = &self.regions[index];
        let offset = address - region.base;
        if !region.live && offset < region.size as u64 {
            return Err(Fault::Freed { address, size });
        }
        if !region.live || !inside(region) {
            return Err(outside);
        }
        Ok((index, offset as usize))
    }

    pub(crate) fn bytes(&self, region: usize) -> &Bytes {
        &self.regions[region].bytes
    }

    pub(crate) fn bytes_mut(&mut self, region: usize) -> &mut Bytes {
        &mut self.regions[region].bytes
    }
}
