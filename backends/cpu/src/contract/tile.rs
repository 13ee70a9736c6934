//! Epilogues that are not built in, as a definition over the elements of one tile.
//!
//! The definition has the tile itself as its last operand and as its result; it is laid out,
//! legalized and emitted like any other, and called for each finished tile. Where the tile lies in
//! the product comes in as symbols, [`TILE_SYMBOLS`](super::TILE_SYMBOLS).

use alula_kernel::{Affine, Compute, Contract, Expr, ExprId, Operand, Substitution, VarId};
use alula_tensor::{Dim, ScalarOp};
use indexmap::IndexMap;

use super::TILE_SYMBOLS;
use super::axes::{linear, through_result};
use super::plan::Layout;

/// A tile's epilogue, to be built into a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct TileEpilogue {
    /// What to compute: `result[row, col]`; the last operand is the tile of accumulated values.
    pub compute: Compute,
    /// Name and layout of each operand, then of the result. The last two are the same memory, or
    /// for sums of integers two memories.
    pub params: Vec<TileParam>,
    /// Operand position in the contraction of each operand but the last.
    pub operands: Vec<u32>,
}

/// A parameter of the kernel to build.
#[derive(Clone, Debug, PartialEq)]
pub struct TileParam {
    /// A name.
    pub name: String,
    /// Where elements are.
    pub layout: Layout,
}

/// Which variables rows and columns of a tile count, outermost first.
pub(super) struct TileAxes {
    pub(super) batch: Vec<VarId>,
    pub(super) rows: Vec<VarId>,
    pub(super) cols: Vec<VarId>,
}

/// The epilogue of a contraction over one tile of sums. Without a `place`, which is the distance of
/// rows and of columns in the result, the tile is finished where it is.
pub(super) fn compute(
    contract: &Contract,
    layouts: &[Layout],
    axes: &TileAxes,
    place: Option<[Dim; 2]>,
) -> TileEpilogue {
    let epilogue = &contract.epilogue;
    let operands = loaded(contract);
    let [rows, cols, stride, m0, n0, batch, _] = TILE_SYMBOLS.map(Dim::named);
    let shape = [rows.clone(), cols.clone()];
    let mut specs: Vec<Operand> = operands
        .iter()
        .map(|&operand| epilogue.operands[operand as usize].clone())
        .collect();
    specs.push(Operand {
        dtype: contract.acc,
        shape: shape.to_vec(),
    });
    let mut compute = Compute::begin(specs, epilogue.dtype, &shape);
    let (row, col) = (
        compute.pool.var_expr(compute.axes[0].var),
        compute.pool.var_expr(compute.axes[1].var),
    );
    let (m0, n0, batch) = (
        compute.pool.dim(m0),
        compute.pool.dim(n0),
        compute.pool.dim(batch),
    );
    let (m, n) = (compute.pool.add(row, m0), compute.pool.add(col, n0));
    let mut vars = IndexMap::new();
    let indices = indices(contract, layouts);
    for (position, group) in [(batch, &axes.batch), (m, &axes.rows), (n, &axes.cols)] {
        let is_joint = !counts(contract, group)
            && indices
                .as_deref()
                .is_some_and(|of| joint(contract, group, of));
        split(
            &mut compute,
            contract,
            position,
            (group, is_joint),
            &mut vars,
        );
    }
    let at: IndexMap<VarId, ExprId> = epilogue
        .axes
        .iter()
        .zip(&contract.out)
        .map(|(axis, index)| (axis.var, affine(&mut compute, index, &vars)))
        .collect();
    let tile = operands.len();
    let acc = compute.load(tile, vec![row, col]);
    let body = compute.pool.import(
        &epilogue.pool,
        epilogue.body,
        &mut Substitution {
            vars: at,
            load: &mut |pool, operand, dtype, index| {
                let position = operands.iter().position(|&known| known == operand);
                let position = position.expect("every loaded operand was collected");
                pool.load(position as u32, dtype, index)
            },
            acc: Some(acc),
        },
    );
    let mut params: Vec<TileParam> = operands
        .iter()
        .map(|&operand| TileParam {
            name: format!("operand{operand}"),
            layout: layouts[operand as usize].clone(),
        })
        .collect();
    let own = [stride, Dim::new(1)];
    for (name, [row, col]) in [("tile", own.clone()), ("result", place.unwrap_or(own))] {
        let last = |extent: &Dim| extent.clone() - Dim::new(1);
        let elements = last(&rows) * row.clone() + last(&cols) * col.clone() + Dim::new(1);
        let layout = Layout {
            strides: vec![row, col],
            elements,
        };
        params.push(TileParam {
            name: name.to_owned(),
            layout,
        });
    }
    TileEpilogue {
        compute: compute.finish(body),
        params,
        operands,
    }
}

/// The operands that the epilogue loads, in order.
fn loaded(contract: &Contract) -> Vec<u32> {
    let pool = &contract.epilogue.pool;
    let mut operands: Vec<u32> = reachable(contract)
        .filter_map(|id| match &pool.node(id).expr {
            Expr::Load { operand, .. } => Some(*operand),
            _ => None,
        })
        .collect();
    operands.sort_unstable();
    operands.dedup();
    operands
}

/// The expressions of the epilogue.
fn reachable(contract: &Contract) -> impl Iterator<Item = ExprId> {
    let pool = &contract.epilogue.pool;
    let (mut open, mut seen) = (
        vec![contract.epilogue.body],
        std::collections::BTreeSet::new(),
    );
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            pool.for_each_operand(id, |operand| open.push(operand));
        }
    }
    seen.into_iter()
}

/// The element that each load of the epilogue is at, as a function of the contraction's variables.
/// `None` if one is at no such place.
fn indices(contract: &Contract, layouts: &[Layout]) -> Option<Vec<Affine>> {
    let pool = &contract.epilogue.pool;
    let loads = reachable(contract).filter_map(|id| match &pool.node(id).expr {
        Expr::Load { operand, index } => Some((*operand, index)),
        _ => None,
    });
    let at = |(operand, index): (u32, &Vec<ExprId>)| {
        let index: Option<Vec<Affine>> = index
            .iter()
            .map(|&id| Some(through_result(contract, &pool.as_affine(id)?)))
            .collect();
        Some(linear(contract, &index?, &layouts[operand as usize], &[]))
    };
    loads.map(at).collect()
}

/// Whether the epilogue computes with a position along one of these axes, as a triangle does,
/// beside loading from it.
fn counts(contract: &Contract, group: &[VarId]) -> bool {
    let (epilogue, pool) = (&contract.epilogue, &contract.epilogue.pool);
    let mut counted = std::collections::BTreeSet::new();
    let (mut open, mut seen) = (vec![epilogue.body], std::collections::BTreeSet::new());
    while let Some(id) = open.pop() {
        match &pool.node(id).expr {
            _ if !seen.insert(id) => {}
            Expr::Load { .. } => {}
            Expr::Var(var) => {
                counted.insert(*var);
            }
            _ => pool.for_each_operand(id, |operand| open.push(operand)),
        }
    }
    let mut axes = epilogue.axes.iter().zip(&contract.out);
    axes.any(|(axis, index)| {
        counted.contains(&axis.var) && index.terms.keys().any(|var| group.contains(var))
    })
}

/// Whether everything that is loaded walks the variables of a group as one axis, so that nothing
/// has to be divided.
fn joint(contract: &Contract, group: &[VarId], indices: &[Affine]) -> bool {
    let extent = |var: VarId| contract.epilogue.pool.extent(var).clone();
    group.windows(2).all(|pair| {
        let steps = |index: &Affine| {
            index.coefficient(pair[0]) == index.coefficient(pair[1]) * extent(pair[1])
        };
        indices.iter().all(steps)
    })
}

/// Expresses variables by their joint position: if they are walked as one axis, all of it is the
/// innermost one's.
fn split(
    compute: &mut Compute,
    contract: &Contract,
    position: ExprId,
    (group, is_joint): (&[VarId], bool),
    vars: &mut IndexMap<VarId, ExprId>,
) {
    if let (true, Some((&inner, outer))) = (is_joint, group.split_last()) {
        vars.insert(inner, position);
        for &var in outer {
            let zero = compute.pool.int(0);
            vars.insert(var, zero);
        }
        return;
    }
    let mut rest = position;
    for (outer, &var) in group.iter().enumerate().rev() {
        if outer == 0 {
            vars.insert(var, rest);
            continue;
        }
        let extent = compute.pool.dim(contract.epilogue.pool.extent(var).clone());
        let own = compute.pool.apply(ScalarOp::FloorMod, &[rest, extent]);
        vars.insert(var, own);
        rest = compute.pool.apply(ScalarOp::FloorDiv, &[rest, extent]);
    }
}

/// An index of the result; variables without an expression have extent 1 and are 0.
fn affine(compute: &mut Compute, index: &Affine, vars: &IndexMap<VarId, ExprId>) -> ExprId {
    let mut sum = compute.pool.dim(index.offset.clone());
    for (var, coefficient) in &index.terms {
        if let Some(&value) = vars.get(var) {
            let factor = compute.pool.dim(coefficient.clone());
            let term = compute.pool.mul(value, factor);
            sum = compute.pool.add(sum, term);
        }
    }
    sum
}
