//! Frames: the values of one execution of a plan.

use std::sync::Arc;

use alula_tensor::Value;

use crate::bind::Binding;
use crate::symbols::Env;

/// What a root slot holds at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) enum Held {
    /// Not written yet, or not needed any more.
    #[default]
    Nothing,
    /// Bytes of the arena, counted from its beginning.
    Arena { offset: usize, bytes: usize },
    /// A constant of the program.
    Constant(usize),
    /// An input of the run.
    Caller(usize),
    /// The memory that an output of the run goes to.
    Result(usize),
    /// A value of its own.
    Own(Value),
}

/// A value passed into a sub-plan: where it lies, and its extents if it is a tensor.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) held: Held,
    pub(crate) shape: Option<Vec<usize>>,
}

/// One execution of a plan. Kept between runs for its memory.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// The plan's position.
    pub(crate) plan: usize,
    /// Where the frame's part of the arena begins.
    pub(crate) base: usize,
    /// Where it ends.
    pub(crate) end: usize,
    /// Values of symbols.
    pub(crate) env: Env,
    /// By root slot.
    pub(crate) held: Vec<Held>,
    /// Sizes and places.
    pub(crate) binding: Option<Arc<Binding>>,
    /// The binding's key.
    pub(crate) key: Vec<i64>,
    /// Extents of what was passed in; empty for the outermost plan.
    pub(crate) passed: Vec<Option<Vec<usize>>>,
    /// Bytes of values of its own.
    pub(crate) own_bytes: u64,
}

impl Frame {
    pub(crate) fn binding(&self) -> &Arc<Binding> {
        self.binding
            .as_ref()
            .expect("a frame is bound before its steps run")
    }
}
