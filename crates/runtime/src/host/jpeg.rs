//! JPEG to pixels: sequential and progressive, 8 bits, gray or of three components.
//!
//! ONNX asks for libjpeg's pixels: crates that decode JPEG miss them by a unit or two, so it is
//! done here.

mod entropy;
mod pixels;

#[cfg(test)]
mod tests;

use entropy::{Band, Bits, Huffman, Progress, ZIGZAG};
use pixels::Plane;

use crate::StepError;

/// The data are no JPEG image that can be decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Damaged;

#[derive(Clone, Debug)]
struct Component {
    id: u8,
    /// Samples of an MCU across and down, in blocks.
    across: usize,
    down: usize,
    quantization: usize,
    /// Extents in samples.
    width: usize,
    height: usize,
    /// Blocks of a row and rows of blocks, padded to whole MCUs.
    columns: usize,
    rows: usize,
    coefficients: Vec<i16>,
}

#[derive(Default)]
struct Decoder {
    quantization: [Option<[u16; 64]>; 4],
    codes: [[Option<Huffman>; 4]; 2],
    restart: usize,
    width: usize,
    height: usize,
    progressive: bool,
    components: Vec<Component>,
    /// What the Adobe marker says of colours: 0 if they are as they are.
    transform: Option<u8>,
}

/// Width, height, and a byte for each of red, green and blue; `None` where the data are damaged or
/// of a kind that is not known. `room` bounds the memory.
pub(super) fn decode(
    bytes: &[u8],
    room: u64,
) -> Result<Option<(usize, usize, Vec<u8>)>, StepError> {
    let mut decoder = Decoder::default();
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        let Ok(Some((marker, segment, behind))) = segment(rest) else {
            // Data that end early have no pixels for the rest, as nothing says how they should.
            return Ok(None);
        };
        rest = behind;
        let read = match marker {
            0xd9 => break,
            0xdb => decoder.quantization(segment),
            0xc4 => decoder.huffman(segment),
            0xdd => decoder.interval(segment),
            0xee => decoder.adobe(segment),
            0xc0..=0xc2 => match decoder.frame(segment, marker == 0xc2) {
                Ok(()) => {
                    decoder.allocate(room)?;
                    Ok(())
                }
                Err(damaged) => Err(damaged),
            },
            0xda => {
                let end = scan_end(rest);
                let scan = decoder.scan(segment, &rest[..end]);
                rest = &rest[end..];
                scan
            }
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => Err(Damaged),
            _ => Ok(()),
        };
        if read.is_err() {
            return Ok(None);
        }
    }
    Ok(decoder.pixels().ok())
}

/// The next marker, its segment, and what follows it.
fn segment(bytes: &[u8]) -> Result<Option<(u8, &[u8], &[u8])>, Damaged> {
    let start = bytes.iter().position(|byte| *byte == 0xff).ok_or(Damaged)?;
    let rest = &bytes[start..];
    let marker_at = rest.iter().position(|byte| *byte != 0xff).ok_or(Damaged)?;
    let (marker, rest) = (rest[marker_at], &rest[marker_at + 1..]);
    if matches!(marker, 0xd0..=0xd9 | 0x01 | 0x00) {
        return Ok(Some((marker, &[], rest)));
    }
    let (length, _) = rest.split_first_chunk::<2>().ok_or(Damaged)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let segment = rest.get(2..length).ok_or(Damaged)?;
    Ok(Some((marker, segment, &rest[length..])))
}

/// Where a scan's data end: at the first marker that is no restart.
fn scan_end(bytes: &[u8]) -> usize {
    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
    bytes.windows(2).position(ends).unwrap_or(bytes.len())
}

impl Decoder {
    fn quantization(&mut self, mut segment: &[u8]) -> Result<(), Damaged> {
        while let Some((&kind, rest)) = segment.split_first() {
            let wide = usize::from(kind >> 4 != 0);
            let table = self
                .quantization
                .get_mut(usize::from(kind & 15))
                .ok_or(Damaged)?;
            let values = rest.get(..64 << wide).ok_or(Damaged)?;
            let mut steps = [0; 64];
            for (k, place) in ZIGZAG.iter().enumerate() {
                steps[usize::from(*place)] = match wide {
                    0 => u16::from(values[k]),
                    _ => u16::from_be_bytes([values[2 * k], values[2 * k + 1]]),
                };
            }
            *table = Some(steps);
            segment = &rest[64 << wide..];
        }
        Ok(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Result<(), Damaged> {
        while let Some((&kind, rest)) = segment.split_first() {
            let counts = rest.get(..16).ok_or(Damaged)?;
            let count = counts
                .iter()
                .map(|count| usize::from(*count))
                .sum::<usize>();
            let values = rest.get(16..16 + count).ok_or(Damaged)?;
            let class = self.codes.get_mut(usize::from(kind >> 4)).ok_or(Damaged)?;
            let code = class.get_mut(usize::from(kind & 15)).ok_or(Damaged)?;
            *code = Some(Huffman::new(counts, values)?);
            segment = &rest[16 + count..];
        }
        Ok(())
    }

    fn interval(&mut self, segment: &[u8]) -> Result<(), Damaged> {
        let interval = segment.first_chunk::<2>().ok_or(Damaged)?;
        self.restart = usize::from(u16::from_be_bytes(*interval));
        Ok(())
    }

    fn adobe(&mut self, segment: &[u8]) -> Result<(), Damaged> {
        if segment.starts_with(b"Adobe") {
            self.transform = segment.get(11).copied();
        }
        Ok(())
    }

    fn frame(&mut self, segment: &[u8], progressive: bool) -> Result<(), Damaged> {
        let &[bits, h1, h0, w1, w0, count, ref rest @ ..] = segment else {
            return Err(Damaged);
        };
        let (height, width) = (u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]));
        let (height, width) = (usize::from(height), usize::from(width));
        let is_known = bits == 8 && matches!(count, 1 | 3) && width > 0 && height > 0;
        if !is_known || rest.len() != 3 * usize::from(count) || !self.components.is_empty() {
            return Err(Damaged);
        }
        (self.height, self.width, self.progressive) = (height, width, progressive);
        for part in rest.chunks_exact(3) {
            let (across, down) = (usize::from(part[1] >> 4), usize::from(part[1] & 15));
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return Err(Damaged);
            }
            self.components.push(Component {
                id: part[0],
                across,
                down,
                quantization: usize::from(part[2]),
                width: 0,
                height: 0,
                columns: 0,
                rows: 0,
                coefficients: Vec::new(),
            });
        }
        let (most_across, most_down) = self.most();
        // An image of one component has blocks as they come.
        if let [only] = self.components.as_mut_slice() {
            (only.across, only.down) = (1, 1);
        }
        let (most_across, most_down) = match self.components.len() {
            1 => (1, 1),
            _ => (most_across, most_down),
        };
        let mcus = (
            width.div_ceil(8 * most_across),
            height.div_ceil(8 * most_down),
        );
        for component in &mut self.components {
            component.width = (width * component.across).div_ceil(most_across);
            component.height = (height * component.down).div_ceil(most_down);
            component.columns = mcus.0 * component.across;
            component.rows = mcus.1 * component.down;
            if most_across % component.across != 0 || most_down % component.down != 0 {
                return Err(Damaged);
            }
        }
        Ok(())
    }

    fn most(&self) -> (usize, usize) {
        let across = self.components.iter().map(|component| component.across);
        let down = self.components.iter().map(|component| component.down);
        (across.max().unwrap_or(1), down.max().unwrap_or(1))
    }

    /// Memory for coefficients; samples and pixels will need no more than that again.
    fn allocate(&mut self, room: u64) -> Result<(), StepError> {
        let blocks = self
            .components
            .iter()
            .map(|part| part.columns as u64 * part.rows as u64);
        let needed = blocks.sum::<u64>() * 64 * 4 + self.width as u64 * self.height as u64 * 3;
        crate::bind::limit(needed, room)?;
        for component in &mut self.components {
            component.coefficients = vec![0; component.columns * component.rows * 64];
        }
        Ok(())
    }

    fn scan(&mut self, segment: &[u8], data: &[u8]) -> Result<(), Damaged> {
        let (&count, rest) = segment.split_first().ok_or(Damaged)?;
        let count = usize::from(count);
        let parts = rest.get(..2 * count).ok_or(Damaged)?;
        let &[start, end, bits] = &rest[2 * count..] else {
            return Err(Damaged);
        };
        let band = Band {
            start: usize::from(start),
            end: usize::from(end),
            high: u32::from(bits >> 4),
            low: u32::from(bits & 15),
            progressive: self.progressive,
        };
        let is_whole = (band.start, band.end, band.high, band.low) == (0, 63, 0, 0);
        let is_part = band.start <= band.end && band.end < 64 && band.low < 14;
        let one_kind = if band.start == 0 {
            band.end == 0
        } else {
            count == 1
        };
        if if self.progressive {
            !is_part || !one_kind
        } else {
            !is_whole
        } {
            return Err(Damaged);
        }
        // Positions of the scan's components, and their codes.
        let mut chosen = Vec::new();
        for part in parts.chunks_exact(2) {
            let found = self
                .components
                .iter()
                .position(|component| component.id == part[0]);
            let code = |class: usize, number: u8| {
                self.codes[class]
                    .get(usize::from(number))
                    .cloned()
                    .flatten()
            };
            chosen.push((
                found.ok_or(Damaged)?,
                code(0, part[1] >> 4),
                code(1, part[1] & 15),
            ));
        }
        if chosen.is_empty() || chosen.len() > 4 {
            return Err(Damaged);
        }
        let (mut bits, mut progress) = (Bits::new(data), Progress::default());
        let (most_across, most_down) = self.most();
        // A scan of one component holds the blocks that have samples, else whole MCUs.
        let single = match chosen.as_slice() {
            [(only, ..)] => Some(*only),
            _ => None,
        };
        let (columns, rows) = match single {
            Some(only) => {
                let component = &self.components[only];
                (component.width.div_ceil(8), component.height.div_ceil(8))
            }
            None => (
                self.width.div_ceil(8 * most_across),
                self.height.div_ceil(8 * most_down),
            ),
        };
        for mcu in 0..columns * rows {
            if self.restart > 0 && mcu > 0 && mcu % self.restart == 0 {
                bits.restart()?;
                progress = Progress::default();
            }
            let (row, column) = (mcu / columns, mcu % columns);
            for (index, (component, dc, ac)) in chosen.iter().enumerate() {
                let component = &mut self.components[*component];
                let (across, down) = match single {
                    Some(_) => (1, 1),
                    None => (component.across, component.down),
                };
                for block in 0..across * down {
                    let row = row * down + block / across;
                    let at = row * component.columns + column * across + block % across;
                    let own = component.coefficients.get_mut(at * 64..at * 64 + 64);
                    let own = own.ok_or(Damaged)?;
                    let codes = (dc.as_ref(), ac.as_ref());
                    entropy::block(&mut bits, own, codes, band, &mut progress, index)?;
                }
            }
        }
        Ok(())
    }

    fn pixels(&self) -> Result<(usize, usize, Vec<u8>), Damaged> {
        let (most_across, most_down) = self.most();
        let mut planes = Vec::new();
        for component in &self.components {
            let steps = self
                .quantization
                .get(component.quantization)
                .copied()
                .flatten();
            planes.push(component.plane(&steps.ok_or(Damaged)?));
        }
        let is_coloured = match (self.transform, self.components.as_slice()) {
            (Some(transform), _) => transform != 0,
            (None, [red, green, blue]) => [red.id, green.id, blue.id] != *b"RGB",
            (None, _) => true,
        };
        let mut rgb = Vec::with_capacity(self.width * self.height * 3);
        for row in 0..self.height {
            let expanded = |k: usize| {
                let component = &self.components[k];
                let factors = (most_across / component.across, most_down / component.down);
                planes[k].expanded(row, factors, self.width)
            };
            match planes.len() {
                0 => return Err(Damaged),
                1 => rgb.extend(expanded(0).into_iter().flat_map(|value| [value; 3])),
                _ => {
                    let (a, b, c) = (expanded(0), expanded(1), expanded(2));
                    for ((a, b), c) in a.into_iter().zip(b).zip(c) {
                        rgb.extend(if is_coloured {
                            pixels::colour(a, b, c)
                        } else {
                            [a, b, c]
                        });
                    }
                }
            }
        }
        match rgb.len() == self.width * self.height * 3 {
            true => Ok((self.width, self.height, rgb)),
            false => Err(Damaged),
        }
    }
}

impl Component {
    fn plane(&self, steps: &[u16; 64]) -> Plane {
        let mut samples = vec![0; self.width * self.height];
        for (at, block) in self.coefficients.chunks_exact(64).enumerate() {
            let (row, column) = (at / self.columns * 8, at % self.columns * 8);
            if row >= self.height || column >= self.width {
                continue;
            }
            let width = (self.width - column).min(8);
            let block = pixels::samples(block, steps);
            let lines = block.chunks_exact(8).take(self.height - row).enumerate();
            for (line, values) in lines {
                let begin = (row + line) * self.width + column;
                samples[begin..begin + width].copy_from_slice(&values[..width]);
            }
        }
        Plane {
            width: self.width,
            height: self.height,
            samples,
        }
    }
}
