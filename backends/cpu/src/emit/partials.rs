//! Accumulators of loops over lanes: one partial value for each lane, combined after the loop.
//!
//! Each begins with the identity of its operator. They are kept in vectors while full groups run;
//! iterations that fill no group, or that have no vector form, update them in memory. The order of
//! combination is the one that `LoopKind::Lanes` fixes.

use alula_kernel::{Carried, FoldOp, Loop};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind, Value, types,
};

use super::EmitError;
use super::lanes::extract;
use super::ops;
use super::printer::{Printer, Val};
use super::repr::{Form, QUAD, Repr};

/// The partial values of one accumulator after a loop.
pub(super) enum Partials {
    /// Parts of each quad.
    Parts(Vec<Value>),
    /// One by one.
    Scalars(Vec<Value>),
}

/// The flags of every access: within the stack, of any alignment.
const FLAGS: MemFlagsData = MemFlagsData::new().with_notrap();

/// Bytes of a partial value in memory.
const fn size(repr: Repr) -> i64 {
    match repr {
        Repr::Bool | Repr::I32 | Repr::F32 => 4,
        Repr::I64 | Repr::F64 => 8,
    }
}

impl<'k> Printer<'k, '_> {
    /// The partial values that an accumulator begins with.
    pub(super) fn partials(
        &mut self,
        carried: &Carried,
        width: u32,
    ) -> Result<Vec<Value>, EmitError> {
        let repr = self.repr(self.dtype(carried.acc)?)?;
        let identity = self.identity(carried)?;
        let part = ops::splat(&mut self.b, Form::Vector, repr, identity);
        Ok(vec![part; repr.parts() * (width / QUAD) as usize])
    }

    fn identity(&mut self, carried: &Carried) -> Result<Value, EmitError> {
        let dtype = self.dtype(carried.acc)?;
        let fold = carried.combine.unwrap_or(FoldOp::Add);
        self.literal(dtype, fold.identity(dtype))
    }

    /// Iterations `start..extent` in scalar code, each on the partial value of its lane. They begin
    /// with those given, or with the identity.
    pub(super) fn memory_partials(
        &mut self,
        l: &'k Loop,
        width: u32,
        start: Value,
        extent: Value,
        given: Option<Vec<Vec<Value>>>,
    ) -> Result<Vec<Partials>, EmitError> {
        let mut slots = Vec::new();
        for (position, carried) in l.carried.iter().enumerate() {
            let repr = self.repr(self.dtype(carried.acc)?)?;
            let data =
                StackSlotData::new(StackSlotKind::ExplicitSlot, width * size(repr) as u32, 4);
            let slot = self.b.create_sized_stack_slot(data);
            match &given {
                Some(given) => self.keep_parts(slot, &given[position]),
                None if width >= QUAD => {
                    let parts = self.partials(carried, width)?;
                    self.keep_parts(slot, &parts);
                }
                None => {
                    let identity = self.identity(carried)?;
                    for lane in 0..width {
                        let at = self.b.ins().stack_addr(types::I64, slot, 0);
                        self.keep(repr, at, i64::from(lane) * size(repr), identity);
                    }
                }
            }
            slots.push((slot, repr));
        }
        let look = self.looks.iterations(l, 1);
        self.counted(start, extent, (1, look), Vec::new(), |p, i, _| {
            p.set(l.var, Val::Uniform(i))?;
            let lane = p.b.ins().band_imm_s(i, i64::from(width) - 1);
            let mut places = Vec::new();
            for (carried, &(slot, repr)) in l.carried.iter().zip(&slots) {
                let base = p.b.ins().stack_addr(types::I64, slot, 0);
                let shift = i64::from(size(repr).trailing_zeros());
                let offset = p.b.ins().ishl_imm_u(lane, shift);
                let place = p.b.ins().iadd(base, offset);
                let value = p.kept(repr, place);
                p.set(carried.acc, Val::Uniform(value))?;
                places.push((place, repr));
            }
            p.block(&l.body)?;
            for (carried, (place, repr)) in l.carried.iter().zip(places) {
                let next = p.uniform(carried.next)?;
                p.keep(repr, place, 0, next);
            }
            Ok(Vec::new())
        })?;
        let partials = slots.into_iter().map(|(slot, repr)| match width >= QUAD {
            true => {
                let ty = repr.ty(Form::Vector);
                let count = width as usize / QUAD as usize * repr.parts();
                let at = self.b.ins().stack_addr(types::I64, slot, 0);
                let parts = (0..count as i32).map(|part| {
                    let offset = part * 16;
                    self.b.ins().load(ty, FLAGS, at, offset)
                });
                Partials::Parts(parts.collect())
            }
            false => {
                let at = self.b.ins().stack_addr(types::I64, slot, 0);
                let lanes = (0..i64::from(width)).map(|lane| {
                    let offset = ops::constant(&mut self.b, types::I64, lane * size(repr));
                    let place = self.b.ins().iadd(at, offset);
                    self.kept(repr, place)
                });
                Partials::Scalars(lanes.collect())
            }
        });
        Ok(partials.collect())
    }

    fn keep_parts(&mut self, slot: StackSlot, parts: &[Value]) {
        let at = self.b.ins().stack_addr(types::I64, slot, 0);
        for (position, &part) in parts.iter().enumerate() {
            let offset = position as i32 * 16;
            self.b.ins().store(FLAGS, part, at, offset);
        }
    }

    /// Stores a partial value; a bool as all zeros or ones, like a lane.
    fn keep(&mut self, repr: Repr, place: Value, offset: i64, value: Value) {
        let value = match repr {
            Repr::Bool => {
                let wide = self.b.ins().uextend(types::I32, value);
                self.b.ins().ineg(wide)
            }
            _ => value,
        };
        self.b.ins().store(FLAGS, value, place, offset as i32);
    }

    /// Loads what [`Self::keep`] stored.
    fn kept(&mut self, repr: Repr, place: Value) -> Value {
        let ty = match repr {
            Repr::Bool => types::I32,
            _ => repr.ty(Form::Scalar),
        };
        let value = self.b.ins().load(ty, FLAGS, place, 0);
        match repr {
            Repr::Bool => {
                let zero = ops::constant(&mut self.b, types::I32, 0);
                self.b.ins().icmp(IntCC::NotEqual, value, zero)
            }
            _ => value,
        }
    }

    /// Combines partial values by halves, and then with the value before the loop.
    pub(super) fn combine(
        &mut self,
        carried: &Carried,
        partials: Partials,
    ) -> Result<Value, EmitError> {
        match partials {
            Partials::Parts(parts) => self.combine_parts(carried, parts),
            Partials::Scalars(lanes) => self.combine_scalars(carried, lanes),
        }
    }

    fn combine_parts(
        &mut self,
        carried: &Carried,
        mut parts: Vec<Value>,
    ) -> Result<Value, EmitError> {
        let dtype = self.dtype(carried.acc)?;
        let repr = self.repr(dtype)?;
        let op = carried.combine.unwrap_or(FoldOp::Add).scalar_op();
        let mut vectorised = true;
        while vectorised && parts.len() > repr.parts() {
            let half = parts.len() / 2;
            let combined: Option<Vec<Value>> = (0..half)
                .map(|i| {
                    let pair = [parts[i], parts[i + half]];
                    ops::apply(&mut self.b, Form::Vector, op, dtype, &pair)
                })
                .collect();
            match combined {
                Some(combined) => parts = combined,
                None => vectorised = false,
            }
        }
        let lanes: Vec<Value> = parts
            .chunks(repr.parts())
            .flat_map(|quad| (0..QUAD as u8).map(move |lane| (quad, lane)))
            .map(|(quad, lane)| extract(&mut self.b, repr, quad, lane))
            .collect();
        self.combine_scalars(carried, lanes)
    }

    fn combine_scalars(
        &mut self,
        carried: &Carried,
        mut lanes: Vec<Value>,
    ) -> Result<Value, EmitError> {
        let dtype = self.dtype(carried.acc)?;
        let op = carried.combine.unwrap_or(FoldOp::Add).scalar_op();
        while lanes.len() > 1 {
            let half = lanes.len() / 2;
            for i in 0..half {
                lanes[i] = self.scalar(op, dtype, &[lanes[i], lanes[i + half]])?;
            }
            lanes.truncate(half);
        }
        let init = self.uniform(carried.init)?;
        self.scalar(op, dtype, &[init, lanes[0]])
    }
}
