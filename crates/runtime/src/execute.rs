//! Runs plans: frames, steps in order, values in and out of slots.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use alula_program::{Arena, Module, Place, Program, SlotId, Step};
use alula_tensor::{DType, OutOfMemory, Scalar, Storage, Tensor, Value, ValueType};
use smallvec::SmallVec;

use crate::bind::{Binding, Bindings, Home, check, known, limit};
use crate::feed::Feed;
use crate::frame::{Frame, Held, Passed};
use crate::prepare::{From as Source, Late, Prepared};
use crate::profile::Recorder;
use crate::symbols::{Env, SymbolTable};
use crate::{Limits, RunError, StepError, host};

/// What all runs of a session share.
pub(crate) struct Core {
    pub(crate) program: Arc<Program>,
    pub(crate) module: Box<dyn Module>,
    pub(crate) table: SymbolTable,
    pub(crate) prepared: Vec<Prepared>,
    pub(crate) bindings: Vec<Bindings>,
    /// The program's constants as host tensors that share its bytes.
    pub(crate) constants: Vec<Tensor>,
    pub(crate) limits: Limits,
}

impl Core {
    /// Where a slot's root lives.
    pub(crate) fn home(&self, frame: &Frame, slot: SlotId) -> Home {
        frame.binding().homes[self.prepared[frame.plan].root[slot.0 as usize]]
    }
}

/// What one run owns and later runs use again.
pub(crate) struct State {
    pub(crate) arena: Box<dyn Arena>,
    /// Frames of each plan that no run is in.
    pub(crate) spare: Vec<Vec<Frame>>,
    /// What the last run's outputs were made in, by output.
    pub(crate) results: Vec<Option<Storage>>,
}

/// Why a step did not finish: itself, or a step of a plan that it ran.
pub(crate) enum Failure {
    Here(StepError),
    Inner(RunError),
}

impl<E: Into<StepError>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Here(error.into())
    }
}

/// Memory by output.
pub(crate) type Results<'r> = SmallVec<[Option<&'r mut [u8]>; 4]>;

/// One run.
pub(crate) struct Run<'r> {
    pub(crate) core: &'r Core,
    pub(crate) state: &'r mut State,
    pub(crate) feeds: &'r [Feed<'r>],
    /// Memory of the outputs that kernels write themselves; nothing while one does, and for other
    /// outputs.
    pub(crate) results: Results<'r>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) work_max: u64,
    /// Bytes of values outside of the arena.
    pub(crate) own_bytes: u64,
    /// Most bytes of the arena that frames have had.
    pub(crate) planned_bytes: u64,
    /// Most bytes of scratch that a kernel takes beside it.
    pub(crate) scratch_bytes: u64,
    /// Most bytes that the run held.
    pub(crate) peak_bytes: u64,
    pub(crate) recorder: Option<Recorder>,
}

/// Where a new frame's memory may lie.
#[derive(Clone, Copy)]
pub(crate) struct Region {
    /// Not before.
    pub(crate) start: usize,
    /// And not here: the previous iteration's memory.
    pub(crate) busy: Option<(usize, usize)>,
}

impl<'r> Run<'r> {
    /// A frame of a plan, bound to the values passed in (`None` for the outermost plan, whose
    /// inputs are the run's).
    pub(crate) fn begin(
        &mut self,
        plan: usize,
        region: Region,
        passed: Option<Vec<Passed>>,
        outer: Option<&Env>,
    ) -> Result<Frame, StepError> {
        let core = self.core;
        let (prepared, slots) = (&core.prepared[plan], &core.program.plans[plan].slots);
        let mut frame = self.state.spare[plan].pop().unwrap_or_default();
        frame.plan = plan;
        frame.own_bytes = 0;
        frame.env.clear();
        match outer {
            Some(outer) => frame.env.extend_from_slice(outer),
            None => frame.env.resize(core.table.len(), None),
        }
        for &symbol in &prepared.own {
            frame.env[symbol] = None;
        }
        let is_outermost = passed.is_none();
        frame.passed.clear();
        let mut inputs: Vec<Held> = Vec::new();
        for Passed { held, shape } in passed.into_iter().flatten() {
            inputs.push(held);
            frame.passed.push(shape);
        }
        frame.held.clear();
        frame.held.extend(slots.iter().map(|slot| match slot.place {
            Place::Input(input) if is_outermost => Held::Caller(input),
            Place::Input(input) => inputs[input].clone(),
            Place::Constant(constant) => Held::Constant(constant),
            Place::Arena { .. } | Place::Dynamic | Place::Alias(_) | Place::Part { .. } => {
                Held::Nothing
            }
        }));
        for late in &prepared.early {
            self.bind(&mut frame, late)?;
        }
        self.define(&mut frame)?;
        let bytes = self.find_binding(&mut frame)?;
        frame.base = match region.busy {
            Some((busy, end)) if region.start.saturating_add(bytes) > busy => end,
            _ => region.start,
        };
        frame.end = frame
            .base
            .checked_add(bytes)
            .and_then(|end| end.checked_next_multiple_of(64))
            .ok_or_else(|| StepError::value("memory beyond what can be addressed"))?;
        let scratch = frame.binding().scratch_bytes;
        self.scratch_bytes = self.scratch_bytes.max(scratch);
        self.planned_bytes = self.planned_bytes.max(frame.end as u64);
        self.fits(0)?;
        self.reserve(frame.end, is_outermost)?;
        Ok(frame)
    }

    /// Gives the frame the binding of its symbols; returns its bytes in the arena.
    fn find_binding(&mut self, frame: &mut Frame) -> Result<usize, StepError> {
        let core = self.core;
        let prepared = &core.prepared[frame.plan];
        let value = |&symbol: &usize| frame.env[symbol].unwrap_or(i64::MIN);
        let mut key: SmallVec<[i64; 16]> = SmallVec::new();
        key.extend(prepared.key.iter().map(value));
        if let Some(binding) = &frame.binding
            && frame.key.as_slice() == key.as_slice()
        {
            return Ok(binding.arena_bytes);
        }
        let bindings = &core.bindings[frame.plan];
        let binding = match bindings.get(&key) {
            Some(binding) => binding,
            None => {
                let plan = &core.program.plans[frame.plan];
                let _span = tracing::debug_span!("bind", plan = plan.name).entered();
                let binding = Arc::new(Binding::new(core, plan, prepared, &frame.env)?);
                tracing::debug!(bytes = binding.arena_bytes, ?key, "bound symbols");
                bindings.put(&key, &binding);
                binding
            }
        };
        frame.key.clear();
        frame.key.extend_from_slice(&key);
        let bytes = binding.arena_bytes;
        frame.binding = Some(binding);
        Ok(bytes)
    }

    /// Makes the arena at least so long; what is in it stays, unless no frame lies in it yet.
    fn reserve(&mut self, bytes: usize, is_unused: bool) -> Result<(), StepError> {
        let (old, module) = (self.state.arena.len(), &self.core.module);
        if bytes <= old {
            return Ok(());
        }
        if is_unused && old > 0 {
            // Both at once may be too much.
            self.state.arena = module.arena(0)?;
        }
        let mut arena = module.arena(bytes)?;
        if !is_unused {
            match self.state.arena.host() {
                Some(held) => arena.write(0, held)?,
                None => {
                    let mut copy = Vec::new();
                    let reserved = copy.try_reserve_exact(old);
                    reserved.map_err(|_| OutOfMemory { bytes: old })?;
                    copy.resize(old, 0);
                    self.state.arena.read(0..old, &mut copy)?;
                    arena.write(0, &copy)?;
                }
            }
        }
        self.state.arena = arena;
        Ok(())
    }

    /// Bytes that the run holds.
    pub(crate) fn held_total(&self) -> u64 {
        let planned = self.planned_bytes.saturating_add(self.scratch_bytes);
        planned.saturating_add(self.own_bytes)
    }

    /// That many bytes more are within the limit.
    pub(crate) fn fits(&mut self, bytes: usize) -> Result<(), StepError> {
        let needed = self.held_total().saturating_add(bytes as u64);
        self.peak_bytes = self.peak_bytes.max(needed);
        limit(needed, self.core.limits.bytes_max)
    }

    /// Bytes that a slot's value takes on the host beside where it lies.
    pub(crate) fn copied_bytes(&self, frame: &Frame, slot: SlotId) -> u64 {
        if let Ok(Some(part)) = self.part(frame, slot) {
            return part.len() as u64;
        }
        let bytes = match self.held(frame, slot) {
            Held::Arena { bytes, .. } => *bytes,
            Held::Caller(input) => self.feeds[*input].bytes().map_or(0, <[u8]>::len),
            Held::Nothing | Held::Constant(_) | Held::Result(_) | Held::Own(_) => 0,
        };
        bytes as u64
    }

    /// Keeps a frame's memory for later.
    pub(crate) fn end(&mut self, mut frame: Frame) {
        self.own_bytes = self.own_bytes.saturating_sub(frame.own_bytes);
        frame.held.clear();
        self.state.spare[frame.plan].push(frame);
    }

    /// Runs every step of the frame's plan.
    pub(crate) fn steps(&mut self, frame: &mut Frame) -> Result<(), RunError> {
        let core = self.core;
        let plan = &core.program.plans[frame.plan];
        let prepared = &core.prepared[frame.plan];
        for (index, step) in plan.steps.iter().enumerate() {
            let span = tracing::trace_span!("step", index, name = name_of(step));
            let _guard = span.enter();
            let start = self.recorder.as_ref().map(|_| Instant::now());
            let done = self.step(frame, index, step).and_then(|()| {
                let late = &prepared.late[index];
                for symbol in late {
                    self.bind(frame, symbol)?;
                }
                if !late.is_empty() {
                    self.define(frame)?;
                    self.check(frame)?;
                }
                Ok(())
            });
            if let Err(failure) = done {
                return Err(match failure {
                    Failure::Inner(error) => error,
                    Failure::Here(error) => RunError::Step {
                        plan: plan.name.clone(),
                        step: index,
                        name: name_of(step).to_owned(),
                        error,
                    },
                });
            }
            if let Some(start) = start {
                let bytes = self.step_bytes(frame, step);
                if let Some(recorder) = &mut self.recorder {
                    recorder.add(&core.program, frame.plan, index, step, start, bytes);
                }
            }
            for &root in &prepared.dead_after[index] {
                self.drop_own(frame, root);
            }
        }
        Ok(())
    }

    fn step(&mut self, frame: &mut Frame, index: usize, step: &Step) -> Result<(), Failure> {
        if self.deadline.is_some_and(|end| Instant::now() >= end) {
            return Err(StepError::Deadline.into());
        }
        match step {
            Step::Launch { kernel, args, .. } => Ok(self.launch(frame, index, *kernel, args)?),
            Step::Dims { values, result } => {
                let mut ints: SmallVec<[i64; 16]> = SmallVec::new();
                for dim in values {
                    ints.push(self.core.table.eval(dim, &frame.env)?);
                }
                self.store_bytes(frame, *result, DType::I64, bytemuck::cast_slice(&ints))?;
                Ok(())
            }
            Step::Host {
                function,
                operands,
                results,
                ..
            } => {
                let mut values: SmallVec<[Option<Value>; 8]> = SmallVec::new();
                let mut copied = 0;
                for operand in operands {
                    let value = operand.map(|slot| self.value(frame, slot)).transpose()?;
                    values.push(value);
                    let bytes = operand.map_or(0, |slot| self.copied_bytes(frame, slot));
                    self.own_bytes = self.own_bytes.saturating_add(bytes);
                    copied += bytes;
                }
                let mut wanted: SmallVec<[host::Wanted<'_>; 4]> = SmallVec::new();
                for slot in results {
                    let ty = &self.core.program.plans[frame.plan].slots[slot.0 as usize].ty;
                    let shape = self.shape(frame, *slot).ok().flatten();
                    wanted.push(host::Wanted { ty, shape });
                }
                let room = host::Room::new(self.held_total(), self.core.limits.bytes_max);
                let made = host::call(function, &values, &wanted, &room)?;
                self.peak_bytes = self.peak_bytes.max(room.used());
                drop(values);
                self.own_bytes = self.own_bytes.saturating_sub(copied);
                if made.len() != results.len() {
                    let (made, wanted) = (made.len(), results.len());
                    let text = format!("it makes {made} results, the plan wants {wanted}");
                    return Err(StepError::Value(text).into());
                }
                for (slot, value) in results.iter().zip(made) {
                    self.store(frame, *slot, value)?;
                }
                Ok(())
            }
            Step::If {
                cond,
                then,
                otherwise,
                results,
                ..
            } => {
                let holds = self.read_bool(frame, *cond)?;
                let (plan, inputs) = if holds { then } else { otherwise };
                self.branch(frame, *plan, inputs, results)
            }
            Step::Loop { .. } => self.repeat(frame, step),
        }
    }

    /// Bytes that a step's slots hold, for profiles.
    fn step_bytes(&self, frame: &Frame, step: &Step) -> u64 {
        let Step::Launch { args, .. } = step else {
            return 0;
        };
        let bytes = args.iter().map(|slot| self.held_bytes(frame, *slot) as u64);
        bytes.sum()
    }

    fn root(&self, frame: &Frame, slot: SlotId) -> usize {
        self.core.prepared[frame.plan].root[slot.0 as usize]
    }

    fn held<'f>(&self, frame: &'f Frame, slot: SlotId) -> &'f Held {
        &frame.held[self.root(frame, slot)]
    }

    /// Which of the root's bytes a slot has; `None` for all.
    pub(crate) fn part(
        &self,
        frame: &Frame,
        slot: SlotId,
    ) -> Result<Option<Range<usize>>, StepError> {
        let (core, index) = (self.core, slot.0 as usize);
        let Some(offset) = &core.prepared[frame.plan].offset[index] else {
            return Ok(None);
        };
        if let Some(part) = &frame.binding().parts[index] {
            return Ok(Some(part.clone()));
        }
        let bytes = &core.program.plans[frame.plan].slots[index].bytes;
        core.table.part(offset, bytes, &frame.env).map(Some)
    }

    /// Extents of a slot's value; `None` where it is no tensor.
    pub(crate) fn shape(
        &self,
        frame: &Frame,
        slot: SlotId,
    ) -> Result<Option<Vec<usize>>, StepError> {
        let index = slot.0 as usize;
        let declared = &self.core.program.plans[frame.plan].slots[index];
        if self.root(frame, slot) == index {
            match (&frame.held[index], &declared.place) {
                // What was passed in may be a view of what holds it, with extents of its own.
                (_, Place::Input(input)) if !frame.passed.is_empty() => {
                    return Ok(frame.passed[*input].clone());
                }
                (Held::Own(value), _) => {
                    return Ok(value.as_tensor().map(|tensor| tensor.shape().to_vec()));
                }
                (Held::Caller(input), _) => {
                    return Ok(self.feeds[*input].shape().map(<[usize]>::to_vec));
                }
                _ => {}
            }
        }
        if let Some(binding) = &frame.binding
            && let Some(shape) = &binding.shapes[index]
        {
            return Ok(Some(shape.clone()));
        }
        match &declared.ty {
            ValueType::Tensor(ty) => Ok(Some(self.core.table.shape(&ty.shape, &frame.env)?)),
            _ => Ok(None),
        }
    }

    /// Length of what a slot holds.
    pub(crate) fn held_bytes(&self, frame: &Frame, slot: SlotId) -> usize {
        if let Ok(Some(part)) = self.part(frame, slot) {
            return part.len();
        }
        match self.held(frame, slot) {
            Held::Nothing => 0,
            Held::Arena { bytes, .. } => *bytes,
            Held::Constant(constant) => self.core.program.data[*constant].bytes().len(),
            Held::Caller(input) => self.feeds[*input].bytes().map_or(0, <[u8]>::len),
            Held::Result(output) => self.result(*output).len(),
            Held::Own(value) => value.byte_len(),
        }
    }

    /// Copies part of what a slot holds.
    pub(crate) fn read(
        &mut self,
        frame: &Frame,
        slot: SlotId,
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), StepError> {
        let first = match self.part(frame, slot)? {
            Some(part) if part.len() < offset.saturating_add(into.len()) => {
                return Err(StepError::value("a value is shorter than its type says"));
            }
            Some(part) => part.start,
            None => 0,
        };
        let held = self.held(frame, slot);
        self.read_held(held, first + offset, into)
    }

    pub(crate) fn read_held(
        &mut self,
        held: &Held,
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), StepError> {
        let short = || StepError::value("a value is shorter than its type says");
        let end = offset.checked_add(into.len()).ok_or_else(short)?;
        let bytes = match held {
            Held::Nothing => return Err(StepError::value("a value is read before it is written")),
            Held::Arena {
                offset: begin,
                bytes,
            } => {
                if end > *bytes {
                    return Err(short());
                }
                self.state.arena.read(begin + offset..begin + end, into)?;
                return Ok(());
            }
            Held::Constant(constant) => self.core.program.data[*constant].bytes(),
            Held::Caller(input) => self.feeds[*input].bytes().unwrap_or_default(),
            Held::Result(output) => self.result(*output),
            Held::Own(value) => value.as_tensor().map(Tensor::bytes).unwrap_or_default(),
        };
        into.copy_from_slice(bytes.get(offset..end).ok_or_else(short)?);
        Ok(())
    }

    /// The memory of an output that kernels write themselves.
    pub(crate) fn result(&self, output: usize) -> &[u8] {
        let result = self.results.get(output).and_then(Option::as_deref);
        result.unwrap_or_default()
    }

    pub(crate) fn read_bool(&mut self, frame: &Frame, slot: SlotId) -> Result<bool, StepError> {
        let mut byte = [0];
        self.read(frame, slot, 0, &mut byte)?;
        Ok(byte[0] != 0)
    }

    /// An element of an integer tensor.
    pub(crate) fn read_int(
        &mut self,
        frame: &Frame,
        slot: SlotId,
        index: usize,
    ) -> Result<i64, StepError> {
        let ty = &self.core.program.plans[frame.plan].slots[slot.0 as usize].ty;
        let dtype = ty.as_tensor().map_or(DType::I64, |ty| ty.dtype);
        let size = dtype.size_bytes();
        let mut bytes = [0; 8];
        let offset = index
            .checked_mul(size)
            .ok_or_else(|| StepError::value("an element is out of reach"))?;
        self.read(frame, slot, offset, &mut bytes[..size])?;
        if size == 0 {
            return Err(StepError::value("a string is no integer"));
        }
        let value = Scalar::load(dtype, &bytes[..size]).as_int();
        value
            .and_then(|value| i64::try_from(value).ok())
            .ok_or_else(|| StepError::value(format!("an element of {ty} is no integer")))
    }

    /// Gives a symbol its value, where the slot that it comes from has one.
    fn bind(&mut self, frame: &mut Frame, late: &Late) -> Result<(), StepError> {
        let value = match late.from {
            Source::Extent(slot, axis) => {
                if matches!(self.held(frame, slot), Held::Nothing) {
                    return Ok(());
                }
                if let Held::Caller(input) = self.held(frame, slot)
                    && self.root(frame, slot) == slot.0 as usize
                    && frame.passed.is_empty()
                {
                    let shape = self.feeds[*input].shape();
                    shape.and_then(|shape| shape.get(axis).map(|&extent| extent as i64))
                } else {
                    let shape = self.shape(frame, slot)?;
                    shape.and_then(|shape| shape.get(axis).map(|&extent| extent as i64))
                }
            }
            Source::Content(slot, index) => {
                if matches!(self.held(frame, slot), Held::Nothing) {
                    return Ok(());
                }
                Some(self.read_int(frame, slot, index)?)
            }
        };
        frame.env[late.symbol] = value;
        Ok(())
    }

    /// Checks the dims that the plan relies on, as far as they are known by now.
    fn check(&self, frame: &Frame) -> Result<(), StepError> {
        let plan = &self.core.program.plans[frame.plan];
        for &position in &frame.binding().open_checks {
            known(check(plan, position, &self.core.table, &frame.env))?;
        }
        Ok(())
    }

    /// Gives values to symbols that are defined by others, where those are known.
    fn define(&mut self, frame: &mut Frame) -> Result<(), StepError> {
        let core = self.core;
        for (symbol, dim) in &core.prepared[frame.plan].defined {
            match core.table.eval(dim, &frame.env) {
                Ok(value) => frame.env[*symbol] = Some(value),
                Err(StepError::Dim(alula_tensor::DimError::Unbound(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A slot's value on the host. Shares what is on the host already.
    pub(crate) fn value(&mut self, frame: &Frame, slot: SlotId) -> Result<Value, StepError> {
        let shape = self.shape(frame, slot)?;
        let core = self.core;
        let ty = &core.program.plans[frame.plan].slots[slot.0 as usize].ty;
        if let Some(part) = self.part(frame, slot)? {
            let (Some(ty), Some(shape)) = (ty.as_tensor(), shape) else {
                return Err(StepError::Value(format!("{ty} is a part of a tensor")));
            };
            self.fits(part.len())?;
            let mut storage = Storage::try_zeroed(part.len())?;
            self.read(frame, slot, 0, storage.to_mut())?;
            return Ok(Tensor::from_storage(ty.dtype, &shape, storage)?.into());
        }
        let held = self.held(frame, slot);
        self.materialise(held, ty, shape.as_deref())
    }

    pub(crate) fn materialise(
        &mut self,
        held: &Held,
        ty: &ValueType,
        shape: Option<&[usize]>,
    ) -> Result<Value, StepError> {
        let value = match held {
            Held::Nothing => return Err(StepError::value("a value is read before it is written")),
            Held::Constant(constant) => self.core.constants[*constant].clone().into(),
            Held::Caller(input) => {
                let feed = self.feeds[*input];
                self.fits(feed.bytes().map_or(0, <[u8]>::len))?;
                feed.to_value()?
            }
            Held::Own(value) => value.clone(),
            Held::Arena { .. } | Held::Result(_) => {
                let (Some(ty), Some(shape)) = (ty.as_tensor(), shape) else {
                    return Err(StepError::value(format!("{ty} lies in planned memory")));
                };
                let bytes = match held {
                    Held::Arena { bytes, .. } => *bytes,
                    Held::Result(output) => self.result(*output).len(),
                    _ => 0,
                };
                self.fits(bytes)?;
                let mut storage = Storage::try_zeroed(bytes)?;
                self.read_held(held, 0, storage.to_mut())?;
                return Ok(Tensor::from_storage(ty.dtype, shape, storage)?.into());
            }
        };
        match (value, ty, shape) {
            (Value::Tensor(tensor), ValueType::Tensor(ty), Some(shape))
                if tensor.shape() != shape || tensor.dtype() != ty.dtype =>
            {
                match tensor.storage() {
                    Some(storage) => {
                        Ok(Tensor::from_storage(ty.dtype, shape, storage.clone())?.into())
                    }
                    None => Ok(tensor.reshape(shape)?.into()),
                }
            }
            (value, ..) => Ok(value),
        }
    }

    /// Whether kernels write a slot in the memory of an output.
    pub(crate) fn is_lent(&self, frame: &Frame, slot: SlotId) -> bool {
        matches!(self.core.home(frame, slot), Home::Result { .. })
    }

    /// Where a slot that a step writes lives.
    fn home(&self, frame: &Frame, slot: SlotId) -> Result<Home, StepError> {
        match self.core.home(frame, slot) {
            Home::Elsewhere => Err(StepError::value("a step writes an input or a constant")),
            home => Ok(home),
        }
    }

    /// Makes sure that there is memory for a slot that a kernel writes.
    pub(crate) fn make(&mut self, frame: &mut Frame, slot: SlotId) -> Result<(), StepError> {
        let root = self.root(frame, slot);
        let home = self.home(frame, slot)?;
        let is_planned = matches!(home, Home::Arena { .. } | Home::Result { .. });
        if !is_planned && self.part(frame, slot)?.is_some() {
            return Err(StepError::value(
                "a kernel writes a part of what is not planned",
            ));
        }
        if !matches!(frame.held[root], Held::Nothing) {
            return Ok(());
        }
        frame.held[root] = match home {
            Home::Arena { offset, bytes } => Held::Arena {
                offset: frame.base + offset,
                bytes,
            },
            Home::Result { output, .. } => Held::Result(output),
            Home::Own | Home::Elsewhere => {
                let core = self.core;
                let declared = &core.program.plans[frame.plan].slots[root];
                let bytes = core.table.size(&declared.bytes, &frame.env)?;
                self.account(frame, bytes)?;
                let ty = declared.ty.as_tensor();
                let ty = ty.ok_or_else(|| StepError::value("a kernel writes no tensor"))?;
                let shape = core.table.shape(&ty.shape, &frame.env)?;
                let storage = Storage::try_zeroed(bytes)?;
                let tensor = Tensor::from_storage(ty.dtype, &shape, storage.clone())
                    .or_else(|_| Tensor::from_storage(DType::U8, &[bytes], storage))?;
                Held::Own(tensor.into())
            }
        };
        Ok(())
    }

    pub(crate) fn account(&mut self, frame: &mut Frame, bytes: usize) -> Result<(), StepError> {
        frame.own_bytes = frame.own_bytes.saturating_add(bytes as u64);
        self.own_bytes = self.own_bytes.saturating_add(bytes as u64);
        self.fits(0)
    }

    fn drop_own(&mut self, frame: &mut Frame, root: usize) {
        if let Held::Own(value) = &frame.held[root] {
            let bytes = value.byte_len() as u64;
            frame.own_bytes = frame.own_bytes.saturating_sub(bytes);
            self.own_bytes = self.own_bytes.saturating_sub(bytes);
            frame.held[root] = Held::Nothing;
        }
    }

    /// Puts a value into a slot.
    pub(crate) fn store(
        &mut self,
        frame: &mut Frame,
        slot: SlotId,
        value: Value,
    ) -> Result<(), StepError> {
        let root = self.root(frame, slot);
        if let Home::Arena { .. } = self.home(frame, slot)? {
            let tensor = value
                .as_tensor()
                .ok_or_else(|| StepError::value("a value that is no tensor is planned"))?;
            return self.store_bytes(frame, slot, tensor.dtype(), tensor.bytes());
        }
        let declared = &self.core.program.plans[frame.plan].slots[slot.0 as usize].ty;
        if !value.fits(declared) {
            let given = value.describe();
            return Err(StepError::Value(format!(
                "a result is {given}, the plan says {declared}"
            )));
        }
        self.account(frame, value.byte_len())?;
        self.drop_own(frame, root);
        frame.held[root] = Held::Own(value);
        Ok(())
    }

    /// Puts the bytes of a tensor into a slot.
    pub(crate) fn store_bytes(
        &mut self,
        frame: &mut Frame,
        slot: SlotId,
        dtype: DType,
        from: &[u8],
    ) -> Result<(), StepError> {
        let root = self.root(frame, slot);
        if self.part(frame, slot)?.is_some() {
            return Err(StepError::value("only kernels write parts of values"));
        }
        match self.home(frame, slot)? {
            Home::Arena { offset, bytes } => {
                if bytes != from.len() {
                    let given = from.len();
                    return Err(StepError::Value(format!(
                        "a result of {dtype} has {given} bytes, the plan says {bytes}"
                    )));
                }
                let offset = frame.base + offset;
                self.state.arena.write(offset, from)?;
                frame.held[root] = Held::Arena { offset, bytes };
                Ok(())
            }
            Home::Result { .. } => Err(StepError::value("only kernels write outputs themselves")),
            Home::Own | Home::Elsewhere => {
                let shape = match self.shape(frame, slot)? {
                    Some(shape) => shape,
                    None => return Err(StepError::value("a tensor is put where none belongs")),
                };
                self.account(frame, from.len())?;
                let storage = Storage::try_copy_from(from)?;
                let tensor = Tensor::from_storage(dtype, &shape, storage)?;
                frame.held[root] = Held::Own(tensor.into());
                Ok(())
            }
        }
    }

    /// A slot as it is passed into a sub-plan.
    pub(crate) fn pass(&mut self, frame: &Frame, slot: SlotId) -> Result<Passed, StepError> {
        let held = match (self.part(frame, slot)?, self.held(frame, slot)) {
            (None, held) => held.clone(),
            (Some(part), &Held::Arena { offset, bytes }) if part.end <= bytes => Held::Arena {
                offset: offset + part.start,
                bytes: part.len(),
            },
            (Some(_), _) => Held::Own(self.value(frame, slot)?),
        };
        if matches!(held, Held::Nothing) {
            return Err(StepError::value("a value is passed before it is written"));
        }
        let shape = self.shape(frame, slot)?;
        Ok(Passed { held, shape })
    }
}

/// The nodes that a step stands for.
pub(crate) fn name_of(step: &Step) -> &str {
    match step {
        Step::Launch { name, .. }
        | Step::Host { name, .. }
        | Step::If { name, .. }
        | Step::Loop { name, .. } => name,
        Step::Dims { .. } => "dims",
    }
}
