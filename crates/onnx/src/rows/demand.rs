//! What a row demands of values that only a run knows: indices within an axis, a step that is not
//! 0.
//!
//! A demand counts what breaks it, in one small kernel; the count becomes a symbol, which each run
//! compares. Kernels stay within bounds by themselves, so that a run may break a demand, and is
//! refused before it hands anything over. What is known or provable as a model is read costs a run
//! nothing.

use alula_ir::{Attr, Def, Graph, Node, Requirement, ValueId};
use alula_ops::elementwise::arithmetic::{LT, OR};
use alula_ops::elementwise::choice::CAST;
use alula_ops::host_ops::TOPK;
use alula_ops::reduce::{ARGMAX, ARGMIN};
use alula_ops::shape::{AS_DIMS, CONCAT, EXPAND, RANGE, RESHAPE, SLICE, TRANSPOSE, is_negative};
use alula_tensor::{DType, Dim, Scalar, TensorType};

use super::shape::read_dims;
use super::{RowCtx, RowError};

/// Most indices that are compared as dims, where they are known as such.
const DIMS_MAX: usize = 16;

impl RowCtx<'_, '_> {
    /// Refuses runs in which an element of `wrong` is true.
    pub(super) fn refuse(&mut self, wrong: ValueId, reason: &str) -> Result<(), RowError> {
        let wrong = self.cast(wrong, DType::I64)?;
        self.demand_sum(wrong, 0, reason)
    }

    /// Refuses runs in which the sum of integers is another one.
    pub(super) fn demand_sum(
        &mut self,
        numbers: ValueId,
        wanted: i64,
        reason: &str,
    ) -> Result<(), RowError> {
        let numbers = self.cast(numbers, DType::I64)?;
        let sum = match self.rank(numbers)? {
            0 => numbers,
            _ => self.total(numbers)?,
        };
        for sum in read_dims(self, sum)? {
            self.demand_equal(sum, Dim::new(wanted), reason)?;
        }
        Ok(())
    }

    fn demand_equal(&mut self, left: Dim, right: Dim, reason: &str) -> Result<(), RowError> {
        if let Some(difference) = (left.clone() - right.clone()).as_const() {
            return match difference {
                0 => Ok(()),
                _ => Err(RowError::Invalid(reason.to_owned())),
            };
        }
        let requirement = Requirement {
            left,
            right,
            who: format!("{} {:?}", self.op_type(), self.name()),
            reason: Some(reason.to_owned()),
        };
        Ok(self.graph().rely_on(requirement)?)
    }

    /// Refuses indices outside of an axis of `x`; negative ones count from its end.
    pub(super) fn demand_within(
        &mut self,
        indices: ValueId,
        x: ValueId,
        axis: usize,
    ) -> Result<(), RowError> {
        let ty = self.ty(x)?;
        let place = format!("axis {axis} of {ty}");
        self.demand_inside(indices, &ty.shape[axis..=axis], &place)
    }

    /// Refuses positions outside of `extents`, one for each element of the last axis of `indices`,
    /// or one for all. `place` says what the extents are of.
    pub(super) fn demand_inside(
        &mut self,
        indices: ValueId,
        extents: &[Dim],
        place: &str,
    ) -> Result<(), RowError> {
        if extents.is_empty() {
            return Ok(());
        }
        if let Some(known) = self.as_constant(indices) {
            let known = known.to_i64s().unwrap_or_default();
            return self.demand_constants(&known, extents, place);
        }
        if is_provably_inside(self.graph(), indices, extents) {
            return Ok(());
        }
        let known = self
            .content(indices)
            .filter(|known| known.len() <= DIMS_MAX);
        if let Some(known) = known {
            for (index, extent) in known.into_iter().zip(extents.iter().cycle()) {
                let reason = format!("index {index} is outside of {place}");
                self.demand_dim(index, extent, &reason)?;
            }
            return Ok(());
        }
        if !self.is_first_demand(indices, extents) {
            return Ok(());
        }
        let wide = self.cast(indices, DType::I64)?;
        let limits = |sign: i64, shift: i64| -> Vec<Dim> {
            let limit = |extent: &Dim| extent.clone() * Dim::new(sign) + Dim::new(shift);
            extents.iter().map(limit).collect()
        };
        let mut listed = |limits: Vec<Dim>| match <[Dim; 1]>::try_from(limits) {
            Ok([limit]) => self.dim(limit),
            Err(limits) => self.dims(limits),
        };
        let (first, last) = (listed(limits(-1, 0))?, listed(limits(1, -1))?);
        let (below, above) = (self.op(&LT, &[wide, first])?, self.op(&LT, &[last, wide])?);
        let wrong = self.op(&OR, &[below, above])?;
        self.refuse(wrong, &format!("an index is outside of {place}"))
    }

    /// The least and the greatest index of each extent decide for all.
    fn demand_constants(
        &mut self,
        known: &[i64],
        extents: &[Dim],
        place: &str,
    ) -> Result<(), RowError> {
        for (position, extent) in extents.iter().enumerate() {
            let own = || known.iter().skip(position).step_by(extents.len()).copied();
            let (Some(least), Some(most)) = (own().min(), own().max()) else {
                continue;
            };
            for index in [least, most] {
                let reason = format!("index {index} is outside of {place}");
                self.demand_dim(Dim::new(index), extent, &reason)?;
            }
        }
        Ok(())
    }

    /// Refuses runs in which `-extent <= index < extent` does not hold.
    fn demand_dim(&mut self, index: Dim, extent: &Dim, reason: &str) -> Result<(), RowError> {
        // A sum with the least integer would overflow.
        const FAR: i64 = 1 << 62;
        if index
            .as_const()
            .is_some_and(|index| !(-FAR..FAR).contains(&index))
        {
            return Err(RowError::Invalid(reason.to_owned()));
        }
        let below = is_negative(&(extent.clone() + index.clone()));
        let above = is_negative(&(extent.clone() - Dim::new(1) - index));
        self.demand_equal(below + above, Dim::new(0), reason)
    }
}

/// Whether indices are known to be inside of extents by what computes them.
fn is_provably_inside(graph: &Graph, indices: ValueId, extents: &[Dim]) -> bool {
    let is_inside = |value: ValueId, extents: &[Dim]| {
        bound(graph, value).is_some_and(|bound| {
            let room = |extent: &Dim| (extent.clone() - bound.clone()).as_const();
            extents
                .iter()
                .all(|extent| room(extent).is_some_and(|room| room >= 0))
        })
    };
    if is_inside(indices, extents) {
        return true;
    }
    // Positions that are joined, a part for each axis.
    let Some(join) = graph.producer(indices).map(|id| graph.node(id)) else {
        return false;
    };
    if join.op.name != CONCAT.name || join.operands.len() != extents.len() {
        return false;
    }
    let rank = graph.ty(indices).as_tensor().map_or(0, TensorType::rank) as i64;
    let is_last = [-1, rank - 1].contains(&join.attrs.int("axis"));
    let is_one = |part: ValueId| {
        let ty = graph.ty(part).as_tensor();
        ty.and_then(|ty| ty.shape.last())
            .is_some_and(|last| last.is(1))
    };
    let mut parts = join.operands.iter().flatten().zip(extents);
    is_last && parts.all(|(part, own)| is_one(*part) && is_inside(*part, std::slice::from_ref(own)))
}

/// What indices are below, where they are provably not negative: those that an operator counts,
/// and parts of constants.
fn bound(graph: &Graph, mut value: ValueId) -> Option<Dim> {
    loop {
        let (node, index) = match &graph.value(value).def {
            Def::Input(_) => return None,
            Def::Constant(tensor) => {
                let known = tensor.to_i64s()?;
                let end = known.iter().max().map_or(0, |most| most.saturating_add(1));
                return known.iter().all(|&at| at >= 0).then(|| Dim::new(end));
            }
            Def::Result { node, index } => (*node, *index),
        };
        let node = graph.node(node);
        let first = node.operands.first().copied().flatten()?;
        let extent = || {
            let ty = graph.ty(first).as_tensor()?;
            let axis = node.attrs.int("axis");
            let axis = if axis < 0 {
                axis + ty.rank() as i64
            } else {
                axis
            };
            ty.shape.get(usize::try_from(axis).ok()?).cloned()
        };
        match node.op.name {
            name if [ARGMAX.name, ARGMIN.name].contains(&name) => return extent(),
            name if name == TOPK.name && index == 1 => return extent(),
            name if name == RANGE.name => return counted(graph, node),
            name if name == CAST.name && keeps_integers(node) => value = first,
            name if MOVES.contains(&name) => value = first,
            _ => return None,
        }
    }
}

/// Operators whose result holds elements of their operand and no others.
const MOVES: [&str; 5] = [
    AS_DIMS.name,
    EXPAND.name,
    RESHAPE.name,
    SLICE.name,
    TRANSPOSE.name,
];

fn keeps_integers(node: &Node) -> bool {
    matches!(
        node.attrs.get("to"),
        Some(Attr::DType(DType::I32 | DType::I64))
    )
}

/// The count of a range that begins at 0 in steps of 1.
fn counted(graph: &Graph, node: &Node) -> Option<Dim> {
    let number = |position: usize| -> Option<f64> {
        let tensor = graph.as_constant(node.operands.get(position).copied().flatten()?)?;
        tensor.get(0).map(Scalar::to_f64)
    };
    let [count] = node.attrs.dims("count") else {
        return None;
    };
    (number(0) == Some(0.0) && number(1) == Some(1.0)).then(|| count.clone())
}
