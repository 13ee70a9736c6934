//! Plans: slots for values, and steps in order.

use alula_tensor::{Dim, Symbol, ValueType};
use serde::{Deserialize, Serialize};

use crate::HostFn;

/// A slot of a plan, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SlotId(pub u32);

/// A graph as slots and steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The graph's name.
    pub name: String,
    /// Symbols in the order in which they become known.
    pub symbols: Vec<SymbolDef>,
    /// Dims that must be equal.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Inputs in order.
    pub inputs: Vec<Port>,
    /// Outputs in order. Two outputs may share a slot.
    pub outputs: Vec<Port>,
    /// Where values live.
    pub slots: Vec<Slot>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// Two dims that must be equal: the sizes of launches rely on it, or values are right only then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// One dim.
    pub left: Dim,
    /// The other one.
    pub right: Dim,
    /// The nodes that rely on it.
    pub nodes: String,
    /// What is wrong if it does not hold, where the two dims do not tell.
    pub reason: Option<String>,
}

/// A symbol and what gives it its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SymbolDef {
    /// The symbol.
    pub symbol: Symbol,
    /// What gives it its value.
    pub origin: SymbolOrigin,
}

/// What gives a symbol its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SymbolOrigin {
    /// The extent of an input.
    Input {
        /// The input's position.
        input: usize,
        /// The axis.
        axis: usize,
    },
    /// An element of an integer tensor, once its step has run.
    Content {
        /// The tensor's slot.
        slot: SlotId,
        /// The element's position.
        index: usize,
    },
    /// An extent of a value that a host step or a sub-plan made.
    Extent {
        /// The value's slot.
        slot: SlotId,
        /// The axis.
        axis: usize,
    },
    /// An expression over symbols that come before it.
    Defined(Dim),
    /// The plan that runs this one knows it.
    Outer,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// The model's name for it.
    pub name: String,
    /// The type.
    pub ty: ValueType,
    /// Where it lives.
    pub slot: SlotId,
}

/// Where a value lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// The value's type.
    pub ty: ValueType,
    /// Length in bytes; 0 for values that are no tensors of numbers.
    pub bytes: Dim,
    /// Where.
    pub place: Place,
}

/// A kind of memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Place {
    /// What the caller passes in.
    Input(usize),
    /// A constant of the program.
    Constant(usize),
    /// Planned memory, alive from the first to the last step given, both included. The offset is
    /// decided when the symbols are bound.
    Arena {
        /// Step that writes it.
        first: usize,
        /// Last step that reads it; beyond the last step for an output.
        last: usize,
    },
    /// Made by a host step or a sub-plan, or of a size that only then is known.
    Dynamic,
    /// The same bytes as another slot under another type.
    Alias(SlotId),
    /// Bytes of another slot, as many as this one has, from an offset on. It is written only where
    /// the other one lies in planned memory.
    Part {
        /// The other slot.
        base: SlotId,
        /// Bytes before this slot's.
        offset: Dim,
    },
}

/// Something that a plan does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Runs a kernel on the device.
    Launch {
        /// Position in the program's kernels.
        kernel: usize,
        /// Parameters.
        args: Vec<SlotId>,
        /// The nodes it stands for.
        name: String,
    },
    /// Runs a function on the host.
    Host {
        /// The function.
        function: HostFn,
        /// Operands; `None` where absent.
        operands: Vec<Option<SlotId>>,
        /// Results.
        results: Vec<SlotId>,
        /// The node it stands for.
        name: String,
    },
    /// Writes dims as an `i64` tensor.
    Dims {
        /// The elements.
        values: Vec<Dim>,
        /// The tensor.
        result: SlotId,
    },
    /// Runs one of two plans.
    If {
        /// A bool scalar.
        cond: SlotId,
        /// Position of the plan that runs if it is true, and its inputs.
        then: (usize, Vec<SlotId>),
        /// Position of the plan that runs if it is false, and its inputs.
        otherwise: (usize, Vec<SlotId>),
        /// Where its outputs go.
        results: Vec<SlotId>,
        /// The node it stands for.
        name: String,
    },
    /// Runs a plan again and again: inputs are iteration number (`i64` scalar), condition (bool
    /// scalar), carried values and captures; outputs are condition, carried values and slices.
    Loop {
        /// Most iterations, an `i64` scalar; no bound if absent.
        trips: Option<SlotId>,
        /// Whether there is a first iteration, a bool scalar; true if absent.
        cond: Option<SlotId>,
        /// Position of the body's plan.
        body: usize,
        /// Values before the first iteration.
        carried: Vec<SlotId>,
        /// Values that are the same in each.
        captures: Vec<SlotId>,
        /// Final carried values, then slices stacked along a new first axis.
        results: Vec<SlotId>,
        /// The node it stands for.
        name: String,
    },
}
