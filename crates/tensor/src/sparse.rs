//! Zeros of constants: whether an annotation holds, and which one does.

use crate::{Sparsity, SparsityKind, Tensor};

/// Least part of zeros, per mille, that is worth an annotation.
const ZEROS_MIN: u16 = 500;

/// Patterns of whole groups that are looked for, the strictest first.
const GROUPS: [(usize, usize); 2] = [(1, 4), (2, 4)];

/// Sides of blocks that are looked for, the largest first.
const BLOCKS: [usize; 3] = [16, 8, 4];

impl Sparsity {
    /// The annotation of a constant with many zeros: groups along one of the axes that products
    /// are summed over, in order of preference, else blocks, else single elements.
    pub fn of(tensor: &Tensor, summed: &[usize]) -> Option<Sparsity> {
        let zeros = Zeros::of(tensor)?;
        let zeros_per_mille = zeros.per_mille();
        if zeros_per_mille < ZEROS_MIN {
            return None;
        }
        let groups = GROUPS.iter().flat_map(|&(n, m)| {
            let along = move |&axis: &usize| SparsityKind::NofM { n, m, axis };
            summed.iter().map(along)
        });
        let blocks = BLOCKS.iter().map(|&side| SparsityKind::Block {
            height: side,
            width: side,
        });
        let mut kinds = groups.chain(blocks);
        Some(Sparsity {
            kind: kinds
                .find(|kind| zeros.hold(kind))
                .unwrap_or(SparsityKind::Unstructured),
            zeros_per_mille,
        })
    }

    /// Whether it is true of a constant.
    pub fn holds(&self, tensor: &Tensor) -> bool {
        let zeros = Zeros::of(tensor);
        zeros.is_some_and(|zeros| {
            zeros.per_mille() >= self.zeros_per_mille && zeros.hold(&self.kind)
        })
    }
}

/// Which elements of a tensor are zero.
struct Zeros<'t> {
    shape: &'t [usize],
    is_zero: Vec<bool>,
    count: usize,
}

impl<'t> Zeros<'t> {
    fn of(tensor: &'t Tensor) -> Option<Zeros<'t>> {
        let (dtype, size) = (tensor.dtype(), tensor.dtype().size_bytes());
        // Not every narrow float has a zero, or one with a sign.
        let is_number = dtype.is_integer() || (dtype.is_float() && dtype.bits() >= 16);
        if !is_number || tensor.is_empty() {
            return None;
        }
        let sign = if dtype.is_float() { 0x80 } else { 0 };
        let is_zero: Vec<bool> = tensor
            .bytes()
            .chunks_exact(size)
            .map(|chunk| {
                let (rest, last) = chunk.split_at(size - 1);
                last[0] & !sign == 0 && rest.iter().all(|byte| *byte == 0)
            })
            .collect();
        let count = is_zero.iter().filter(|is_zero| **is_zero).count();
        Some(Zeros {
            shape: tensor.shape(),
            is_zero,
            count,
        })
    }

    fn per_mille(&self) -> u16 {
        (self.count as u128 * 1000 / self.is_zero.len() as u128) as u16
    }

    fn hold(&self, kind: &SparsityKind) -> bool {
        match *kind {
            SparsityKind::Unstructured => true,
            SparsityKind::NofM { n, m, axis } => self.hold_in_groups(n, m, axis),
            SparsityKind::Block { height, width } => self.hold_in_blocks(height, width),
        }
    }

    fn hold_in_groups(&self, n: usize, m: usize, axis: usize) -> bool {
        let Some(&extent) = self.shape.get(axis) else {
            return false;
        };
        if m == 0 || extent % m != 0 {
            return false;
        }
        let inner: usize = self.shape[axis + 1..].iter().product();
        // Rows of groups that begin at the same index of the axis.
        self.is_zero.chunks_exact(m * inner).all(|rows| {
            (0..inner).all(|at| {
                let group = rows[at..].iter().step_by(inner);
                group.filter(|is_zero| !**is_zero).count() <= n
            })
        })
    }

    /// Nearly every zero is in a block of zeros over the last two axes.
    fn hold_in_blocks(&self, height: usize, width: usize) -> bool {
        let [.., rows, columns] = *self.shape else {
            return false;
        };
        if height == 0 || width == 0 || rows % height != 0 || columns % width != 0 {
            return false;
        }
        let mut inside = 0;
        for rows in self.is_zero.chunks_exact(height * columns) {
            for first in (0..columns).step_by(width) {
                let mut lines = rows.chunks_exact(columns);
                if lines.all(|line| line[first..first + width].iter().all(|is_zero| *is_zero)) {
                    inside += height * width;
                }
            }
        }
        // Single weights that are zero by chance do not matter.
        inside * 100 >= self.count * 99
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(shape: &[usize], values: &[f32], summed: &[usize]) -> Option<String> {
        let tensor = Tensor::from_slice(shape, values).unwrap();
        let sparsity = Sparsity::of(&tensor, summed)?;
        assert!(sparsity.holds(&tensor), "{sparsity}");
        Some(sparsity.to_string())
    }

    #[test]
    fn groups_are_found_along_the_axis_that_has_them() {
        let rows = [1.0, 0.0, -0.0, 2.0, 0.0, 0.0, 3.0, 4.0];
        let text = "sparse<2:4, axis 1, zeros 500>";
        assert_eq!(found(&[1, 8], &rows, &[0, 1]).as_deref(), Some(text));
        let turned = "sparse<2:4, axis 0, zeros 500>";
        assert_eq!(found(&[8, 1], &rows, &[0]).as_deref(), Some(turned));
        // One element more, and it is single elements.
        let rows = [1.0, 5.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0];
        let text = "sparse<unstructured, zeros 625>";
        assert_eq!(found(&[1, 8], &rows, &[1]).as_deref(), Some(text));
    }

    #[test]
    fn groups_are_found_between_other_axes() {
        // Columns of a matrix in each of two batches.
        let mut values = [0.0; 2 * 4 * 3];
        for (batch, row, column) in [(0, 0, 0), (0, 3, 0), (0, 1, 2), (1, 2, 1), (1, 3, 1)] {
            values[(batch * 4 + row) * 3 + column] = 1.0;
        }
        let text = "sparse<2:4, axis 1, zeros 791>";
        assert_eq!(found(&[2, 4, 3], &values, &[1]).as_deref(), Some(text));
    }

    #[test]
    fn blocks_are_found_and_few_zeros_are_none() {
        let mut values = [0.0; 64];
        for row in 0..4 {
            values[row * 8..row * 8 + 4].fill(1.0);
        }
        let text = "sparse<block 4x4, zeros 750>";
        assert_eq!(found(&[8, 8], &values, &[0]).as_deref(), Some(text));
        assert_eq!(found(&[4], &[1.0, 2.0, 3.0, 0.0], &[0]), None);
    }
}
