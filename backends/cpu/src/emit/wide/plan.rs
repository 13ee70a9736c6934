//! What one loop asks for: the instructions that differ between lanes, and what they are passed.

use std::collections::{BTreeMap, BTreeSet};

use alula_kernel::{BufferId, Inst, Kernel, Loop, LoopKind, Rhs, ValueId};
use alula_tensor::{DType, Scalar, ScalarOp};
use indexmap::IndexSet;

use super::super::kinds::{Kind, Kinds};
use super::super::repr::Repr;
use super::extremes::Extremes;
use super::narrowed::Narrowed;
use super::pattern::Pattern;
use super::reach::Reach;
use super::scaled::Scaled;
use super::steps::Steps;
use crate::CpuFeatures;

/// Lanes of a register.
pub(in crate::emit) const WIDE: u32 = 16;
/// Pointers at most. Those that there is no register for are read from the frame where they are
/// needed.
const POINTERS_MAX: usize = 64;

/// Steps from lane to lane of bytes that are stored one by one.
const APART: std::ops::RangeInclusive<i64> = 2..=64;

/// A loop to print.
pub(in crate::emit) struct Plan<'k> {
    pub(super) kernel: &'k Kernel,
    pub(in crate::emit) of: &'k Loop,
    kinds: Vec<Kind>,
    /// Constants of four bytes, by value.
    constants: Vec<Option<u32>>,
    /// Instructions that differ between lanes, in order.
    pub(super) insts: Vec<&'k Inst>,
    /// Values that are the same in all lanes and not constant, in slots of the frame.
    pub(in crate::emit) uniforms: IndexSet<ValueId>,
    /// Buffers and the index of the first lane, in slots of the frame before the uniforms.
    pub(in crate::emit) pointers: IndexSet<(BufferId, ValueId)>,
    /// From lane to lane, where bytes are stored that are no neighbours.
    pub(super) apart: BTreeMap<(BufferId, ValueId), i64>,
    /// How great values can be.
    pub(super) reach: Reach,
    pub(super) steps: Steps,
    pub(super) narrowed: Narrowed,
    pub(super) scaled: Scaled,
    pub(super) extremes: Extremes,
    /// Values that nothing reads.
    dead: BTreeSet<ValueId>,
}

impl<'k> Plan<'k> {
    /// # Errors
    /// Why the loop is not printed at this width.
    pub(in crate::emit) fn new(
        kernel: &'k Kernel,
        of: &'k Loop,
        kinds: &Kinds<'k>,
        extent: Option<i64>,
    ) -> Result<Plan<'k>, String> {
        if extent.is_some_and(|extent| extent < i64::from(WIDE)) {
            return Err("it is short".to_owned());
        }
        let LoopKind::Lanes(width) = of.kind else {
            return Err("it is serial".to_owned());
        };
        if !of.carried.is_empty() && !width.is_multiple_of(WIDE) {
            return Err(format!("it folds {width} lanes"));
        }
        let mut plan = Plan {
            kernel,
            of,
            kinds: kinds.all().to_vec(),
            constants: constants(kernel),
            insts: Vec::new(),
            uniforms: IndexSet::new(),
            pointers: IndexSet::new(),
            apart: BTreeMap::new(),
            reach: Reach::of_kernel(kernel),
            steps: Steps::default(),
            narrowed: Narrowed::default(),
            scaled: Scaled::default(),
            extremes: Extremes::default(),
            dead: BTreeSet::new(),
        };
        plan.steps = Steps::find(of, &|id| plan.dtype(id), &|id| plan.constant(id));
        let (dtype, constant) = (|id| plan.dtype(id), |id| plan.constant(id));
        let pattern = Pattern::new(of, &dtype, &constant);
        let (scaled, extremes) = (Scaled::find(&pattern), Extremes::find(&pattern));
        let lets = of.body.0.iter().filter_map(|inst| match inst {
            Inst::Let { id, .. } => Some(*id),
            _ => None,
        });
        let dead = lets.filter(|&id| pattern.is_dead(id)).collect();
        let narrowed = CpuFeatures::rounds_bf16().then(|| Narrowed::find(&pattern));
        (plan.scaled, plan.extremes) = (scaled, extremes);
        plan.dead = dead;
        plan.narrowed = narrowed.unwrap_or_default();
        for carried in &of.carried {
            plan.narrow(carried.acc)?;
            if plan.repr(carried.acc) == Some(Repr::Bool) || carried.combine.is_none() {
                return Err("it folds what has no vectors".to_owned());
            }
            plan.operand(carried.next)?;
        }
        let strides = plan.strides();
        for inst in &of.body.0 {
            plan.inst(inst, &strides)?;
        }
        if plan.pointers.len() > POINTERS_MAX {
            return Err("it reads too many places".to_owned());
        }
        Ok(plan)
    }

    fn inst(&mut self, inst: &'k Inst, strides: &[Option<i64>]) -> Result<(), String> {
        let is_next = |index: &ValueId| strides[index.0 as usize] == Some(1);
        match inst {
            Inst::Let { id, .. } if self.skips(*id) => {}
            Inst::Let { id, rhs } => {
                if self.kind(*id) != Kind::Varying {
                    return match rhs {
                        Rhs::Load { .. } => Err("it loads the same in all lanes".to_owned()),
                        _ => Ok(()),
                    };
                }
                self.narrow(*id)?;
                if let Some(&operands) = self.rewritten(*id) {
                    for operand in operands {
                        self.operand(operand)?;
                    }
                    self.insts.push(inst);
                    return Ok(());
                }
                match rhs {
                    Rhs::Load { buffer, index } if is_next(index) => {
                        self.pointers.insert((*buffer, *index));
                    }
                    Rhs::Load { .. } => return Err("it gathers".to_owned()),
                    Rhs::Apply { op, operands } => {
                        for (position, &operand) in operands.iter().enumerate() {
                            let is_amount =
                                matches!(op, ScalarOp::Shl | ScalarOp::Shr) && position == 1;
                            if !is_amount {
                                self.operand(operand)?;
                            } else if self.constant(operand).is_none() {
                                return Err("it shifts by what is not constant".to_owned());
                            }
                        }
                    }
                    Rhs::Cast(value) | Rhs::Bitcast(value) => self.operand(*value)?,
                    Rhs::Const(_) | Rhs::Dim(_) => {}
                }
                self.insts.push(inst);
            }
            Inst::Store {
                buffer,
                index,
                value,
            } => {
                if !is_next(index) {
                    let step = strides[index.0 as usize].filter(|step| APART.contains(step));
                    let is_byte = self.kernel.buffer_dtype(*buffer).size_bytes() == 1;
                    let Some(step) = step.filter(|_| is_byte) else {
                        return Err("it scatters".to_owned());
                    };
                    self.apart.insert((*buffer, *index), step);
                }
                self.pointers.insert((*buffer, *index));
                self.operand(self.narrowed.source(*value).unwrap_or(*value))?;
                self.insts.push(inst);
            }
            Inst::Loop(_) | Inst::If { .. } | Inst::Barrier => {
                return Err("there is a block inside".to_owned());
            }
        }
        Ok(())
    }

    /// Whether nothing is printed for a value, since another instruction stands for it.
    fn skips(&self, value: ValueId) -> bool {
        let is_part = self.narrowed.skips(value) || self.scaled.skips(value);
        is_part || self.extremes.skips(value) || self.dead.contains(&value)
    }

    /// The operands of the one instruction that stands for how a value is defined, if one does.
    pub(super) fn rewritten(&self, value: ValueId) -> Option<&[ValueId; 2]> {
        let extreme = self.extremes.of(value).map(|(_, operands)| operands);
        self.scaled.operands(value).or(extreme)
    }

    /// Checks a value and passes it, if need be.
    fn operand(&mut self, value: ValueId) -> Result<(), String> {
        self.narrow(value)?;
        if self.kind(value) == Kind::Uniform && self.constant(value).is_none() {
            self.uniforms.insert(value);
        }
        Ok(())
    }

    fn narrow(&self, value: ValueId) -> Result<(), String> {
        match self.repr(value) {
            Some(Repr::F32 | Repr::I32 | Repr::Bool) => Ok(()),
            _ => Err(format!("it computes {}", self.dtype(value))),
        }
    }

    pub(in crate::emit) fn kind(&self, value: ValueId) -> Kind {
        self.kinds[value.0 as usize]
    }

    pub(super) fn dtype(&self, value: ValueId) -> DType {
        self.kernel.dtype(value)
    }

    pub(super) fn repr(&self, value: ValueId) -> Option<Repr> {
        Repr::of(self.dtype(value))
    }

    pub(super) fn constant(&self, value: ValueId) -> Option<u32> {
        self.constants[value.0 as usize]
    }

    /// The slot of a uniform value in the frame.
    pub(super) fn slot(&self, value: ValueId) -> Option<usize> {
        let position = self.uniforms.get_index_of(&value)?;
        Some(self.pointers.len() + position)
    }

    /// Slots of the frame, eight bytes each, before what folds give back.
    pub(in crate::emit) fn slots(&self) -> usize {
        self.pointers.len() + self.uniforms.len()
    }

    /// The width of a fold in registers.
    pub(super) fn fold_registers(&self) -> usize {
        match self.of.kind {
            LoopKind::Lanes(width) => (width / WIDE).max(1) as usize,
            LoopKind::Serial => 1,
        }
    }

    /// By how much affine values grow from lane to lane, where that is constant.
    fn strides(&self) -> Vec<Option<i64>> {
        let integers = self.kernel.integers();
        let mut strides = vec![None; self.kernel.dtypes.len()];
        let get = |strides: &[Option<i64>], value: ValueId| match self.kind(value) {
            Kind::Uniform => Some(0),
            Kind::Affine | Kind::Varying => strides[value.0 as usize],
        };
        strides[self.of.var.0 as usize] = Some(1);
        for inst in &self.of.body.0 {
            let Inst::Let {
                id,
                rhs: Rhs::Apply { op, operands },
            } = inst
            else {
                continue;
            };
            let (Kind::Affine, [x, y]) = (self.kind(*id), operands.as_slice()) else {
                continue;
            };
            let (Some(a), Some(b)) = (get(&strides, *x), get(&strides, *y)) else {
                continue;
            };
            let factor = |value: &ValueId| integers[value.0 as usize];
            strides[id.0 as usize] = match (op, self.kind(*x)) {
                (ScalarOp::Add, _) => a.checked_add(b),
                (ScalarOp::Sub, _) => a.checked_sub(b),
                (ScalarOp::Mul, Kind::Uniform) => factor(x).and_then(|n| n.checked_mul(b)),
                (ScalarOp::Mul, _) => factor(y).and_then(|n| n.checked_mul(a)),
                _ => None,
            };
        }
        strides
    }
}

/// The bits of a constant as they lie in a lane.
pub(super) fn bits(dtype: DType, value: Scalar) -> Option<u32> {
    Some(match Repr::of(dtype)? {
        Repr::F32 => (value.to_f64() as f32).to_bits(),
        Repr::Bool => match value.is_true() {
            true => u32::MAX,
            false => 0,
        },
        Repr::I32 => match value {
            Scalar::Int(value) => value as u32,
            Scalar::Float(_) => {
                let mut bytes = [0; 8];
                value.store(dtype, &mut bytes);
                i64::from_le_bytes(bytes) as u32
            }
        },
        Repr::I64 | Repr::F64 => return None,
    })
}

fn constants(kernel: &Kernel) -> Vec<Option<u32>> {
    let mut constants = vec![None; kernel.dtypes.len()];
    kernel.each_constant(&mut |id, value| {
        constants[id.0 as usize] = bits(kernel.dtype(id), value);
    });
    constants
}
