//! What a well-formed kernel is.
//!
//! [`verify`] promises, and interpreter and back ends rely on:
//!
//! 1. Every value is defined once: by a `let`, as a loop variable, accumulator or loop result, as
//!    a grid axis or as the lane.
//! 2. A value is used only after its definition, in the same block or one inside it. Loop
//!    variables and accumulators live in the body, loop results after the loop.
//! 3. Scalar operators get the number and dtypes of operands that
//!    [`ScalarOp::accepts`](alula_tensor::ScalarOp::accepts) allows and give the dtype that
//!    [`ScalarOp::result`](alula_tensor::ScalarOp::result) says. Literals are values of their
//!    dtype; dims are `i64`; bitcasts keep the size and never involve bools.
//! 4. Indices, extents, loop variables, grid axes and the lane are `i64`; conditions are bools.
//! 5. Buffers exist; loaded and stored values have the buffer's dtype; `read` parameters are not
//!    stored to, `write` parameters are not loaded from. Nothing holds strings.
//! 6. Carried values have one dtype each. In a `Lanes` loop each has a combining operator, the
//!    width is a power of two above 1, and the body has no `if`, no barrier, no other `Lanes`
//!    loop; loops inside have extents from outside the `Lanes` loop.
//! 7. Dims refer to the listed symbols only; symbols are listed once.
//! 8. `lane` is there exactly if `lanes` is above 1, and so are shared arrays and barriers. A
//!    barrier is reached by all lanes or none: enclosing conditions and extents are uniform, that
//!    is computed from constants, dims, the grid, variables of uniform loops, and loads from
//!    `read` parameters at uniform indices.
//! 9. Names of parameters and locals are distinct identifiers.
//! 10. Only `read` parameters of `f32` have a bound, which is finite and not negative.

use std::collections::BTreeSet;

use alula_tensor::{DType, Dim, Symbol};

use crate::{Access, BufferId, Inst, Kernel, Literal, Loop, LoopKind, Rhs, ValueId};

/// A broken rule; the number is the one in the module's list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kernel {kernel}: {message} (rule {rule})")]
pub struct VerifyError {
    /// Name of the kernel.
    pub kernel: String,
    /// Number of the rule.
    pub rule: u8,
    /// What is wrong, with the values concerned.
    pub message: String,
}

/// Checks every rule.
///
/// # Errors
/// All findings, in the order of the text.
pub fn verify(kernel: &Kernel) -> Result<(), Vec<VerifyError>> {
    let mut symbols = BTreeSet::new();
    let mut verifier = Verifier {
        kernel,
        states: vec![State::Undefined; kernel.dtypes.len()],
        uniform: vec![false; kernel.dtypes.len()],
        errors: Vec::new(),
        symbols: &BTreeSet::new(),
    };
    for symbol in &kernel.symbols {
        if !symbols.insert(symbol.clone()) {
            verifier.error(7, format!("symbol {symbol} is listed twice"));
        }
    }
    verifier.symbols = &symbols;
    verifier.signature();
    let mut defined = Vec::new();
    for axis in &kernel.grid {
        verifier.dim(&axis.extent);
        verifier.define(axis.var, Some(DType::I64), true, &mut defined);
    }
    if let Some(lane) = kernel.lane {
        verifier.define(lane, Some(DType::I64), false, &mut defined);
    }
    verifier.block(
        &kernel.body.0,
        Place {
            uniform: true,
            lanes: false,
        },
    );
    if verifier.errors.is_empty() {
        Ok(())
    } else {
        Err(verifier.errors)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Undefined,
    InScope,
    OutOfScope,
}

/// Where a block is.
#[derive(Clone, Copy)]
struct Place {
    /// Whether all lanes of the workgroup run it together.
    uniform: bool,
    /// Whether it is inside a `Lanes` loop.
    lanes: bool,
}

struct Verifier<'k> {
    kernel: &'k Kernel,
    states: Vec<State>,
    uniform: Vec<bool>,
    errors: Vec<VerifyError>,
    symbols: &'k BTreeSet<Symbol>,
}

impl Verifier<'_> {
    fn error(&mut self, rule: u8, message: String) {
        self.errors.push(VerifyError {
            kernel: self.kernel.name.clone(),
            rule,
            message,
        });
    }

    fn signature(&mut self) {
        let kernel = self.kernel;
        let mut names = BTreeSet::new();
        let params = kernel.params.iter().map(|param| (&param.name, param.dtype));
        for (name, dtype) in params.chain(kernel.locals.iter().map(|l| (&l.name, l.dtype))) {
            let mut chars = name.chars();
            let starts = chars
                .next()
                .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            if !starts || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
                self.error(9, format!("buffer name '{name}' is not an identifier"));
            }
            if !names.insert(name) {
                self.error(9, format!("two buffers have the name {name}"));
            }
            if dtype == DType::String {
                self.error(5, format!("buffer {name} holds strings"));
            }
        }
        for param in &kernel.params {
            self.dim(&param.elements);
            let Some(bound) = param.bound else { continue };
            let (dtype, access) = (param.dtype, param.access.name());
            if dtype != DType::F32 || param.access != Access::Read {
                self.error(
                    10,
                    format!("{} is {dtype} {access} and has a bound", param.name),
                );
            }
            if !bound.is_finite() || bound < 0.0 {
                self.error(10, format!("{} is within {bound}", param.name));
            }
        }
        if kernel.lanes == 0 || kernel.lane.is_some() != (kernel.lanes > 1) {
            self.error(
                8,
                format!("{} lanes, and the lane is {:?}", kernel.lanes, kernel.lane),
            );
        }
    }

    fn dim(&mut self, dim: &Dim) {
        let mut used = BTreeSet::new();
        dim.collect_symbols(&mut used);
        for symbol in used {
            if !self.symbols.contains(&symbol) {
                self.error(
                    7,
                    format!("dim {dim} needs symbol {symbol}, which is not listed"),
                );
            }
        }
    }

    fn define(
        &mut self,
        value: ValueId,
        dtype: Option<DType>,
        uniform: bool,
        defined: &mut Vec<ValueId>,
    ) {
        let position = value.0 as usize;
        let Some(&actual) = self.kernel.dtypes.get(position) else {
            return self.error(1, format!("%{} has no dtype", value.0));
        };
        if self.states[position] != State::Undefined {
            self.error(1, format!("%{} is defined twice", value.0));
        }
        if let Some(dtype) = dtype.filter(|&dtype| dtype != actual) {
            self.error(4, format!("%{} is {actual}, not {dtype}", value.0));
        }
        self.states[position] = State::InScope;
        self.uniform[position] = uniform;
        defined.push(value);
    }

    /// The dtype of a used value, if it may be used here.
    fn used(&mut self, value: ValueId) -> Option<DType> {
        match self.states.get(value.0 as usize) {
            Some(State::InScope) => return Some(self.kernel.dtype(value)),
            Some(State::Undefined) => {
                self.error(2, format!("%{} is used before its definition", value.0));
            }
            Some(State::OutOfScope) => {
                self.error(2, format!("%{} is used outside its block", value.0));
            }
            None => self.error(2, format!("%{} does not exist", value.0)),
        }
        None
    }

    fn used_as(&mut self, value: ValueId, dtype: DType, rule: u8, what: &str) {
        if let Some(actual) = self.used(value).filter(|&actual| actual != dtype) {
            self.error(
                rule,
                format!("{what} %{} is {actual}, not {dtype}", value.0),
            );
        }
    }

    fn is_uniform(&self, value: ValueId) -> bool {
        self.uniform.get(value.0 as usize).copied().unwrap_or(false)
    }

    /// Checks a block; what it defines goes out of scope at its end.
    fn block(&mut self, insts: &[Inst], place: Place) {
        let mut defined = Vec::new();
        self.insts(insts, place, &mut defined);
        self.leave(&defined);
    }

    fn leave(&mut self, defined: &[ValueId]) {
        for value in defined {
            self.states[value.0 as usize] = State::OutOfScope;
        }
    }

    fn insts(&mut self, insts: &[Inst], place: Place, defined: &mut Vec<ValueId>) {
        for inst in insts {
            match inst {
                Inst::Let { id, rhs } => {
                    let uniform = self.rhs(*id, rhs);
                    self.define(*id, None, uniform, defined);
                }
                Inst::Store {
                    buffer,
                    index,
                    value,
                } => {
                    self.used_as(*index, DType::I64, 4, "index");
                    if let Some(dtype) = self.buffer(*buffer, true) {
                        self.used_as(*value, dtype, 5, "stored value");
                    }
                }
                Inst::Loop(inner) => self.enter_loop(inner, place, defined),
                Inst::If { cond, then } => {
                    self.used_as(*cond, DType::Bool, 4, "condition");
                    if place.lanes {
                        self.error(6, format!("if %{} inside a lanes loop", cond.0));
                    }
                    let uniform = place.uniform && self.is_uniform(*cond);
                    self.block(&then.0, Place { uniform, ..place });
                }
                Inst::Barrier => {
                    if self.kernel.lanes <= 1 {
                        self.error(8, "barrier without lanes".to_owned());
                    }
                    if place.lanes || !place.uniform {
                        self.error(8, "barrier where lanes may disagree".to_owned());
                    }
                }
            }
        }
    }

    /// The dtype of a buffer, if it may be accessed so.
    fn buffer(&mut self, buffer: BufferId, is_store: bool) -> Option<DType> {
        let kernel = self.kernel;
        let local = |position: u32| kernel.locals.get(position as usize).map(|l| l.dtype);
        let dtype = match buffer {
            BufferId::Param(position) => {
                let param = kernel.params.get(position as usize);
                match param.map(|p| p.access) {
                    Some(Access::Read) if is_store => {
                        self.error(5, format!("store to {buffer:?}, which is read-only"));
                    }
                    Some(Access::Write) if !is_store => {
                        self.error(5, format!("load from {buffer:?}, which is write-only"));
                    }
                    _ => {}
                }
                param.map(|p| p.dtype)
            }
            BufferId::Local(position) => local(position),
            BufferId::Shared(position) => {
                if kernel.lanes <= 1 {
                    self.error(8, "shared array without lanes".to_owned());
                }
                local(position)
            }
        };
        if dtype.is_none() {
            self.error(5, format!("{buffer:?} does not exist"));
        }
        dtype
    }

    /// Checks a right side against the dtype of the value; returns whether it is uniform.
    fn rhs(&mut self, id: ValueId, rhs: &Rhs) -> bool {
        let Some(&to) = self.kernel.dtypes.get(id.0 as usize) else {
            return false;
        };
        match rhs {
            Rhs::Const(literal) => {
                if Literal(literal.0.cast(to)) != *literal {
                    self.error(3, format!("%{}: {:?} is no value of {to}", id.0, literal.0));
                }
                true
            }
            Rhs::Dim(dim) => {
                self.dim(dim);
                if to != DType::I64 {
                    self.error(3, format!("%{}: a dim as {to}", id.0));
                }
                true
            }
            Rhs::Apply { op, operands } => {
                let dtypes: Vec<Option<DType>> = operands.iter().map(|&v| self.used(v)).collect();
                let first = op.first_typed();
                if operands.len() != op.arity() {
                    self.error(3, format!("%{}: {op} of {} operands", id.0, operands.len()));
                } else if let Some(dtypes) = dtypes.into_iter().collect::<Option<Vec<DType>>>() {
                    let dtype = dtypes[first];
                    let cond = first == 0 || dtypes[0] == DType::Bool;
                    let same = dtypes[first..].iter().all(|&other| other == dtype);
                    if !cond || !same || !op.accepts(dtype.class()) || op.result(dtype) != to {
                        self.error(3, format!("%{}: {op} of {dtypes:?} as {to}", id.0));
                    }
                }
                operands.iter().all(|&value| self.is_uniform(value))
            }
            Rhs::Cast(value) => {
                self.used(*value);
                self.is_uniform(*value)
            }
            Rhs::Bitcast(value) => {
                if let Some(from) = self.used(*value)
                    && (from.bits() != to.bits() || [from, to].contains(&DType::Bool))
                {
                    self.error(3, format!("%{}: bitcast of {from} as {to}", id.0));
                }
                self.is_uniform(*value)
            }
            Rhs::Load { buffer, index } => {
                self.used_as(*index, DType::I64, 4, "index");
                if let Some(dtype) = self.buffer(*buffer, false).filter(|&dtype| dtype != to) {
                    self.error(5, format!("%{} is {to}, its buffer holds {dtype}", id.0));
                }
                let BufferId::Param(position) = *buffer else {
                    return false;
                };
                let access = self.kernel.params.get(position as usize).map(|p| p.access);
                access == Some(Access::Read) && self.is_uniform(*index)
            }
        }
    }

    fn enter_loop(&mut self, inner: &Loop, place: Place, defined: &mut Vec<ValueId>) {
        self.used_as(inner.extent, DType::I64, 4, "extent");
        for carried in &inner.carried {
            self.used(carried.init);
        }
        let lanes = matches!(inner.kind, LoopKind::Lanes(_));
        if let LoopKind::Lanes(width) = inner.kind {
            self.lanes_loop(inner, width, place);
        }
        let uniform = place.uniform && self.is_uniform(inner.extent);
        let mut inside = Vec::new();
        self.define(inner.var, Some(DType::I64), uniform, &mut inside);
        for carried in &inner.carried {
            self.define(carried.acc, None, false, &mut inside);
        }
        self.insts(
            &inner.body.0,
            Place {
                uniform,
                lanes: place.lanes || lanes,
            },
            &mut inside,
        );
        for carried in &inner.carried {
            self.used(carried.next);
        }
        self.leave(&inside);
        for carried in &inner.carried {
            self.define(carried.result, None, false, defined);
            let dtypes = [carried.acc, carried.init, carried.next, carried.result]
                .map(|value| self.kernel.dtypes.get(value.0 as usize).copied());
            if dtypes.iter().any(|&dtype| dtype != dtypes[0]) {
                self.error(6, format!("%{} is carried as {dtypes:?}", carried.acc.0));
            }
            let dtype = dtypes[0].unwrap_or(DType::I64);
            if carried
                .combine
                .is_some_and(|op| !op.scalar_op().accepts(dtype.class()))
            {
                self.error(
                    6,
                    format!("%{} of {dtype} cannot be combined so", carried.acc.0),
                );
            }
        }
    }

    fn lanes_loop(&mut self, inner: &Loop, width: u32, place: Place) {
        let var = inner.var.0;
        if width < 2 || !width.is_power_of_two() {
            self.error(
                6,
                format!("loop %{var} has {width} lanes, not a power of two above 1"),
            );
        }
        if place.lanes {
            self.error(6, format!("lanes loop %{var} inside another"));
        }
        if inner
            .carried
            .iter()
            .any(|carried| carried.combine.is_none())
        {
            self.error(
                6,
                format!("lanes loop %{var} carries a value without combining operator"),
            );
        }
        let mut defined = BTreeSet::from([inner.var]);
        self.inner_extents(&inner.body.0, &mut defined);
    }

    /// Checks that loops inside a `Lanes` loop have extents from outside it.
    fn inner_extents(&mut self, insts: &[Inst], defined: &mut BTreeSet<ValueId>) {
        for inst in insts {
            match inst {
                Inst::Let { id, .. } => {
                    defined.insert(*id);
                }
                Inst::Loop(inner) => {
                    if defined.contains(&inner.extent) {
                        let message = format!("extent %{} differs between lanes", inner.extent.0);
                        self.error(6, message);
                    }
                    defined.extend(inner.carried.iter().flat_map(|c| [c.acc, c.result]));
                    defined.insert(inner.var);
                    self.inner_extents(&inner.body.0, defined);
                }
                Inst::If { then, .. } => self.inner_extents(&then.0, defined),
                Inst::Store { .. } | Inst::Barrier => {}
            }
        }
    }
}
