//! A run of bytes in which each byte knows whether it was written.

/// The value of bytes nobody wrote: NaN in every float format.
const POISON: u8 = 0xff;

/// Bytes and their initialisation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bytes {
    data: Vec<u8>,
    written: Vec<u8>,
}

impl Bytes {
    pub(crate) fn poisoned(len: usize) -> Self {
        Self {
            data: vec![POISON; len],
            written: vec![0; len],
        }
    }

    pub(crate) fn poison(&mut self) {
        self.data.fill(POISON);
        self.written.fill(0);
    }

    /// Whether `size` bytes at `at` lie inside.
    pub(crate) fn contains(&self, at: u64, size: usize) -> bool {
        at.checked_add(size as u64)
            .is_some_and(|end| end <= self.data.len() as u64)
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Up to 16 bytes as a little-endian number.
    pub(crate) fn read(&self, at: usize, size: usize) -> u128 {
        let bytes = &self.data[at..at + size];
        match size {
            4 => u128::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            _ => {
                let mut wide = [0; 16];
                wide[..size].copy_from_slice(bytes);
                u128::from_le_bytes(wide)
            }
        }
    }

    pub(crate) fn write(&mut self, at: usize, size: usize, value: u128) {
        self.data[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        self.written[at..at + size].fill(1);
    }

    pub(crate) fn write_slice(&mut self, at: usize, data: &[u8]) {
        self.data[at..at + data.len()].copy_from_slice(data);
        self.written[at..at + data.len()].fill(1);
    }

    /// The first byte of the range that was never written.
    pub(crate) fn first_unwritten(&self, at: usize, size: usize) -> Option<usize> {
        self.written[at..at + size]
            .iter()
            .position(|written| *written == 0)
            .map(|i| at + i)
    }
}
