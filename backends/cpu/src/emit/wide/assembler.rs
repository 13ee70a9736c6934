//! Instructions of one function, its jumps and its constants.

use iced_x86::{
    Code, Encoder, FastFormatter, IcedError, Instruction, MemoryOperand, Register as R,
};
use indexmap::IndexSet;

/// A vector register.
pub(super) type Zmm = u8;
/// A mask register.
pub(super) type Mask = u8;

/// The register that addresses constants.
const POOL: R = R::RAX;
/// Constants begin at multiples of this many bytes.
const POOL_ALIGN: usize = 64;

/// The last operand of most instructions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rm {
    /// A register.
    Reg(Zmm),
    /// Memory; a broadcast of one element, if it says so.
    Mem(MemoryOperand),
}

pub(super) fn zmm(register: Zmm) -> R {
    R::ZMM0 + u32::from(register)
}

pub(super) fn mask(register: Mask) -> R {
    R::K0 + u32::from(register)
}

/// Memory at `base + index * scale + displacement`.
pub(super) fn memory(base: R, index: R, scale: u32, displacement: i64) -> MemoryOperand {
    MemoryOperand::new(base, index, scale, displacement, 1, false, R::None)
}

/// The element at `base + displacement`, for every lane.
pub(super) fn broadcast(base: R, displacement: i64) -> MemoryOperand {
    MemoryOperand::new(base, R::None, 1, displacement, 1, true, R::None)
}

/// A place in the code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// What is assembled.
#[derive(Default)]
pub(super) struct Assembler {
    insts: Vec<Instruction>,
    /// Jumps, by the position of the instruction.
    jumps: Vec<(usize, Label)>,
    /// For each label, the instruction that it stands before.
    labels: Vec<usize>,
    /// Constants of four bytes.
    pool: IndexSet<u32>,
    /// The instruction that loads the address of the constants.
    entry: Option<usize>,
    failed: Option<IcedError>,
}

impl Assembler {
    pub(super) fn push(&mut self, inst: Result<Instruction, IcedError>) {
        match inst {
            Ok(inst) => self.insts.push(inst),
            Err(error) => self.failed = Some(error),
        }
    }

    /// An instruction under a mask: lanes that are not set keep the target, or become 0.
    pub(super) fn push_masked(
        &mut self,
        inst: Result<Instruction, IcedError>,
        by: Option<Mask>,
        is_zeroing: bool,
    ) {
        self.push(inst.map(|mut inst| {
            if let Some(by) = by {
                inst.set_op_mask(mask(by));
                inst.set_zeroing_masking(is_zeroing);
            }
            inst
        }));
    }

    /// `target = code(rm)`.
    pub(super) fn unary(&mut self, code: Code, target: Zmm, rm: Rm) {
        self.push(match rm {
            Rm::Reg(source) => Instruction::with2(code, zmm(target), zmm(source)),
            Rm::Mem(memory) => Instruction::with2(code, zmm(target), memory),
        });
    }

    /// `target = code(rm)` with a number in the instruction.
    pub(super) fn unary_by(&mut self, code: Code, target: Zmm, rm: Rm, by: u32) {
        self.push(match rm {
            Rm::Reg(source) => Instruction::with3(code, zmm(target), zmm(source), by),
            Rm::Mem(memory) => Instruction::with3(code, zmm(target), memory, by),
        });
    }

    /// `target = code(a, rm)`, under a mask if one is given.
    pub(super) fn binary(&mut self, code: Code, target: Zmm, a: Zmm, rm: Rm, by: Option<Mask>) {
        let inst = match rm {
            Rm::Reg(b) => Instruction::with3(code, zmm(target), zmm(a), zmm(b)),
            Rm::Mem(memory) => Instruction::with3(code, zmm(target), zmm(a), memory),
        };
        self.push_masked(inst, by, false);
    }

    /// `target = code(a, rm)` as a mask, with a condition.
    pub(super) fn compare(&mut self, code: Code, target: Mask, a: Zmm, rm: Rm, condition: u32) {
        self.push(match rm {
            Rm::Reg(b) => Instruction::with4(code, mask(target), zmm(a), zmm(b), condition),
            Rm::Mem(memory) => Instruction::with4(code, mask(target), zmm(a), memory, condition),
        });
    }

    /// Copies a register: the lanes of a mask if one is given.
    pub(super) fn copy(&mut self, target: Zmm, rm: Rm, by: Option<Mask>) {
        let inst = match rm {
            Rm::Reg(source) => {
                let code = Code::EVEX_Vmovaps_zmm_k1z_zmmm512;
                Instruction::with2(code, zmm(target), zmm(source))
            }
            Rm::Mem(memory) => {
                let code = Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32;
                Instruction::with2(code, zmm(target), plain(memory))
            }
        };
        self.push_masked(inst, by, false);
    }

    /// A constant in every lane.
    pub(super) fn constant(&mut self, bits: u32) -> MemoryOperand {
        let (position, _) = self.pool.insert_full(bits);
        broadcast(POOL, position as i64 * 4)
    }

    /// Makes constants addressable.
    pub(super) fn enter(&mut self) {
        self.entry = Some(self.insts.len());
        let memory = MemoryOperand::with_base_displ(R::RIP, 0);
        self.push(Instruction::with2(Code::Lea_r64_m, POOL, memory));
    }

    pub(super) fn label(&mut self) -> Label {
        self.labels.push(usize::MAX);
        Label(self.labels.len() - 1)
    }

    pub(super) fn bind(&mut self, label: Label) {
        self.labels[label.0] = self.insts.len();
    }

    pub(super) fn jump(&mut self, code: Code, label: Label) {
        self.jumps.push((self.insts.len(), label));
        self.push(Instruction::with_branch(code, 0));
    }

    /// The bytes, and the instructions as text if asked for.
    ///
    /// # Errors
    /// What cannot be encoded, in words.
    pub(super) fn finish(mut self, is_listed: bool) -> Result<(Vec<u8>, String), String> {
        if let Some(error) = self.failed {
            return Err(error.to_string());
        }
        // Sizes do not depend on where jumps go.
        let (bytes, mut starts) = self.encode()?;
        starts.push(bytes.len());
        for (position, label) in std::mem::take(&mut self.jumps) {
            let target = starts[self.labels[label.0]];
            self.insts[position].set_near_branch64(target as u64);
        }
        let pool = bytes.len().next_multiple_of(POOL_ALIGN);
        if let Some(entry) = self.entry {
            self.insts[entry].set_memory_displacement64(pool as u64);
        }
        let (mut bytes, _) = self.encode()?;
        let mut text = String::new();
        if is_listed {
            let mut formatter = FastFormatter::new();
            for inst in &self.insts {
                text.push_str("  ");
                formatter.format(inst, &mut text);
                text.push('\n');
            }
        }
        bytes.resize(pool, 0);
        bytes.extend(self.pool.iter().flat_map(|bits| bits.to_le_bytes()));
        Ok((bytes, text))
    }

    fn encode(&self) -> Result<(Vec<u8>, Vec<usize>), String> {
        let mut encoder = Encoder::new(64);
        let (mut starts, mut at) = (Vec::new(), 0);
        for inst in &self.insts {
            starts.push(at);
            let length = encoder.encode(inst, at as u64);
            at += length.map_err(|error| error.to_string())?;
        }
        Ok((encoder.take_buffer(), starts))
    }
}

/// The memory of a broadcast, for an instruction that broadcasts by itself.
fn plain(memory: MemoryOperand) -> MemoryOperand {
    MemoryOperand {
        is_broadcast: false,
        ..memory
    }
}
