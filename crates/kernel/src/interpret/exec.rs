//! Execution of prepared kernels.
//!
//! A block without a barrier runs for one lane at a time. A block with one runs instruction by
//! instruction for all lanes of the workgroup, which therefore must agree about every loop extent
//! and condition on the way to the barrier.

use alula_tensor::{Symbol, Tensor};

use super::decode::{Decoder, LoopOp, Op, Reg, eval_binary, eval_ternary, eval_unary};
use super::value;
use super::{Bytes, InterpretError, Options, Stats};
use crate::{Access, BufferId, Kernel};

/// Runs a kernel over its whole grid, points in order.
///
/// `buffers` are the parameters in order, elements little-endian; a longer buffer than the
/// parameter needs is fine.
///
/// # Errors
/// Wrong buffers, unbound symbols, any access outside a buffer, races, divergent barriers, the
/// step limit.
pub fn run(
    kernel: &Kernel,
    buffers: &mut [Bytes<'_>],
    symbols: &dyn Fn(&Symbol) -> Option<i64>,
    options: Options,
) -> Result<Stats, InterpretError> {
    let decoder = Decoder { kernel, symbols };
    let body = decoder.block(&kernel.body.0)?;
    let elements = check_buffers(&decoder, buffers)?;
    let extents = kernel
        .grid
        .iter()
        .map(|axis| Ok((decoder.reg(axis.var)?, decoder.dim(&axis.extent)?)))
        .collect::<Result<Vec<_>, InterpretError>>()?;
    let lane = kernel.lane.map(|lane| decoder.reg(lane)).transpose()?;
    let traces = elements
        .iter()
        .zip(&kernel.params)
        .map(|(&n, param)| {
            let traced = options.check_races && param.access != Access::Read;
            Trace::new(if traced { n } else { 0 })
        })
        .collect();
    let mut machine = Machine {
        kernel,
        buffers,
        elements,
        traces,
        shared: Vec::new(),
        shared_traces: Vec::new(),
        stats: Stats::default(),
        options,
        actor: 0,
        epoch: 0,
    };
    machine.grid(&body, &extents, lane)?;
    Ok(machine.stats)
}

/// Runs a kernel whose parameters are `operands` and then one result of this dtype and shape.
///
/// # Errors
/// As [`run`], and when the result cannot be allocated.
pub fn run_tensors(
    kernel: &Kernel,
    operands: &[&Tensor],
    shape: &[usize],
    symbols: &dyn Fn(&Symbol) -> Option<i64>,
) -> Result<Tensor, InterpretError> {
    let count = InterpretError::Count {
        name: kernel.name.clone(),
        wanted: kernel.params.len(),
        given: operands.len() + 1,
    };
    let dtype = kernel.params.get(operands.len()).ok_or(count)?.dtype;
    let mut result = Tensor::zeros(dtype, shape)?;
    let mut buffers: Vec<Bytes<'_>> = operands.iter().map(|t| Bytes::Read(t.bytes())).collect();
    buffers.push(Bytes::Write(result.bytes_mut()));
    run(kernel, &mut buffers, symbols, Options::default())?;
    Ok(result)
}

fn check_buffers(
    decoder: &Decoder<'_>,
    buffers: &[Bytes<'_>],
) -> Result<Vec<usize>, InterpretError> {
    let kernel = decoder.kernel;
    if buffers.len() != kernel.params.len() {
        let (wanted, given) = (kernel.params.len(), buffers.len());
        return Err(InterpretError::Count {
            name: kernel.name.clone(),
            wanted,
            given,
        });
    }
    let mut elements = Vec::new();
    for (param, buffer) in kernel.params.iter().zip(buffers) {
        let count = decoder.dim(&param.elements)?.max(0);
        let wanted = i128::from(count) * param.dtype.size_bytes() as i128;
        let given = buffer.bytes().len();
        if wanted > given as i128 {
            return Err(InterpretError::Length {
                buffer: param.name.clone(),
                wanted,
                given,
            });
        }
        if param.access != Access::Read && matches!(buffer, Bytes::Read(_)) {
            return Err(InterpretError::ReadOnly(param.name.clone()));
        }
        elements.push(count as usize);
    }
    Ok(elements)
}

/// Who last touched each element of a buffer: actor plus 1 of the writer and of the reader.
struct Trace {
    writers: Vec<(u64, u64)>,
    readers: Vec<(u64, u64)>,
}

/// Marks an element read by several.
const MANY: u64 = u64::MAX;

impl Trace {
    fn new(elements: usize) -> Trace {
        Trace {
            writers: vec![(0, 0); elements],
            readers: vec![(0, 0); elements],
        }
    }

    /// Notes a read in an epoch; returns the conflicting writer.
    fn read(&mut self, index: usize, actor: u64, epoch: u64) -> Option<u64> {
        let (Some(&writer), Some(reader)) = (self.writers.get(index), self.readers.get_mut(index))
        else {
            return None;
        };
        let mark = (epoch, actor + 1);
        *reader = if reader.0 == epoch && reader.1 != 0 && reader.1 != mark.1 {
            (epoch, MANY)
        } else {
            mark
        };
        (writer.0 == epoch && writer.1 != 0 && writer.1 != mark.1).then(|| writer.1 - 1)
    }

    /// Notes a write in an epoch; returns a conflicting reader or writer.
    fn write(&mut self, index: usize, actor: u64, epoch: u64) -> Option<u64> {
        let mark = (epoch, actor + 1);
        let (Some(&reader), Some(writer)) = (self.readers.get(index), self.writers.get_mut(index))
        else {
            return None;
        };
        let before = std::mem::replace(writer, mark);
        [before, reader]
            .into_iter()
            .find(|other| other.0 == epoch && other.1 != 0 && other.1 != mark.1)
            .map(|other| if other.1 == MANY { MANY } else { other.1 - 1 })
    }
}

/// Registers and local arrays of one lane.
struct Frame {
    regs: Vec<u64>,
    locals: Vec<Vec<u8>>,
    /// Number of this lane over the whole grid.
    actor: u64,
}

struct Machine<'k, 'm, 'b> {
    kernel: &'k Kernel,
    buffers: &'m mut [Bytes<'b>],
    elements: Vec<usize>,
    traces: Vec<Trace>,
    shared: Vec<Vec<u8>>,
    shared_traces: Vec<Trace>,
    stats: Stats,
    options: Options,
    actor: u64,
    epoch: u64,
}

/// What uninitialised local memory holds: a pattern that is NaN as a float.
const POISON: u8 = 0xFF;

impl Machine<'_, '_, '_> {
    fn grid(
        &mut self,
        body: &[Op],
        extents: &[(Reg, i64)],
        lane: Option<Reg>,
    ) -> Result<(), InterpretError> {
        if extents.iter().any(|&(_, extent)| extent <= 0) {
            return Ok(());
        }
        let lanes = self.kernel.lanes.max(1) as usize;
        let local_bytes = |k: &Kernel| -> Vec<Vec<u8>> {
            k.locals
                .iter()
                .map(|l| vec![POISON; l.elements as usize * l.dtype.size_bytes()])
                .collect()
        };
        let mut frames: Vec<Frame> = (0..lanes)
            .map(|_| Frame {
                regs: vec![0; self.kernel.dtypes.len()],
                locals: local_bytes(self.kernel),
                actor: 0,
            })
            .collect();
        let mut position = vec![0_i64; extents.len()];
        loop {
            self.stats.points += 1;
            self.shared = local_bytes(self.kernel);
            let sizes = self
                .kernel
                .locals
                .iter()
                .map(|local| local.elements as usize);
            self.shared_traces = sizes
                .map(|n| Trace::new(if lanes > 1 { n } else { 0 }))
                .collect();
            for (number, frame) in frames.iter_mut().enumerate() {
                frame.actor = self.actor;
                self.actor += 1;
                for (&(var, _), &value) in extents.iter().zip(&position) {
                    frame.regs[var as usize] = value as u64;
                }
                if let Some(lane) = lane {
                    frame.regs[lane as usize] = number as u64;
                }
                frame.locals.iter_mut().for_each(|local| local.fill(POISON));
            }
            self.group(body, &mut frames)?;
            if !advance(&mut position, extents) {
                return Ok(());
            }
        }
    }

    /// Runs a block for all lanes of a workgroup, in lock step where there are barriers.
    fn group(&mut self, body: &[Op], frames: &mut [Frame]) -> Result<(), InterpretError> {
        let mut start = 0;
        for (position, op) in body.iter().enumerate() {
            if !op.has_barrier() {
                continue;
            }
            for frame in frames.iter_mut() {
                self.block(&body[start..position], frame)?;
            }
            start = position + 1;
            self.together(op, frames)?;
        }
        for frame in frames.iter_mut() {
            self.block(&body[start..], frame)?;
        }
        Ok(())
    }

    /// Runs one instruction that has a barrier for all lanes.
    fn together(&mut self, op: &Op, frames: &mut [Frame]) -> Result<(), InterpretError> {
        match op {
            Op::Barrier => {
                self.stats.barriers += 1;
                self.epoch += 1;
                self.step()
            }
            Op::If { cond, then, .. } => {
                if agreed(frames, *cond)? == 0 {
                    Ok(())
                } else {
                    self.group(then, frames)
                }
            }
            Op::Loop(inner) => {
                let extent = agreed(frames, inner.extent)? as i64;
                for frame in frames.iter_mut() {
                    start_loop(inner, frame);
                }
                for iteration in 0..extent.max(0) {
                    for frame in frames.iter_mut() {
                        frame.regs[inner.var as usize] = iteration as u64;
                    }
                    self.step()?;
                    self.group(&inner.body, frames)?;
                    for frame in frames.iter_mut() {
                        next_iteration(inner, frame);
                    }
                }
                for frame in frames.iter_mut() {
                    end_loop(inner, frame);
                }
                Ok(())
            }
            _ => Err(InterpretError::Malformed(
                "no barrier to wait for".to_owned(),
            )),
        }
    }

    fn step(&mut self) -> Result<(), InterpretError> {
        self.stats.steps += 1;
        if self.stats.steps > self.options.steps_max {
            return Err(InterpretError::StepLimit(self.options.steps_max));
        }
        Ok(())
    }

    /// Runs a block for one lane.
    fn block(&mut self, body: &[Op], frame: &mut Frame) -> Result<(), InterpretError> {
        self.stats.steps += body.len() as u64;
        if self.stats.steps > self.options.steps_max {
            return Err(InterpretError::StepLimit(self.options.steps_max));
        }
        for op in body {
            match *op {
                Op::Set { dst, bits } => frame.regs[dst as usize] = bits,
                Op::Unary { dst, a, function } => {
                    frame.regs[dst as usize] = function(frame.regs[a as usize]);
                }
                Op::Binary {
                    dst,
                    a,
                    b,
                    function,
                } => {
                    let value = function(frame.regs[a as usize], frame.regs[b as usize]);
                    frame.regs[dst as usize] = value;
                }
                Op::Select { dst, cond, a, b } => {
                    let chosen = if frame.regs[cond as usize] != 0 { a } else { b };
                    frame.regs[dst as usize] = frame.regs[chosen as usize];
                }
                Op::EvalUnary { dst, a, op, dtype } => {
                    frame.regs[dst as usize] = eval_unary(op, dtype, frame.regs[a as usize]);
                }
                Op::EvalBinary {
                    dst,
                    a,
                    b,
                    op,
                    dtype,
                } => {
                    let (a, b) = (frame.regs[a as usize], frame.regs[b as usize]);
                    frame.regs[dst as usize] = eval_binary(op, dtype, a, b);
                }
                Op::EvalTernary {
                    dst,
                    operands,
                    op,
                    dtype,
                } => {
                    let operands = operands.map(|reg| frame.regs[reg as usize]);
                    frame.regs[dst as usize] = eval_ternary(op, dtype, operands);
                }
                Op::Cast { dst, a, from, to } => {
                    let number = value::to_scalar(from, frame.regs[a as usize]).cast(to);
                    frame.regs[dst as usize] = value::from_scalar(to, number);
                }
                Op::Bitcast { dst, a, to } => {
                    frame.regs[dst as usize] = value::canonical(to, frame.regs[a as usize]);
                }
                Op::Load { dst, buffer, index } => {
                    frame.regs[dst as usize] = self.load(buffer, index, frame)?;
                }
                Op::Store {
                    buffer,
                    index,
                    value,
                } => self.store(buffer, index, value, frame)?,
                Op::Loop(ref inner) => self.run_loop(inner, frame)?,
                Op::If { cond, ref then, .. } => {
                    if frame.regs[cond as usize] != 0 {
                        self.block(then, frame)?;
                    }
                }
                Op::Barrier => {
                    return Err(InterpretError::Malformed(
                        "a barrier for one lane".to_owned(),
                    ));
                }
            }
        }
        Ok(())
    }

    fn run_loop(&mut self, inner: &LoopOp, frame: &mut Frame) -> Result<(), InterpretError> {
        let extent = (frame.regs[inner.extent as usize] as i64).max(0);
        start_loop(inner, frame);
        if inner.width > 1 {
            self.run_lanes(inner, extent, frame)?;
        } else {
            for iteration in 0..extent {
                frame.regs[inner.var as usize] = iteration as u64;
                self.step()?;
                self.block(&inner.body, frame)?;
                next_iteration(inner, frame);
            }
        }
        end_loop(inner, frame);
        Ok(())
    }

    /// The iterations of a `Lanes` loop: partial accumulators start at the identity and are
    /// combined, halves first, after the last one; then with the value before the loop.
    fn run_lanes(
        &mut self,
        inner: &LoopOp,
        extent: i64,
        frame: &mut Frame,
    ) -> Result<(), InterpretError> {
        let mut partials = Vec::new();
        for carried in &inner.carried {
            let Some((identity, _, _)) = carried.combine else {
                let text = "a lanes loop carries a value without a combining operator";
                return Err(InterpretError::Malformed(text.to_owned()));
            };
            partials.push(vec![identity; inner.width]);
        }
        for iteration in 0..extent {
            let lane = (iteration % inner.width as i64) as usize;
            frame.regs[inner.var as usize] = iteration as u64;
            for (carried, partial) in inner.carried.iter().zip(&partials) {
                frame.regs[carried.acc as usize] = partial[lane];
            }
            self.step()?;
            self.block(&inner.body, frame)?;
            for (carried, partial) in inner.carried.iter().zip(&mut partials) {
                partial[lane] = frame.regs[carried.next as usize];
            }
        }
        for (carried, partial) in inner.carried.iter().zip(&mut partials) {
            let Some((_, op, dtype)) = carried.combine else {
                continue;
            };
            let mut half = inner.width / 2;
            while half > 0 {
                for lane in 0..half {
                    partial[lane] = eval_binary(op, dtype, partial[lane], partial[lane + half]);
                }
                half /= 2;
            }
            let init = frame.regs[carried.init as usize];
            frame.regs[carried.acc as usize] = eval_binary(op, dtype, init, partial[0]);
        }
        Ok(())
    }

    fn load(&mut self, id: BufferId, index: Reg, frame: &Frame) -> Result<u64, InterpretError> {
        self.stats.loads += 1;
        let index = frame.regs[index as usize] as i64;
        let dtype = self.kernel.buffer_dtype(id);
        let size = dtype.size_bytes();
        if let BufferId::Param(n) = id
            && self.elements[n as usize] == 0
        {
            return Ok(0);
        }
        let place = self.place("load", id, index)?;
        let (bytes, other) = match id {
            BufferId::Param(n) => {
                let other = self.traces[n as usize].read(place, frame.actor, 0);
                (self.buffers[n as usize].bytes(), other)
            }
            BufferId::Local(n) => (frame.locals[n as usize].as_slice(), None),
            BufferId::Shared(n) => {
                let trace = &mut self.shared_traces[n as usize];
                let other = trace.read(place, frame.actor, self.epoch);
                (self.shared[n as usize].as_slice(), other)
            }
        };
        if let Some(other) = other {
            return Err(self.race(id, index, other, frame.actor));
        }
        let mut word = [0_u8; 8];
        word[..size].copy_from_slice(&bytes[place * size..(place + 1) * size]);
        Ok(value::canonical(dtype, u64::from_le_bytes(word)))
    }

    fn store(
        &mut self,
        id: BufferId,
        index: Reg,
        value: Reg,
        frame: &mut Frame,
    ) -> Result<(), InterpretError> {
        self.stats.stores += 1;
        let index = frame.regs[index as usize] as i64;
        let size = self.kernel.buffer_dtype(id).size_bytes();
        let place = self.place("store", id, index)?;
        let word = frame.regs[value as usize].to_le_bytes();
        let (bytes, other) = match id {
            BufferId::Param(n) => {
                let other = self.traces[n as usize].write(place, frame.actor, 0);
                match &mut self.buffers[n as usize] {
                    Bytes::Write(bytes) => (&mut **bytes, other),
                    Bytes::Read(_) => return Err(InterpretError::ReadOnly(self.name(id))),
                }
            }
            BufferId::Local(n) => (frame.locals[n as usize].as_mut_slice(), None),
            BufferId::Shared(n) => {
                let trace = &mut self.shared_traces[n as usize];
                let other = trace.write(place, frame.actor, self.epoch);
                (self.shared[n as usize].as_mut_slice(), other)
            }
        };
        bytes[place * size..(place + 1) * size].copy_from_slice(&word[..size]);
        match other {
            Some(other) => Err(self.race(id, index, other, frame.actor)),
            None => Ok(()),
        }
    }

    /// The index, if it is inside the buffer.
    fn place(
        &self,
        access: &'static str,
        id: BufferId,
        index: i64,
    ) -> Result<usize, InterpretError> {
        let elements = match id {
            BufferId::Param(n) => self.elements[n as usize],
            BufferId::Local(n) | BufferId::Shared(n) => {
                self.kernel.locals[n as usize].elements as usize
            }
        };
        match usize::try_from(index) {
            Ok(place) if place < elements => Ok(place),
            _ => {
                let buffer = self.name(id);
                Err(InterpretError::OutOfBounds {
                    access,
                    buffer,
                    index,
                    elements,
                })
            }
        }
    }

    fn race(&self, id: BufferId, index: i64, first: u64, second: u64) -> InterpretError {
        InterpretError::Race {
            buffer: self.name(id),
            index,
            first,
            second,
        }
    }

    fn name(&self, id: BufferId) -> String {
        match id {
            BufferId::Param(n) => self.kernel.params[n as usize].name.clone(),
            BufferId::Local(n) | BufferId::Shared(n) => self.kernel.locals[n as usize].name.clone(),
        }
    }
}

/// Steps to the next grid point, innermost axis fastest; false after the last.
fn advance(position: &mut [i64], extents: &[(Reg, i64)]) -> bool {
    for (value, &(_, extent)) in position.iter_mut().zip(extents).rev() {
        *value += 1;
        if *value < extent {
            return true;
        }
        *value = 0;
    }
    false
}

/// The value of a register that all lanes must agree about.
fn agreed(frames: &[Frame], reg: Reg) -> Result<u64, InterpretError> {
    let value = frames[0].regs[reg as usize];
    match frames
        .iter()
        .position(|frame| frame.regs[reg as usize] != value)
    {
        None => Ok(value),
        Some(second) => Err(InterpretError::DivergentBarrier { first: 0, second }),
    }
}

fn start_loop(inner: &LoopOp, frame: &mut Frame) {
    for carried in &inner.carried {
        frame.regs[carried.acc as usize] = frame.regs[carried.init as usize];
    }
}

/// All updates happen at once: every `next` is read before any accumulator is written.
fn next_iteration(inner: &LoopOp, frame: &mut Frame) {
    match inner.carried.as_slice() {
        [] => {}
        [one] => frame.regs[one.acc as usize] = frame.regs[one.next as usize],
        many => {
            let next: Vec<u64> = many.iter().map(|c| frame.regs[c.next as usize]).collect();
            for (carried, next) in many.iter().zip(next) {
                frame.regs[carried.acc as usize] = next;
            }
        }
    }
}

fn end_loop(inner: &LoopOp, frame: &mut Frame) {
    for carried in &inner.carried {
        frame.regs[carried.result as usize] = frame.regs[carried.acc as usize];
    }
}
