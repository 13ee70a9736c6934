//! The loop IR: what a compiled kernel computes, on any target.
//!
//! Two levels live here. *Definitions* say what each element of a result is: [`Compute`], one
//! scalar expression over loads at index expressions, with folds inside; and [`Contract`], a
//! multiply-accumulate over two operands with an epilogue expression. Operators are lowered to
//! definitions, and fusing is substitution of one expression into another. A *kernel*
//! ([`Kernel`]) is a definition with its loops laid out: structured SSA that an interpreter runs
//! and back ends print.
//!
//! Nothing here knows an operator, a graph or a target.

mod affine;
mod compute;
mod contract;
mod expr;
mod in_place;
pub mod interpret;
mod kernel;
mod pool;
pub mod text;
mod verify;
mod verify_compute;
mod work;

pub use affine::Affine;
pub use compute::{Axis, Compute, Operand};
pub use contract::{Contract, ContractAxis, ContractOperand, Role};
pub use expr::{Expr, ExprId, ExprNode, FoldOp, Literal, VarId};
pub use in_place::{may_share, without_copy};
pub use kernel::{
    Access, Block, BufferId, Carried, GridAxis, Inst, Kernel, Local, Loop, LoopKind, Param, Rhs,
    ValueId,
};
pub use pool::{Pool, Substitution};
pub use verify::{VerifyError, verify};
pub use verify_compute::{verify_compute, verify_contract};
