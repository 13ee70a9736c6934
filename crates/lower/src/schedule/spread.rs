//! The loops of a row shared by the lanes of a workgroup.

use alula_kernel::{
    Access, Block, BufferId, Carried, FoldOp, Inst, Kernel, Literal, Local, Loop, LoopKind, Rhs,
    ValueId,
};
use alula_tensor::{DType, Scalar, ScalarOp};
use smallvec::SmallVec;

/// Most shared memory of a workgroup, in bytes: half of what WebGPU promises, so that two fit.
const SHARED_BYTES_MAX: u32 = 8 << 10;

/// Lets the lanes of a workgroup share the outermost loops of each grid point: lane `l` of `L` runs
/// iterations `l`, `l + L`, `l + 2L`, ... A fold's partial values, each from its identity, meet in
/// shared memory by halves, `p[i] = op(p[i], p[i + n/2])` until one is left, and the result is
/// `op(init, p[0])`: the same tree at every launch.
///
/// `None` where lanes cannot share: loops whose iterations are not independent, memory that is
/// both read and written, local arrays, accumulators of other than 4 bytes, branches, too many
/// folds.
///
/// # Panics
/// When `lanes` is not a power of two above 1: a caller's bug.
pub fn spread(kernel: &Kernel, lanes: u32) -> Option<Kernel> {
    assert!(
        lanes.is_power_of_two() && lanes > 1,
        "workgroups are of a power of two of lanes"
    );
    let is_plain = kernel.lanes == 1
        && kernel.locals.is_empty()
        && kernel.params.iter().all(|p| p.access != Access::ReadWrite);
    if !is_plain {
        return None;
    }
    let mut spread = Spread {
        kernel: Kernel {
            body: Block::default(),
            ..kernel.clone()
        },
        lanes,
        lane: ValueId(0),
        insts: Vec::new(),
    };
    spread.lane = spread.kernel.value(DType::I64);
    spread.kernel.lanes = lanes;
    spread.kernel.lane = Some(spread.lane);
    for inst in &kernel.body.0 {
        match inst {
            Inst::Let { .. } => spread.insts.push(inst.clone()),
            Inst::Store { .. } => spread.store_once(inst),
            Inst::Loop(shared) if is_shareable(kernel, shared) => spread.share(shared),
            Inst::Loop(_) | Inst::If { .. } | Inst::Barrier => return None,
        }
    }
    let shared: u32 = spread
        .kernel
        .locals
        .iter()
        .map(|part| 4 * part.elements)
        .sum();
    spread.kernel.body = Block(spread.insts);
    (shared <= SHARED_BYTES_MAX).then_some(spread.kernel)
}

/// Whether iterations may run in any order: accumulators are only ever combined with something
/// that does not depend on them.
fn is_shareable(kernel: &Kernel, shared: &Loop) -> bool {
    let has_form = |carried: &Carried| {
        let dtype = kernel.dtype(carried.acc);
        matches!(dtype, DType::F32 | DType::I32 | DType::U32) && carried.combine.is_some()
    };
    let is_used_once = |carried: &Carried| uses(&shared.body, carried.acc) == 1;
    shared.kind == LoopKind::Serial
        && shared
            .carried
            .iter()
            .all(|c| has_form(c) && is_used_once(c))
}

/// How often a value is used in a block.
fn uses(block: &Block, value: ValueId) -> usize {
    let is = |one: &ValueId| usize::from(*one == value);
    let of = |inst: &Inst| match inst {
        Inst::Let { rhs, .. } => match rhs {
            Rhs::Const(_) | Rhs::Dim(_) => 0,
            Rhs::Apply { operands, .. } => operands.iter().map(is).sum(),
            Rhs::Cast(one) | Rhs::Bitcast(one) | Rhs::Load { index: one, .. } => is(one),
        },
        Inst::Store { index, value, .. } => is(index) + is(value),
        Inst::Loop(inner) => {
            let carried = inner.carried.iter().map(|c| is(&c.init) + is(&c.next));
            is(&inner.extent) + carried.sum::<usize>() + uses(&inner.body, value)
        }
        Inst::If { cond, then } => is(cond) + uses(then, value),
        Inst::Barrier => 0,
    };
    block.0.iter().map(of).sum()
}

struct Spread {
    kernel: Kernel,
    lanes: u32,
    lane: ValueId,
    insts: Vec<Inst>,
}

impl Spread {
    fn push(&mut self, dtype: DType, rhs: Rhs) -> ValueId {
        let id = self.kernel.value(dtype);
        self.insts.push(Inst::Let { id, rhs });
        id
    }

    fn constant(&mut self, dtype: DType, scalar: Scalar) -> ValueId {
        self.push(dtype, Rhs::Const(Literal(scalar)))
    }

    fn int(&mut self, value: u32) -> ValueId {
        self.constant(DType::I64, Scalar::Int(value.into()))
    }

    fn apply(&mut self, dtype: DType, op: ScalarOp, operands: [ValueId; 2]) -> ValueId {
        let operands = SmallVec::from_slice(&operands);
        self.push(dtype, Rhs::Apply { op, operands })
    }

    /// A store that every lane would make alike.
    fn store_once(&mut self, store: &Inst) {
        let zero = self.int(0);
        let cond = self.apply(DType::Bool, ScalarOp::Eq, [self.lane, zero]);
        let then = Block(vec![store.clone()]);
        self.insts.push(Inst::If { cond, then });
    }

    fn share(&mut self, shared: &Loop) {
        // Iterations left for this lane: those from its first one on, in steps of a workgroup.
        let (lanes, last) = (self.int(self.lanes), self.int(self.lanes - 1));
        let end = self.apply(DType::I64, ScalarOp::Add, [shared.extent, last]);
        let left = self.apply(DType::I64, ScalarOp::Sub, [end, self.lane]);
        let extent = self.apply(DType::I64, ScalarOp::FloorDiv, [left, lanes]);
        let turn = self.kernel.value(DType::I64);
        let mut body = Vec::new();
        let start = self.kernel.value(DType::I64);
        for (id, op, operands) in [
            (start, ScalarOp::Mul, [turn, lanes]),
            (shared.var, ScalarOp::Add, [start, self.lane]),
        ] {
            let operands = SmallVec::from_slice(&operands);
            let rhs = Rhs::Apply { op, operands };
            body.push(Inst::Let { id, rhs });
        }
        body.extend(shared.body.0.iter().cloned());
        let mut carried = Vec::new();
        for each in &shared.carried {
            let (dtype, op) = (self.kernel.dtype(each.acc), combining(each));
            let init = self.constant(dtype, op.identity(dtype));
            let result = self.kernel.value(dtype);
            carried.push(Carried {
                init,
                result,
                ..each.clone()
            });
        }
        let partial: Vec<ValueId> = carried.iter().map(|each| each.result).collect();
        self.insts.push(Inst::Loop(Loop {
            var: turn,
            extent,
            kind: LoopKind::Serial,
            carried,
            body: Block(body),
        }));
        if !partial.is_empty() {
            self.meet(&shared.carried, &partial);
        }
    }

    /// Combines the partial values of all lanes.
    fn meet(&mut self, folds: &[Carried], partial: &[ValueId]) {
        let parts: Vec<BufferId> = folds.iter().map(|each| self.part(each)).collect();
        for (&buffer, &value) in parts.iter().zip(partial) {
            let index = self.lane;
            self.insts.push(Inst::Store {
                buffer,
                index,
                value,
            });
        }
        self.insts.push(Inst::Barrier);
        self.halve(folds, &parts);
        let zero = self.int(0);
        for (each, &buffer) in folds.iter().zip(&parts) {
            let dtype = self.kernel.dtype(each.acc);
            let whole = self.push(
                dtype,
                Rhs::Load {
                    buffer,
                    index: zero,
                },
            );
            let op = combining(each).scalar_op();
            let operands = SmallVec::from_slice(&[each.init, whole]);
            self.insts.push(Inst::Let {
                id: each.result,
                rhs: Rhs::Apply { op, operands },
            });
        }
    }

    /// The lower half of lanes takes in what the upper half has, then a quarter of them, and so on.
    fn halve(&mut self, folds: &[Carried], parts: &[BufferId]) {
        let (levels, two) = (self.int(self.lanes.ilog2()), self.int(2));
        let init = self.int(self.lanes / 2);
        let [var, half, result] = [(); 3].map(|()| self.kernel.value(DType::I64));
        let before = std::mem::take(&mut self.insts);
        let cond = self.apply(DType::Bool, ScalarOp::Lt, [self.lane, half]);
        let body = std::mem::take(&mut self.insts);
        let other = self.apply(DType::I64, ScalarOp::Add, [self.lane, half]);
        for (each, &buffer) in folds.iter().zip(parts) {
            let dtype = self.kernel.dtype(each.acc);
            let index = self.lane;
            let mine = self.push(dtype, Rhs::Load { buffer, index });
            let index = other;
            let theirs = self.push(dtype, Rhs::Load { buffer, index });
            let value = self.apply(dtype, combining(each).scalar_op(), [mine, theirs]);
            let index = self.lane;
            self.insts.push(Inst::Store {
                buffer,
                index,
                value,
            });
        }
        let then = Block(std::mem::replace(&mut self.insts, body));
        self.insts.push(Inst::If { cond, then });
        self.insts.push(Inst::Barrier);
        let next = self.apply(DType::I64, ScalarOp::FloorDiv, [half, two]);
        let body = Block(std::mem::replace(&mut self.insts, before));
        self.insts.push(Inst::Loop(Loop {
            var,
            extent: levels,
            kind: LoopKind::Serial,
            carried: vec![Carried {
                acc: half,
                init,
                next,
                result,
                combine: None,
            }],
            body,
        }));
    }

    /// A shared array with an element for each lane. Each fold has its own, so that no lane writes
    /// what a slower one still reads.
    fn part(&mut self, fold: &Carried) -> BufferId {
        let dtype = self.kernel.dtype(fold.acc);
        let mut name = format!("part{}", self.kernel.locals.len());
        while self.kernel.params.iter().any(|param| param.name == name) {
            name.push('_');
        }
        self.kernel.locals.push(Local {
            name,
            dtype,
            elements: self.lanes,
        });
        BufferId::Shared(self.kernel.locals.len() as u32 - 1)
    }
}

fn combining(fold: &Carried) -> FoldOp {
    fold.combine.expect("shareable loops combine")
}
