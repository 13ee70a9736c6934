//! Definitions that read different operands along an axis, one part of the axis after the other.
//!
//! A concatenation is a chain of selects on the position along its axis, and so is whatever it was
//! fused with. Where the parts are long, loops over each of them decide nothing for each element:
//! the definition is cut where the conditions change, each piece is laid out for itself as a
//! definition over a slice of the result, and the pieces' grids follow one another in one kernel.

use std::collections::{BTreeMap, BTreeSet};

use alula_kernel::{
    Block, BufferId, Compute, Expr, GridAxis, Inst, Kernel, Literal, Loop, Rhs, Substitution,
    ValueId, VarId,
};
use alula_tensor::{DType, Dim, Scalar, ScalarOp};
use indexmap::IndexMap;
use smallvec::SmallVec;

use super::access::reachable;
use super::{Policy, emit};

/// Most pieces of a definition.
const PIECES_MAX: usize = 64;

/// Elements of the result that a piece should have at least, on average.
const PIECE_ELEMENTS: i64 = 512;

/// Elements next to each other that a piece should have at least, on average.
const RUN_ELEMENTS: i64 = 8;

/// A definition of a part of the result.
pub(super) struct Piece {
    /// The definition; the cut axis begins at 0.
    pub(super) compute: Compute,
    /// The cut axis.
    pub(super) axis: usize,
    /// Where along the axis it begins in the result.
    pub(super) start: i64,
}

/// Pieces in which no select depends on the position along an axis; `None` if the definition has
/// no such axis, or whole rows are cheaper.
pub(super) fn pieces(compute: &Compute, policy: Policy) -> Option<Vec<Piece>> {
    // Threads of a GPU are too many to lie in few pieces.
    if !matches!(policy, Policy::Cpu { .. }) {
        return None;
    }
    let (axis, borders) = borders(compute)?;
    let extents: Vec<Option<i64>> = compute.axes.iter().map(|a| a.extent.as_const()).collect();
    let count = borders.len() as i64 + 1;
    // What is not known is taken to be long.
    let elements = |extents: &[Option<i64>]| {
        let known = extents
            .iter()
            .map(|extent| extent.unwrap_or(PIECE_ELEMENTS));
        known.fold(1_i64, i64::saturating_mul)
    };
    let is_long = elements(&extents) >= count * PIECE_ELEMENTS
        && elements(&extents[axis..]) >= count * RUN_ELEMENTS;
    if !is_long || borders.len() >= PIECES_MAX {
        return None;
    }
    let end = extents[axis]?;
    let starts = std::iter::once(0).chain(borders.iter().copied());
    let ends = borders.iter().copied().chain([end]);
    let pieces = starts.zip(ends);
    Some(
        pieces
            .map(|(start, end)| piece(compute, axis, start, end))
            .collect(),
    )
}

/// The axis of a result without folds along which most selects change sides, and where.
fn borders(compute: &Compute) -> Option<(usize, BTreeSet<i64>)> {
    let pool = &compute.pool;
    let mut found: BTreeMap<VarId, BTreeSet<i64>> = BTreeMap::new();
    for id in reachable(pool, &[compute.body]) {
        let cond = match &pool.node(id).expr {
            // What a fold computes for all pieces would be computed for each.
            Expr::Fold { .. } => return None,
            Expr::Apply { op, operands } if *op == ScalarOp::Select => operands[0],
            _ => continue,
        };
        let Expr::Apply { op, operands } = &pool.node(cond).expr else {
            continue;
        };
        if *op != ScalarOp::Lt || pool.dtype(operands[0]) != DType::I64 {
            continue;
        }
        let (Some(index), Some(bound)) = (pool.as_affine(operands[0]), pool.as_dim(operands[1]))
        else {
            continue;
        };
        let (Some((&var, one)), 1) = (index.terms.iter().next(), index.terms.len()) else {
            continue;
        };
        let border = (bound.clone() - index.offset.clone()).as_const();
        if let Some(border) = border.filter(|_| one.is(1)) {
            found.entry(var).or_default().insert(border);
        }
    }
    let axes = compute
        .axes
        .iter()
        .enumerate()
        .filter_map(|(position, axis)| {
            let extent = axis.extent.as_const()?;
            let mut borders = found.remove(&axis.var)?;
            borders.retain(|&border| 0 < border && border < extent);
            (!borders.is_empty()).then_some((position, borders))
        });
    axes.max_by_key(|(position, borders)| (borders.len(), std::cmp::Reverse(*position)))
}

/// The definition between two positions of an axis; bounds decide its selects and clamps.
fn piece(compute: &Compute, axis: usize, start: i64, end: i64) -> Piece {
    let mut shape = compute.shape();
    shape[axis] = Dim::new(end - start);
    let mut part = Compute::begin(compute.operands.clone(), compute.dtype, &shape);
    let mut indices = part.indices();
    let first = part.pool.int(start);
    indices[axis] = part.pool.add(first, indices[axis]);
    let vars = compute.axes.iter().map(|axis| axis.var).zip(indices);
    let body = part.pool.import(
        &compute.pool,
        compute.body,
        &mut Substitution {
            vars: vars.collect::<IndexMap<_, _>>(),
            load: &mut |pool, operand, dtype, index| pool.load(operand, dtype, index),
            acc: None,
        },
    );
    part.equal.clone_from(&compute.equal);
    Piece {
        compute: part.finish(body),
        axis,
        start,
    }
}

/// One kernel with the parameters of `whole` that does what all of `parts` do.
pub(super) fn join(whole: Kernel, parts: Vec<Kernel>) -> Kernel {
    let mut joined = Join { kernel: whole };
    let point = joined.kernel.value(DType::I64);
    let mut start = Dim::new(0);
    for part in parts {
        let end = start.clone() + part.num_points();
        joined.part(point, &start, &end, part);
        start = end;
    }
    let mut kernel = joined.kernel;
    kernel.grid.push(GridAxis {
        var: point,
        extent: start,
    });
    kernel.symbols = emit::symbols(&kernel);
    kernel
}

/// A kernel that parts are added to.
struct Join {
    kernel: Kernel,
}

impl Join {
    /// Runs a part for points from `start` to `end`.
    fn part(&mut self, point: ValueId, start: &Dim, end: &Dim, part: Kernel) {
        let (values, locals) = (self.kernel.dtypes.len(), self.kernel.locals.len());
        let shift = Shift {
            values: values as u32,
            locals: locals as u32,
        };
        self.kernel.dtypes.extend(&part.dtypes);
        for (position, mut local) in part.locals.into_iter().enumerate() {
            local.name = format!("part{}_{}", locals + position, local.name);
            self.kernel.locals.push(local);
        }
        let mut before = Vec::new();
        let [first, last] = [start, end].map(|dim| self.dim(&mut before, dim));
        let [above, below, cond] = [(); 3].map(|()| self.kernel.value(DType::Bool));
        before.push(apply(above, ScalarOp::Ge, &[point, first]));
        before.push(apply(below, ScalarOp::Lt, &[point, last]));
        before.push(apply(cond, ScalarOp::And, &[above, below]));
        let mut then = Vec::new();
        // The point's number within the part, decomposed from the innermost axis; what is left in
        // the end is the position along the outermost.
        let number = |kernel: &mut Kernel, left: usize| match (left, part.grid.first()) {
            (1, Some(outermost)) => shift.value(outermost.var),
            _ => kernel.value(DType::I64),
        };
        let mut rest = number(&mut self.kernel, part.grid.len());
        then.push(apply(rest, ScalarOp::Sub, &[point, first]));
        for (left, axis) in part.grid.iter().enumerate().skip(1).rev() {
            let extent = self.dim(&mut then, &axis.extent);
            let within = shift.value(axis.var);
            then.push(apply(within, ScalarOp::FloorMod, &[rest, extent]));
            let outer = number(&mut self.kernel, left);
            then.push(apply(outer, ScalarOp::FloorDiv, &[rest, extent]));
            rest = outer;
        }
        let mut body = part.body;
        shift.block(&mut body);
        then.append(&mut body.0);
        self.kernel.body.0.append(&mut before);
        let then = Block(then);
        self.kernel.body.0.push(Inst::If { cond, then });
    }

    fn dim(&mut self, into: &mut Vec<Inst>, dim: &Dim) -> ValueId {
        let id = self.kernel.value(DType::I64);
        let rhs = match dim.as_const() {
            Some(value) => Rhs::Const(Literal(Scalar::Int(i128::from(value)))),
            None => Rhs::Dim(dim.clone()),
        };
        into.push(Inst::Let { id, rhs });
        id
    }
}

fn apply(id: ValueId, op: ScalarOp, operands: &[ValueId]) -> Inst {
    let operands = SmallVec::from_slice(operands);
    Inst::Let {
        id,
        rhs: Rhs::Apply { op, operands },
    }
}

/// Numbers of values and local arrays, moved behind those of other parts.
struct Shift {
    values: u32,
    locals: u32,
}

impl Shift {
    fn value(&self, id: ValueId) -> ValueId {
        ValueId(id.0 + self.values)
    }

    fn move_value(&self, id: &mut ValueId) {
        *id = self.value(*id);
    }

    fn buffer(&self, buffer: &mut BufferId) {
        match buffer {
            BufferId::Param(_) => {}
            BufferId::Local(position) | BufferId::Shared(position) => *position += self.locals,
        }
    }

    fn block(&self, block: &mut Block) {
        for inst in &mut block.0 {
            match inst {
                Inst::Let { id, rhs } => {
                    self.move_value(id);
                    self.rhs(rhs);
                }
                Inst::Store {
                    buffer,
                    index,
                    value,
                } => {
                    self.buffer(buffer);
                    self.move_value(index);
                    self.move_value(value);
                }
                Inst::Loop(inner) => self.inner(inner),
                Inst::If { cond, then } => {
                    self.move_value(cond);
                    self.block(then);
                }
                Inst::Barrier => {}
            }
        }
    }

    fn rhs(&self, rhs: &mut Rhs) {
        match rhs {
            Rhs::Const(_) | Rhs::Dim(_) => {}
            Rhs::Apply { operands, .. } => operands.iter_mut().for_each(|id| self.move_value(id)),
            Rhs::Cast(id) | Rhs::Bitcast(id) => self.move_value(id),
            Rhs::Load { buffer, index } => {
                self.buffer(buffer);
                self.move_value(index);
            }
        }
    }

    fn inner(&self, inner: &mut Loop) {
        self.move_value(&mut inner.var);
        self.move_value(&mut inner.extent);
        for carried in &mut inner.carried {
            let ids = [
                &mut carried.acc,
                &mut carried.init,
                &mut carried.next,
                &mut carried.result,
            ];
            ids.into_iter().for_each(|id| self.move_value(id));
        }
        self.block(&mut inner.body);
    }
}
