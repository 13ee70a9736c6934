//! The order of loops, and what becomes grid, block and lanes.
//!
//! Axes that more folds depend on go outside, so that a fold is computed once for each row and
//! not once for each element. On a CPU, axes from the outside become the grid until a point has
//! enough work; the axis at the border is cut into blocks. An axis that some fold does not depend
//! on is never cut, as each piece would compute the fold again.

use alula_kernel::{Expr, ExprId, Pool, VarId};
use alula_tensor::{Dim, ScalarOp};
use indexmap::IndexMap;

use super::Policy;
use super::access::{Linear, Rewrite, accesses, free_vars, reachable};
use super::reuse::{self, Reuse};

/// Scalar operations that a grid point of a CPU kernel should have at least.
pub(super) const WORK_PER_POINT: u64 = 16_384;

/// Extent assumed for a symbolic one where a cost is estimated.
const UNKNOWN_EXTENT: u64 = 64;

/// Folds of at most this many iterations may be computed again rather than shape the nest.
const CHEAP_FOLD: i64 = 32;

/// A laid-out definition.
pub(super) struct Nest {
    pub(super) linear: Linear,
    /// Variables that are grid axes themselves.
    pub(super) grid: Vec<VarId>,
    /// Variables that a thread's number is decomposed into, and threads of a workgroup.
    pub(super) threads: Option<(Vec<VarId>, u32)>,
    /// Loops around the store, outermost first.
    pub(super) loops: Vec<LoopPlan>,
    /// Greatest width of folds as `Lanes` loops; 1 for serial folds.
    pub(super) fold_width: u32,
    /// Values that one loop keeps for another.
    pub(super) reuses: Vec<Reuse>,
}

/// A loop over an output axis or a piece of one.
pub(super) struct LoopPlan {
    pub(super) var: VarId,
    /// Number of iterations, an expression over grid variables.
    pub(super) extent: ExprId,
    /// Iterations at once; 1 for a serial loop.
    pub(super) width: u32,
}

/// Decides the layout of loops.
/// `work` is [`WORK_PER_POINT`] but in tests.
pub(super) fn plan(linear: Linear, policy: Policy, work: u64) -> Nest {
    match policy {
        Policy::Naive => {
            let (linear, _) = reorder(&linear, &linear.axes, None);
            let grid = linear.axes.clone();
            Nest {
                linear,
                grid,
                threads: None,
                loops: Vec::new(),
                fold_width: 1,
                reuses: Vec::new(),
            }
        }
        Policy::Cpu { lanes } => plan_cpu(linear, lanes, work),
        Policy::Gpu { lanes } => plan_rows(&linear, Some(lanes)),
        Policy::Rows => plan_rows(&linear, None),
    }
}

/// Rows as threads of workgroups of `lanes`, or as grid points; what is below them in loops.
fn plan_rows(linear: &Linear, lanes: Option<u32>) -> Nest {
    let (order, rows) = loop_order(linear);
    let (mut linear, _) = reorder(linear, &order, None);
    // Without folds every axis counts as a row; one row for all is still one thread.
    let outer = linear.axes[..rows].to_vec();
    let mut loops = Vec::new();
    for position in rows..linear.axes.len() {
        let var = linear.axes[position];
        let extent = linear.pool.extent(var).clone();
        loops.push(LoopPlan {
            var,
            extent: linear.pool.dim(extent),
            width: 1,
        });
    }
    let (grid, threads) = match lanes {
        Some(lanes) => (Vec::new(), Some((outer, lanes))),
        None => (outer, None),
    };
    Nest {
        linear,
        grid,
        threads,
        loops,
        fold_width: 1,
        reuses: Vec::new(),
    }
}

fn plan_cpu(linear: Linear, lanes: u32, work: u64) -> Nest {
    let (order, rows) = loop_order(&linear);
    let lane_axis = lane_axis(&linear, lanes);
    let cut = cut(&linear, &order, rows, lane_axis, work);
    let blocked = cut.block.map(|(position, block)| (order[position], block));
    let (mut linear, pieces) = reorder(&linear, &order, blocked);
    let lane_position = lane_axis.and_then(|axis| order.iter().position(|&var| var == axis));
    let mut grid: Vec<VarId> = linear.axes[..cut.grid].to_vec();
    let mut loops = Vec::new();
    for position in cut.grid..linear.axes.len() {
        let axis = linear.axes[position];
        let extent = linear.pool.extent(axis).clone();
        let (bound, extent) = match &pieces {
            Some(pieces) if position == cut.grid => {
                grid.push(pieces.number);
                (Some(pieces.block), pieces.left(&mut linear.pool))
            }
            _ => (extent.as_const(), linear.pool.dim(extent)),
        };
        let width = if lane_position == Some(position) {
            width(bound, lanes)
        } else {
            1
        };
        loops.push(LoopPlan {
            var: axis,
            extent,
            width,
        });
    }
    let reuses = reuse::find(&mut linear, &grid, &loops);
    Nest {
        linear,
        grid,
        threads: None,
        loops,
        fold_width: (lanes * FOLD_GROUPS).min(FOLD_WIDTH_MAX),
        reuses,
    }
}

/// Vectors that folds fill at once: sums in several of them do not wait for one another.
const FOLD_GROUPS: u32 = 8;
/// The greatest width of a fold.
const FOLD_WIDTH_MAX: u32 = 64;

/// The greatest power of two of at most `lanes` that a loop of this extent fills; 1 where that
/// would be less than a vector of four.
pub(super) fn width(extent: Option<i64>, lanes: u32) -> u32 {
    let mut width = lanes;
    while width > 1 && extent.is_some_and(|extent| extent < i64::from(width)) {
        width /= 2;
    }
    if width < lanes.min(4) { 1 } else { width }
}

/// Output axes in loop order, and how many of them (from the outside) every fold depends on.
fn loop_order(linear: &Linear) -> (Vec<VarId>, usize) {
    let pool = &linear.pool;
    let free = free_vars(pool);
    let mut folds = Vec::new();
    for id in linear.reachable() {
        if let Expr::Fold { vars, .. } = &pool.node(id).expr {
            let count: Dim = vars.iter().map(|&var| pool.extent(var).clone()).product();
            if count.as_const().is_none_or(|count| count > CHEAP_FOLD) {
                folds.push(&free[id.0 as usize]);
            }
        }
    }
    // A fold inside another one runs where that one runs: only output axes count.
    let users = |axis: VarId| folds.iter().filter(|vars| vars.contains(&axis)).count();
    let mut order = linear.axes.clone();
    order.sort_by_key(|&axis| std::cmp::Reverse(users(axis)));
    let rows = order
        .iter()
        .take_while(|&&axis| users(axis) == folds.len())
        .count();
    (order, rows)
}

/// The output axis to run as lanes, if any: the contiguous one, unless the folds that depend on
/// it walk memory contiguously themselves.
fn lane_axis(linear: &Linear, lanes: u32) -> Option<VarId> {
    let pool = &linear.pool;
    let store = pool.as_affine(linear.store)?;
    let of_step = |step: i64| {
        let mut axes = linear.axes.iter().copied();
        axes.find(|&axis| store.coefficient(axis).is(step))
    };
    let axis = of_step(1)?;
    let extent = pool.extent(axis).as_const();
    if extent.is_some_and(|extent| extent < 2) {
        return None;
    }
    // A few bytes side by side, as channels of an image: lanes are the places of these.
    if let Some(extent) = extent.filter(|&extent| extent < i64::from(lanes))
        && let Some(outer) = of_step(extent).filter(|&outer| is_apart(linear, outer))
    {
        return Some(outer);
    }
    let free = free_vars(pool);
    let (mut for_fold, mut for_axis) = (0, 0);
    for id in linear.reachable() {
        let Expr::Fold { vars, body, .. } = &pool.node(id).expr else {
            continue;
        };
        if !free[id.0 as usize].contains(&axis) {
            continue;
        }
        let inner = vars[vars.len() - 1];
        let long = pool
            .extent(inner)
            .as_const()
            .is_none_or(|e| e >= 2 * i64::from(lanes));
        for access in accesses(pool, &[*body], None).affine {
            let along_axis = access.coefficient(axis);
            for_axis += usize::from(along_axis.is(1));
            let along_fold = long && access.coefficient(inner).is(1);
            for_fold += usize::from(along_fold && !along_axis.is(0) && !along_axis.is(1));
        }
    }
    (for_axis >= for_fold).then_some(axis)
}

/// Whether lanes along an axis read neighbours and store bytes that are apart.
fn is_apart(linear: &Linear, axis: VarId) -> bool {
    let pool = &linear.pool;
    let reachable = linear.reachable();
    let has_folds = reachable
        .iter()
        .any(|&id| matches!(pool.node(id).expr, Expr::Fold { .. }));
    let accesses = accesses(pool, &[linear.body], None);
    let mut steps = accesses
        .affine
        .iter()
        .map(|access| access.coefficient(axis));
    pool.dtype(linear.body).size_bytes() == 1
        && !has_folds
        && !accesses.opaque.contains(&axis)
        && !accesses.affine.is_empty()
        && steps.all(|step| step.is(0) || step.is(1))
}

/// Where the grid ends.
struct Cut {
    /// Axes (from the outside) that are grid axes whole.
    grid: usize,
    /// The next axis in pieces of this many iterations, if it is cut.
    block: Option<(usize, i64)>,
}

fn cut(
    linear: &Linear,
    order: &[VarId],
    rows: usize,
    lane_axis: Option<VarId>,
    work_per_point: u64,
) -> Cut {
    let pool = &linear.pool;
    let free = free_vars(pool);
    let is_cut = work_per_point < u64::MAX;
    for position in (0..order.len()).rev().filter(|_| is_cut) {
        let extent = pool.extent(order[position]).as_const();
        let work = work_within(linear, &free, &order[..=position]);
        let known = extent.map(|extent| u64::try_from(extent).unwrap_or(0));
        let total = known.map_or(u64::MAX, |extent| work.saturating_mul(extent));
        if total < work_per_point || position >= rows {
            continue;
        }
        let mut block = i64::try_from(work_per_point.div_ceil(work)).unwrap_or(1);
        if Some(order[position]) == lane_axis {
            block = (block as u64).next_power_of_two().max(64) as i64;
        }
        // A block of one is the axis itself as a grid axis; a block of nearly all is no cut.
        if block == 1 {
            return Cut {
                grid: position + 1,
                block: None,
            };
        }
        if extent.is_some_and(|extent| extent <= 2 * block) {
            return Cut {
                grid: position,
                block: None,
            };
        }
        return Cut {
            grid: position,
            block: Some((position, block)),
        };
    }
    Cut {
        grid: 0,
        block: None,
    }
}

/// Estimated scalar operations while the axes `fixed` stand still. Hoisted folds count once.
fn work_within(linear: &Linear, free: &[Vec<VarId>], fixed: &[VarId]) -> u64 {
    let pool = &linear.pool;
    let mut work = 1_u64;
    for id in linear.reachable() {
        let weight = match &pool.node(id).expr {
            Expr::Load { .. } | Expr::Cast(_) => 1,
            Expr::Apply { op, .. } => op_work(*op),
            Expr::Const(_) | Expr::Dim(_) | Expr::Var(_) | Expr::Fold { .. } | Expr::Acc => 0,
        };
        let times = free[id.0 as usize]
            .iter()
            .filter(|var| !fixed.contains(var))
            .map(|&var| pool.extent(var).as_const())
            .map(|extent| extent.map_or(UNKNOWN_EXTENT, |extent| extent.max(0) as u64))
            .fold(weight, u64::saturating_mul);
        work = work.saturating_add(times);
    }
    work
}

pub(super) fn op_work(op: ScalarOp) -> u64 {
    match op {
        ScalarOp::Exp
        | ScalarOp::Log
        | ScalarOp::Expm1
        | ScalarOp::Log1p
        | ScalarOp::Sin
        | ScalarOp::Cos
        | ScalarOp::Tan
        | ScalarOp::Asin
        | ScalarOp::Acos
        | ScalarOp::Atan
        | ScalarOp::Sinh
        | ScalarOp::Cosh
        | ScalarOp::Tanh
        | ScalarOp::Asinh
        | ScalarOp::Acosh
        | ScalarOp::Atanh
        | ScalarOp::Erf
        | ScalarOp::Erfc
        | ScalarOp::Pow => 12,
        ScalarOp::Div | ScalarOp::Sqrt | ScalarOp::Rem | ScalarOp::FloorDiv => 4,
        _ => 1,
    }
}

/// An axis cut into blocks.
struct Pieces {
    /// The variable that counts blocks.
    number: VarId,
    /// Iterations of a block but the last.
    block: i64,
    /// Iterations of all.
    extent: Dim,
}

impl Pieces {
    /// Iterations of the current block.
    fn left(&self, pool: &mut Pool) -> ExprId {
        let (number, size) = (pool.var_expr(self.number), pool.int(self.block));
        let end = pool.dim(self.extent.clone());
        let start = pool.mul(number, size);
        let left = pool.sub(end, start);
        pool.apply(ScalarOp::Min, &[size, left])
    }
}

/// Copies the definition with axes in loop order, one of them cut into blocks, and the variables
/// of folds shared wherever folds of one depth and extent run over them, so that equal loads in
/// different folds become one expression.
fn reorder(
    linear: &Linear,
    order: &[VarId],
    blocked: Option<(VarId, i64)>,
) -> (Linear, Option<Pieces>) {
    let mut rewrite = Rewrite::new(&linear.pool);
    let mut axes = Vec::new();
    let mut pieces = None;
    for &axis in order {
        let extent = linear.pool.extent(axis).clone();
        let Some((_, block)) = blocked.filter(|&(var, _)| var == axis) else {
            let fresh = rewrite.pool.var(extent);
            rewrite.rename(axis, fresh);
            axes.push(fresh);
            continue;
        };
        let number = rewrite.pool.var(extent.ceil_div(&Dim::new(block)));
        let within = rewrite.pool.var(block);
        let pool = &mut rewrite.pool;
        let (a, b, size) = (
            pool.var_expr(number),
            pool.var_expr(within),
            pool.int(block),
        );
        let start = pool.mul(a, size);
        let whole = pool.add(start, b);
        rewrite.vars.insert(axis, whole);
        axes.push(within);
        pieces = Some(Pieces {
            number,
            block,
            extent,
        });
    }
    let depth_of = share_fold_vars(linear, &mut rewrite);
    // Block numbers are known first, then axes from the outside, then folds from the outside.
    let count = rewrite.pool.num_vars();
    let mut rank = vec![0; count];
    for (position, axis) in axes.iter().enumerate() {
        rank[axis.0 as usize] = position + 1;
    }
    let deepest = depth_of.values().copied().max().unwrap_or(0);
    for (var, depth) in &depth_of {
        rank[var.0 as usize] = axes.len() + 1 + (deepest - depth);
    }
    let (body, store) = rewrite.finish(linear, &|var| rank[var.0 as usize]);
    (
        Linear {
            pool: rewrite.pool,
            body,
            store,
            axes,
        },
        pieces,
    )
}

/// Gives variables of folds their shared successors; returns how many folds run inside each.
fn share_fold_vars(linear: &Linear, rewrite: &mut Rewrite) -> IndexMap<VarId, usize> {
    let pool = &linear.pool;
    let free = free_vars(pool);
    let mut heights: IndexMap<VarId, usize> = IndexMap::new();
    let mut shared: IndexMap<(usize, usize, Dim), VarId> = IndexMap::new();
    let mut result = IndexMap::new();
    for id in linear.reachable() {
        let Expr::Fold { vars, body, .. } = &pool.node(id).expr else {
            continue;
        };
        // Folds inside that depend on this one's variables run inside its loop.
        let mut height = 0;
        for inner in reachable(pool, &[*body]) {
            if let Expr::Fold { vars: below, .. } = &pool.node(inner).expr
                && free[inner.0 as usize].iter().any(|var| vars.contains(var))
            {
                height = height.max(heights.get(&below[0]).map_or(0, |height| height + 1));
            }
        }
        for (position, &var) in vars.iter().enumerate() {
            let known = heights.entry(var).or_insert(height);
            *known = (*known).max(height);
            if rewrite.vars.contains_key(&var) {
                continue;
            }
            let extent = pool.extent(var).clone();
            let fresh = *shared
                .entry((height, position, extent.clone()))
                .or_insert_with(|| rewrite.pool.var(extent));
            rewrite.rename(var, fresh);
            result.insert(fresh, height);
        }
    }
    result
}
