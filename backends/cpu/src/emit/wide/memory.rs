//! Loads and stores of neighbouring elements, one for each lane.

use alula_kernel::{BufferId, ValueId};
use alula_tensor::{DType, DTypeClass};
use iced_x86::{Code, Instruction, MemoryOperand, Register as R};

use super::super::repr::is_signed;
use super::assembler::{Mask, Rm, Zmm, memory, zmm};
use super::body::{AT, Body, FRAME, POINTERS, Place, SCRATCH, TAIL};
use super::plan::WIDE;

/// Where the mask of lanes is looked at; nothing is kept there within a body.
const LANES: R = R::ECX;

impl Body<'_> {
    /// The memory of a group of elements, for the next instruction.
    fn elements(
        &mut self,
        copy: usize,
        pointer: (BufferId, ValueId),
        size: usize,
    ) -> Result<MemoryOperand, String> {
        let position = self.plan.pointers.get_index_of(&pointer);
        let position = position.ok_or_else(|| "a place was not passed".to_owned())?;
        let displacement = i64::from(self.first(copy)) * size as i64;
        let pointer = match POINTERS.get(position) {
            Some(&register) => register,
            None => {
                let slot = memory(FRAME, R::None, 1, position as i64 * 8);
                self.asm
                    .push(Instruction::with2(Code::Mov_r64_rm64, SCRATCH, slot));
                SCRATCH
            }
        };
        Ok(memory(pointer, AT, size as u32, displacement))
    }

    pub(super) fn load(
        &mut self,
        copy: usize,
        id: ValueId,
        pointer: (BufferId, ValueId),
    ) -> Result<Zmm, String> {
        let dtype = self.plan.dtype(id);
        if dtype.class() == DTypeClass::Bool {
            return Err("it loads bools".to_owned());
        }
        let size = dtype.size_bytes();
        let code = match (size, is_signed(dtype)) {
            (1, true) => Code::EVEX_Vpmovsxbd_zmm_k1z_xmmm128,
            (1, false) => Code::EVEX_Vpmovzxbd_zmm_k1z_xmmm128,
            (2, true) => Code::EVEX_Vpmovsxwd_zmm_k1z_ymmm256,
            (2, false) => Code::EVEX_Vpmovzxwd_zmm_k1z_ymmm256,
            _ => Code::EVEX_Vmovups_zmm_k1z_zmmm512,
        };
        let memory = self.elements(copy, pointer, size)?;
        let target = self.zmm()?;
        let by = self.is_tail.then_some(TAIL);
        let inst = Instruction::with2(code, zmm(target), memory);
        self.asm.push_masked(inst, by, true);
        Ok(target)
    }

    pub(super) fn store(
        &mut self,
        copy: usize,
        pointer: (BufferId, ValueId),
        value: ValueId,
    ) -> Result<(), String> {
        if let Some(source) = self.plan.narrowed.source(value) {
            return self.store_rounded(copy, pointer, source);
        }
        let dtype = self.plan.dtype(value);
        let size = dtype.size_bytes();
        let (register, is_taken) = match dtype.class() {
            DTypeClass::Bool => {
                let (by, is_taken) = self.condition(copy, value)?;
                let register = self.zmm()?;
                let one = self.bits(1);
                self.choose(register, by, one)?;
                self.release_if(is_taken, Place::Mask(by));
                (register, true)
            }
            _ => self.reg(copy, value)?,
        };
        // What `steps` left out of range saturates here.
        let code = match (size, is_signed(dtype)) {
            (1, true) => Code::EVEX_Vpmovsdb_xmmm128_k1z_zmm,
            (1, false) => Code::EVEX_Vpmovusdb_xmmm128_k1z_zmm,
            (2, true) => Code::EVEX_Vpmovsdw_ymmm256_k1z_zmm,
            (2, false) => Code::EVEX_Vpmovusdw_ymmm256_k1z_zmm,
            _ => Code::EVEX_Vmovups_zmmm512_k1z_zmm,
        };
        if let Some(&step) = self.plan.apart.get(&pointer) {
            self.store_apart(copy, (pointer, step), code, register)?;
        } else {
            let memory = self.elements(copy, pointer, size)?;
            let by = self.is_tail.then_some(TAIL);
            let inst = Instruction::with2(code, memory, zmm(register));
            self.asm.push_masked(inst, by, false);
        }
        self.release_if(is_taken, Place::Zmm(register));
        self.used(copy, value);
        Ok(())
    }

    /// Stores bytes one by one, `step` elements from lane to lane, as `code` narrows them.
    fn store_apart(
        &mut self,
        copy: usize,
        (pointer, step): ((BufferId, ValueId), i64),
        code: Code,
        register: Zmm,
    ) -> Result<(), String> {
        // With another prefix it would want one more extension, and could name every register.
        const EXTRACT: Code = Code::VEX_Vpextrb_r32m8_xmm_imm8;
        const NAMED: Zmm = 16;
        let narrow = self.zmm()?;
        if narrow >= NAMED {
            return Err("it needs too many registers".to_owned());
        }
        let bytes = R::XMM0 + u32::from(narrow);
        self.asm
            .push(Instruction::with2(code, bytes, zmm(register)));
        // The first lane of the group is `AT` steps behind the pointer.
        let scaled = Instruction::with3(Code::Imul_r64_rm64_imm32, SCRATCH, AT, step as i32);
        self.asm.push(scaled);
        let position = self.plan.pointers.get_index_of(&pointer);
        let position = position.ok_or_else(|| "a place was not passed".to_owned())?;
        self.asm.push(match POINTERS.get(position) {
            Some(&register) => Instruction::with2(Code::Add_r64_rm64, SCRATCH, register),
            None => {
                let slot = memory(FRAME, R::None, 1, position as i64 * 8);
                Instruction::with2(Code::Add_r64_rm64, SCRATCH, slot)
            }
        });
        let done = self.asm.label();
        if self.is_tail {
            let lanes = super::assembler::mask(TAIL);
            self.asm
                .push(Instruction::with2(Code::VEX_Kmovw_r32_kr, LANES, lanes));
        }
        for lane in 0..WIDE {
            if self.is_tail {
                // Lanes that there are come first.
                let test = Instruction::with2(Code::Test_rm32_imm32, LANES, 1_i32 << lane);
                self.asm.push(test);
                self.asm.jump(Code::Je_rel32_64, done);
            }
            let at = i64::from(self.first(copy) + lane) * step;
            let memory = memory(SCRATCH, R::None, 1, at);
            self.asm
                .push(Instruction::with3(EXTRACT, memory, bytes, lane));
        }
        self.asm.bind(done);
        self.release(Place::Zmm(narrow));
        Ok(())
    }

    /// Stores f32 as bf16, rounded by the processor.
    fn store_rounded(
        &mut self,
        copy: usize,
        pointer: (BufferId, ValueId),
        source: ValueId,
    ) -> Result<(), String> {
        const ROUND: Code = Code::EVEX_Vcvtneps2bf16_ymm_k1z_zmmm512b32;
        const STORE: Code = Code::EVEX_Vmovdqu16_ymmm256_k1z_ymm;
        let (register, is_taken) = self.reg(copy, source)?;
        let rounded = self.zmm()?;
        let half = R::YMM0 + u32::from(rounded);
        self.asm
            .push(Instruction::with2(ROUND, half, zmm(register)));
        let memory = self.elements(copy, pointer, DType::BF16.size_bytes())?;
        let by = self.is_tail.then_some(TAIL);
        self.asm
            .push_masked(Instruction::with2(STORE, memory, half), by, false);
        self.release(Place::Zmm(rounded));
        self.release_if(is_taken, Place::Zmm(register));
        self.used(copy, source);
        Ok(())
    }

    /// `source` in the lanes of a mask, 0 in the others.
    pub(super) fn choose(&mut self, target: Zmm, by: Mask, source: Rm) -> Result<(), String> {
        let register = match source {
            Rm::Reg(register) => register,
            Rm::Mem(_) => {
                self.asm.copy(target, source, None);
                target
            }
        };
        let code = Code::EVEX_Vmovaps_zmm_k1z_zmmm512;
        let inst = Instruction::with2(code, zmm(target), zmm(register));
        self.asm.push_masked(inst, Some(by), true);
        Ok(())
    }
}
