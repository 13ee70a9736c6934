//! A definition of every element of one tensor by one scalar expression.

use alula_tensor::{DType, Dim, ScalarOp};

use crate::{ExprId, Pool, VarId};

/// What a definition loads from: dtype and extents of a row-major tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    /// Element type as stored.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<Dim>,
}

/// An output axis and the variable that runs over it.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The variable.
    pub var: VarId,
    /// The extent, equal to the variable's.
    pub extent: Dim,
}

/// `result[axes] = body`.
///
/// Loads name operands by position in `operands`. Narrow floats are loaded as they are stored and
/// cast to their compute dtype before arithmetic; `body` has the compute dtype of `dtype` or
/// `dtype` itself and is rounded to `dtype` when stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Compute {
    /// What loads refer to.
    pub operands: Vec<Operand>,
    /// Output axes, outermost first.
    pub axes: Vec<Axis>,
    /// Element type of the result.
    pub dtype: DType,
    /// All expressions.
    pub pool: Pool,
    /// The value of one element.
    pub body: ExprId,
    /// Pairs of dims that must be equal for every index to be in range: checked before a run.
    pub equal: Vec<(Dim, Dim)>,
}

impl Compute {
    /// Starts a definition: a pool with a variable for each output axis. The body is set later.
    pub fn begin(operands: Vec<Operand>, dtype: DType, shape: &[Dim]) -> Compute {
        let mut pool = Pool::new();
        let axes = shape
            .iter()
            .map(|extent| Axis {
                var: pool.var(extent.clone()),
                extent: extent.clone(),
            })
            .collect();
        let body = pool.boolean(false);
        Compute {
            operands,
            axes,
            dtype,
            pool,
            body,
            equal: Vec::new(),
        }
    }

    /// The output indices as expressions, outermost first.
    pub fn indices(&mut self) -> Vec<ExprId> {
        self.axes
            .iter()
            .map(|axis| self.pool.var_expr(axis.var))
            .collect()
    }

    /// An element of an operand in its compute dtype.
    pub fn load(&mut self, operand: usize, index: Vec<ExprId>) -> ExprId {
        let dtype = self.operands[operand].dtype;
        assert_eq!(
            index.len(),
            self.operands[operand].shape.len(),
            "one index per axis"
        );
        let value = self.pool.load(operand as u32, dtype, index);
        self.pool.cast(value, dtype.compute())
    }

    /// An element of an operand that broadcasts against the output (trailing axes align, extents
    /// of 1 repeat), in its compute dtype.
    pub fn load_broadcast(&mut self, operand: usize) -> ExprId {
        let rank = self.operands[operand].shape.len();
        let skipped = self.axes.len() - rank;
        for axis in 0..rank {
            let (own, target) = (
                &self.operands[operand].shape[axis],
                &self.axes[skipped + axis].extent,
            );
            if !own.is(1) && own != target {
                self.equal.push((own.clone(), target.clone()));
            }
        }
        let index = (0..rank)
            .map(|axis| {
                if self.operands[operand].shape[axis].is(1) {
                    self.pool.int(0)
                } else {
                    self.pool.var_expr(self.axes[skipped + axis].var)
                }
            })
            .collect();
        self.load(operand, index)
    }

    /// An element of an operand where `index` is inside the extents of the axes in `padded`, else
    /// `outside`; both in the operand's compute dtype. Other axes must be in range.
    pub fn load_padded(
        &mut self,
        operand: usize,
        index: Vec<ExprId>,
        padded: &[usize],
        outside: ExprId,
    ) -> ExprId {
        let (inside, index) = self.clamp_inside(operand, index, padded);
        let value = self.load(operand, index);
        self.pool.select(inside, value, outside)
    }

    /// Whether `index` is inside the operand's extents on the axes in `padded`, and the index
    /// clamped to be inside.
    pub fn clamp_inside(
        &mut self,
        operand: usize,
        mut index: Vec<ExprId>,
        padded: &[usize],
    ) -> (ExprId, Vec<ExprId>) {
        let pool = &mut self.pool;
        let mut inside = pool.boolean(true);
        for &axis in padded {
            let extent = self.operands[operand].shape[axis].clone();
            let (zero, end, last) = (
                pool.int(0),
                pool.dim(extent.clone()),
                pool.dim(extent - Dim::new(1)),
            );
            let above = pool.apply(ScalarOp::Ge, &[index[axis], zero]);
            let below = pool.apply(ScalarOp::Lt, &[index[axis], end]);
            inside = pool.apply(ScalarOp::And, &[inside, above]);
            inside = pool.apply(ScalarOp::And, &[inside, below]);
            let low = pool.apply(ScalarOp::Min, &[index[axis], last]);
            index[axis] = pool.apply(ScalarOp::Max, &[low, zero]);
        }
        (inside, index)
    }

    /// Ends the definition: `value` is rounded to the result's dtype.
    pub fn finish(mut self, value: ExprId) -> Compute {
        self.body = self.pool.cast(value, self.dtype);
        self
    }

    /// The extents of the result.
    pub fn shape(&self) -> Vec<Dim> {
        self.axes.iter().map(|axis| axis.extent.clone()).collect()
    }
}
