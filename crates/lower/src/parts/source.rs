//! What a definition's elements come from, one stretch of an axis after the other.
//!
//! A slice moves one stretch of an operand; a concatenation is a chain of selects along an axis, so
//! that each stretch comes from an operand of its own. Where a stretch is an operand's elements in
//! their order, one may lie where the other does.

use std::collections::BTreeSet;

use alula_kernel::{Affine, Compute, Expr, ExprId, Operand, Pool, Substitution, VarId};
use alula_tensor::{Dim, ScalarOp};
use indexmap::IndexMap;

use crate::build::{Layout, row_major};
use crate::cluster::reachable;

/// A stretch of a definition along an axis.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// Position along the axis where it begins.
    pub(super) start: Dim,
    /// Where it ends.
    pub(super) end: Dim,
    /// What it computes.
    value: ExprId,
    /// What it moves, if it only does that.
    pub(super) source: Option<Source>,
}

/// Elements of an operand that a stretch moves as they lie there.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// The operand's position.
    pub(super) operand: usize,
    /// Elements of the operand before them.
    pub(super) before: Dim,
    /// Where they are loaded from, over the definition's variables.
    index: Vec<Affine>,
}

/// A definition as stretches.
#[derive(Debug)]
pub(super) struct Stretches {
    /// The axis: that of a concatenation, else the outermost of more than one element, if any.
    axis: Option<usize>,
    /// Whether each stretch lies in one piece: there is one position along all axes before.
    pub(super) is_outermost: bool,
    /// Elements of the result for each position along it.
    pub(super) row: Dim,
    /// In order, filling the axis.
    pub(super) parts: Vec<Stretch>,
}

/// The stretches of a definition: one, unless it is a concatenation.
pub(super) fn stretches(compute: &Compute) -> Stretches {
    let outermost = compute.axes.iter().position(|axis| !axis.extent.is(1));
    let axis = joined_axis(compute).or(outermost);
    let extent = axis.map_or(Dim::new(1), |axis| compute.axes[axis].extent.clone());
    let inner = &compute.axes[axis.map_or(0, |axis| axis + 1)..];
    let mut found = Vec::new();
    let var = axis.map(|axis| compute.axes[axis].var);
    let (start, value) = (Dim::new(0), unrounded(compute));
    chain(&compute.pool, var, value, [start, extent], &mut found);
    for stretch in &mut found {
        stretch.source = source(compute, axis, stretch);
    }
    Stretches {
        axis,
        is_outermost: axis == outermost,
        row: inner.iter().map(|axis| axis.extent.clone()).product(),
        parts: found,
    }
}

/// The axis along which a definition selects first.
fn joined_axis(compute: &Compute) -> Option<usize> {
    let pool = &compute.pool;
    let Expr::Apply { op, operands } = &pool.node(unrounded(compute)).expr else {
        return None;
    };
    let mut axes = compute.axes.iter();
    axes.position(|axis| *op == ScalarOp::Select && border(pool, axis.var, operands[0]).is_some())
}

/// The value before it is rounded to the result's dtype, where selects may lie.
fn unrounded(compute: &Compute) -> ExprId {
    let pool = &compute.pool;
    match pool.node(compute.body).expr {
        Expr::Cast(inner) if pool.dtype(inner) == compute.dtype.compute() => inner,
        _ => compute.body,
    }
}

/// Follows selects on the position along the axis.
fn chain(
    pool: &Pool,
    axis: Option<VarId>,
    value: ExprId,
    [start, end]: [Dim; 2],
    found: &mut Vec<Stretch>,
) {
    if let Some(axis) = axis
        && let Expr::Apply { op, operands } = &pool.node(value).expr
        && *op == ScalarOp::Select
        && let Some(border) = border(pool, axis, operands[0])
        && (border.clone() - start.clone()).is_nonnegative()
        && (end.clone() - border.clone()).is_nonnegative()
    {
        chain(
            pool,
            Some(axis),
            operands[1],
            [start, border.clone()],
            found,
        );
        chain(pool, Some(axis), operands[2], [border, end], found);
        return;
    }
    found.push(Stretch {
        start,
        end,
        value,
        source: None,
    });
}

/// The position along an axis below which a condition holds, if that decides it.
fn border(pool: &Pool, axis: VarId, cond: ExprId) -> Option<Dim> {
    let Expr::Apply { op, operands } = &pool.node(cond).expr else {
        return None;
    };
    if *op != ScalarOp::Lt || pool.dtype(operands[0]) != alula_tensor::DType::I64 {
        return None;
    }
    let (index, bound) = (pool.as_affine(operands[0])?, pool.as_dim(operands[1])?);
    let is_position = index.terms.len() == 1 && index.coefficient(axis).is(1);
    is_position.then(|| bound.clone() - index.offset)
}

/// What a stretch moves, if it moves neighbours to neighbours.
fn source(compute: &Compute, axis: Option<usize>, stretch: &Stretch) -> Option<Source> {
    let pool = &compute.pool;
    let mut value = stretch.value;
    // To the dtype of arithmetic: narrow floats come back as what they were.
    if let Expr::Cast(narrow) = pool.node(value).expr
        && pool.dtype(narrow) == compute.dtype
        && pool.dtype(value) == compute.dtype.compute()
    {
        value = narrow;
    }
    let Expr::Load { operand, index } = &pool.node(value).expr else {
        return None;
    };
    let from = &compute.operands[*operand as usize];
    if from.dtype != compute.dtype || pool.dtype(value) != compute.dtype {
        return None;
    }
    let var = axis.map(|axis| compute.axes[axis].var);
    let length = stretch.end.clone() - stretch.start.clone();
    let index: Vec<Affine> = index
        .iter()
        .map(|index| unclamped(pool, var, *index, stretch))
        .collect::<Option<_>>()?;
    let mut place = Affine::constant(0_i64);
    for (extent, index) in from.shape.iter().zip(&index) {
        place = place.times(extent).plus(index);
    }
    let mut own = Affine::constant(0_i64);
    for (position, axis_of) in compute.axes.iter().enumerate() {
        let extent = match axis == Some(position) {
            true => &length,
            false => &axis_of.extent,
        };
        own = own.times(extent);
        if !extent.is(1) {
            own = own.plus(&Affine::var(axis_of.var));
        }
    }
    let step = var.map_or(Dim::new(0), |var| place.coefficient(var));
    let before = place.offset.clone() + stretch.start.clone() * step;
    // A variable that has but one value is no step.
    place.terms.retain(|&of, _| match var == Some(of) {
        true => !length.is(1),
        false => !pool.extent(of).is(1),
    });
    let operand = *operand as usize;
    (place.terms == own.terms).then_some(Source {
        operand,
        before,
        index,
    })
}

/// An index without the clamps that keep it in range where the stretch does anyway.
fn unclamped(pool: &Pool, axis: Option<VarId>, id: ExprId, stretch: &Stretch) -> Option<Affine> {
    if let Some(affine) = pool.as_affine(id) {
        return Some(affine);
    }
    let Expr::Apply { op, operands } = &pool.node(id).expr else {
        return None;
    };
    let (inner, bound) = match (operands.as_slice(), *op) {
        (&[a, b], ScalarOp::Min | ScalarOp::Max) => match (pool.as_dim(a), pool.as_dim(b)) {
            (_, Some(bound)) => (a, bound),
            (Some(bound), _) => (b, bound),
            (None, None) => return None,
        },
        _ => return None,
    };
    let affine = unclamped(pool, axis, inner, stretch)?;
    let is_position = affine.terms.len() == 1 && affine.coefficient(axis?).is(1);
    let least = affine.offset.clone() + stretch.start.clone();
    let greatest = affine.offset.clone() + stretch.end.clone() - Dim::new(1);
    let is_idle = match op {
        ScalarOp::Max => (least - bound.clone()).is_nonnegative(),
        _ => (bound.clone() - greatest).is_nonnegative(),
    };
    (is_position && is_idle).then_some(affine)
}

impl Stretches {
    /// Extents of some neighbouring stretches, and where they lie in a row-major result.
    pub(super) fn layout(
        &self,
        compute: &Compute,
        range: std::ops::Range<usize>,
    ) -> (Vec<Dim>, Layout) {
        let parts = &self.parts[range];
        let whole = compute.shape();
        let mut shape = whole.clone();
        let mut left = Dim::new(0);
        if let Some(axis) = self.axis {
            shape[axis] = parts[parts.len() - 1].end.clone() - parts[0].start.clone();
            left = whole[axis].clone() - shape[axis].clone();
        }
        let all: Dim = whole.iter().cloned().product();
        let reach = all - left * self.row.clone();
        let layout = Layout {
            strides: row_major(&whole),
            // Nothing at all has no last element.
            elements: reach.maximum(&Dim::new(0)),
        };
        (shape, layout)
    }

    /// The definition of some neighbouring stretches, and the old positions of its operands.
    pub(super) fn piece(
        &self,
        compute: &Compute,
        range: std::ops::Range<usize>,
    ) -> (Compute, Vec<usize>) {
        let parts = &self.parts[range];
        let (first, last) = (&parts[0], &parts[parts.len() - 1]);
        let mut used = BTreeSet::new();
        for stretch in parts {
            for (_, expr) in reachable(&compute.pool, stretch.value) {
                if let Expr::Load { operand, .. } = expr {
                    used.insert(*operand as usize);
                }
            }
        }
        let used: Vec<usize> = used.into_iter().collect();
        let place_of = |operand: usize| {
            let place = used.iter().position(|&used| used == operand);
            place.expect("every load was counted") as u32
        };
        let operands: Vec<Operand> = used.iter().map(|&k| compute.operands[k].clone()).collect();
        let mut shape = compute.shape();
        if let Some(axis) = self.axis {
            shape[axis] = last.end.clone() - first.start.clone();
        }
        let mut piece = Compute::begin(operands, compute.dtype, &shape);
        let own = piece.indices();
        let mut indices = own.clone();
        if let Some(axis) = self.axis {
            let start = piece.pool.dim(first.start.clone());
            indices[axis] = piece.pool.add(start, indices[axis]);
        }
        let mut value = None;
        for stretch in parts.iter().rev() {
            let vars = compute.axes.iter().map(|axis| axis.var);
            let vars: IndexMap<VarId, ExprId> = vars.zip(indices.iter().copied()).collect();
            let here = match (&stretch.source, parts.len()) {
                // Alone it is in range without clamps.
                (Some(source), 1) => {
                    let index = source.index.iter();
                    let index = index.map(|index| moved(&mut piece, compute, index, &own));
                    let mut index: Vec<Affine> = index.collect();
                    if let Some(axis) = self.axis {
                        let var = compute.axes[axis].var;
                        for (moved, old) in index.iter_mut().zip(&source.index) {
                            let ahead = old.coefficient(var) * first.start.clone();
                            moved.offset = moved.offset.clone() + ahead;
                        }
                    }
                    let index = index.iter().map(|index| piece.pool.affine(index)).collect();
                    piece.load(place_of(source.operand) as usize, index)
                }
                _ => piece.pool.import(
                    &compute.pool,
                    stretch.value,
                    &mut Substitution {
                        vars,
                        load: &mut |pool, operand, dtype, index| {
                            pool.load(place_of(operand as usize), dtype, index)
                        },
                        acc: None,
                    },
                ),
            };
            value = Some(match (value, self.axis) {
                (Some(behind), Some(axis)) => {
                    let end = stretch.end.clone() - first.start.clone();
                    let end = piece.pool.dim(end);
                    let is_here = piece.pool.apply(ScalarOp::Lt, &[own[axis], end]);
                    piece.pool.select(is_here, here, behind)
                }
                _ => here,
            });
        }
        let value = value.expect("a piece has a stretch");
        piece.equal.clone_from(&compute.equal);
        (piece.finish(value), used)
    }
}

/// An index over the variables of a definition over those of a piece, which has the same axes.
fn moved(piece: &mut Compute, compute: &Compute, index: &Affine, own: &[ExprId]) -> Affine {
    let mut moved = Affine::constant(index.offset.clone());
    for (axis, &own) in compute.axes.iter().zip(own) {
        let own = piece.pool.as_affine(own);
        let own = own.expect("a variable, or the one value that it has");
        moved = moved.plus(&own.times(&index.coefficient(axis.var)));
    }
    moved
}
