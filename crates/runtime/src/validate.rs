//! Checks that every position in a program leads somewhere, so that running it cannot go astray.
//!
//! Checked: slots, plans, kernels and constants that are named exist; aliases and parts end in a
//! slot that is neither; what kernels write parts of is planned memory; no plan runs itself; ports
//! lie in slots of their place; constants have the bytes that they state; launches pass as many
//! parameters as their kernel takes; control flow passes as many values as its plans take and give.

use alula_program::{ParamAccess, Place, Plan, Program, SlotId, Step, SymbolOrigin};
use alula_tensor::DType;

/// What is wrong with the program, if anything is.
pub(crate) fn validate(program: &Program) -> Result<(), String> {
    if program.plans.is_empty() {
        return Err("there is no plan".to_owned());
    }
    constants(program)?;
    for (position, plan) in program.plans.iter().enumerate() {
        let checked = Checker { program, plan };
        checked
            .plan(position)
            .map_err(|reason| format!("plan {position} ({}): {reason}", plan.name))?;
    }
    Ok(())
}

fn constants(program: &Program) -> Result<(), String> {
    let (stated, held) = (program.constants.len(), program.data.len());
    if stated != held {
        return Err(format!("{stated} constants are stated, {held} are there"));
    }
    for (constant, data) in program.constants.iter().zip(&program.data) {
        let name = &constant.name;
        if constant.bytes != data.bytes().len() as u64 {
            return Err(format!("constant {name:?} has another length than stated"));
        }
        let elements = constant
            .shape
            .iter()
            .try_fold(1_usize, |n, &extent| n.checked_mul(extent));
        let needed = elements.and_then(|n| n.checked_mul(constant.dtype.size_bytes()));
        if constant.dtype != DType::String && needed != Some(data.bytes().len()) {
            return Err(format!("constant {name:?} does not have its shape's bytes"));
        }
    }
    Ok(())
}

struct Checker<'p> {
    program: &'p Program,
    plan: &'p Plan,
}

impl Checker<'_> {
    fn plan(&self, position: usize) -> Result<(), String> {
        let plan = self.plan;
        for slot in &plan.slots {
            match slot.place {
                Place::Part { .. } if slot.ty.as_tensor().is_none() => {
                    return Err(format!("{} is a part of a tensor", slot.ty));
                }
                Place::Input(input) if input >= plan.inputs.len() => {
                    return Err(format!("a slot is input {input}"));
                }
                Place::Constant(constant) if constant >= self.program.constants.len() => {
                    return Err(format!("a slot is constant {constant}"));
                }
                Place::Arena { first, last } if first > last => {
                    return Err("a slot's life ends before it begins".to_owned());
                }
                Place::Alias(base) | Place::Part { base, .. } => self.alias(base)?,
                _ => {}
            }
        }
        for (input, port) in plan.inputs.iter().enumerate() {
            self.slot(port.slot)?;
            if self.plan.slots[port.slot.0 as usize].place != Place::Input(input) {
                return Err(format!("input {:?} lies in a slot of its own", port.name));
            }
        }
        for port in &plan.outputs {
            self.slot(port.slot)?;
        }
        for def in &plan.symbols {
            match &def.origin {
                SymbolOrigin::Input { input, .. } if *input >= plan.inputs.len() => {
                    return Err(format!("{} comes of input {input}", def.symbol.name()));
                }
                SymbolOrigin::Content { slot, .. } | SymbolOrigin::Extent { slot, .. } => {
                    self.slot(*slot)?;
                }
                SymbolOrigin::Outer if position == 0 => {
                    return Err(format!("{} comes from outside", def.symbol.name()));
                }
                SymbolOrigin::Input { .. } | SymbolOrigin::Outer | SymbolOrigin::Defined(_) => {}
            }
        }
        for (index, step) in plan.steps.iter().enumerate() {
            self.step(position, step)
                .map_err(|reason| format!("step {index}: {reason}"))?;
        }
        Ok(())
    }

    fn slot(&self, slot: SlotId) -> Result<(), String> {
        if (slot.0 as usize) < self.plan.slots.len() {
            return Ok(());
        }
        Err(format!("there is no slot {}", slot.0))
    }

    fn slots(&self, slots: &[SlotId]) -> Result<(), String> {
        slots.iter().try_for_each(|slot| self.slot(*slot))
    }

    /// Aliases end: no chain is longer than there are slots.
    fn alias(&self, mut slot: SlotId) -> Result<(), String> {
        for _ in 0..self.plan.slots.len() {
            self.slot(slot)?;
            match self.plan.slots[slot.0 as usize].place {
                Place::Alias(next) | Place::Part { base: next, .. } => slot = next,
                _ => return Ok(()),
            }
        }
        Err("slots are aliases of one another".to_owned())
    }

    fn step(&self, position: usize, step: &Step) -> Result<(), String> {
        match step {
            Step::Launch { kernel, args, .. } => {
                self.slots(args)?;
                let entry = self.program.kernels.get(*kernel);
                let entry = entry.ok_or_else(|| format!("there is no kernel {kernel}"))?;
                if entry.params.len() != args.len() {
                    return Err(format!("kernel {} takes other parameters", entry.name));
                }
                for (slot, param) in args.iter().zip(&entry.params) {
                    let root = &self.plan.slots[self.plan.root(*slot)];
                    let is_planned = matches!(root.place, Place::Arena { .. });
                    let is_written = param.access == ParamAccess::Write;
                    if is_written && !is_planned && self.plan.offset(*slot).is_some() {
                        return Err("a kernel writes a part of what is not planned".to_owned());
                    }
                }
                Ok(())
            }
            Step::Host {
                operands, results, ..
            } => {
                operands
                    .iter()
                    .flatten()
                    .try_for_each(|slot| self.slot(*slot))?;
                self.slots(results)
            }
            Step::Dims { result, .. } => self.slot(*result),
            Step::If {
                cond,
                then,
                otherwise,
                results,
                ..
            } => {
                self.slot(*cond)?;
                self.slots(results)?;
                for (plan, inputs) in [then, otherwise] {
                    self.slots(inputs)?;
                    self.sub_plan(position, *plan, inputs.len(), results.len())?;
                }
                Ok(())
            }
            Step::Loop {
                trips,
                cond,
                body,
                carried,
                captures,
                results,
                ..
            } => {
                trips
                    .iter()
                    .chain(cond)
                    .try_for_each(|slot| self.slot(*slot))?;
                self.slots(carried)?;
                self.slots(captures)?;
                self.slots(results)?;
                let inputs = carried.len() + captures.len() + 2;
                if results.len() < carried.len() {
                    return Err("a loop drops carried values".to_owned());
                }
                self.sub_plan(position, *body, inputs, results.len() + 1)
            }
        }
    }

    /// Plans run later ones only, so that none runs itself.
    fn sub_plan(
        &self,
        position: usize,
        sub: usize,
        inputs: usize,
        outputs: usize,
    ) -> Result<(), String> {
        let plan = self.program.plans.get(sub).filter(|_| sub > position);
        let plan = plan.ok_or_else(|| format!("it runs plan {sub}"))?;
        if (plan.inputs.len(), plan.outputs.len()) == (inputs, outputs) {
            return Ok(());
        }
        Err(format!("it passes other values than plan {sub} takes"))
    }
}
