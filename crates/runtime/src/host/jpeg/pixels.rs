//! Coefficients to pixels, to the bit as libjpeg has it by default: the accurate integer transform,
//! chroma that is interpolated, and colours in 16 fractional bits.

const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;

/// One dimension of the inverse transform: 8 values in, 8 sums in `CONST_BITS` fractional bits out.
/// Of 64 bits, so that nothing overflows that no encoder makes.
fn transform(x: [i64; 8]) -> [i64; 8] {
    let z1 = (x[2] + x[6]) * 4433;
    let (t2, t3) = (z1 - x[6] * 15137, z1 + x[2] * 6270);
    let (t0, t1) = ((x[0] + x[4]) << CONST_BITS, (x[0] - x[4]) << CONST_BITS);
    let even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3];
    let (z1, z2, z3, z4) = (x[7] + x[1], x[5] + x[3], x[7] + x[3], x[5] + x[1]);
    let z5 = (z3 + z4) * 9633;
    let (z1, z2) = (z1 * -7373, z2 * -20995);
    let (z3, z4) = (z3 * -16069 + z5, z4 * -3196 + z5);
    let odd = [
        x[1] * 12299 + z1 + z4,
        x[3] * 25172 + z2 + z3,
        x[5] * 16819 + z2 + z4,
        x[7] * 2446 + z1 + z3,
    ];
    let mut y = [0; 8];
    for k in 0..4 {
        y[k] = even[k] + odd[k];
        y[7 - k] = even[k] - odd[k];
    }
    y
}

fn descale(value: i64, bits: u32) -> i64 {
    (value + (1 << (bits - 1))) >> bits
}

/// The samples of a block, row by row.
pub(super) fn samples(coefficients: &[i16], quantization: &[u16; 64]) -> [u8; 64] {
    let value = |at: usize| i64::from(coefficients[at]) * i64::from(quantization[at]);
    let mut work = [0; 64];
    for column in 0..8 {
        let y = transform(std::array::from_fn(|row| value(row * 8 + column)));
        for (row, y) in y.into_iter().enumerate() {
            work[row * 8 + column] = descale(y, CONST_BITS - PASS1_BITS);
        }
    }
    let mut samples = [0; 64];
    for row in 0..8 {
        let y = transform(std::array::from_fn(|column| work[row * 8 + column]));
        for (column, y) in y.into_iter().enumerate() {
            let sample = descale(y, CONST_BITS + PASS1_BITS + 3) + 128;
            samples[row * 8 + column] = sample.clamp(0, 255) as u8;
        }
    }
    samples
}

/// Samples of one component.
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) samples: Vec<u8>,
}

impl Plane {
    fn row(&self, row: usize) -> &[u8] {
        let row = row.min(self.height - 1);
        &self.samples[row * self.width..(row + 1) * self.width]
    }

    /// The component's samples of a row of the image, which is `across` times as wide and `down`
    /// times as high.
    pub(super) fn expanded(
        &self,
        row: usize,
        (across, down): (usize, usize),
        width: usize,
    ) -> Vec<u8> {
        let own = self.row(row / down);
        // The row that is nearest but for the own one.
        let other = match row % down {
            0 => self.row((row / down).saturating_sub(1)),
            _ => self.row(row / down + 1),
        };
        let mut values = match (across, down) {
            (2, 1) if self.width > 2 => double(own),
            (2, 2) if self.width > 2 => quadruple(own, other),
            (1, 2) => {
                let bias = 1 + (row % 2) as u16;
                let pairs = own.iter().zip(other);
                pairs
                    .map(|(&own, &other)| {
                        ((u16::from(own) * 3 + u16::from(other) + bias) >> 2) as u8
                    })
                    .collect()
            }
            _ => own
                .iter()
                .flat_map(|&value| std::iter::repeat_n(value, across))
                .collect(),
        };
        values.truncate(width);
        values
    }
}

/// A row of twice as many values, each three quarters of the nearer and a quarter of the other.
fn double(own: &[u8]) -> Vec<u8> {
    let last = own.len() - 1;
    let at = |k: usize| u16::from(own[k]);
    let mut values = Vec::with_capacity(own.len() * 2);
    for k in 0..=last {
        values.push(match k {
            0 => own[0],
            _ => ((at(k) * 3 + at(k - 1) + 1) >> 2) as u8,
        });
        values.push(match k {
            _ if k == last => own[last],
            _ => ((at(k) * 3 + at(k + 1) + 2) >> 2) as u8,
        });
    }
    values
}

/// As [`double`], in both directions.
fn quadruple(own: &[u8], other: &[u8]) -> Vec<u8> {
    let last = own.len() - 1;
    let at = |k: usize| u16::from(own[k]) * 3 + u16::from(other[k]);
    let mut values = Vec::with_capacity(own.len() * 2);
    for k in 0..=last {
        let left = if k == 0 {
            at(k) * 4
        } else {
            at(k) * 3 + at(k - 1)
        };
        let right = if k == last {
            at(k) * 4
        } else {
            at(k) * 3 + at(k + 1)
        };
        values.push(((left + 8) >> 4) as u8);
        values.push(((right + 7) >> 4) as u8);
    }
    values
}

/// Red, green and blue of luminance and chroma.
pub(super) fn colour(luminance: u8, blue: u8, red: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (
        i32::from(luminance),
        i32::from(blue) - 128,
        i32::from(red) - 128,
    );
    let parts = [
        y + ((91_881 * cr + HALF) >> 16),
        y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16),
        y + ((116_130 * cb + HALF) >> 16),
    ];
    parts.map(|part| part.clamp(0, 255) as u8)
}
