//! Launches: slots as a kernel's parameters.

use std::ops::Range;

use alula_program::{Arg, DeviceError, Launch, ParamAccess, SlotId};
use alula_tensor::{Storage, Tensor, Value};
use smallvec::SmallVec;

use crate::StepError;
use crate::bind::evaluations;
use crate::execute::Run;
use crate::frame::{Frame, Held};

/// A part of bytes, or all of them.
fn part_of<'b>(bytes: &'b [u8], part: Option<&Range<usize>>) -> Option<&'b [u8]> {
    match part {
        Some(part) => bytes.get(part.clone()),
        None => Some(bytes),
    }
}

/// Parameters of most kernels fit here without an allocation.
const INLINE: usize = 24;

impl Run<'_> {
    pub(crate) fn launch(
        &mut self,
        frame: &mut Frame,
        step: usize,
        kernel: usize,
        slots: &[SlotId],
    ) -> Result<(), StepError> {
        let core = self.core;
        let entry = &core.program.kernels[kernel];
        let work = frame.binding().work[step];
        let work = work.or_else(|| evaluations(&entry.work, &core.table, &frame.env));
        let work = work.unwrap_or(0);
        if work > self.work_max {
            return Err(StepError::Limit {
                what: "a kernel's scalar evaluations",
                needed: work,
                limit: self.work_max,
            });
        }
        let root = &core.prepared[frame.plan].root;
        // Values in memory of their own that are written leave the frame while the kernel runs,
        // so that they can be borrowed beside those that are read.
        let mut taken: SmallVec<[(usize, Tensor); 4]> = SmallVec::new();
        // And so does the memory of outputs.
        let mut lent: SmallVec<[(usize, usize, &mut [u8]); 4]> = SmallVec::new();
        for (position, (slot, param)) in slots.iter().zip(&entry.params).enumerate() {
            if param.access == ParamAccess::Write {
                self.make(frame, *slot)?;
                let root = root[slot.0 as usize];
                match std::mem::take(&mut frame.held[root]) {
                    Held::Own(value) => {
                        let tensor = value
                            .into_tensor()
                            .ok_or_else(|| StepError::value("a kernel writes no tensor"))?;
                        taken.push((root, tensor));
                    }
                    held => {
                        if let Held::Result(output) = held
                            && let Some(bytes) = self.results[output].take()
                        {
                            lent.push((output, position, bytes));
                        }
                        frame.held[root] = held;
                    }
                }
            }
        }
        // A kernel that also reads such a value gets what it was.
        let mut before: SmallVec<[(usize, Tensor); 2]> = SmallVec::new();
        for (slot, param) in slots.iter().zip(&entry.params) {
            let root = root[slot.0 as usize];
            if param.access == ParamAccess::Read
                && let Some((_, tensor)) = taken.iter().find(|(taken, _)| *taken == root)
            {
                let bytes = tensor.bytes();
                self.fits(bytes.len())?;
                let copy = Storage::try_copy_from(bytes)?;
                let copy = Tensor::from_storage(tensor.dtype(), tensor.shape(), copy)?;
                before.push((root, copy));
            }
        }
        let mut symbols: SmallVec<[i64; 8]> = SmallVec::new();
        let binding = frame.binding().clone();
        let symbols = match &binding.symbols[step] {
            Some(symbols) => symbols.as_slice(),
            None => {
                for symbol in &entry.symbols {
                    let number = core.table.number(symbol);
                    let value = number.and_then(|number| frame.env[number]);
                    let unbound = || alula_tensor::DimError::Unbound(symbol.clone());
                    symbols.push(value.ok_or_else(unbound)?);
                }
                let scratch = core.module.scratch_bytes(kernel, &symbols)?;
                self.scratch_bytes = self.scratch_bytes.max(scratch);
                self.fits(0)?;
                symbols.as_slice()
            }
        };
        // Lists are filled in place: what is collected is copied once more.
        let mut written: SmallVec<[(usize, Option<&mut [u8]>); 4]> = SmallVec::new();
        for (root, tensor) in &mut taken {
            written.push((*root, Some(tensor.bytes_mut())));
        }
        let mut outputs: SmallVec<[(usize, usize, Option<&mut [u8]>); 4]> = SmallVec::new();
        for (output, at, bytes) in &mut lent {
            outputs.push((*output, *at, Some(&mut **bytes)));
        }
        let mut args: SmallVec<[Arg<'_>; INLINE]> = SmallVec::new();
        for (slot, param) in slots.iter().zip(&entry.params) {
            let root = root[slot.0 as usize];
            if param.access == ParamAccess::Write
                && let Some((_, bytes)) = written.iter_mut().find(|(own, _)| *own == root)
            {
                let bytes = bytes
                    .take()
                    .ok_or_else(|| StepError::value("a kernel writes one value twice"))?;
                args.push(Arg::HostMut(bytes));
                continue;
            }
            let part = self.part(frame, *slot)?;
            if let Held::Result(output) = frame.held[root]
                && param.access == ParamAccess::Read
                && let Some((_, at, _)) = outputs.iter().find(|(lent, ..)| *lent == output)
            {
                args.push(Arg::Again(*at));
                continue;
            }
            if let Held::Result(output) = frame.held[root]
                && let Some((_, _, bytes)) = outputs.iter_mut().find(|(lent, ..)| *lent == output)
            {
                let bytes = bytes
                    .take()
                    .ok_or_else(|| StepError::value("a kernel writes one value twice"))?;
                let end = bytes.len();
                let bytes = bytes.get_mut(part.unwrap_or(0..end));
                let short = || StepError::value("a value is shorter than its type says");
                args.push(Arg::HostMut(bytes.ok_or_else(short)?));
                continue;
            }
            let short = || StepError::value("a value is shorter than its type says");
            let of = |bytes| part_of(bytes, part.as_ref()).ok_or_else(short);
            if let Some((_, tensor)) = before.iter().find(|(own, _)| *own == root) {
                args.push(Arg::Host(of(tensor.bytes())?));
                continue;
            }
            args.push(match &frame.held[root] {
                &Held::Arena { offset, bytes } => {
                    let part = part.clone().unwrap_or(0..bytes);
                    if part.end > bytes {
                        return Err(short());
                    }
                    Arg::Arena(offset + part.start..offset + part.end)
                }
                Held::Constant(constant) if part.is_some() => {
                    Arg::Host(of(core.program.data[*constant].bytes())?)
                }
                Held::Constant(constant) => Arg::Constant(*constant),
                Held::Caller(input) => {
                    let bytes = self.feeds[*input].bytes();
                    let bytes = bytes.ok_or_else(|| StepError::value("a kernel reads no tensor"));
                    Arg::Host(of(bytes?)?)
                }
                Held::Result(output) => {
                    let bytes = self.results[*output].as_deref();
                    let bytes = bytes.ok_or_else(|| StepError::value("a result is lent twice"));
                    Arg::Host(of(bytes?)?)
                }
                Held::Own(Value::Tensor(tensor)) => Arg::Host(of(tensor.bytes())?),
                Held::Own(_) => return Err(StepError::value("a kernel reads no tensor")),
                Held::Nothing => {
                    return Err(StepError::value("a value is read before it is written"));
                }
            });
        }
        let launch = Launch {
            kernel,
            args: &mut args,
            symbols,
            work,
            deadline: self.deadline,
        };
        let done = core.module.launch(self.state.arena.as_mut(), launch);
        done.map_err(|error| match error {
            DeviceError::Deadline { .. } => StepError::Deadline,
            other => other.into(),
        })?;
        drop(args);
        drop(written);
        drop(outputs);
        for (output, _, bytes) in lent {
            self.results[output] = Some(bytes);
        }
        for (root, tensor) in taken {
            frame.held[root] = Held::Own(tensor.into());
        }
        Ok(())
    }
}
