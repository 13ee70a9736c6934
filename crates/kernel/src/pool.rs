//! Where expressions live: each distinct one once, simplified as it is made.

use alula_tensor::{DType, Dim, Scalar, ScalarOp};
use indexmap::{IndexMap, IndexSet};
use smallvec::SmallVec;

use crate::{Expr, ExprId, ExprNode, FoldOp, Literal, VarId};

/// A set of expressions that refer to each other. An operand always precedes its user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    nodes: IndexSet<ExprNode>,
    extents: Vec<Dim>,
}

/// How [`Pool::import`] rewrites what it copies.
pub struct Substitution<'s> {
    /// Expressions (of the target pool) that replace index variables; others get fresh variables.
    pub vars: IndexMap<VarId, ExprId>,
    /// Builds the replacement of a load, given the target pool, the operand's position, the loaded
    /// dtype and the copied index expressions.
    pub load: &'s mut dyn FnMut(&mut Pool, u32, DType, Vec<ExprId>) -> ExprId,
    /// What replaces [`Expr::Acc`]; `None` keeps it.
    pub acc: Option<ExprId>,
}

impl Pool {
    /// An empty pool.
    pub fn new() -> Pool {
        Pool::default()
    }

    /// A new index variable that runs from 0 to `extent` less 1.
    pub fn var(&mut self, extent: impl Into<Dim>) -> VarId {
        self.extents.push(extent.into());
        VarId(self.extents.len() as u32 - 1)
    }

    /// Makes a variable of this number the one that runs to `extent`; those below it that nothing
    /// has declared have extent 1.
    pub(crate) fn declare(&mut self, var: VarId, extent: Dim) {
        let position = var.0 as usize;
        if self.extents.len() <= position {
            self.extents.resize(position + 1, Dim::new(1));
        }
        self.extents[position] = extent;
    }

    /// The extent of a variable.
    pub fn extent(&self, var: VarId) -> &Dim {
        &self.extents[var.0 as usize]
    }

    /// Number of variables ever made.
    pub fn num_vars(&self) -> usize {
        self.extents.len()
    }

    /// The expression behind an id.
    pub fn node(&self, id: ExprId) -> &ExprNode {
        &self.nodes[id.0 as usize]
    }

    /// The dtype of an expression.
    pub fn dtype(&self, id: ExprId) -> DType {
        self.node(id).dtype
    }

    /// Number of expressions.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no expression.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn intern(&mut self, expr: Expr, dtype: DType) -> ExprId {
        let (index, _) = self.nodes.insert_full(ExprNode { expr, dtype });
        ExprId(u32::try_from(index).expect("fewer than 2^32 expressions"))
    }

    /// A constant, converted to `dtype` as a cast would.
    pub fn constant(&mut self, dtype: DType, value: Scalar) -> ExprId {
        match value.cast(dtype) {
            Scalar::Int(value) if dtype == DType::I64 => self.dim(Dim::new(value as i64)),
            value => self.intern(Expr::Const(Literal(value)), dtype),
        }
    }

    /// A floating-point constant.
    pub fn float(&mut self, dtype: DType, value: f64) -> ExprId {
        self.constant(dtype, Scalar::Float(value))
    }

    /// An `i64` constant.
    pub fn int(&mut self, value: i64) -> ExprId {
        self.dim(Dim::new(value))
    }

    /// A truth value.
    pub fn boolean(&mut self, value: bool) -> ExprId {
        self.constant(DType::Bool, Scalar::Int(i128::from(value)))
    }

    /// A dim as an `i64`.
    pub fn dim(&mut self, dim: Dim) -> ExprId {
        self.intern(Expr::Dim(dim), DType::I64)
    }

    /// A variable as an `i64`; a variable of extent 1 is 0.
    pub fn var_expr(&mut self, var: VarId) -> ExprId {
        if self.extent(var).is(1) {
            self.int(0)
        } else {
            self.intern(Expr::Var(var), DType::I64)
        }
    }

    /// An element of an operand.
    pub fn load(&mut self, operand: u32, dtype: DType, index: Vec<ExprId>) -> ExprId {
        self.intern(Expr::Load { operand, index }, dtype)
    }

    /// The accumulated value of a contraction.
    pub fn acc(&mut self, dtype: DType) -> ExprId {
        self.intern(Expr::Acc, dtype)
    }

    /// A conversion; converting to the same dtype is nothing.
    pub fn cast(&mut self, value: ExprId, dtype: DType) -> ExprId {
        let node = self.node(value);
        match node.expr {
            _ if node.dtype == dtype => value,
            Expr::Const(Literal(scalar)) => self.constant(dtype, scalar),
            Expr::Dim(ref dim) if dim.as_const().is_some() => {
                let scalar = Scalar::Int(i128::from(dim.as_const().unwrap_or_default()));
                self.constant(dtype, scalar)
            }
            _ => self.intern(Expr::Cast(value), dtype),
        }
    }

    /// A combination of `body` over `vars`.
    pub fn fold(&mut self, op: FoldOp, vars: Vec<VarId>, body: ExprId) -> ExprId {
        let vars: Vec<VarId> = vars
            .into_iter()
            .filter(|&v| !self.extent(v).is(1))
            .collect();
        if vars.is_empty() {
            return body;
        }
        let dtype = self.dtype(body);
        self.intern(Expr::Fold { op, vars, body }, dtype)
    }

    /// A scalar operator on operands of one dtype, with index arithmetic simplified.
    ///
    /// # Panics
    /// When operands disagree in dtype or number: a caller's bug.
    pub fn apply(&mut self, op: ScalarOp, operands: &[ExprId]) -> ExprId {
        assert_eq!(
            operands.len(),
            op.arity(),
            "{op} takes {} operands",
            op.arity()
        );
        let dtype = self.dtype(operands[operands.len() - 1]);
        for &operand in &operands[op.first_typed()..] {
            assert_eq!(
                self.dtype(operand),
                dtype,
                "{op} of operands of different dtypes"
            );
        }
        assert!(op.accepts(dtype.class()), "{op} is not defined on {dtype}");
        if let Some(simple) = self.simplify(op, dtype, operands) {
            return simple;
        }
        let operands = SmallVec::from_slice(operands);
        self.intern(Expr::Apply { op, operands }, op.result(dtype))
    }

    /// `a + b`.
    pub fn add(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.apply(ScalarOp::Add, &[a, b])
    }

    /// `a - b`.
    pub fn sub(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.apply(ScalarOp::Sub, &[a, b])
    }

    /// `a * b`.
    pub fn mul(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.apply(ScalarOp::Mul, &[a, b])
    }

    /// `a / b`.
    pub fn div(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.apply(ScalarOp::Div, &[a, b])
    }

    /// `b` where `cond`, else `c`.
    pub fn select(&mut self, cond: ExprId, b: ExprId, c: ExprId) -> ExprId {
        self.apply(ScalarOp::Select, &[cond, b, c])
    }

    /// A scalar operator on one operand.
    pub fn unary(&mut self, op: ScalarOp, a: ExprId) -> ExprId {
        self.apply(op, &[a])
    }

    /// A dim, if the expression is one.
    pub fn as_dim(&self, id: ExprId) -> Option<&Dim> {
        match &self.node(id).expr {
            Expr::Dim(dim) => Some(dim),
            _ => None,
        }
    }

    /// The least and greatest value of an `i64` expression, where constants bound it.
    pub fn bounds(&self, id: ExprId) -> Option<(i64, i64)> {
        match &self.node(id).expr {
            Expr::Dim(dim) => dim.as_const().map(|value| (value, value)),
            Expr::Var(var) => Some((0, (self.extent(*var).as_const()? - 1).max(0))),
            Expr::Apply { op, operands } if self.dtype(id) == DType::I64 => {
                let (a, b) = (self.bounds(operands[0])?, self.bounds(*operands.get(1)?)?);
                match op {
                    ScalarOp::Add => Some((a.0.checked_add(b.0)?, a.1.checked_add(b.1)?)),
                    ScalarOp::Sub => Some((a.0.checked_sub(b.1)?, a.1.checked_sub(b.0)?)),
                    ScalarOp::Mul if a.0 >= 0 && b.0 >= 0 => {
                        Some((a.0.checked_mul(b.0)?, a.1.checked_mul(b.1)?))
                    }
                    ScalarOp::FloorDiv if b.0 > 0 && b.0 == b.1 => {
                        Some((a.0.div_euclid(b.0), a.1.div_euclid(b.0)))
                    }
                    ScalarOp::FloorMod if b.0 > 0 => Some((0, b.1 - 1)),
                    ScalarOp::Min => Some((a.0.min(b.0), a.1.min(b.1))),
                    ScalarOp::Max => Some((a.0.max(b.0), a.1.max(b.1))),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Algebra that is exact: on dims, on neutral elements of integers, and on decided selects.
    fn simplify(&mut self, op: ScalarOp, dtype: DType, operands: &[ExprId]) -> Option<ExprId> {
        if op == ScalarOp::Select {
            return match self.node(operands[0]).expr {
                Expr::Const(literal) if literal.0.is_true() => Some(operands[1]),
                Expr::Const(_) => Some(operands[2]),
                _ if operands[1] == operands[2] => Some(operands[1]),
                _ => None,
            };
        }
        if dtype == DType::Bool && matches!(op, ScalarOp::And | ScalarOp::Or) {
            return self.simplify_logic(op, operands[0], operands[1]);
        }
        if dtype != DType::I64 || operands.len() != 2 {
            return None;
        }
        let [a, b] = [operands[0], operands[1]];
        if let (Some(x), Some(y)) = (self.as_dim(a), self.as_dim(b)) {
            let positive = y.as_const().is_some_and(|y| y > 0);
            let dim = match op {
                ScalarOp::Add => Some(x.clone() + y.clone()),
                ScalarOp::Sub => Some(x.clone() - y.clone()),
                ScalarOp::Mul => Some(x.clone() * y.clone()),
                ScalarOp::FloorDiv if positive => Some(x.floor_div(y)),
                ScalarOp::FloorMod if positive => Some(x.modulo(y)),
                ScalarOp::Max => Some(x.maximum(y)),
                ScalarOp::Min => Some(x.minimum(y)),
                _ => None,
            };
            if let Some(dim) = dim {
                return Some(self.dim(dim));
            }
        }
        let is = |pool: &Pool, id: ExprId, value: i64| pool.as_dim(id).is_some_and(|d| d.is(value));
        match op {
            ScalarOp::Add if is(self, a, 0) => return Some(b),
            ScalarOp::Add | ScalarOp::Sub if is(self, b, 0) => return Some(a),
            ScalarOp::Mul if is(self, a, 1) => return Some(b),
            ScalarOp::Mul | ScalarOp::FloorDiv | ScalarOp::Div if is(self, b, 1) => return Some(a),
            ScalarOp::Mul if is(self, a, 0) || is(self, b, 0) => return Some(self.int(0)),
            ScalarOp::FloorMod if is(self, b, 1) => return Some(self.int(0)),
            _ => {}
        }
        self.simplify_by_bounds(op, a, b)
    }

    fn simplify_logic(&self, op: ScalarOp, a: ExprId, b: ExprId) -> Option<ExprId> {
        let truth = |id: ExprId| match self.node(id).expr {
            Expr::Const(literal) => Some(literal.0.is_true()),
            _ => None,
        };
        match (op, truth(a), truth(b)) {
            (ScalarOp::And, Some(true), _) | (ScalarOp::Or, Some(false), _) => Some(b),
            (ScalarOp::And, _, Some(true)) | (ScalarOp::Or, _, Some(false)) => Some(a),
            (_, Some(_), _) => Some(a),
            (_, _, Some(_)) => Some(b),
            _ if a == b => Some(a),
            _ => None,
        }
    }

    /// Comparisons, quotients and remainders that constant bounds decide.
    fn simplify_by_bounds(&mut self, op: ScalarOp, a: ExprId, b: ExprId) -> Option<ExprId> {
        if let (ScalarOp::FloorDiv | ScalarOp::FloorMod, Some(divisor)) = (op, self.as_dim(b))
            && let Some(simple) = self.split_affine(op, a, &divisor.clone())
        {
            return Some(simple);
        }
        let (x, y) = (self.bounds(a)?, self.bounds(b)?);
        let truth = match op {
            ScalarOp::Lt if x.1 < y.0 => true,
            ScalarOp::Lt if x.0 >= y.1 => false,
            ScalarOp::Le if x.1 <= y.0 => true,
            ScalarOp::Le if x.0 > y.1 => false,
            ScalarOp::Ge if x.0 >= y.1 => true,
            ScalarOp::Ge if x.1 < y.0 => false,
            ScalarOp::Gt if x.0 > y.1 => true,
            ScalarOp::Gt if x.1 <= y.0 => false,
            ScalarOp::Max if x.0 >= y.1 => return Some(a),
            ScalarOp::Max if y.0 >= x.1 => return Some(b),
            ScalarOp::Min if x.1 <= y.0 => return Some(a),
            ScalarOp::Min if y.1 <= x.0 => return Some(b),
            ScalarOp::FloorDiv if x.0 >= 0 && x.1 < y.0 => return Some(self.int(0)),
            ScalarOp::FloorMod if x.0 >= 0 && x.1 < y.0 => return Some(a),
            _ => return None,
        };
        Some(self.boolean(truth))
    }

    /// `(c*q + r) / c = q` and `(c*q + r) mod c = r`, where `r` is known to lie in `0..c`.
    fn split_affine(&mut self, op: ScalarOp, a: ExprId, divisor: &Dim) -> Option<ExprId> {
        let index = self.as_affine(a)?;
        let (mut quotient, mut rest) = (
            crate::Affine::constant(0_i64),
            crate::Affine::constant(0_i64),
        );
        for (&var, coefficient) in &index.terms {
            match coefficient.exact_div(divisor) {
                Some(whole) => quotient.terms.insert(var, whole),
                None => rest.terms.insert(var, coefficient.clone()),
            };
        }
        match index.offset.exact_div(divisor) {
            Some(whole) => quotient.offset = whole,
            None => rest.offset = index.offset.clone(),
        }
        if quotient.is_uniform() && quotient.offset.is(0) {
            return None;
        }
        if !self.lies_below(&rest, divisor) {
            return None;
        }
        Some(match op {
            ScalarOp::FloorDiv => self.affine(&quotient),
            _ => self.affine(&rest),
        })
    }

    /// Whether `0 <= index < bound` everywhere, provably.
    fn lies_below(&mut self, index: &crate::Affine, bound: &Dim) -> bool {
        if index.is_uniform() && index.offset.is(0) {
            return bound.as_const().is_none_or(|b| b > 0);
        }
        // One whole variable whose extent is the bound, symbolic or not.
        if let (1, true) = (index.terms.len(), index.offset.is(0))
            && let Some((&var, one)) = index.terms.iter().next()
            && one.is(1)
            && self.extent(var) == bound
        {
            return true;
        }
        let id = self.affine(index);
        match (self.bounds(id), bound.as_const()) {
            (Some((least, greatest)), Some(bound)) => least >= 0 && greatest < bound,
            _ => false,
        }
    }

    /// Copies an expression from another pool, substituting variables, loads and the accumulator.
    pub fn import(&mut self, from: &Pool, root: ExprId, with: &mut Substitution<'_>) -> ExprId {
        let mut needed = vec![false; root.0 as usize + 1];
        needed[root.0 as usize] = true;
        for id in (0..=root.0).rev() {
            if needed[id as usize] {
                from.for_each_operand(ExprId(id), |operand| needed[operand.0 as usize] = true);
            }
        }
        let mut copies: Vec<Option<ExprId>> = vec![None; needed.len()];
        let mut fold_vars: IndexMap<VarId, VarId> = IndexMap::new();
        for id in 0..=root.0 {
            if needed[id as usize] {
                let copy = self.import_node(from, ExprId(id), &copies, &mut fold_vars, with);
                copies[id as usize] = Some(copy);
            }
        }
        copies[root.0 as usize].expect("the root was needed")
    }

    fn import_node(
        &mut self,
        from: &Pool,
        id: ExprId,
        copies: &[Option<ExprId>],
        fold_vars: &mut IndexMap<VarId, VarId>,
        with: &mut Substitution<'_>,
    ) -> ExprId {
        let copied = |id: &ExprId| copies[id.0 as usize].expect("operands precede their users");
        let node = from.node(id);
        match &node.expr {
            Expr::Const(literal) => self.constant(node.dtype, literal.0),
            Expr::Dim(dim) => self.dim(dim.clone()),
            Expr::Var(var) => match with.vars.get(var) {
                Some(&replacement) => replacement,
                None => {
                    let extent = from.extent(*var).clone();
                    let fresh = *fold_vars.entry(*var).or_insert_with(|| self.var(extent));
                    self.var_expr(fresh)
                }
            },
            Expr::Load { operand, index } => {
                let index = index.iter().map(copied).collect();
                (with.load)(self, *operand, node.dtype, index)
            }
            Expr::Apply { op, operands } => {
                let operands: SmallVec<[ExprId; 3]> = operands.iter().map(copied).collect();
                self.apply(*op, &operands)
            }
            Expr::Cast(value) => self.cast(copied(value), node.dtype),
            Expr::Fold { op, vars, body } => {
                let vars = vars
                    .iter()
                    .map(|var| {
                        let extent = from.extent(*var).clone();
                        *fold_vars.entry(*var).or_insert_with(|| self.var(extent))
                    })
                    .collect();
                self.fold(*op, vars, copied(body))
            }
            Expr::Acc => with.acc.unwrap_or_else(|| self.acc(node.dtype)),
        }
    }

    /// Calls `visit` on each direct operand.
    pub fn for_each_operand(&self, id: ExprId, mut visit: impl FnMut(ExprId)) {
        match &self.node(id).expr {
            Expr::Const(_) | Expr::Dim(_) | Expr::Var(_) | Expr::Acc => {}
            Expr::Load { index, .. } => index.iter().copied().for_each(visit),
            Expr::Apply { operands, .. } => operands.iter().copied().for_each(visit),
            Expr::Cast(value) => visit(*value),
            Expr::Fold { body, .. } => visit(*body),
        }
    }
}
