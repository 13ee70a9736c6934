//! A kernel: loops over scalars in structured SSA form.
//!
//! The body runs once for each point of the grid; points are independent and may run in any order
//! and at once. Inside, every value is computed once, before its uses, in its block or an
//! enclosing one. Buffers are addressed by one linear element index. Parameters are distinct
//! memory, but a `ReadWrite` parameter may be what another step reads.

use alula_tensor::{DType, Dim, Scalar, ScalarOp, Symbol};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{FoldOp, Literal};

/// A value of a kernel: result of a `Let`, a loop variable, an accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ValueId(pub u32);

/// What loads and stores address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BufferId {
    /// A parameter, by position.
    Param(u32),
    /// A local array of this grid point, by position.
    Local(u32),
    /// A local array shared by the lanes of a workgroup, by position in the same list.
    Shared(u32),
}

/// How a kernel uses a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Access {
    /// Only loads.
    Read,
    /// Only stores; every element that a grid point stores, it stores once.
    Write,
    /// Loads and stores.
    ReadWrite,
}

/// A buffer passed to the kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// The name in text.
    pub name: String,
    /// Element type as stored.
    pub dtype: DType,
    /// Number of elements.
    pub elements: Dim,
    /// How it is used.
    pub access: Access,
    /// If known, what no element of `f32` exceeds in magnitude; all are finite then.
    pub bound: Option<f32>,
}

/// A local array with a constant number of elements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Local {
    /// The name in text.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Number of elements.
    pub elements: u32,
}

/// An axis of the grid: a variable from 0 to its extent less 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridAxis {
    /// The variable, an `i64`.
    pub var: ValueId,
    /// Number of points.
    pub extent: Dim,
}

/// A kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// The name in text and in profiles.
    pub name: String,
    /// Buffers, in launch order.
    pub params: Vec<Param>,
    /// Symbols whose values are passed, in launch order; dims refer to these only.
    pub symbols: Vec<Symbol>,
    /// Local arrays.
    pub locals: Vec<Local>,
    /// Independent points, outermost axis first. An empty grid is one point.
    pub grid: Vec<GridAxis>,
    /// Lanes of a workgroup: 1 unless scheduled for a GPU. The grid then counts workgroups and
    /// `lane` is the variable of the lane.
    pub lanes: u32,
    /// The variable of the lane within its workgroup, when `lanes` is greater than 1.
    pub lane: Option<ValueId>,
    /// The dtype of every value.
    pub dtypes: Vec<DType>,
    /// What a point does.
    pub body: Block,
}

/// Instructions in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Block(pub Vec<Inst>);

impl Block {
    /// Every value that is used, inner blocks included.
    pub(crate) fn each_value(&self, seen: &mut dyn FnMut(ValueId)) {
        for inst in &self.0 {
            match inst {
                Inst::Let { rhs, .. } => match rhs {
                    Rhs::Const(_) | Rhs::Dim(_) => {}
                    Rhs::Apply { operands, .. } => operands.iter().copied().for_each(&mut *seen),
                    Rhs::Cast(value) | Rhs::Bitcast(value) => seen(*value),
                    Rhs::Load { index, .. } => seen(*index),
                },
                Inst::Store { index, value, .. } => {
                    seen(*index);
                    seen(*value);
                }
                Inst::Loop(inner) => {
                    seen(inner.extent);
                    for carried in &inner.carried {
                        seen(carried.init);
                        seen(carried.next);
                    }
                    inner.body.each_value(seen);
                }
                Inst::If { cond, then } => {
                    seen(*cond);
                    then.each_value(seen);
                }
                Inst::Barrier => {}
            }
        }
    }

    /// Whether it only computes values, and has no inner blocks.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.iter().all(|inst| matches!(inst, Inst::Let { .. }))
    }

    /// Every buffer that is loaded from or stored to, inner blocks included.
    pub(crate) fn each_buffer(&self, seen: &mut dyn FnMut(BufferId)) {
        for inst in &self.0 {
            match inst {
                Inst::Let {
                    rhs: Rhs::Load { buffer, .. },
                    ..
                }
                | Inst::Store { buffer, .. } => seen(*buffer),
                Inst::Let { .. } | Inst::Barrier => {}
                Inst::Loop(inner) => inner.body.each_buffer(seen),
                Inst::If { then, .. } => then.each_buffer(seen),
            }
        }
    }
}

/// An instruction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Inst {
    /// Computes a value.
    Let {
        /// The value.
        id: ValueId,
        /// How.
        rhs: Rhs,
    },
    /// Writes an element.
    Store {
        /// Where.
        buffer: BufferId,
        /// Linear element index, an `i64`.
        index: ValueId,
        /// What, of the buffer's dtype.
        value: ValueId,
    },
    /// Repeats a block.
    Loop(Loop),
    /// Runs a block if a bool is true.
    If {
        /// The condition.
        cond: ValueId,
        /// The block.
        then: Block,
    },
    /// Waits for all lanes of the workgroup; all of them reach it.
    Barrier,
}

/// The right side of a `Let`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Rhs {
    /// A constant of the value's dtype.
    Const(Literal),
    /// A dim over the kernel's symbols, an `i64`.
    Dim(Dim),
    /// A scalar operator.
    Apply {
        /// The operator.
        op: ScalarOp,
        /// Its operands.
        operands: SmallVec<[ValueId; 3]>,
    },
    /// Conversion to the value's dtype, as `Scalar::cast`.
    Cast(ValueId),
    /// The same bits as another dtype of the same size.
    Bitcast(ValueId),
    /// An element of a buffer, of the buffer's dtype. A load from a parameter without elements
    /// gives 0, whatever the index: launchers lend such a parameter a readable zero.
    Load {
        /// Where.
        buffer: BufferId,
        /// Linear element index, an `i64`.
        index: ValueId,
    },
}

/// How a loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LoopKind {
    /// One iteration after the other.
    Serial,
    /// `width` neighbouring iterations at once. Iterations are independent but for accumulators
    /// with a combining operator `op`: those keep `width` partial values, each from the identity
    /// of `op`, and iteration `i` updates partial `i % width`. After the last iteration they are
    /// combined by halves, `p[i] = op(p[i], p[i + n/2])` until one is left, then
    /// `op(init, p[0])`.
    ///
    /// The width is a power of two above 1. Inside there are no branches and no other `Lanes`
    /// loop; serial loops inside have extents that were computed outside.
    Lanes(u32),
}

/// A loop over `0..extent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loop {
    /// The variable, an `i64`.
    pub var: ValueId,
    /// Number of iterations, an `i64` computed before; negative counts as 0.
    pub extent: ValueId,
    /// How it runs.
    pub kind: LoopKind,
    /// Values passed from one iteration to the next.
    pub carried: Vec<Carried>,
    /// What an iteration does.
    pub body: Block,
}

/// A value passed from one iteration to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// The value within an iteration, before it is updated; after the loop, the final value is
    /// `result`.
    pub acc: ValueId,
    /// The value before the first iteration.
    pub init: ValueId,
    /// The value at the end of an iteration, computed in the body.
    pub next: ValueId,
    /// The value after the loop.
    pub result: ValueId,
    /// If set, `next = combine(acc, something)` and the order does not matter.
    pub combine: Option<FoldOp>,
}

impl Kernel {
    /// An empty kernel.
    pub fn new(name: impl Into<String>) -> Kernel {
        Kernel {
            name: name.into(),
            params: Vec::new(),
            symbols: Vec::new(),
            locals: Vec::new(),
            grid: Vec::new(),
            lanes: 1,
            lane: None,
            dtypes: Vec::new(),
            body: Block::default(),
        }
    }

    /// A new value of this dtype, not yet computed by anything.
    pub fn value(&mut self, dtype: DType) -> ValueId {
        self.dtypes.push(dtype);
        ValueId(self.dtypes.len() as u32 - 1)
    }

    /// The dtype of a value.
    pub fn dtype(&self, value: ValueId) -> DType {
        self.dtypes[value.0 as usize]
    }

    /// Calls `seen` with every value that is a constant, those of inner blocks included.
    pub fn each_constant(&self, seen: &mut dyn FnMut(ValueId, Scalar)) {
        let mut open = vec![&self.body];
        while let Some(block) = open.pop() {
            for inst in &block.0 {
                match inst {
                    Inst::Let {
                        id,
                        rhs: Rhs::Const(literal),
                    } => seen(*id, literal.0),
                    Inst::Let { .. } | Inst::Store { .. } | Inst::Barrier => {}
                    Inst::Loop(inner) => open.push(&inner.body),
                    Inst::If { then, .. } => open.push(then),
                }
            }
        }
    }

    /// The integers among the constants, by value.
    pub fn integers(&self) -> Vec<Option<i64>> {
        let mut integers = vec![None; self.dtypes.len()];
        self.each_constant(&mut |id, value| {
            integers[id.0 as usize] = value.as_int().and_then(|n| i64::try_from(n).ok());
        });
        integers
    }

    /// The element type of a buffer.
    pub fn buffer_dtype(&self, buffer: BufferId) -> DType {
        match buffer {
            BufferId::Param(position) => self.params[position as usize].dtype,
            BufferId::Local(position) | BufferId::Shared(position) => {
                self.locals[position as usize].dtype
            }
        }
    }

    /// For each local array, whether the lanes of a workgroup share it.
    pub fn shared_locals(&self) -> Vec<bool> {
        let mut shared = vec![false; self.locals.len()];
        self.body.each_buffer(&mut |buffer| {
            if let BufferId::Shared(position) = buffer
                && let Some(is_shared) = shared.get_mut(position as usize)
            {
                *is_shared = true;
            }
        });
        shared
    }

    /// The number of grid points.
    pub fn num_points(&self) -> Dim {
        self.grid.iter().map(|axis| axis.extent.clone()).product()
    }
}
