//! Huffman codes and the coefficients that they stand for (ITU-T T.81, annexes F and G).

use super::Damaged;

/// Zigzag position to row-major position.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A code: for each length the least code of the next length, and where its values begin.
#[derive(Clone, Debug)]
pub(super) struct Huffman {
    /// For each length one more than its last code; 0 where it has none.
    ends: [i32; 17],
    /// What to add to a code of a length for the position of its value.
    offsets: [i32; 17],
    values: Vec<u8>,
}

impl Huffman {
    pub(super) fn new(counts: &[u8], values: &[u8]) -> Result<Huffman, Damaged> {
        let (mut ends, mut offsets) = ([0; 17], [0; 17]);
        let (mut code, mut position) = (0_i32, 0_i32);
        for length in 1..=16 {
            let count = i32::from(*counts.get(length - 1).ok_or(Damaged)?);
            offsets[length] = position - code;
            code += count;
            position += count;
            if code > 1 << length {
                return Err(Damaged);
            }
            ends[length] = if count > 0 { code } else { 0 };
            code <<= 1;
        }
        if values.len() != position as usize {
            return Err(Damaged);
        }
        Ok(Huffman {
            ends,
            offsets,
            values: values.to_vec(),
        })
    }
}

/// The bits of a scan's data, up to the next marker; zeros behind that.
pub(super) struct Bits<'b> {
    bytes: &'b [u8],
    at: usize,
    word: u64,
    left: u32,
    /// Zeros that were made up.
    beyond: usize,
}

/// Made-up bytes after which data are taken to be cut off.
const BEYOND_MAX: usize = 64;

impl<'b> Bits<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Bits<'b> {
        Bits {
            bytes,
            at: 0,
            word: 0,
            left: 0,
            beyond: 0,
        }
    }

    fn fill(&mut self) -> Result<(), Damaged> {
        while self.left <= 48 {
            let byte = match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), _) | (None, _) => {
                    self.beyond += 1;
                    if self.beyond > BEYOND_MAX {
                        return Err(Damaged);
                    }
                    0
                }
                (Some(byte), _) => {
                    self.at += 1;
                    *byte
                }
            };
            self.word = self.word << 8 | u64::from(byte);
            self.left += 8;
        }
        Ok(())
    }

    pub(super) fn take(&mut self, count: u32) -> Result<i32, Damaged> {
        if self.left < count {
            self.fill()?;
        }
        self.left -= count;
        Ok((self.word >> self.left & ((1 << count) - 1)) as i32)
    }

    fn symbol(&mut self, code: &Huffman) -> Result<u8, Damaged> {
        let mut bits = 0;
        for length in 1..=16 {
            bits = bits << 1 | self.take(1)?;
            if bits < code.ends[length] {
                let position = bits + code.offsets[length];
                return code.values.get(position as usize).copied().ok_or(Damaged);
            }
        }
        Err(Damaged)
    }

    /// A number of so many bits, whose first one says its sign.
    fn signed(&mut self, count: u32) -> Result<i32, Damaged> {
        if count == 0 {
            return Ok(0);
        }
        if count > 16 {
            return Err(Damaged);
        }
        let value = self.take(count)?;
        Ok(if value < 1 << (count - 1) {
            value - (1 << count) + 1
        } else {
            value
        })
    }

    /// Goes on behind the restart marker that must come next.
    pub(super) fn restart(&mut self) -> Result<(), Damaged> {
        (self.word, self.left, self.beyond) = (0, 0, 0);
        while self.bytes.get(self.at) == Some(&0xff) && self.bytes.get(self.at + 1) == Some(&0xff) {
            self.at += 1;
        }
        match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
            (Some(0xff), Some(0xd0..=0xd7)) => {
                self.at += 2;
                Ok(())
            }
            _ => Err(Damaged),
        }
    }
}

/// What a scan holds of each block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Bits that earlier scans left out, and that this one leaves out.
    pub(super) high: u32,
    pub(super) low: u32,
    pub(super) progressive: bool,
}

/// What goes from block to block.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The last DC value of each component of the scan.
    pub(super) predicted: [i32; 4],
    /// Blocks of the band that hold nothing more.
    pub(super) run: i32,
}

/// Reads what a scan holds of one block, of the scan's component `index`.
pub(super) fn block(
    bits: &mut Bits<'_>,
    coefficients: &mut [i16],
    (dc, ac): (Option<&Huffman>, Option<&Huffman>),
    band: Band,
    progress: &mut Progress,
    index: usize,
) -> Result<(), Damaged> {
    if band.start == 0 {
        if band.high > 0 {
            coefficients[0] |= (bits.take(1)? << band.low) as i16;
        } else {
            let size = bits.symbol(dc.ok_or(Damaged)?)?;
            let difference = bits.signed(u32::from(size))?;
            let predicted = &mut progress.predicted[index];
            *predicted = predicted.wrapping_add(difference);
            coefficients[0] = (*predicted << band.low) as i16;
        }
    }
    let first = band.start.max(1);
    if band.end < first {
        return Ok(());
    }
    let ac = ac.ok_or(Damaged)?;
    match (band.progressive, band.high) {
        (false, _) | (true, 0) => first_pass(bits, coefficients, ac, band, first, progress),
        (true, _) => refine(bits, coefficients, ac, band, first, progress),
    }
}

fn first_pass(
    bits: &mut Bits<'_>,
    coefficients: &mut [i16],
    ac: &Huffman,
    band: Band,
    first: usize,
    progress: &mut Progress,
) -> Result<(), Damaged> {
    if progress.run > 0 {
        progress.run -= 1;
        return Ok(());
    }
    let mut at = first;
    while at <= band.end {
        let symbol = bits.symbol(ac)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        match (zeros, size) {
            (15, 0) => at += 16,
            (_, 0) => {
                if band.progressive {
                    progress.run = (1 << zeros) - 1 + bits.take(zeros as u32)?;
                }
                break;
            }
            _ => {
                at += zeros;
                let place = *ZIGZAG.get(at).filter(|_| at <= band.end).ok_or(Damaged)?;
                coefficients[usize::from(place)] = (bits.signed(size)? << band.low) as i16;
                at += 1;
            }
        }
    }
    Ok(())
}

/// One bit more of what is there, and what becomes there by it.
fn refine(
    bits: &mut Bits<'_>,
    coefficients: &mut [i16],
    ac: &Huffman,
    band: Band,
    first: usize,
    progress: &mut Progress,
) -> Result<(), Damaged> {
    let bit = 1_i16 << band.low;
    let more = |bits: &mut Bits<'_>, value: &mut i16| -> Result<(), Damaged> {
        if bits.take(1)? != 0 && *value & bit == 0 {
            *value += if *value >= 0 { bit } else { -bit };
        }
        Ok(())
    };
    let mut at = first;
    if progress.run == 0 {
        while at <= band.end {
            let symbol = bits.symbol(ac)?;
            let (mut zeros, size) = (i32::from(symbol >> 4), symbol & 15);
            let mut new = 0;
            match (zeros, size) {
                (15, 0) => {}
                (_, 0) => {
                    progress.run = (1 << zeros) + bits.take(zeros as u32)?;
                    break;
                }
                (_, 1) => new = if bits.take(1)? != 0 { bit } else { -bit },
                _ => return Err(Damaged),
            }
            while at <= band.end {
                let value = &mut coefficients[usize::from(ZIGZAG[at])];
                if *value != 0 {
                    more(bits, value)?;
                } else if zeros == 0 {
                    *value = new;
                    at += 1;
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
        }
    }
    if progress.run > 0 {
        for &place in &ZIGZAG[at.min(64)..=band.end] {
            let value = &mut coefficients[usize::from(place)];
            if *value != 0 {
                more(bits, value)?;
            }
        }
        progress.run -= 1;
    }
    Ok(())
}
