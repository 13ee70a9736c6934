//! The slots that a plan names: to look at, to rename, to drop.

use alula_tensor::Dim;

use crate::{Place, Plan, SlotId, Step, SymbolOrigin};

impl Plan {
    /// The slot, by position, that holds a slot's bytes: itself unless it is an alias or a part.
    /// Chains end, as whoever made the plan takes care and a session checks.
    pub fn root(&self, slot: SlotId) -> usize {
        let mut slot = slot.0 as usize;
        while let Place::Alias(base) | Place::Part { base, .. } = self.slots[slot].place {
            slot = base.0 as usize;
        }
        slot
    }

    /// Bytes of the root before the slot's; `None` if nothing on the way to it is a part.
    pub fn offset(&self, slot: SlotId) -> Option<Dim> {
        let (mut slot, mut offset) = (slot, None);
        loop {
            slot = match &self.slots[slot.0 as usize].place {
                Place::Alias(base) => *base,
                Place::Part { base, offset: more } => {
                    offset = Some(offset.unwrap_or(Dim::new(0)) + more.clone());
                    *base
                }
                Place::Input(_) | Place::Constant(_) | Place::Arena { .. } | Place::Dynamic => {
                    return offset;
                }
            };
        }
    }

    /// Calls `visit` with every slot that ports, symbols, steps and aliases name.
    pub fn for_each_slot_mut(&mut self, visit: &mut dyn FnMut(&mut SlotId)) {
        for port in self.inputs.iter_mut().chain(&mut self.outputs) {
            visit(&mut port.slot);
        }
        for def in &mut self.symbols {
            if let SymbolOrigin::Content { slot, .. } | SymbolOrigin::Extent { slot, .. } =
                &mut def.origin
            {
                visit(slot);
            }
        }
        for slot in &mut self.slots {
            if let Place::Alias(base) | Place::Part { base, .. } = &mut slot.place {
                visit(base);
            }
        }
        self.steps.iter_mut().for_each(|step| step.for_each(visit));
    }

    /// Drops the slots that nothing names, such as constants of which another form is read.
    pub fn drop_unnamed_slots(&mut self) {
        // What only a dropped alias named goes, too.
        while let Some(place_of) = self.without_unnamed() {
            let mut old = 0;
            self.slots.retain(|_| {
                old += 1;
                place_of[old - 1].is_some()
            });
            self.for_each_slot_mut(&mut |slot| {
                *slot = place_of[slot.0 as usize].expect("named slots stay");
            });
        }
    }

    /// The new place of each slot, if any is to go.
    fn without_unnamed(&mut self) -> Option<Vec<Option<SlotId>>> {
        let mut named = vec![false; self.slots.len()];
        self.for_each_slot_mut(&mut |slot| named[slot.0 as usize] = true);
        let mut count = 0;
        let place_of = named.iter().map(|&named| {
            count += u32::from(named);
            named.then(|| SlotId(count - 1))
        });
        let place_of = place_of.collect();
        named.contains(&false).then_some(place_of)
    }
}

impl Step {
    /// Every slot that the step touches, in order of its mention.
    pub fn slots(&self) -> Vec<SlotId> {
        let mut slots = Vec::new();
        self.clone().for_each(&mut |slot| slots.push(*slot));
        slots
    }

    fn for_each(&mut self, visit: &mut dyn FnMut(&mut SlotId)) {
        match self {
            Step::Launch { args, .. } => args.iter_mut().for_each(visit),
            Step::Host {
                operands, results, ..
            } => operands.iter_mut().flatten().chain(results).for_each(visit),
            Step::Dims { result, .. } => visit(result),
            Step::If {
                cond,
                then,
                otherwise,
                results,
                ..
            } => {
                visit(cond);
                let passed = then.1.iter_mut().chain(&mut otherwise.1);
                passed.chain(results).for_each(visit);
            }
            Step::Loop {
                trips,
                cond,
                carried,
                captures,
                results,
                ..
            } => {
                let passed = trips.iter_mut().chain(cond).chain(carried);
                passed.chain(captures).chain(results).for_each(visit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alula_tensor::{DType, Dim, TensorType, ValueType};

    use super::*;
    use crate::{Port, Slot};

    fn slot(place: Place) -> Slot {
        Slot {
            ty: ValueType::Tensor(TensorType::of(DType::F32, &[])),
            bytes: Dim::new(4),
            place,
        }
    }

    #[test]
    fn a_part_of_a_part_begins_behind_both() {
        let part = |base, offset| {
            let base = SlotId(base);
            let offset = Dim::named("N") * Dim::new(offset);
            slot(Place::Part { base, offset })
        };
        let plan = Plan {
            name: "main".to_owned(),
            symbols: Vec::new(),
            checks: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            slots: vec![
                slot(Place::Arena { first: 0, last: 1 }),
                part(0, 8),
                slot(Place::Alias(SlotId(1))),
                part(2, 4),
                slot(Place::Alias(SlotId(0))),
            ],
            steps: Vec::new(),
        };
        assert_eq!(plan.root(SlotId(3)), 0);
        let offset = Dim::named("N") * Dim::new(12);
        assert_eq!(plan.offset(SlotId(3)), Some(offset));
        assert_eq!(plan.offset(SlotId(4)), None);
    }

    #[test]
    fn unnamed_slots_go_with_what_only_they_name() {
        let port = |slot| Port {
            name: "x".to_owned(),
            ty: ValueType::Tensor(TensorType::of(DType::F32, &[])),
            slot: SlotId(slot),
        };
        let mut plan = Plan {
            name: "main".to_owned(),
            symbols: Vec::new(),
            checks: Vec::new(),
            inputs: vec![port(1)],
            outputs: vec![port(4)],
            slots: vec![
                slot(Place::Constant(0)),
                slot(Place::Input(0)),
                slot(Place::Alias(SlotId(0))),
                slot(Place::Constant(1)),
                slot(Place::Arena { first: 0, last: 1 }),
            ],
            steps: vec![Step::Launch {
                kernel: 0,
                args: vec![SlotId(1), SlotId(3), SlotId(4)],
                name: "matmul".to_owned(),
            }],
        };
        plan.drop_unnamed_slots();
        let places: Vec<&Place> = plan.slots.iter().map(|slot| &slot.place).collect();
        assert_eq!(
            places,
            [
                &Place::Input(0),
                &Place::Constant(1),
                &Place::Arena { first: 0, last: 1 }
            ]
        );
        let Step::Launch { args, .. } = &plan.steps[0] else {
            panic!("the step is a launch");
        };
        assert_eq!(args, &[SlotId(0), SlotId(1), SlotId(2)]);
        assert_eq!(
            (plan.inputs[0].slot, plan.outputs[0].slot),
            (SlotId(0), SlotId(2))
        );
    }
}
