//! Positions of axes: what several rules compute about permutations and broadcasting.

use alula_ir::{Attrs, Graph, NodeId, ValueId};
use alula_tensor::{Dim, Shape};

use crate::patch::Patch;
use crate::rule::{Miss, require};

/// An axis counted from the front.
pub(crate) fn axis_of(axis: i64, rank: usize) -> usize {
    (if axis < 0 { axis + rank as i64 } else { axis }) as usize
}

/// The axes of an attribute, counted from the front and sorted.
pub(crate) fn axes_of(axes: &[i64], rank: usize) -> Vec<usize> {
    let mut axes: Vec<usize> = axes.iter().map(|&axis| axis_of(axis, rank)).collect();
    axes.sort_unstable();
    axes
}

/// The permutation of a `transpose`.
pub(crate) fn permutation(graph: &Graph, node: NodeId) -> Vec<usize> {
    graph
        .node(node)
        .attrs
        .ints("perm")
        .iter()
        .map(|&axis| axis as usize)
        .collect()
}

/// The permutation that undoes another.
pub(crate) fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (to, &from) in order.iter().enumerate() {
        inverse[from] = to;
    }
    inverse
}

/// Axes as an attribute.
pub(crate) fn ints(axes: &[usize]) -> Vec<i64> {
    axes.iter().map(|&axis| axis as i64).collect()
}

/// Whether `axes` are the last ones of that rank, at least one.
pub(crate) fn are_trailing(axes: &[usize], rank: usize) -> bool {
    !axes.is_empty() && axes.iter().copied().eq(rank - axes.len()..rank)
}

impl Patch<'_> {
    /// `reshape` to extents.
    pub(crate) fn reshape(&mut self, value: ValueId, to: Shape) -> Result<ValueId, Miss> {
        if self.shape(value)? == to {
            return Ok(value);
        }
        self.apply("reshape", &[value], Attrs::new().with("to", to))
    }

    /// `transpose` by a permutation.
    pub(crate) fn transpose(&mut self, value: ValueId, order: &[usize]) -> Result<ValueId, Miss> {
        self.apply(
            "transpose",
            &[value],
            Attrs::new().with("perm", ints(order)),
        )
    }

    /// The elements of a constant that broadcasts along one axis of a shape only, with extents
    /// `[C]`, or `[1]` where it is one number.
    pub(crate) fn along_axis(
        &mut self,
        constant: ValueId,
        shape: &[Dim],
        axis: usize,
    ) -> Result<ValueId, Miss> {
        let own = self.shape(constant)?;
        require(own.len() <= shape.len(), "the constant has more axes")?;
        let skipped = shape.len() - own.len();
        let is_along = own
            .iter()
            .enumerate()
            .all(|(k, dim)| dim.is(1) || (k + skipped == axis && *dim == shape[axis]));
        require(is_along, "the constant differs along another axis")?;
        let count = own.iter().cloned().product();
        self.reshape(constant, vec![count])
    }

    /// A vector with extents 1 before it and behind it.
    pub(crate) fn spread(
        &mut self,
        vector: ValueId,
        rank: usize,
        axis: usize,
    ) -> Result<ValueId, Miss> {
        let mut to: Shape = vec![Dim::new(1); rank];
        to[axis] = self.shape(vector)?.iter().cloned().product();
        self.reshape(vector, to)
    }
}
