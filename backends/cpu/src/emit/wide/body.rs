//! The body of a loop, once for each of several registers of lanes, and where its values lie.

use std::collections::{BTreeMap, BTreeSet};

use alula_kernel::{Inst, Rhs, ValueId};
use alula_tensor::ScalarOp;
use iced_x86::{Code, Instruction, Register as R};

use super::super::kinds::Kind;
use super::assembler::{Assembler, Mask, Rm, Zmm, broadcast, zmm};
use super::plan::{Plan, WIDE};

/// The register that addresses the frame.
pub(super) const FRAME: R = R::RDI;
/// The first iteration of the group.
pub(super) const AT: R = R::RSI;
/// Registers for pointers; those from the fifth on are kept for the caller.
pub(super) const POINTERS: [R; 9] = [
    R::R8,
    R::R9,
    R::R10,
    R::RBX,
    R::RBP,
    R::R12,
    R::R13,
    R::R14,
    R::R15,
];
/// A register that nothing is kept in from one instruction to the next but one.
pub(super) const SCRATCH: R = R::R11;
/// The first of [`POINTERS`] that is kept for the caller.
pub(super) const KEPT: usize = 3;
/// The mask of the lanes that there are.
pub(super) const TAIL: Mask = 1;

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Zmm(Zmm),
    Mask(Mask),
}

/// What is the same in all lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Uniform {
    Bits(u32),
    Slot(usize),
}

/// Registers that are free.
struct Free {
    zmm: u32,
    masks: u8,
}

impl Free {
    fn zmm(&mut self) -> Result<Zmm, String> {
        let register = self.zmm.trailing_zeros() as Zmm;
        if self.zmm == 0 {
            return Err("it needs too many registers".to_owned());
        }
        self.zmm &= !(1 << register);
        Ok(register)
    }

    fn mask(&mut self) -> Result<Mask, String> {
        let register = self.masks.trailing_zeros() as Mask;
        if self.masks == 0 {
            return Err("it needs too many masks".to_owned());
        }
        self.masks &= !(1 << register);
        Ok(register)
    }
}

/// One register of lanes within the body.
#[derive(Default)]
struct Copy {
    /// Where values lie, by value.
    places: Vec<Option<Place>>,
    /// Uses that are left.
    left: Vec<u32>,
    /// The first lane, counted from that of the group.
    first: u32,
}

/// The printer of bodies.
pub(super) struct Body<'p> {
    pub(super) asm: Assembler,
    pub(super) plan: &'p Plan<'p>,
    free: Free,
    copies: Vec<Copy>,
    /// Uniform values that have a register of their own.
    pinned: BTreeMap<Uniform, Zmm>,
    /// How often a uniform value was brought to a register.
    pub(super) wanted: BTreeMap<Uniform, u32>,
    /// The least number of registers that were free.
    pub(super) least_free: u32,
    /// Registers of accumulators: never given back.
    kept: BTreeSet<Zmm>,
    /// Whether only the lanes of [`TAIL`] exist.
    pub(super) is_tail: bool,
}

impl<'p> Body<'p> {
    pub(super) fn new(plan: &'p Plan<'p>) -> Body<'p> {
        Body {
            asm: Assembler::default(),
            plan,
            free: Free {
                zmm: u32::MAX,
                masks: 0b1111_1100,
            },
            copies: Vec::new(),
            pinned: BTreeMap::new(),
            wanted: BTreeMap::new(),
            least_free: 32,
            kept: BTreeSet::new(),
            is_tail: false,
        }
    }

    /// Gives a uniform value a register for the whole function.
    pub(super) fn pin(&mut self, uniform: Uniform) -> Result<(), String> {
        let register = self.keep()?;
        let memory = self.memory_of(uniform);
        self.asm.copy(register, Rm::Mem(memory), None);
        self.pinned.insert(uniform, register);
        Ok(())
    }

    /// A register that is not given back.
    pub(super) fn keep(&mut self) -> Result<Zmm, String> {
        let register = self.zmm()?;
        self.kept.insert(register);
        Ok(register)
    }

    pub(super) fn zmm(&mut self) -> Result<Zmm, String> {
        let register = self.free.zmm()?;
        self.least_free = self.least_free.min(self.free.zmm.count_ones());
        Ok(register)
    }

    pub(super) fn mask(&mut self) -> Result<Mask, String> {
        self.free.mask()
    }

    pub(super) fn release(&mut self, place: Place) {
        match place {
            Place::Zmm(register) if self.kept.contains(&register) => {}
            Place::Zmm(register) => self.free.zmm |= 1 << register,
            Place::Mask(register) => self.free.masks |= 1 << register,
        }
    }

    /// Gives back what was taken for one use.
    pub(super) fn release_if(&mut self, is_taken: bool, place: Place) {
        if is_taken {
            self.release(place);
        }
    }

    /// Prints the body for registers of lanes side by side: `accs[copy][carried]` are registers
    /// of accumulators. Of the tail, there is one.
    pub(super) fn print(&mut self, accs: &[&[Zmm]], is_tail: bool) -> Result<(), String> {
        self.is_tail = is_tail;
        let uses = self.uses();
        let plan = self.plan;
        self.copies = accs
            .iter()
            .enumerate()
            .map(|(position, accs)| {
                let mut copy = Copy {
                    places: vec![None; plan.kernel.dtypes.len()],
                    left: uses.clone(),
                    first: position as u32 * WIDE,
                };
                for (carried, &acc) in plan.of.carried.iter().zip(*accs) {
                    copy.places[carried.acc.0 as usize] = Some(Place::Zmm(acc));
                }
                copy
            })
            .collect();
        for inst in &plan.insts {
            for copy in 0..accs.len() {
                self.inst(copy, inst)?;
            }
        }
        for (copy, accs) in accs.iter().enumerate() {
            self.close(copy, accs)?;
        }
        Ok(())
    }

    /// Brings the next values of accumulators to their registers.
    fn close(&mut self, copy: usize, accs: &[Zmm]) -> Result<(), String> {
        let by = self.is_tail.then_some(TAIL);
        let nexts: Vec<ValueId> = self.plan.of.carried.iter().map(|c| c.next).collect();
        let mut sources = Vec::new();
        for &next in &nexts {
            sources.push(self.rm(copy, next)?);
        }
        for (position, (&source, &acc)) in sources.iter().zip(accs).enumerate() {
            let is_there = matches!(source, Rm::Reg(register) if register == acc);
            let clobbers = sources[position + 1..]
                .iter()
                .any(|later| matches!(later, Rm::Reg(register) if *register == acc));
            if clobbers && !is_there {
                return Err("accumulators change places".to_owned());
            }
            if !is_there {
                self.asm.copy(acc, source, by);
            }
        }
        for &next in &nexts {
            self.used(copy, next);
        }
        Ok(())
    }

    fn uses(&self) -> Vec<u32> {
        let mut uses = vec![0; self.plan.kernel.dtypes.len()];
        let mut count = |value: ValueId| uses[value.0 as usize] += 1;
        for inst in &self.plan.insts {
            match inst {
                Inst::Let { id, rhs } => match rhs {
                    Rhs::Apply { operands, .. } => {
                        let rewritten = self.plan.rewritten(*id);
                        let operands = rewritten.map_or(&operands[..], |all| &all[..]);
                        operands.iter().copied().for_each(&mut count);
                    }
                    Rhs::Cast(value) | Rhs::Bitcast(value) => count(*value),
                    Rhs::Const(_) | Rhs::Dim(_) | Rhs::Load { .. } => {}
                },
                Inst::Store { value, .. } => {
                    count(self.plan.narrowed.source(*value).unwrap_or(*value));
                }
                Inst::Loop(_) | Inst::If { .. } | Inst::Barrier => {}
            }
        }
        self.plan.of.carried.iter().for_each(|c| count(c.next));
        uses
    }

    fn inst(&mut self, copy: usize, inst: &Inst) -> Result<(), String> {
        match inst {
            Inst::Let { id, rhs } => {
                let place = match rhs {
                    Rhs::Load { buffer, index } => {
                        Place::Zmm(self.load(copy, *id, (*buffer, *index))?)
                    }
                    Rhs::Apply { op, operands } => self.apply(copy, *id, *op, operands)?,
                    Rhs::Cast(value) => self.cast(copy, *id, *value)?,
                    Rhs::Bitcast(value) => self.bitcast(copy, *value, self.plan.dtype(*id))?,
                    Rhs::Const(_) | Rhs::Dim(_) => return Err("a constant differs".to_owned()),
                };
                self.copies[copy].places[id.0 as usize] = Some(place);
                if self.copies[copy].left[id.0 as usize] == 0 {
                    self.release(place);
                }
            }
            Inst::Store {
                buffer,
                index,
                value,
            } => self.store(copy, (*buffer, *index), *value)?,
            Inst::Loop(_) | Inst::If { .. } | Inst::Barrier => {}
        }
        Ok(())
    }

    /// The accumulator that may become this value in place: nothing else needs the old one.
    pub(super) fn turns_into(&self, copy: usize, id: ValueId, acc: ValueId) -> Option<Zmm> {
        let of = self.plan.of;
        let is_carried = of.carried.iter().any(|c| c.acc == acc && c.next == id);
        let is_last = self.copies[copy].left[acc.0 as usize] == 1;
        match self.copies[copy].places[acc.0 as usize] {
            Some(Place::Zmm(register)) if is_carried && is_last && !self.is_tail => Some(register),
            _ => None,
        }
    }

    /// The register of a value at its last use, if it may be overwritten.
    pub(super) fn last(&self, copy: usize, value: ValueId) -> Option<Zmm> {
        match self.copies[copy].places[value.0 as usize] {
            Some(Place::Zmm(register))
                if self.copies[copy].left[value.0 as usize] == 1
                    && !self.kept.contains(&register) =>
            {
                Some(register)
            }
            _ => None,
        }
    }

    /// Notes that the register of a value is another's now.
    pub(super) fn taken(&mut self, copy: usize, value: ValueId) {
        self.copies[copy].left[value.0 as usize] = 0;
    }

    /// Another name for the same register.
    pub(super) fn alias(&mut self, copy: usize, value: ValueId) -> Result<Place, String> {
        if let Some(register) = self.last(copy, value) {
            self.taken(copy, value);
            return Ok(Place::Zmm(register));
        }
        let source = self.rm(copy, value)?;
        let target = self.zmm()?;
        self.asm.copy(target, source, None);
        self.used(copy, value);
        Ok(Place::Zmm(target))
    }

    /// The first lane of a register, counted from that of the group.
    pub(super) fn first(&self, copy: usize) -> u32 {
        self.copies[copy].first
    }

    /// Counts a use; after the last one, the register is free.
    pub(super) fn used(&mut self, copy: usize, value: ValueId) {
        if self.plan.kind(value) != Kind::Varying {
            return;
        }
        let left = &mut self.copies[copy].left[value.0 as usize];
        *left = left.saturating_sub(1);
        if *left == 0
            && let Some(place) = self.copies[copy].places[value.0 as usize]
        {
            self.release(place);
        }
    }

    fn uniform(&self, value: ValueId) -> Result<Uniform, String> {
        match (self.plan.constant(value), self.plan.slot(value)) {
            (Some(bits), _) => Ok(Uniform::Bits(bits)),
            (None, Some(slot)) => Ok(Uniform::Slot(slot)),
            (None, None) => Err("a step is data".to_owned()),
        }
    }

    fn memory_of(&mut self, uniform: Uniform) -> iced_x86::MemoryOperand {
        match uniform {
            Uniform::Bits(bits) => self.asm.constant(bits),
            Uniform::Slot(slot) => broadcast(FRAME, slot as i64 * 8),
        }
    }

    /// A constant as an operand.
    pub(super) fn bits(&mut self, bits: u32) -> Rm {
        match self.pinned.get(&Uniform::Bits(bits)) {
            Some(&register) => Rm::Reg(register),
            None => Rm::Mem(self.asm.constant(bits)),
        }
    }

    /// A value as the last operand of an instruction.
    pub(super) fn rm(&mut self, copy: usize, value: ValueId) -> Result<Rm, String> {
        if self.plan.kind(value) == Kind::Varying {
            return match self.copies[copy].places[value.0 as usize] {
                Some(Place::Zmm(register)) => Ok(Rm::Reg(register)),
                _ => Err("a mask is data".to_owned()),
            };
        }
        let uniform = self.uniform(value)?;
        Ok(match self.pinned.get(&uniform) {
            Some(&register) => Rm::Reg(register),
            None => Rm::Mem(self.memory_of(uniform)),
        })
    }

    /// A value in a register, and whether that was taken for it.
    pub(super) fn reg(&mut self, copy: usize, value: ValueId) -> Result<(Zmm, bool), String> {
        match self.rm(copy, value)? {
            Rm::Reg(register) => Ok((register, false)),
            memory @ Rm::Mem(_) => {
                let uniform = self.uniform(value)?;
                *self.wanted.entry(uniform).or_insert(0) += 1;
                let register = self.zmm()?;
                self.asm.copy(register, memory, None);
                Ok((register, true))
            }
        }
    }

    /// A bool as a mask, and whether that was taken for it.
    pub(super) fn condition(
        &mut self,
        copy: usize,
        value: ValueId,
    ) -> Result<(Mask, bool), String> {
        if self.plan.kind(value) == Kind::Varying {
            return match self.copies[copy].places[value.0 as usize] {
                Some(Place::Mask(register)) => Ok((register, false)),
                _ => Err("a condition is no mask".to_owned()),
            };
        }
        let (register, is_taken) = self.reg(copy, value)?;
        let target = self.mask()?;
        self.test(target, register);
        self.release_if(is_taken, Place::Zmm(register));
        Ok((target, true))
    }

    /// The lanes that are not 0.
    pub(super) fn test(&mut self, target: Mask, register: Zmm) {
        let code = Code::EVEX_Vptestmd_kr_k1_zmm_zmmm512b32;
        let source = zmm(register);
        let target = super::assembler::mask(target);
        self.asm
            .push(Instruction::with3(code, target, source, source));
    }

    /// The result of an operator, and its operands' uses counted.
    fn apply(
        &mut self,
        copy: usize,
        id: ValueId,
        op: ScalarOp,
        operands: &[ValueId],
    ) -> Result<Place, String> {
        if op.arity() != operands.len() {
            return Err(format!("{op} of {} operands", operands.len()));
        }
        self.operator(copy, id, op, operands)
    }
}
