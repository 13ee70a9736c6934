//! Linear indices, and axes that all accesses walk as one.

use std::collections::BTreeSet;

use alula_kernel::{Affine, Compute, Expr, ExprId, Pool, Substitution, VarId};
use alula_tensor::Dim;
use indexmap::IndexMap;

/// A definition whose loads have one linear index each.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    pub(super) pool: Pool,
    /// The value stored.
    pub(super) body: ExprId,
    /// Where: a linear index.
    pub(super) store: ExprId,
    /// Variables of the output axes, outermost first.
    pub(super) axes: Vec<VarId>,
}

impl Linear {
    /// What must be computed, before what uses it.
    pub(super) fn reachable(&self) -> Vec<ExprId> {
        reachable(&self.pool, &[self.body, self.store])
    }
}

/// Expressions below `roots`, operands first.
pub(super) fn reachable(pool: &Pool, roots: &[ExprId]) -> Vec<ExprId> {
    reachable_above(pool, roots, &[])
}

/// Expressions below `roots`, operands first, but nothing that only `leaves` need.
pub(super) fn reachable_above(pool: &Pool, roots: &[ExprId], leaves: &[ExprId]) -> Vec<ExprId> {
    let mut seen = vec![false; pool.len()];
    roots.iter().for_each(|root| seen[root.0 as usize] = true);
    for id in (0..pool.len() as u32).rev() {
        if seen[id as usize] && !leaves.contains(&ExprId(id)) {
            pool.for_each_operand(ExprId(id), |operand| seen[operand.0 as usize] = true);
        }
    }
    (0..pool.len() as u32)
        .map(ExprId)
        .filter(|id| seen[id.0 as usize])
        .collect()
}

/// The free variables of every expression, sorted.
pub(super) fn free_vars(pool: &Pool) -> Vec<Vec<VarId>> {
    let mut free: Vec<Vec<VarId>> = Vec::with_capacity(pool.len());
    for id in (0..pool.len() as u32).map(ExprId) {
        let mut vars = Vec::new();
        pool.for_each_operand(id, |operand| vars.extend(&free[operand.0 as usize]));
        match &pool.node(id).expr {
            Expr::Var(var) => vars.push(*var),
            Expr::Fold { vars: bound, .. } => vars.retain(|var| !bound.contains(var)),
            Expr::Const(_)
            | Expr::Dim(_)
            | Expr::Load { .. }
            | Expr::Apply { .. }
            | Expr::Cast(_)
            | Expr::Acc => {}
        }
        vars.sort_unstable();
        vars.dedup();
        free.push(vars);
    }
    free
}

/// Replaces the indices of each load by one linear index, and makes the store's, which begins at
/// element `first` of the result.
pub(super) fn linearize(compute: &Compute, strides: &[Vec<Dim>], first: &Dim) -> Linear {
    let mut pool = Pool::new();
    let axes: Vec<VarId> = compute
        .axes
        .iter()
        .map(|axis| pool.var(axis.extent.clone()))
        .collect();
    let vars = compute
        .axes
        .iter()
        .zip(&axes)
        .map(|(axis, &var)| (axis.var, pool.var_expr(var)))
        .collect::<IndexMap<VarId, ExprId>>();
    let body = pool.import(
        &compute.pool,
        compute.body,
        &mut Substitution {
            vars,
            load: &mut |pool, operand, dtype, index| {
                let linear = linear(pool, &index, &strides[operand as usize]);
                pool.load(operand, dtype, vec![linear])
            },
            acc: None,
        },
    );
    let index: Vec<ExprId> = axes.iter().map(|&var| pool.var_expr(var)).collect();
    let store = linear(&mut pool, &index, &strides[compute.operands.len()]);
    let first = pool.dim(first.clone());
    let store = pool.add(first, store);
    let axes = axes
        .into_iter()
        .filter(|&var| !pool.extent(var).is(1))
        .collect();
    Linear {
        pool,
        body,
        store,
        axes,
    }
}

fn linear(pool: &mut Pool, index: &[ExprId], strides: &[Dim]) -> ExprId {
    let mut sum = pool.int(0);
    for (&position, stride) in index.iter().zip(strides) {
        let stride = pool.dim(stride.clone());
        let term = pool.mul(position, stride);
        sum = pool.add(sum, term);
    }
    match pool.as_affine(sum) {
        Some(affine) => pool.affine(&affine),
        None => sum,
    }
}

/// Every affine index, and the variables that occur in anything else.
pub(super) struct Accesses {
    pub(super) affine: Vec<Affine>,
    pub(super) opaque: BTreeSet<VarId>,
}

/// Finds the accesses below `roots`; `store` is one of them.
pub(super) fn accesses(pool: &Pool, roots: &[ExprId], store: Option<ExprId>) -> Accesses {
    let mut found = Accesses {
        affine: Vec::new(),
        opaque: BTreeSet::new(),
    };
    let mut seen = vec![false; pool.len()];
    let mut open: Vec<ExprId> = roots.to_vec();
    match store.map(|store| (store, pool.as_affine(store))) {
        Some((_, Some(affine))) => found.affine.push(affine),
        Some((store, None)) => open.push(store),
        None => {}
    }
    while let Some(id) = open.pop() {
        if std::mem::replace(&mut seen[id.0 as usize], true) {
            continue;
        }
        match &pool.node(id).expr {
            Expr::Var(var) => {
                found.opaque.insert(*var);
            }
            Expr::Load { index, .. } => {
                for &index in index {
                    match pool.as_affine(index) {
                        Some(affine) => found.affine.push(affine),
                        None => open.push(index),
                    }
                }
            }
            Expr::Const(_)
            | Expr::Dim(_)
            | Expr::Apply { .. }
            | Expr::Cast(_)
            | Expr::Fold { .. }
            | Expr::Acc => pool.for_each_operand(id, |operand| open.push(operand)),
        }
    }
    found
}

/// Merges neighbouring axes (of the result, or of one fold) that all accesses walk as one.
pub(super) fn collapse(linear: &Linear) -> Linear {
    let pool = &linear.pool;
    let mut accesses = accesses(pool, &[linear.body], Some(linear.store));
    accesses.opaque.extend(shared_fold_vars(linear));
    let mut rewrite = Rewrite::new(pool);
    let axes = rewrite.merge(pool, &linear.axes, &accesses);
    for id in linear.reachable() {
        if let Expr::Fold { vars, .. } = &pool.node(id).expr {
            rewrite.merge(pool, vars, &accesses);
        }
    }
    let (body, store) = rewrite.finish(linear, &|_| 0);
    Linear {
        pool: rewrite.pool,
        body,
        store,
        axes,
    }
}

/// Variables of folds that run over different lists of them.
fn shared_fold_vars(linear: &Linear) -> Vec<VarId> {
    let mut lists: IndexMap<VarId, &[VarId]> = IndexMap::new();
    let mut shared = Vec::new();
    for id in linear.reachable() {
        if let Expr::Fold { vars, .. } = &linear.pool.node(id).expr {
            for &var in vars {
                if *lists.entry(var).or_insert(vars) != vars.as_slice() {
                    shared.push(var);
                }
            }
        }
    }
    shared
}

/// A copy of a definition in which variables are replaced.
pub(super) struct Rewrite {
    pub(super) pool: Pool,
    /// What each old variable becomes.
    pub(super) vars: IndexMap<VarId, ExprId>,
    /// What a fold over each old variable runs over; `None` drops it.
    pub(super) fold_vars: IndexMap<VarId, Option<VarId>>,
}

impl Rewrite {
    pub(super) fn new(from: &Pool) -> Rewrite {
        let capacity = from.num_vars();
        Rewrite {
            pool: Pool::new(),
            vars: IndexMap::with_capacity(capacity),
            fold_vars: IndexMap::with_capacity(capacity),
        }
    }

    /// Renames a variable.
    pub(super) fn rename(&mut self, from: VarId, to: VarId) {
        let expr = self.pool.var_expr(to);
        self.vars.insert(from, expr);
        self.fold_vars.insert(from, Some(to));
    }

    /// Gives each run of axes that accesses walk as one a new variable; returns the new axes.
    fn merge(&mut self, pool: &Pool, axes: &[VarId], accesses: &Accesses) -> Vec<VarId> {
        let joined = |outer: VarId, inner: VarId| {
            !accesses.opaque.contains(&outer)
                && !accesses.opaque.contains(&inner)
                && accesses.affine.iter().all(|access| {
                    access.coefficient(outer)
                        == access.coefficient(inner) * pool.extent(inner).clone()
                })
        };
        let mut merged = Vec::new();
        let mut start = 0;
        for position in 0..axes.len() {
            if axes
                .get(position + 1)
                .is_some_and(|&next| joined(axes[position], next))
            {
                continue;
            }
            if self.vars.contains_key(&axes[position]) {
                start = position + 1;
                continue;
            }
            // The last axis of the run stands for all of it; the others count as 0.
            let extent: Dim = axes[start..=position]
                .iter()
                .map(|&var| pool.extent(var).clone())
                .product();
            let fresh = self.pool.var(extent);
            merged.push(fresh);
            for &outer in &axes[start..position] {
                let zero = self.pool.int(0);
                self.vars.insert(outer, zero);
                self.fold_vars.insert(outer, None);
            }
            self.rename(axes[position], fresh);
            start = position + 1;
        }
        merged
    }

    /// Copies the definition. Terms of affine indices are summed in the order of `rank` of the
    /// new variables, lowest (outermost) first. Returns body and store index.
    pub(super) fn finish(
        &mut self,
        from: &Linear,
        rank: &dyn Fn(VarId) -> usize,
    ) -> (ExprId, ExprId) {
        let mut copies: IndexMap<ExprId, ExprId> = IndexMap::new();
        for id in from.reachable() {
            let copy = self.copy(&from.pool, id, &copies, rank);
            copies.insert(id, copy);
        }
        let store = self.ordered(copies[&from.store], rank);
        (copies[&from.body], store)
    }

    fn copy(
        &mut self,
        from: &Pool,
        id: ExprId,
        copies: &IndexMap<ExprId, ExprId>,
        rank: &dyn Fn(VarId) -> usize,
    ) -> ExprId {
        let node = from.node(id);
        match &node.expr {
            Expr::Const(literal) => self.pool.constant(node.dtype, literal.0),
            Expr::Dim(dim) => self.pool.dim(dim.clone()),
            Expr::Var(var) => self.vars[var],
            Expr::Load { operand, index } => {
                let index = index
                    .iter()
                    .map(|i| self.ordered(copies[i], rank))
                    .collect();
                self.pool.load(*operand, node.dtype, index)
            }
            Expr::Apply { op, operands } => {
                let operands: Vec<ExprId> = operands.iter().map(|o| copies[o]).collect();
                self.pool.apply(*op, &operands)
            }
            Expr::Cast(value) => self.pool.cast(copies[value], node.dtype),
            Expr::Fold { op, vars, body } => {
                let vars = vars.iter().filter_map(|var| self.fold_vars[var]).collect();
                self.pool.fold(*op, vars, copies[body])
            }
            Expr::Acc => panic!("acc outside a contraction"),
        }
    }

    /// An affine index with its terms in the order of `rank`: each prefix of the sum is known in
    /// the loop of its last variable. Others stay.
    fn ordered(&mut self, index: ExprId, rank: &dyn Fn(VarId) -> usize) -> ExprId {
        let Some(affine) = self.pool.as_affine(index) else {
            return index;
        };
        let mut terms: Vec<(VarId, Dim)> = affine.terms.into_iter().collect();
        terms.sort_by_key(|&(var, _)| (rank(var), var));
        let mut sum = self.pool.dim(affine.offset);
        for (var, coefficient) in terms {
            let (var, coefficient) = (self.pool.var_expr(var), self.pool.dim(coefficient));
            let term = self.pool.mul(var, coefficient);
            sum = self.pool.add(sum, term);
        }
        sum
    }
}
