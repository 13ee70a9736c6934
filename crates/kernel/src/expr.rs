//! Scalar expressions: the right sides of definitions, shared as a directed acyclic graph.

use alula_tensor::{DType, Dim, Scalar, ScalarOp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// An expression in a [`crate::Pool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExprId(pub u32);

/// An index variable in a [`crate::Pool`]: an output axis or the variable of a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VarId(pub u32);

/// A constant with bitwise equality, so that NaN equals itself and -0 differs from 0.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Literal(pub Scalar);

impl Literal {
    fn key(self) -> (bool, i128) {
        match self.0 {
            Scalar::Float(value) => (true, i128::from(value.to_bits())),
            Scalar::Int(value) => (false, value),
        }
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Literal) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Literal {}

impl std::hash::Hash for Literal {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// How a fold combines values. Each is associative and commutative up to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FoldOp {
    /// Sum, from 0.
    Add,
    /// Product, from 1.
    Mul,
    /// Greatest, from the least value of the dtype (`-inf` for floats); NaN propagates.
    Max,
    /// Least, from the greatest value of the dtype (`inf` for floats); NaN propagates.
    Min,
    /// Conjunction (bool) or bitwise and, from all ones.
    And,
    /// Disjunction (bool) or bitwise or, from zero.
    Or,
}

impl FoldOp {
    /// The scalar operator that combines two values.
    pub const fn scalar_op(self) -> ScalarOp {
        match self {
            FoldOp::Add => ScalarOp::Add,
            FoldOp::Mul => ScalarOp::Mul,
            FoldOp::Max => ScalarOp::Max,
            FoldOp::Min => ScalarOp::Min,
            FoldOp::And => ScalarOp::And,
            FoldOp::Or => ScalarOp::Or,
        }
    }

    /// The value of a fold over nothing.
    pub fn identity(self, dtype: DType) -> Scalar {
        match (self, dtype.int_range()) {
            (FoldOp::Add | FoldOp::Or, Some(_)) => Scalar::Int(0),
            (FoldOp::Mul, Some(_)) => Scalar::Int(1),
            (FoldOp::Max, Some((least, _))) => Scalar::Int(least),
            (FoldOp::Min, Some((_, greatest))) => Scalar::Int(greatest),
            (FoldOp::And, Some((least, greatest))) => {
                Scalar::Int(if least < 0 { -1 } else { greatest })
            }
            (FoldOp::Mul, None) => Scalar::Float(1.0),
            (FoldOp::Max, None) => Scalar::Float(f64::NEG_INFINITY),
            (FoldOp::Min, None) => Scalar::Float(f64::INFINITY),
            (FoldOp::Add | FoldOp::And | FoldOp::Or, None) => Scalar::Float(0.0),
        }
    }

    /// The name in kernel text.
    pub const fn name(self) -> &'static str {
        self.scalar_op().name()
    }
}

/// What an expression computes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expr {
    /// A constant of the node's dtype.
    Const(Literal),
    /// A dim as an `i64`: the same at every point.
    Dim(Dim),
    /// An index variable as an `i64`, from 0 to its extent less 1.
    Var(VarId),
    /// An element of an operand, one index per axis. Indices are in range at every point:
    /// both sides of a `select` are evaluated, so a guarded load clamps its indices
    /// (`Compute::load_padded`). Loading from an operand without elements gives 0.
    Load {
        /// Position in the definition's operands.
        operand: u32,
        /// `i64` indices, outermost axis first.
        index: Vec<ExprId>,
    },
    /// A scalar operator; operands have the node's dtype, but for predicates and `select`.
    Apply {
        /// The operator.
        op: ScalarOp,
        /// Its operands.
        operands: SmallVec<[ExprId; 3]>,
    },
    /// Conversion to the node's dtype, as `Scalar::cast`.
    Cast(ExprId),
    /// Combines `body` over all values of `vars`.
    Fold {
        /// How.
        op: FoldOp,
        /// Index variables that the fold runs over, outermost first.
        vars: Vec<VarId>,
        /// The combined expression, of the node's dtype.
        body: ExprId,
    },
    /// The accumulated value of a [`crate::Contract`]; only in its epilogue.
    Acc,
}

/// An expression with its dtype.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExprNode {
    /// What is computed.
    pub expr: Expr,
    /// The dtype of the value.
    pub dtype: DType,
}
