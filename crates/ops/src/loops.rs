//! Builds kernels by hand: structured SSA for the few operators that no definition can express.

use std::collections::BTreeSet;

use alula_ir::{LowerCtx, LowerError};
use alula_kernel::{
    Access, Block, BufferId, Carried, FoldOp, GridAxis, Inst, Kernel, Literal, Local, Loop,
    LoopKind, Param, Rhs, ValueId,
};
use alula_tensor::{DType, Dim, Scalar, ScalarOp, TensorType};
use smallvec::SmallVec;

use crate::movement::refuse_strings;

/// Lanes of a loop that carries nothing.
const LANES: u32 = 4;
/// Lanes of a sum at most.
const SUM_LANES: u32 = 32;

/// How a sum over so many elements runs.
fn sum_kind(extent: Option<i64>) -> LoopKind {
    let mut lanes = SUM_LANES;
    while extent.is_some_and(|extent| extent < i64::from(lanes)) && lanes > 1 {
        lanes /= 2;
    }
    match lanes < LANES {
        true => LoopKind::Serial,
        false => LoopKind::Lanes(lanes),
    }
}

/// A kernel in the making; instructions go to the innermost open block.
pub(crate) struct Loops {
    kernel: Kernel,
    open: Vec<Vec<Inst>>,
}

impl Loops {
    /// Starts a kernel whose parameters are the present operands, read only, and the results.
    ///
    /// # Errors
    /// [`LowerError::Unsupported`] for strings.
    pub(crate) fn begin(ctx: &LowerCtx<'_>, results: Access) -> Result<Loops, LowerError> {
        refuse_strings(ctx.op, &ctx.compute_operands())?;
        let mut kernel = Kernel::new(ctx.op);
        let mut param = |name: String, ty: &TensorType, access: Access| {
            let (dtype, elements) = (ty.dtype, ty.num_elements());
            kernel.params.push(Param {
                name,
                dtype,
                elements,
                access,
                bound: None,
            });
        };
        for (position, ty) in ctx.operands.iter().enumerate() {
            if let Some(ty) = ty.and_then(alula_tensor::ValueType::as_tensor) {
                param(format!("x{position}"), ty, Access::Read);
            }
        }
        for position in 0..ctx.results.len() {
            param(format!("y{position}"), ctx.result(position), results);
        }
        Ok(Loops {
            kernel,
            open: vec![Vec::new()],
        })
    }

    /// Adds an axis to the grid and returns its variable.
    pub(crate) fn grid(&mut self, extent: Dim) -> ValueId {
        let var = self.kernel.value(DType::I64);
        self.kernel.grid.push(GridAxis { var, extent });
        var
    }

    /// The kernel, with the symbols that its dims refer to.
    pub(crate) fn finish(mut self) -> Kernel {
        let body = self.open.pop().expect("the body is open until the end");
        assert!(self.open.is_empty(), "every inner block is closed");
        let mut symbols = BTreeSet::new();
        for param in &self.kernel.params {
            param.elements.collect_symbols(&mut symbols);
        }
        for axis in &self.kernel.grid {
            axis.extent.collect_symbols(&mut symbols);
        }
        collect_symbols(&body, &mut symbols);
        self.kernel.symbols = symbols.into_iter().collect();
        self.kernel.body = Block(body);
        self.kernel
    }

    fn push(&mut self, inst: Inst) {
        self.open.last_mut().expect("a block is open").push(inst);
    }

    fn let_(&mut self, dtype: DType, rhs: Rhs) -> ValueId {
        let id = self.kernel.value(dtype);
        self.push(Inst::Let { id, rhs });
        id
    }

    /// The dtype of a value.
    pub(crate) fn dtype(&self, value: ValueId) -> DType {
        self.kernel.dtype(value)
    }

    /// A constant, cast to the dtype.
    pub(crate) fn constant(&mut self, dtype: DType, value: Scalar) -> ValueId {
        self.let_(dtype, Rhs::Const(Literal(value.cast(dtype))))
    }

    /// A dim as an `i64`.
    pub(crate) fn dim(&mut self, dim: Dim) -> ValueId {
        self.let_(DType::I64, Rhs::Dim(dim))
    }

    /// A scalar operator on values of one dtype.
    pub(crate) fn apply(&mut self, op: ScalarOp, operands: &[ValueId]) -> ValueId {
        let dtype = op.result(self.dtype(operands[operands.len() - 1]));
        let operands = SmallVec::from_slice(operands);
        self.let_(dtype, Rhs::Apply { op, operands })
    }

    pub(crate) fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.apply(ScalarOp::Add, &[a, b])
    }

    pub(crate) fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.apply(ScalarOp::Mul, &[a, b])
    }

    /// `value` times a dim.
    pub(crate) fn times(&mut self, value: ValueId, factor: Dim) -> ValueId {
        if factor.is(1) {
            return value;
        }
        let factor = self.dim(factor);
        self.mul(value, factor)
    }

    /// A conversion; to the same dtype it is nothing.
    pub(crate) fn cast(&mut self, value: ValueId, dtype: DType) -> ValueId {
        if self.dtype(value) == dtype {
            return value;
        }
        self.let_(dtype, Rhs::Cast(value))
    }

    /// An element of a parameter as it is stored.
    pub(crate) fn load(&mut self, param: usize, index: ValueId) -> ValueId {
        let buffer = BufferId::Param(param as u32);
        self.let_(
            self.kernel.buffer_dtype(buffer),
            Rhs::Load { buffer, index },
        )
    }

    /// Writes an element of a parameter, converted to its dtype.
    pub(crate) fn store(&mut self, param: usize, index: ValueId, value: ValueId) {
        let buffer = BufferId::Param(param as u32);
        let value = self.cast(value, self.kernel.buffer_dtype(buffer));
        self.push(Inst::Store {
            buffer,
            index,
            value,
        });
    }

    /// A serial loop over `0..extent`.
    pub(crate) fn repeat(&mut self, extent: Dim, body: impl FnOnce(&mut Loops, ValueId)) {
        self.repeat_carrying(extent, None, |loops, var, _| {
            body(loops, var);
            None
        });
    }

    /// A serial loop that passes a value from one iteration to the next: `body` gets the variable
    /// and the value so far, and returns the next one. Returns the final value.
    pub(crate) fn repeat_carrying(
        &mut self,
        extent: Dim,
        init: Option<ValueId>,
        body: impl FnOnce(&mut Loops, ValueId, Option<ValueId>) -> Option<ValueId>,
    ) -> Option<ValueId> {
        let extent = self.dim(extent);
        let var = self.kernel.value(DType::I64);
        let acc = init.map(|init| self.kernel.value(self.dtype(init)));
        self.open.push(Vec::new());
        let next = body(self, var, acc);
        let inner = self.open.pop().expect("the loop's block is open");
        let result = next.map(|next| self.kernel.value(self.dtype(next)));
        let carried = match (acc, init, next, result) {
            (Some(acc), Some(init), Some(next), Some(result)) => {
                vec![Carried {
                    acc,
                    init,
                    next,
                    result,
                    combine: None,
                }]
            }
            _ => Vec::new(),
        };
        let kind = LoopKind::Serial;
        self.push(Inst::Loop(Loop {
            var,
            extent,
            kind,
            carried,
            body: Block(inner),
        }));
        result
    }

    /// A serial loop over `0..extent`, the extent a value.
    pub(crate) fn repeat_value(&mut self, extent: ValueId, body: impl FnOnce(&mut Loops, ValueId)) {
        self.repeat_as(LoopKind::Serial, extent, body);
    }

    /// A loop over `0..extent` whose iterations are independent.
    pub(crate) fn repeat_lanes(&mut self, extent: ValueId, body: impl FnOnce(&mut Loops, ValueId)) {
        self.repeat_as(LoopKind::Lanes(LANES), extent, body);
    }

    fn repeat_as(
        &mut self,
        kind: LoopKind,
        extent: ValueId,
        body: impl FnOnce(&mut Loops, ValueId),
    ) {
        let var = self.kernel.value(DType::I64);
        self.open.push(Vec::new());
        body(self, var);
        let body = Block(self.open.pop().expect("the loop's block is open"));
        self.push(Inst::Loop(Loop {
            var,
            extent,
            kind,
            carried: Vec::new(),
            body,
        }));
    }

    /// Sums over `0..extent` of each value that `body` returns, `count` of them of one dtype, in
    /// one loop over lanes.
    pub(crate) fn sums(
        &mut self,
        extent: Dim,
        dtype: DType,
        count: usize,
        body: impl FnOnce(&mut Loops, ValueId) -> Vec<ValueId>,
    ) -> Vec<ValueId> {
        let kind = sum_kind(extent.as_const());
        let extent = self.dim(extent);
        let init = self.constant(dtype, Scalar::Int(0));
        let var = self.kernel.value(DType::I64);
        self.open.push(Vec::new());
        let terms = body(self, var);
        assert_eq!(terms.len(), count, "one term for each sum");
        let mut carried = Vec::with_capacity(count);
        for term in terms {
            let (acc, result) = (self.kernel.value(dtype), self.kernel.value(dtype));
            let next = self.add(acc, term);
            let combine = Some(FoldOp::Add);
            carried.push(Carried {
                acc,
                init,
                next,
                result,
                combine,
            });
        }
        let results = carried.iter().map(|carried| carried.result).collect();
        let body = Block(self.open.pop().expect("the loop's block is open"));
        self.push(Inst::Loop(Loop {
            var,
            extent,
            kind,
            carried,
            body,
        }));
        results
    }

    /// Adds a local array; they are counted from 0.
    pub(crate) fn local(&mut self, name: &str, dtype: DType, elements: u32) {
        let name = name.to_owned();
        self.kernel.locals.push(Local {
            name,
            dtype,
            elements,
        });
    }

    /// An element of a local array.
    pub(crate) fn load_local(&mut self, local: u32, index: ValueId) -> ValueId {
        let buffer = BufferId::Local(local);
        let dtype = self.kernel.buffer_dtype(buffer);
        self.let_(dtype, Rhs::Load { buffer, index })
    }

    /// Writes an element of a local array, which has the value's dtype.
    pub(crate) fn store_local(&mut self, local: u32, index: ValueId, value: ValueId) {
        let buffer = BufferId::Local(local);
        self.push(Inst::Store {
            buffer,
            index,
            value,
        });
    }

    /// A block that runs if a bool is true.
    pub(crate) fn when(&mut self, cond: ValueId, body: impl FnOnce(&mut Loops)) {
        self.open.push(Vec::new());
        body(self);
        let then = Block(self.open.pop().expect("the block is open"));
        self.push(Inst::If { cond, then });
    }
}

fn collect_symbols(block: &[Inst], into: &mut BTreeSet<alula_tensor::Symbol>) {
    for inst in block {
        match inst {
            Inst::Let {
                rhs: Rhs::Dim(dim), ..
            } => dim.collect_symbols(into),
            Inst::Let { .. } | Inst::Store { .. } | Inst::Barrier => {}
            Inst::Loop(inner) => collect_symbols(&inner.body.0, into),
            Inst::If { then, .. } => collect_symbols(&then.0, into),
        }
    }
}
