//! Branches and loops: steps that run other plans.
//!
//! A sub-plan's frame lies in the arena after its caller's. A loop has two such places that its
//! iterations take in turns, so that carried values are read where the last iteration left them.
//! While extents stay what they are, so do the frames: an iteration only gets other inputs.

use alula_program::{Place, SlotId, Step};
use alula_tensor::{DType, OutOfMemory, Storage, Tensor};

use crate::StepError;
use crate::execute::{Failure, Region, Run};
use crate::frame::{Frame, Held, Passed};

impl Run<'_> {
    /// Runs one plan on some values and hands its outputs over.
    pub(crate) fn branch(
        &mut self,
        frame: &mut Frame,
        plan: usize,
        inputs: &[SlotId],
        results: &[SlotId],
    ) -> Result<(), Failure> {
        let passed = self.pass_all(frame, inputs)?;
        let region = Region {
            start: frame.end,
            busy: None,
        };
        let mut inner = self.begin(plan, region, Some(passed), Some(&frame.env))?;
        self.steps(&mut inner).map_err(Failure::Inner)?;
        let core = self.core;
        for (result, port) in results.iter().zip(&core.program.plans[plan].outputs) {
            let value = self.value(&inner, port.slot)?;
            self.store(frame, *result, value)?;
        }
        self.end(inner);
        Ok(())
    }

    fn pass_all(&mut self, frame: &Frame, slots: &[SlotId]) -> Result<Vec<Passed>, StepError> {
        slots.iter().map(|slot| self.pass(frame, *slot)).collect()
    }

    /// Runs a plan again and again.
    pub(crate) fn repeat(&mut self, frame: &mut Frame, step: &Step) -> Result<(), Failure> {
        let Step::Loop {
            trips,
            cond,
            body,
            carried,
            captures,
            results,
            ..
        } = step
        else {
            unreachable!("only loops are repeated");
        };
        let core = self.core;
        let trips = match trips {
            Some(slot) => Some(self.read_int(frame, *slot, 0)?),
            None => None,
        };
        let mut goes_on = match cond {
            Some(slot) => self.read_bool(frame, *slot)?,
            None => true,
        };
        let captures = self.pass_all(frame, captures)?;
        let mut carried_values = self.pass_all(frame, carried)?;
        let outputs = &core.program.plans[*body].outputs;
        let mut stacks: Vec<Stack> = (carried.len() + 1..outputs.len())
            .map(|_| Stack::default())
            .collect();
        // Frames of the last iteration and of the one before.
        let (mut previous, mut idle): (Option<Frame>, Option<Frame>) = (None, None);
        let mut trip = 0_i64;
        while goes_on && trips.is_none_or(|trips| trip < trips) {
            self.check_trip(trip)?;
            let mut passed = Vec::with_capacity(2 + carried.len() + captures.len());
            passed.push(own(Tensor::scalar(trip)));
            passed.push(own(Tensor::from_bools(&[], &[true])?));
            passed.append(&mut carried_values);
            let mut inner = match idle.take() {
                Some(mut idle) if self.can_renew(&idle, &passed) => {
                    self.renew(&mut idle, passed);
                    idle
                }
                idle => {
                    if let Some(idle) = idle {
                        self.end(idle);
                    }
                    passed.extend(captures.iter().cloned());
                    let region = Region {
                        start: frame.end,
                        busy: previous.as_ref().map(|frame| (frame.base, frame.end)),
                    };
                    self.begin(*body, region, Some(passed), Some(&frame.env))?
                }
            };
            self.steps(&mut inner).map_err(Failure::Inner)?;
            goes_on = self.read_bool(&inner, outputs[0].slot)?;
            for port in &outputs[1..=carried.len()] {
                let mut value = self.pass(&inner, port.slot)?;
                // What an earlier iteration left elsewhere would be overwritten by the next.
                if let Held::Arena { offset, .. } = value.held
                    && offset >= frame.end
                    && !(inner.base..inner.end).contains(&offset)
                {
                    value.held = Held::Own(self.value(&inner, port.slot)?);
                }
                carried_values.push(value);
            }
            for (stack, port) in stacks.iter_mut().zip(&outputs[1 + carried.len()..]) {
                stack.push(self, &inner, port.slot)?;
            }
            idle = previous.replace(inner);
            if let Some(idle) = &mut idle {
                self.rest(idle, 2 + carried.len());
            }
            trip += 1;
        }
        for ((result, value), port) in results.iter().zip(&carried_values).zip(carried.iter()) {
            let slots = &core.program.plans[frame.plan].slots;
            let ty = match trip {
                0 => &slots[port.0 as usize].ty,
                _ => &slots[result.0 as usize].ty,
            };
            let value = self.materialise(&value.held, ty, value.shape.as_deref())?;
            self.store(frame, *result, value)?;
        }
        for (result, stack) in results[carried.len()..].iter().zip(stacks) {
            self.fits(stack.bytes.len())?;
            let counted = stack.bytes.capacity() as u64;
            let value = match stack.finish(trip)? {
                Some(tensor) => tensor,
                None => self.no_slices(frame, *result)?,
            };
            self.own_bytes = self.own_bytes.saturating_sub(counted);
            self.store(frame, *result, value.into())?;
        }
        for inner in idle.into_iter().chain(previous) {
            self.end(inner);
        }
        Ok(())
    }

    /// Whether a frame can serve once more with these values in the place of its first inputs: it
    /// is bound as a new one would be, since extents are the same.
    fn can_renew(&self, frame: &Frame, passed: &[Passed]) -> bool {
        let known = frame.passed.iter().zip(passed);
        self.core.prepared[frame.plan].is_steady
            && frame.passed.len() >= passed.len()
            && known
                .into_iter()
                .all(|(known, passed)| *known == passed.shape)
    }

    /// Gives a frame that can serve once more its first inputs. The others stay what they are.
    fn renew(&mut self, frame: &mut Frame, passed: Vec<Passed>) {
        let slots = &self.core.program.plans[frame.plan].slots;
        let mut inputs = passed;
        for (slot, held) in slots.iter().zip(&mut frame.held) {
            if let Place::Input(input) = slot.place
                && let Some(passed) = inputs.get_mut(input)
            {
                *held = std::mem::take(&mut passed.held);
            }
        }
    }

    /// Drops what a frame holds in memory of its own, save its inputs after so many first ones.
    fn rest(&mut self, frame: &mut Frame, replaced: usize) {
        self.own_bytes = self.own_bytes.saturating_sub(frame.own_bytes);
        frame.own_bytes = 0;
        let slots = &self.core.program.plans[frame.plan].slots;
        for (slot, held) in slots.iter().zip(&mut frame.held) {
            let stays = matches!(slot.place, Place::Input(input) if input >= replaced);
            if matches!(held, Held::Own(_)) && !stays {
                *held = Held::Nothing;
            }
        }
    }

    fn check_trip(&self, trip: i64) -> Result<(), StepError> {
        let (needed, limit) = (trip.unsigned_abs() + 1, self.core.limits.trips_max);
        if needed > limit {
            return Err(StepError::Limit {
                what: "a loop's number of iterations",
                needed,
                limit,
            });
        }
        if self
            .deadline
            .is_some_and(|end| std::time::Instant::now() >= end)
        {
            return Err(StepError::Deadline);
        }
        Ok(())
    }

    /// The stack of no slices: extents that nothing decides are 0.
    fn no_slices(&self, frame: &Frame, slot: SlotId) -> Result<Tensor, StepError> {
        let ty = &self.core.program.plans[frame.plan].slots[slot.0 as usize].ty;
        let ty = ty
            .as_tensor()
            .ok_or_else(|| StepError::value("slices that are no tensors cannot be stacked"))?;
        let mut shape: Vec<usize> = ty
            .shape
            .iter()
            .map(|dim| self.core.table.size(dim, &frame.env).unwrap_or(0))
            .collect();
        if let Some(first) = shape.first_mut() {
            *first = 0;
        }
        Ok(Tensor::zeros(ty.dtype, &shape)?)
    }
}

fn own(tensor: Tensor) -> Passed {
    Passed {
        shape: Some(tensor.shape().to_vec()),
        held: Held::Own(tensor.into()),
    }
}

/// Slices of a scan output so far. Its capacity is part of the run's own bytes.
#[derive(Default)]
struct Stack {
    slice: Option<(DType, Vec<usize>)>,
    bytes: Vec<u8>,
}

impl Stack {
    /// Appends what a slot of an iteration holds.
    fn push(&mut self, run: &mut Run<'_>, frame: &Frame, slot: SlotId) -> Result<(), StepError> {
        let ty = &run.core.program.plans[frame.plan].slots[slot.0 as usize].ty;
        let dtype = ty.as_tensor().map(|ty| ty.dtype);
        let dtype = dtype.filter(|dtype| *dtype != DType::String);
        let (Some(dtype), Some(shape)) = (dtype, run.shape(frame, slot)?) else {
            return Err(StepError::value("a slice is no tensor of numbers"));
        };
        let slice = (dtype, shape);
        match &self.slice {
            None => self.slice = Some(slice),
            Some(known) if *known == slice => {}
            Some((_, known)) => {
                let given = &slice.1;
                return Err(StepError::Value(format!(
                    "slices of shapes {known:?} and {given:?} do not stack"
                )));
            }
        }
        let (held, filled) = (self.bytes.capacity(), self.bytes.len());
        let needed = filled + run.held_bytes(frame, slot);
        if needed > held {
            let longer = needed.max(held.saturating_mul(2));
            run.fits(longer - held)?;
            let reserved = self.bytes.try_reserve_exact(longer - filled);
            reserved.map_err(|_| OutOfMemory { bytes: longer })?;
            run.own_bytes += (self.bytes.capacity() - held) as u64;
        }
        self.bytes.resize(needed, 0);
        run.read(frame, slot, 0, &mut self.bytes[filled..])
    }

    fn finish(self, trips: i64) -> Result<Option<Tensor>, StepError> {
        let Some((dtype, slice)) = self.slice else {
            return Ok(None);
        };
        let mut shape = vec![usize::try_from(trips).unwrap_or(0)];
        shape.extend(slice);
        let storage = Storage::try_copy_from(&self.bytes)?;
        Ok(Some(Tensor::from_storage(dtype, &shape, storage)?))
    }
}
