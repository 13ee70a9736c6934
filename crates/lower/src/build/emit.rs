//! Instructions for a laid-out definition.
//!
//! Open loops are a stack of scopes; each expression goes to the scope of the innermost variable
//! that it needs. A fold opens its loops beside what is already open below that scope: those
//! scopes are set aside until the fold is closed.

use std::collections::BTreeSet;

use alula_kernel::{
    Block, BufferId, Carried, Expr, ExprId, FoldOp, GridAxis, Inst, Kernel, Literal, Local, Loop,
    LoopKind, Pool, Rhs, ValueId, VarId,
};
use alula_tensor::{DType, Dim, Scalar, ScalarOp, Symbol};
use indexmap::IndexMap;
use smallvec::SmallVec;

use super::access::{accesses, free_vars, reachable, reachable_above};
use super::nest::{Nest, width};
use super::reuse::Reuse;

/// Fills in grid, symbols and body of a kernel that has its parameters.
pub(super) fn emit(kernel: Kernel, nest: &Nest) -> Kernel {
    let pool = &nest.linear.pool;
    let mut emitter = Emitter {
        pool,
        free: free_vars(pool),
        kernel,
        scopes: vec![Scope::default()],
        values: vec![None; pool.len()],
        vars: IndexMap::new(),
        dims: IndexMap::new(),
        constants: IndexMap::new(),
        fold_width: nest.fold_width,
        lanes_scope: None,
        reuses: &nest.reuses,
    };
    emitter.locals();
    for &var in &nest.grid {
        let value = emitter.kernel.value(DType::I64);
        let extent = pool.extent(var).clone();
        emitter.kernel.grid.push(GridAxis { var: value, extent });
        emitter.vars.insert(var, (0, value));
    }
    let guard = nest
        .threads
        .as_ref()
        .map(|(vars, lanes)| emitter.threads(vars, *lanes));
    for plan in &nest.loops {
        emitter.emit_all(&reachable(pool, &[plan.extent]));
    }
    let mut open = Vec::new();
    for plan in &nest.loops {
        let extent = emitter.values[plan.extent.0 as usize].expect("extents were just emitted");
        let kind = if plan.width > 1 {
            LoopKind::Lanes(plan.width)
        } else {
            LoopKind::Serial
        };
        open.push((emitter.open_loop(plan.var), extent, kind));
        if plan.width > 1 {
            emitter.lanes_scope = Some(emitter.scopes.len() - 1);
        }
    }
    let kept: Vec<ExprId> = nest.reuses.iter().map(|reuse| reuse.target).collect();
    let roots = [nest.linear.body, nest.linear.store];
    emitter.emit_all(&reachable_above(pool, &roots, &kept));
    let value = |id: ExprId| emitter.values[id.0 as usize].expect("roots were just emitted");
    let (index, value) = (value(nest.linear.store), value(nest.linear.body));
    let result = BufferId::Param(emitter.kernel.params.len() as u32 - 1);
    emitter.push(Inst::Store {
        buffer: result,
        index,
        value,
    });
    for (var, extent, kind) in open.into_iter().rev() {
        let body = emitter.close_scope();
        emitter.push(Inst::Loop(Loop {
            var,
            extent,
            kind,
            carried: Vec::new(),
            body,
        }));
    }
    if let Some(cond) = guard {
        let then = emitter.close_scope();
        emitter.push(Inst::If { cond, then });
    }
    let body = emitter.close_scope();
    let mut kernel = emitter.kernel;
    kernel.body = body;
    kernel.symbols = symbols(&kernel);
    kernel
}

#[derive(Default)]
struct Scope {
    insts: Vec<Inst>,
    /// Expressions whose value lives here.
    defined: Vec<ExprId>,
}

struct Emitter<'p> {
    pool: &'p Pool,
    free: Vec<Vec<VarId>>,
    kernel: Kernel,
    scopes: Vec<Scope>,
    values: Vec<Option<ValueId>>,
    /// Open variables: their scope and value.
    vars: IndexMap<VarId, (usize, ValueId)>,
    dims: IndexMap<Dim, ValueId>,
    constants: IndexMap<(DType, Literal), ValueId>,
    fold_width: u32,
    /// The scope of the open `Lanes` loop over an output axis.
    lanes_scope: Option<usize>,
    reuses: &'p [Reuse],
}

impl Emitter<'_> {
    /// A local array for each value that one loop keeps for another.
    fn locals(&mut self) {
        for (position, reuse) in self.reuses.iter().enumerate() {
            let mut name = format!("row{position}");
            while self.kernel.params.iter().any(|param| param.name == name) {
                name.push('_');
            }
            let dtype = self.pool.dtype(reuse.source);
            self.kernel.locals.push(Local {
                name,
                dtype,
                elements: reuse.elements,
            });
        }
    }

    /// Keeps a value that was just computed for a later loop.
    fn keep(&mut self, id: ExprId, level: usize, value: ValueId) {
        let reuses = self.reuses;
        let kept = reuses
            .iter()
            .enumerate()
            .filter(|(_, reuse)| reuse.source == id);
        for (position, reuse) in kept {
            // A fold inside the lanes loop over an output axis computes the same values again.
            if self.lanes_scope.is_none_or(|scope| level <= scope) {
                let (buffer, index) = (
                    BufferId::Local(position as u32),
                    self.vars[&reuse.source_var].1,
                );
                self.scopes[level].insts.push(Inst::Store {
                    buffer,
                    index,
                    value,
                });
            }
        }
    }

    fn push(&mut self, inst: Inst) {
        self.scopes
            .last_mut()
            .expect("the root scope is open")
            .insts
            .push(inst);
    }

    fn push_at(&mut self, level: usize, dtype: DType, rhs: Rhs) -> ValueId {
        let id = self.kernel.value(dtype);
        self.scopes[level].insts.push(Inst::Let { id, rhs });
        id
    }

    /// Opens a loop's scope; returns the loop variable.
    fn open_loop(&mut self, var: VarId) -> ValueId {
        let value = self.kernel.value(DType::I64);
        self.scopes.push(Scope::default());
        let before = self.vars.insert(var, (self.scopes.len() - 1, value));
        assert!(before.is_none(), "{var:?} runs over two open loops");
        value
    }

    fn close_scope(&mut self) -> Block {
        let scope = self.scopes.pop().expect("a scope is open");
        for id in scope.defined {
            self.values[id.0 as usize] = None;
        }
        Block(scope.insts)
    }

    /// The thread's number decomposed into variables, under a guard that it exists.
    fn threads(&mut self, vars: &[VarId], lanes: u32) -> ValueId {
        let total: Dim = vars
            .iter()
            .map(|&var| self.pool.extent(var).clone())
            .product();
        let group = self.kernel.value(DType::I64);
        let extent = total.ceil_div(&Dim::new(i64::from(lanes)));
        self.kernel.grid.push(GridAxis { var: group, extent });
        let mut thread = group;
        if lanes > 1 {
            let lane = self.kernel.value(DType::I64);
            self.kernel.lanes = lanes;
            self.kernel.lane = Some(lane);
            let size = self.dim(&Dim::new(i64::from(lanes)));
            let start = self.apply(ScalarOp::Mul, &[group, size]);
            thread = self.apply(ScalarOp::Add, &[start, lane]);
        }
        let total = self.dim(&total);
        let extents: Vec<ValueId> = vars
            .iter()
            .map(|&var| self.dim(&self.pool.extent(var).clone()))
            .collect();
        let guard = self.kernel.value(DType::Bool);
        let operands = SmallVec::from_slice(&[thread, total]);
        self.push(Inst::Let {
            id: guard,
            rhs: Rhs::Apply {
                op: ScalarOp::Lt,
                operands,
            },
        });
        self.scopes.push(Scope::default());
        let mut rest = thread;
        for (position, (&var, &extent)) in vars.iter().zip(&extents).enumerate().rev() {
            let index = if position == 0 {
                rest
            } else {
                let index = self.apply(ScalarOp::FloorMod, &[rest, extent]);
                rest = self.apply(ScalarOp::FloorDiv, &[rest, extent]);
                index
            };
            self.vars.insert(var, (1, index));
        }
        guard
    }

    /// An `i64` operator in the innermost scope.
    fn apply(&mut self, op: ScalarOp, operands: &[ValueId]) -> ValueId {
        let rhs = Rhs::Apply {
            op,
            operands: SmallVec::from_slice(operands),
        };
        self.push_at(self.scopes.len() - 1, DType::I64, rhs)
    }

    /// A dim, computed once at the start.
    fn dim(&mut self, dim: &Dim) -> ValueId {
        if let Some(&value) = self.dims.get(dim) {
            return value;
        }
        let rhs = match dim.as_const() {
            Some(value) => Rhs::Const(Literal(Scalar::Int(i128::from(value)))),
            None => Rhs::Dim(dim.clone()),
        };
        let value = self.push_at(0, DType::I64, rhs);
        self.dims.insert(dim.clone(), value);
        value
    }

    /// A constant, made once at the start.
    fn constant(&mut self, dtype: DType, literal: Literal) -> ValueId {
        if let (DType::I64, Some(value)) = (dtype, literal.0.as_int()) {
            return self.dim(&Dim::new(value as i64));
        }
        if let Some(&value) = self.constants.get(&(dtype, literal)) {
            return value;
        }
        let value = self.push_at(0, dtype, Rhs::Const(literal));
        self.constants.insert((dtype, literal), value);
        value
    }

    /// The scope of the innermost variable that an expression needs, if all are open.
    fn level(&self, id: ExprId) -> Option<usize> {
        let levels = self.free[id.0 as usize]
            .iter()
            .map(|var| self.vars.get(var).map(|v| v.0));
        levels
            .collect::<Option<Vec<usize>>>()
            .map(|levels| levels.into_iter().max().unwrap_or(0))
    }

    /// Computes what can be computed of `list`, which has operands before their users.
    fn emit_all(&mut self, list: &[ExprId]) {
        for (position, &id) in list.iter().enumerate() {
            if self.values[id.0 as usize].is_some() {
                continue;
            }
            let Some(level) = self.level(id) else {
                continue;
            };
            if matches!(self.pool.node(id).expr, Expr::Fold { .. }) {
                self.folds(id, level, &list[position + 1..]);
                continue;
            }
            let value = self.node(id, level);
            self.define(id, level, value);
            self.keep(id, level, value);
        }
    }

    fn define(&mut self, id: ExprId, level: usize, value: ValueId) {
        self.values[id.0 as usize] = Some(value);
        self.scopes[level].defined.push(id);
    }

    fn value(&self, id: ExprId) -> ValueId {
        self.values[id.0 as usize].expect("operands are computed before their users")
    }

    fn node(&mut self, id: ExprId, level: usize) -> ValueId {
        let node = self.pool.node(id);
        if let Some(position) = self.reuses.iter().position(|reuse| reuse.target == id) {
            let index = self.vars[&self.reuses[position].target_var].1;
            let buffer = BufferId::Local(position as u32);
            return self.push_at(level, node.dtype, Rhs::Load { buffer, index });
        }
        let rhs = match &node.expr {
            Expr::Const(literal) => return self.constant(node.dtype, *literal),
            Expr::Dim(dim) => return self.dim(dim),
            Expr::Var(var) => return self.vars[var].1,
            Expr::Load { operand, index } => Rhs::Load {
                buffer: BufferId::Param(*operand),
                index: self.value(index[0]),
            },
            Expr::Apply { op, operands } => Rhs::Apply {
                op: *op,
                operands: operands
                    .iter()
                    .map(|&operand| self.value(operand))
                    .collect(),
            },
            Expr::Cast(value) => Rhs::Cast(self.value(*value)),
            Expr::Fold { .. } | Expr::Acc => panic!("folds open loops, acc is a contraction's"),
        };
        self.push_at(level, node.dtype, rhs)
    }

    /// Computes a fold, and with it the later ones of `rest` that run over the same variables and
    /// do not need its value, in one loop nest.
    fn folds(&mut self, first: ExprId, level: usize, rest: &[ExprId]) {
        let Expr::Fold { vars, .. } = &self.pool.node(first).expr else {
            return;
        };
        let mut folds = vec![first];
        for &id in rest {
            let Expr::Fold { vars: others, .. } = &self.pool.node(id).expr else {
                continue;
            };
            let same = others == vars && self.level(id) == Some(level);
            if same && self.values[id.0 as usize].is_none() && !self.needs_any(id, &folds) {
                folds.push(id);
            }
        }
        for &fold in &folds[1..] {
            self.emit_outside(fold, vars);
        }
        let body = self.fold_body(&folds, vars);
        let set_aside = self.scopes.split_off(level + 1);
        let results = self.fold_loops(&folds, vars, &body);
        self.scopes.extend(set_aside);
        for (&fold, result) in folds.iter().zip(results) {
            self.define(fold, level, result);
        }
    }

    /// Whether an expression uses one of `folds`.
    fn needs_any(&self, id: ExprId, folds: &[ExprId]) -> bool {
        let mut open = vec![id];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if folds.contains(&id) {
                return true;
            }
            if seen.insert(id) {
                self.pool.for_each_operand(id, |operand| {
                    // Operands come first: nothing before the first fold can need it.
                    if operand >= folds[0] {
                        open.push(operand);
                    }
                });
            }
        }
        false
    }

    /// Computes what a fold's body needs from outside its loops.
    fn emit_outside(&mut self, fold: ExprId, vars: &[VarId]) {
        let list = reachable(self.pool, &[fold]);
        let outside = |id: &ExprId| !self.free[id.0 as usize].iter().any(|v| vars.contains(v));
        let outside: Vec<ExprId> = list
            .into_iter()
            .filter(|id| *id != fold && outside(id))
            .collect();
        // Variables of folds inside it are not open here, so what needs them is left out.
        self.emit_all(&outside);
    }

    /// What the bodies of folds compute for each iteration.
    fn fold_body(&self, folds: &[ExprId], vars: &[VarId]) -> Vec<ExprId> {
        let mut found = BTreeSet::new();
        let mut open: Vec<ExprId> = folds.iter().map(|&fold| self.fold_of(fold).1).collect();
        while let Some(id) = open.pop() {
            let inside = self.free[id.0 as usize]
                .iter()
                .any(|var| vars.contains(var));
            if inside && found.insert(id) {
                self.pool.for_each_operand(id, |operand| open.push(operand));
            }
        }
        found.into_iter().collect()
    }

    fn fold_of(&self, id: ExprId) -> (FoldOp, ExprId) {
        match self.pool.node(id).expr {
            Expr::Fold { op, body, .. } => (op, body),
            _ => panic!("{id:?} is no fold"),
        }
    }

    fn fold_loops(&mut self, folds: &[ExprId], vars: &[VarId], body: &[ExprId]) -> Vec<ValueId> {
        let width = self.width_of(folds, vars);
        let mut inits: Vec<ValueId> = Vec::new();
        for &fold in folds {
            let (dtype, op) = (self.pool.dtype(fold), self.fold_of(fold).0);
            inits.push(self.constant(dtype, Literal(op.identity(dtype))));
        }
        let extents: Vec<ValueId> = vars
            .iter()
            .map(|&var| self.dim(&self.pool.extent(var).clone()))
            .collect();
        let mut open = Vec::new();
        for &var in vars {
            let accs: Vec<ValueId> = folds
                .iter()
                .map(|&fold| self.kernel.value(self.pool.dtype(fold)))
                .collect();
            open.push((self.open_loop(var), std::mem::replace(&mut inits, accs)));
        }
        self.emit_all(body);
        let innermost = self.scopes.len() - 1;
        let mut next = Vec::new();
        let mut accs = inits;
        for (&fold, &acc) in folds.iter().zip(&accs) {
            let (op, value) = self.fold_of(fold);
            let operands = SmallVec::from_slice(&[acc, self.value(value)]);
            let rhs = Rhs::Apply {
                op: op.scalar_op(),
                operands,
            };
            next.push(self.push_at(innermost, self.pool.dtype(fold), rhs));
        }
        for (depth, (var, inits)) in open.into_iter().enumerate().rev() {
            let body = self.close_scope();
            self.vars.swap_remove(&vars[depth]);
            let mut results = Vec::new();
            let mut carried = Vec::new();
            for (position, &fold) in folds.iter().enumerate() {
                let result = self.kernel.value(self.pool.dtype(fold));
                results.push(result);
                carried.push(Carried {
                    acc: accs[position],
                    init: inits[position],
                    next: next[position],
                    result,
                    combine: Some(self.fold_of(fold).0),
                });
            }
            let innermost = depth + 1 == vars.len();
            let kind = if innermost && width > 1 {
                LoopKind::Lanes(width)
            } else {
                LoopKind::Serial
            };
            let extent = extents[depth];
            self.push(Inst::Loop(Loop {
                var,
                extent,
                kind,
                carried,
                body,
            }));
            (accs, next) = (inits, results);
        }
        next
    }

    /// Lanes of a fold's innermost loop: several where its loads are contiguous and no `Lanes`
    /// loop is open around or needed inside it.
    fn width_of(&self, folds: &[ExprId], vars: &[VarId]) -> u32 {
        let level = self.scopes.len() - 1;
        if self.fold_width < 2 || self.lanes_scope.is_some_and(|scope| scope <= level) {
            return 1;
        }
        let inner = vars[vars.len() - 1];
        let bodies: Vec<ExprId> = folds.iter().map(|&fold| self.fold_of(fold).1).collect();
        let affine = accesses(self.pool, &bodies, None).affine;
        let nested = reachable(self.pool, &bodies).into_iter().any(|id| {
            matches!(self.pool.node(id).expr, Expr::Fold { .. })
                && self.free[id.0 as usize].contains(&inner)
        });
        if nested || !affine.iter().any(|access| access.coefficient(inner).is(1)) {
            return 1;
        }
        width(self.pool.extent(inner).as_const(), self.fold_width)
    }
}

/// Symbols of every dim in a kernel, sorted.
pub(super) fn symbols(kernel: &Kernel) -> Vec<Symbol> {
    let mut symbols = BTreeSet::new();
    kernel
        .params
        .iter()
        .for_each(|param| param.elements.collect_symbols(&mut symbols));
    kernel
        .grid
        .iter()
        .for_each(|axis| axis.extent.collect_symbols(&mut symbols));
    collect(&kernel.body, &mut symbols);
    symbols.into_iter().collect()
}

fn collect(block: &Block, symbols: &mut BTreeSet<Symbol>) {
    for inst in &block.0 {
        match inst {
            Inst::Let {
                rhs: Rhs::Dim(dim), ..
            } => dim.collect_symbols(symbols),
            Inst::Loop(inner) => collect(&inner.body, symbols),
            Inst::If { then, .. } => collect(then, symbols),
            Inst::Let { .. } | Inst::Store { .. } | Inst::Barrier => {}
        }
    }
}
