//! A kernel copied instruction by instruction, expansions in place.

use alula_kernel::{
    Block, BufferId, Carried, GridAxis, Inst, Kernel, Literal, Local, Loop, LoopKind, Param, Rhs,
    ValueId,
};
use alula_tensor::{DType, DTypeClass, MiniFloat, Scalar, ScalarOp};
use indexmap::IndexMap;
use smallvec::SmallVec;

use super::{Caps, LegalizeError, arithmetic, double, minifloat, single, unroll};

/// The kernel being written. Its functions legalize what they are asked to write.
pub(super) struct Code<'c> {
    caps: &'c Caps,
    out: Kernel,
    insts: Vec<Vec<Inst>>,
    /// New constants; they go to the start of the body.
    constants: IndexMap<(DType, Literal), ValueId>,
    /// New value of each old one.
    map: Vec<Option<ValueId>>,
    /// Integers among the old constants, by value.
    extents: Vec<Option<i64>>,
    /// Whether loops are written out here.
    is_unrolled: bool,
    error: Option<LegalizeError>,
}

impl Code<'_> {
    pub(super) fn rewrite(kernel: &Kernel, caps: &Caps) -> Result<Kernel, LegalizeError> {
        let stored = |dtype| {
            if (caps.storage)(dtype) {
                dtype
            } else {
                carrier(dtype)
            }
        };
        let mut out = Kernel::new(kernel.name.clone());
        out.symbols.clone_from(&kernel.symbols);
        out.lanes = kernel.lanes;
        for param in &kernel.params {
            out.params.push(Param {
                dtype: stored(param.dtype),
                ..param.clone()
            });
        }
        for local in &kernel.locals {
            out.locals.push(Local {
                dtype: stored(local.dtype),
                ..local.clone()
            });
        }
        let mut code = Code {
            caps,
            out,
            insts: vec![Vec::new()],
            constants: IndexMap::new(),
            map: vec![None; kernel.dtypes.len()],
            extents: kernel.integers(),
            is_unrolled: false,
            error: None,
        };
        for axis in &kernel.grid {
            let var = code.fresh(kernel, axis.var);
            code.out.grid.push(GridAxis {
                var,
                extent: axis.extent.clone(),
            });
        }
        if let Some(lane) = kernel.lane {
            code.out.lane = Some(code.fresh(kernel, lane));
        }
        code.block(kernel, &kernel.body);
        let body = code.insts.pop().expect("the body is open");
        let constants = code
            .constants
            .into_iter()
            .map(|((_, literal), id)| Inst::Let {
                id,
                rhs: Rhs::Const(literal),
            });
        code.out.body = Block(constants.chain(body).collect());
        match code.error {
            Some(error) => Err(error),
            None => Ok(code.out),
        }
    }

    /// The new value of an old one that is defined here without an expression.
    fn fresh(&mut self, kernel: &Kernel, old: ValueId) -> ValueId {
        let dtype = self.stored(kernel.dtype(old));
        let id = self.out.value(dtype);
        self.map[old.0 as usize] = Some(id);
        id
    }

    fn stored(&self, dtype: DType) -> DType {
        if (self.caps.storage)(dtype) {
            dtype
        } else {
            carrier(dtype)
        }
    }

    fn renamed(&self, old: ValueId) -> ValueId {
        self.map[old.0 as usize].expect("a verified kernel defines values before their uses")
    }

    fn push(&mut self, inst: Inst) {
        self.insts.last_mut().expect("a block is open").push(inst);
    }

    fn block(&mut self, kernel: &Kernel, block: &Block) {
        for inst in &block.0 {
            self.inst(kernel, inst);
        }
    }

    fn inner_block(&mut self, kernel: &Kernel, block: &Block) -> Block {
        self.insts.push(Vec::new());
        self.block(kernel, block);
        Block(self.insts.pop().expect("the block was opened above"))
    }

    fn inst(&mut self, kernel: &Kernel, inst: &Inst) {
        match inst {
            Inst::Let { id, rhs } => {
                let value = self.rhs(kernel, kernel.dtype(*id), rhs);
                self.map[id.0 as usize] = Some(value);
            }
            Inst::Store {
                buffer,
                index,
                value,
            } => {
                let (index, value) = (self.renamed(*index), self.renamed(*value));
                self.push(Inst::Store {
                    buffer: *buffer,
                    index,
                    value,
                });
            }
            Inst::Loop(inner) => self.inner_loop(kernel, inner),
            Inst::If { cond, then } => {
                let cond = self.renamed(*cond);
                let then = self.inner_block(kernel, then);
                self.push(Inst::If { cond, then });
            }
            Inst::Barrier => self.push(Inst::Barrier),
        }
    }

    fn inner_loop(&mut self, kernel: &Kernel, inner: &Loop) {
        let extent = self.renamed(inner.extent);
        let inits: Vec<ValueId> = inner.carried.iter().map(|c| self.renamed(c.init)).collect();
        if let (true, Some(times)) = (self.is_unrolled, self.extents[inner.extent.0 as usize]) {
            return self.iterations(kernel, inner, inits, times);
        }
        let is_outermost = self.caps.lanes && self.caps.unrolled;
        self.is_unrolled = is_outermost && unroll::pays(inner, &self.extents);
        let var = self.fresh(kernel, inner.var);
        let accs: Vec<ValueId> = inner
            .carried
            .iter()
            .map(|c| self.fresh(kernel, c.acc))
            .collect();
        let body = self.inner_block(kernel, &inner.body);
        self.is_unrolled = false;
        let mut carried = Vec::new();
        for (position, old) in inner.carried.iter().enumerate() {
            let (acc, init, next) = (accs[position], inits[position], self.renamed(old.next));
            let result = self.fresh(kernel, old.result);
            carried.push(Carried {
                acc,
                init,
                next,
                result,
                combine: old.combine,
            });
        }
        self.push(Inst::Loop(Loop {
            var,
            extent,
            kind: match self.caps.lanes {
                true => inner.kind,
                false => LoopKind::Serial,
            },
            carried,
            body,
        }));
    }

    /// So many iterations of a loop, one behind the other.
    fn iterations(&mut self, kernel: &Kernel, inner: &Loop, inits: Vec<ValueId>, times: i64) {
        let mut values = inits;
        for turn in 0..times {
            let turn = self.int(DType::I64, turn.into());
            self.map[inner.var.0 as usize] = Some(turn);
            for (carried, &value) in inner.carried.iter().zip(&values) {
                self.map[carried.acc.0 as usize] = Some(value);
            }
            self.block(kernel, &inner.body);
            values = inner.carried.iter().map(|c| self.renamed(c.next)).collect();
        }
        for (carried, value) in inner.carried.iter().zip(values) {
            self.map[carried.result.0 as usize] = Some(value);
        }
    }

    fn rhs(&mut self, kernel: &Kernel, dtype: DType, rhs: &Rhs) -> ValueId {
        match rhs {
            Rhs::Const(literal) => self.constant(dtype, literal.0),
            Rhs::Dim(dim) => self.emit(DType::I64, Rhs::Dim(dim.clone())),
            Rhs::Apply { op, operands } => {
                let of = kernel.dtype(operands[operands.len() - 1]);
                let operands: SmallVec<[ValueId; 3]> =
                    operands.iter().map(|&old| self.renamed(old)).collect();
                self.apply_as(*op, of, &operands)
            }
            Rhs::Cast(old) => {
                let (from, value) = (kernel.dtype(*old), self.renamed(*old));
                self.cast_as(value, from, dtype)
            }
            Rhs::Bitcast(old) => {
                let (value, to) = (self.renamed(*old), self.stored(dtype));
                self.bitcast(value, to)
            }
            Rhs::Load { buffer, index } => {
                let index = self.renamed(*index);
                let dtype = self.buffer_dtype(*buffer);
                self.emit(
                    dtype,
                    Rhs::Load {
                        buffer: *buffer,
                        index,
                    },
                )
            }
        }
    }

    fn buffer_dtype(&self, buffer: BufferId) -> DType {
        self.out.buffer_dtype(buffer)
    }

    fn emit(&mut self, dtype: DType, rhs: Rhs) -> ValueId {
        let id = self.out.value(dtype);
        self.push(Inst::Let { id, rhs });
        id
    }

    /// The dtype of a value as written.
    pub(super) fn dtype(&self, value: ValueId) -> DType {
        self.out.dtype(value)
    }

    /// A constant of a dtype, in its carrier if it has one.
    pub(super) fn constant(&mut self, dtype: DType, value: Scalar) -> ValueId {
        let stored = self.stored(dtype);
        let literal = match MiniFloat::of(dtype) {
            Some(format) if stored != dtype => Literal(Scalar::Int(i128::from(
                format.encode(value.to_f64(), false),
            ))),
            _ => Literal(value),
        };
        if let Some(&id) = self.constants.get(&(stored, literal)) {
            return id;
        }
        let id = self.out.value(stored);
        self.constants.insert((stored, literal), id);
        id
    }

    /// A float constant, rounded to the dtype.
    pub(super) fn float(&mut self, dtype: DType, value: f64) -> ValueId {
        self.constant(dtype, Scalar::Float(value).cast(dtype))
    }

    /// An integer constant, wrapped to the dtype.
    pub(super) fn int(&mut self, dtype: DType, value: i128) -> ValueId {
        self.constant(dtype, Scalar::Int(value).cast(dtype))
    }

    /// An operator on values of their own dtype.
    pub(super) fn apply(&mut self, op: ScalarOp, operands: &[ValueId]) -> ValueId {
        let dtype = self.dtype(operands[operands.len() - 1]);
        self.apply_as(op, dtype, operands)
    }

    /// Whether the target prints this operator.
    pub(super) fn has(&self, op: ScalarOp, dtype: DType) -> bool {
        (self.caps.op)(op, dtype)
    }

    /// An operator on values that mean `dtype`, whatever carries them.
    fn apply_as(&mut self, op: ScalarOp, dtype: DType, operands: &[ValueId]) -> ValueId {
        let carried = self.stored(dtype) != dtype;
        // A select moves bits: the carrier does as well as the format.
        if (self.caps.op)(op, dtype) && !carried || carried && op == ScalarOp::Select {
            let operands = SmallVec::from_slice(operands);
            let result = self.stored(op.result(dtype));
            return self.emit(result, Rhs::Apply { op, operands });
        }
        if MiniFloat::of(dtype).is_some() {
            return self.in_single(op, dtype, operands);
        }
        let expanded = match dtype.class() {
            DTypeClass::Float => single::expand(self, op, dtype, operands)
                .or_else(|| double::expand(self, op, dtype, operands))
                .or_else(|| arithmetic::float(self, op, dtype, operands)),
            DTypeClass::Bool | DTypeClass::Signed | DTypeClass::Unsigned => {
                arithmetic::integer(self, op, dtype, operands)
            }
            DTypeClass::String => None,
        };
        expanded.unwrap_or_else(|| {
            let kernel = self.out.name.clone();
            self.error
                .get_or_insert(LegalizeError::Operator { kernel, op, dtype });
            operands[0]
        })
    }

    /// An operator on narrow floats, by way of `f32`.
    fn in_single(&mut self, op: ScalarOp, dtype: DType, operands: &[ValueId]) -> ValueId {
        let wide: Vec<ValueId> = operands
            .iter()
            .enumerate()
            .map(|(position, &value)| match (op, position) {
                (ScalarOp::Select, 0) => value,
                _ => self.cast_as(value, dtype, DType::F32),
            })
            .collect();
        let result = self.apply_as(op, DType::F32, &wide);
        if op.is_predicate() {
            result
        } else {
            self.cast_as(result, DType::F32, dtype)
        }
    }

    /// A conversion of a value from its own dtype.
    pub(super) fn cast(&mut self, value: ValueId, to: DType) -> ValueId {
        let from = self.dtype(value);
        self.cast_as(value, from, to)
    }

    /// A conversion of a value that means `from`, whatever carries it.
    fn cast_as(&mut self, value: ValueId, from: DType, to: DType) -> ValueId {
        if from == to {
            return value;
        }
        let carried = self.stored(from) != from || self.stored(to) != to;
        if (self.caps.cast)(from, to) && !carried {
            return self.emit(to, Rhs::Cast(value));
        }
        match (MiniFloat::of(from), MiniFloat::of(to)) {
            (Some(format), _) => {
                let bits = self.bits_of(value);
                let single = minifloat::decode(self, format, bits);
                self.cast_as(single, DType::F32, to)
            }
            (None, Some(format)) => {
                let single = match from {
                    DType::F32 => value,
                    DType::F64 => minifloat::round_to_odd(self, value),
                    _ => self.cast_as(value, from, DType::F32),
                };
                let code = minifloat::encode(self, format, single);
                let stored = self.stored(to);
                let narrow = self.cast_as(code, DType::I32, carrier(to));
                self.bitcast(narrow, stored)
            }
            (None, None) => {
                let kernel = self.out.name.clone();
                self.error
                    .get_or_insert(LegalizeError::Cast { kernel, from, to });
                value
            }
        }
    }

    /// The bits of a narrow float, as a non-negative `i32`.
    fn bits_of(&mut self, value: ValueId) -> ValueId {
        let carried = carrier(self.dtype(value));
        let bits = self.bitcast(value, carried);
        self.cast_as(bits, carried, DType::I32)
    }

    /// The same bits as another dtype.
    pub(super) fn bitcast(&mut self, value: ValueId, to: DType) -> ValueId {
        if self.dtype(value) == to {
            value
        } else {
            self.emit(to, Rhs::Bitcast(value))
        }
    }

    pub(super) fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.apply(ScalarOp::Add, &[a, b])
    }

    pub(super) fn sub(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.apply(ScalarOp::Sub, &[a, b])
    }

    pub(super) fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.apply(ScalarOp::Mul, &[a, b])
    }

    pub(super) fn div(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.apply(ScalarOp::Div, &[a, b])
    }

    pub(super) fn lt(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.apply(ScalarOp::Lt, &[a, b])
    }

    pub(super) fn eq(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.apply(ScalarOp::Eq, &[a, b])
    }

    pub(super) fn select(&mut self, cond: ValueId, a: ValueId, b: ValueId) -> ValueId {
        self.apply(ScalarOp::Select, &[cond, a, b])
    }

    pub(super) fn unary(&mut self, op: ScalarOp, a: ValueId) -> ValueId {
        self.apply(op, &[a])
    }

    /// What a float is infinitely small for, if it was just made so: the condition, and the float
    /// that is less than a constant then, which is no less than `least`.
    pub(super) fn cut_off(&self, value: ValueId, least: f64) -> Option<(ValueId, ValueId)> {
        let (is_low, lowest, x) = match self.operands(value, ScalarOp::Select)? {
            &[is_low, lowest, x] => (is_low, lowest, x),
            _ => return None,
        };
        let below = self.operands(is_low, ScalarOp::Lt)?;
        let is_cut = below[0] == x && self.number(below[1])? >= least;
        (is_cut && self.number(lowest)? == f64::NEG_INFINITY).then_some((is_low, x))
    }

    /// The operands of a value that an operator gives in the block that is written.
    fn operands(&self, value: ValueId, wanted: ScalarOp) -> Option<&[ValueId]> {
        let block = self.insts.last()?;
        block.iter().rev().find_map(|inst| match inst {
            Inst::Let {
                id,
                rhs: Rhs::Apply { op, operands },
            } if *id == value && *op == wanted => Some(operands.as_slice()),
            _ => None,
        })
    }

    /// The number that a constant is.
    fn number(&self, value: ValueId) -> Option<f64> {
        let mut constants = self.constants.iter();
        let ((_, literal), _) = constants.find(|&(_, &id)| id == value)?;
        Some(literal.0.to_f64())
    }

    /// `c[0] + x * (c[1] + x * ...)`.
    pub(super) fn polynomial(&mut self, x: ValueId, coefficients: &[f64]) -> ValueId {
        let dtype = self.dtype(x);
        let (last, rest) = coefficients
            .split_last()
            .expect("a polynomial has coefficients");
        let mut sum = self.float(dtype, *last);
        for &coefficient in rest.iter().rev() {
            let constant = self.float(dtype, coefficient);
            sum = self.multiply_add(sum, x, constant);
        }
        sum
    }

    /// `a * b + c`: in one instruction where there is one, and rounded twice otherwise.
    pub(super) fn multiply_add(&mut self, a: ValueId, b: ValueId, c: ValueId) -> ValueId {
        let dtype = self.dtype(c);
        if self.has(ScalarOp::Fma, dtype) {
            return self.apply(ScalarOp::Fma, &[a, b, c]);
        }
        let product = self.mul(a, b);
        self.add(product, c)
    }

    /// The magnitude of a float of 32 or 64 bits with the sign of another one.
    pub(super) fn with_sign(&mut self, magnitude: ValueId, sign: ValueId) -> ValueId {
        let dtype = self.dtype(sign);
        let bits = if dtype == DType::F32 {
            DType::I32
        } else {
            DType::I64
        };
        let top = self.int(bits, 1_i128 << (bits.bits() - 1));
        let below = self.int(bits, (1_i128 << (bits.bits() - 1)) - 1);
        let (magnitude, sign) = (self.bitcast(magnitude, bits), self.bitcast(sign, bits));
        let magnitude = self.apply(ScalarOp::And, &[magnitude, below]);
        let sign = self.apply(ScalarOp::And, &[sign, top]);
        let joined = self.apply(ScalarOp::Or, &[magnitude, sign]);
        self.bitcast(joined, dtype)
    }
}

/// The unsigned integer of a narrow float's width; other dtypes carry themselves.
fn carrier(dtype: DType) -> DType {
    match (MiniFloat::of(dtype), dtype.bits()) {
        (None, _) => dtype,
        (Some(_), 4) => DType::U4,
        (Some(_), 8) => DType::U8,
        (Some(_), _) => DType::U16,
    }
}
