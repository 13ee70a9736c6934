//! Element offsets as a function of an index: rows of A and C, entries of a batch.
//!
//! Closed forms cost no memory and serialise small; a table is the escape for anything else.

use serde::{Deserialize, Serialize};

/// A map from an index to an element offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offsets {
    /// `index * stride`.
    Uniform(isize),
    /// Three nested axes: with `index = (i0 * inner[0] + i1) * inner[1] + i2`, the offset is
    /// `i0 * strides[0] + i1 * strides[1] + i2 * strides[2]`. `inner` must not hold zeros.
    Grid {
        /// Dims of the two inner axes.
        inner: [usize; 2],
        /// Element strides, outermost first.
        strides: [isize; 3],
    },
    /// One offset per index; as long as the axis that it maps.
    Table(Vec<isize>),
}

impl Offsets {
    /// The offset at `index`.
    ///
    /// # Panics
    /// If a table is shorter than `index + 1` or a grid has an empty inner axis; descriptors check
    /// both when they are planned.
    #[inline]
    pub fn at(&self, index: usize) -> isize {
        match self {
            Self::Uniform(stride) => index as isize * stride,
            Self::Grid {
                inner: [d1, d2],
                strides,
            } => {
                let (rest, i2) = (index / d2, index % d2);
                let (i0, i1) = (rest / d1, rest % d1);
                i0 as isize * strides[0] + i1 as isize * strides[1] + i2 as isize * strides[2]
            }
            Self::Table(table) => table[index],
        }
    }

    /// Writes the offsets of `first..first + out.len()`, cheaper than one `at` for each.
    pub(crate) fn fill(&self, first: usize, out: &mut [isize]) {
        match self {
            Self::Uniform(stride) => {
                for (i, slot) in out.iter_mut().enumerate() {
                    *slot = (first + i) as isize * stride;
                }
            }
            Self::Grid {
                inner: [d1, d2],
                strides,
            } => {
                let (mut i2, rest) = (first % d2, first / d2);
                let (mut i1, mut i0) = (rest % d1, rest / d1);
                for slot in out.iter_mut() {
                    *slot = i0 as isize * strides[0]
                        + i1 as isize * strides[1]
                        + i2 as isize * strides[2];
                    i2 += 1;
                    if i2 == *d2 {
                        i2 = 0;
                        i1 += 1;
                        if i1 == *d1 {
                            i1 = 0;
                            i0 += 1;
                        }
                    }
                }
            }
            Self::Table(table) => out.copy_from_slice(&table[first..first + out.len()]),
        }
    }

    /// Whether every index below `count` has an offset.
    pub(crate) fn covers(&self, count: usize) -> bool {
        match self {
            Self::Uniform(_) => true,
            Self::Grid { inner, .. } => inner[0] > 0 && inner[1] > 0,
            Self::Table(table) => table.len() >= count,
        }
    }

    /// Lowest and highest offset over `0..count`; `None` if `count` is zero or a stride overflows.
    pub(crate) fn extent(&self, count: usize) -> Option<(isize, isize)> {
        let last = count.checked_sub(1)?;
        match self {
            Self::Uniform(stride) => span(&[(last, *stride)]),
            Self::Grid {
                inner: [d1, d2],
                strides,
            } => span(&[
                (last / d2 / d1, strides[0]),
                ((last / d2).min(d1 - 1), strides[1]),
                (last.min(d2 - 1), strides[2]),
            ]),
            Self::Table(table) => {
                let used = &table[..count];
                Some((*used.iter().min()?, *used.iter().max()?))
            }
        }
    }
}

/// Lowest and highest value of a sum of `0..=last` steps over `stride`; `None` on overflow.
pub(crate) fn span(axes: &[(usize, isize)]) -> Option<(isize, isize)> {
    let (mut low, mut high) = (0isize, 0isize);
    for &(last, stride) in axes {
        let reach = isize::try_from(last).ok()?.checked_mul(stride)?;
        low = low.checked_add(reach.min(0))?;
        high = high.checked_add(reach.max(0))?;
    }
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_and_extent_agree_with_at() {
        let forms = [
            Offsets::Uniform(-3),
            Offsets::Grid {
                inner: [3, 4],
                strides: [100, -10, 2],
            },
            Offsets::Table((0..40).map(|i| (i * 7) % 11).collect()),
        ];
        for form in forms {
            for first in [0, 1, 5, 13] {
                let mut out = [0isize; 27];
                form.fill(first, &mut out);
                for (i, &offset) in out.iter().enumerate() {
                    assert_eq!(offset, form.at(first + i), "{form:?} at {}", first + i);
                }
            }
            for count in 1..40 {
                let all: Vec<isize> = (0..count).map(|i| form.at(i)).collect();
                let (low, high) = form.extent(count).unwrap();
                assert!(low <= *all.iter().min().unwrap() && high >= *all.iter().max().unwrap());
            }
            assert_eq!(form.extent(0), None);
        }
    }

    #[test]
    fn overflowing_strides_have_no_extent() {
        assert_eq!(Offsets::Uniform(isize::MAX).extent(3), None);
    }
}
