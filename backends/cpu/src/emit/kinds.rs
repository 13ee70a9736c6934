//! How values differ between the lanes of a loop, and whether the loop can be vectorised at all.

use alula_kernel::{Block, BufferId, Inst, Kernel, Loop, LoopKind, Rhs, ValueId};
use alula_tensor::{DType, ScalarOp};

/// How a value differs between neighbouring iterations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Not at all.
    Uniform,
    /// By the same step each time (`i64` only).
    Affine,
    /// In any way.
    Varying,
}

/// The kind of every value of a kernel, within one loop.
pub(super) struct Kinds<'k> {
    kernel: &'k Kernel,
    kinds: Vec<Kind>,
}

impl<'k> Kinds<'k> {
    /// Everything is uniform: scalar code.
    pub(super) fn scalar(kernel: &'k Kernel) -> Kinds<'k> {
        Kinds {
            kernel,
            kinds: vec![Kind::Uniform; kernel.dtypes.len()],
        }
    }

    /// The kinds within `lanes`.
    ///
    /// # Errors
    /// Why the loop cannot be vectorised.
    pub(super) fn of(kernel: &'k Kernel, lanes: &Loop) -> Result<Kinds<'k>, String> {
        let mut kinds = Kinds::scalar(kernel);
        kinds.set(lanes.var, Kind::Affine);
        for carried in &lanes.carried {
            kinds.set(carried.acc, Kind::Varying);
        }
        kinds.block(&lanes.body)?;
        Ok(kinds)
    }

    /// The kinds from one iteration of a loop to the next, where loops inside of it run over the
    /// same: those over lanes count as one lane.
    pub(super) fn of_rows(kernel: &'k Kernel, rows: &Loop) -> Kinds<'k> {
        let mut kinds = Kinds::scalar(kernel);
        kinds.set(rows.var, Kind::Affine);
        let mut open = vec![rows.body.0.iter()];
        while let Some(mut insts) = open.pop() {
            let Some(inst) = insts.next() else { continue };
            open.push(insts);
            match inst {
                Inst::Let { id, rhs } => {
                    let kind = kinds.rhs(*id, rhs);
                    kinds.set(*id, kind);
                }
                Inst::Loop(inner) => open.push(inner.body.0.iter()),
                Inst::If { then, .. } => open.push(then.0.iter()),
                Inst::Store { .. } | Inst::Barrier => {}
            }
        }
        kinds
    }

    /// The kinds of all values.
    pub(super) fn all(&self) -> &[Kind] {
        &self.kinds
    }

    /// The kind of one value.
    pub(super) fn get(&self, value: ValueId) -> Kind {
        self.kinds[value.0 as usize]
    }

    fn set(&mut self, value: ValueId, kind: Kind) {
        self.kinds[value.0 as usize] = kind;
    }

    fn block(&mut self, block: &Block) -> Result<(), String> {
        for inst in &block.0 {
            match inst {
                Inst::Let { id, rhs } => {
                    let kind = self.rhs(*id, rhs);
                    self.set(*id, kind);
                }
                Inst::Store { buffer, index, .. } => self.check_store(*buffer, *index)?,
                Inst::Loop(inner) => self.inner_loop(inner)?,
                Inst::If { cond, then } => {
                    if self.get(*cond) != Kind::Uniform {
                        return Err("a condition differs between lanes".to_owned());
                    }
                    self.block(then)?;
                }
                Inst::Barrier => {}
            }
        }
        Ok(())
    }

    fn check_store(&self, buffer: BufferId, index: ValueId) -> Result<(), String> {
        match (self.get(index), buffer) {
            (Kind::Uniform, _) => Err("a store hits one element from every lane".to_owned()),
            (_, BufferId::Shared(_)) => Err("a store to shared memory".to_owned()),
            (Kind::Affine | Kind::Varying, BufferId::Param(_) | BufferId::Local(_)) => Ok(()),
        }
    }

    fn inner_loop(&mut self, inner: &Loop) -> Result<(), String> {
        if matches!(inner.kind, LoopKind::Lanes(_)) {
            return Err("another vector loop inside".to_owned());
        }
        if self.get(inner.extent) != Kind::Uniform {
            return Err("a loop inside runs differently long in each lane".to_owned());
        }
        for carried in &inner.carried {
            let kind = self.spread(carried.init);
            self.set(carried.acc, kind);
        }
        // A value that varies once varies always, so this ends.
        loop {
            self.block(&inner.body)?;
            let mut changed = false;
            for carried in &inner.carried {
                let kind = self.spread(carried.next).max(self.get(carried.acc));
                changed |= kind != self.get(carried.acc);
                self.set(carried.acc, kind);
            }
            if !changed {
                break;
            }
        }
        for carried in &inner.carried {
            let kind = self.get(carried.acc);
            self.set(carried.result, kind);
        }
        Ok(())
    }

    /// The kind without steps: what is not uniform counts as varying.
    fn spread(&self, value: ValueId) -> Kind {
        match self.get(value) {
            Kind::Uniform => Kind::Uniform,
            Kind::Affine | Kind::Varying => Kind::Varying,
        }
    }

    fn rhs(&self, id: ValueId, rhs: &Rhs) -> Kind {
        match rhs {
            Rhs::Const(_) | Rhs::Dim(_) => Kind::Uniform,
            Rhs::Apply { op, operands } => {
                let most = operands
                    .iter()
                    .map(|&v| self.get(v))
                    .max()
                    .unwrap_or(Kind::Uniform);
                if most == Kind::Affine
                    && self.kernel.dtype(id) == DType::I64
                    && self.steps(*op, operands)
                {
                    return Kind::Affine;
                }
                if most == Kind::Uniform {
                    most
                } else {
                    Kind::Varying
                }
            }
            Rhs::Cast(value) | Rhs::Bitcast(value) => self.spread(*value),
            Rhs::Load { index, .. } => self.spread(*index),
        }
    }

    /// Whether an operator on uniform and affine operands gives an affine result.
    fn steps(&self, op: ScalarOp, operands: &[ValueId]) -> bool {
        match op {
            ScalarOp::Add | ScalarOp::Sub => true,
            ScalarOp::Mul => operands.iter().any(|&v| self.get(v) == Kind::Uniform),
            _ => false,
        }
    }
}
