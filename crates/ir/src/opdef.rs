//! The row of an operator: everything that the rest of the compiler may ask of it.

use alula_kernel::{Compute, Contract, Kernel};
use alula_program::HostFn;

use crate::{
    AttrSpec, EvalCtx, EvalError, Graph, GraphError, HostValue, InferCtx, InferError, Inferred,
    LowerCtx, LowerError, NodeId, ValueId,
};

/// Properties that rules and passes ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// `op(a, b) = op(b, a)` for the first two operands.
    pub commutative: bool,
    /// Results differ from run to run: never folded, merged or removed as equal.
    pub random: bool,
    /// One element of the result depends on the elements of the operands at the same (broadcast)
    /// position only.
    pub elementwise: bool,
    /// Holds sub-graphs.
    pub control_flow: bool,
}

impl Traits {
    /// None of them.
    pub const NONE: Traits = Traits {
        commutative: false,
        random: false,
        elementwise: false,
        control_flow: false,
    };
}

/// How an operator becomes machine work: a closed set of kinds.
#[derive(Clone, Copy)]
pub enum Lowering {
    /// Each result is a definition: maps, reductions, moves, gathers and all their mixtures.
    Compute(fn(&LowerCtx<'_>) -> Result<Vec<Compute>, LowerError>),
    /// A matrix product or convolution.
    Contract(fn(&LowerCtx<'_>) -> Result<Contract, LowerError>),
    /// Loops that no definition can express: scatters and recurrences. Parameters are the
    /// present operands, then the results, each row-major.
    Kernel(fn(&LowerCtx<'_>) -> Result<Kernel, LowerError>),
    /// The result is the first operand's elements under other extents: no work.
    View,
    /// Made of other operators: returns one replacement for each result.
    Compose(fn(&mut Graph, NodeId) -> Result<Vec<ValueId>, GraphError>),
    /// Runs on the host: data-dependent shapes, sequences, strings, the sort family.
    Host(fn(&LowerCtx<'_>) -> Result<HostFn, LowerError>),
    /// `if`, `loop` and their kin: the plan runs sub-plans.
    Control,
}

/// An operator. Exactly one static row exists for each name.
pub struct OpDef {
    /// The name in text: lower case, words joined by `_`.
    pub name: &'static str,
    /// What it computes, with a formula where one says it best.
    pub summary: &'static str,
    /// Names of operands in order; a trailing `?` marks an optional one, `*` any number more.
    pub operands: &'static [&'static str],
    /// Attributes.
    pub attrs: &'static [AttrSpec],
    /// Properties.
    pub traits: Traits,
    /// Result types from operand types and attributes.
    pub infer: fn(&mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError>,
    /// Result values from operand values: naive and independent of the lowering.
    pub eval: fn(&EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError>,
    /// How it becomes machine work.
    pub lowering: Lowering,
    /// Graphs in IR text that every back end must run like the reference does.
    pub examples: &'static [&'static str],
}

impl OpDef {
    /// The specification of an attribute.
    pub fn attr(&self, name: &str) -> Option<&AttrSpec> {
        self.attrs.iter().find(|spec| spec.name == name)
    }

    /// Least number of operands, and greatest unless there is none.
    pub fn arity(&self) -> (usize, Option<usize>) {
        let required = self
            .operands
            .iter()
            .filter(|o| !o.ends_with(['?', '*']))
            .count();
        let open = self.operands.iter().any(|name| name.ends_with('*'));
        (required, (!open).then_some(self.operands.len()))
    }

    /// Whether the operand at a position may be absent.
    pub fn is_optional(&self, position: usize) -> bool {
        match self.operands.get(position) {
            Some(name) => name.ends_with(['?', '*']),
            None => true,
        }
    }
}

impl std::fmt::Debug for OpDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for OpDef {
    fn eq(&self, other: &OpDef) -> bool {
        std::ptr::eq(self, other)
    }
}
