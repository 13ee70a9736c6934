//! Calls from the code of a kernel to its wide loops.

use alula_kernel::{FoldOp, Inst, Loop, LoopKind, Rhs};
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, InstBuilder, MemFlagsData, Signature, StackSlot,
    StackSlotData, StackSlotKind, UserExternalName, Value, types,
};
use cranelift_codegen::isa::CallConv;

use super::super::EmitError;
use super::super::kinds::{Kind, Kinds};
use super::super::ops;
use super::super::partials::Partials;
use super::super::printer::{Printer, Stride, Val};
use super::super::repr::{Form, Repr};
use super::function::{Runs, advance_at, frame_bytes, print, quad_at, rows_at};
use super::plan::{Plan, WIDE};

/// The namespace of wide loops among functions that are called.
pub(in crate::emit) const NAMESPACE: u32 = 1;
/// Accesses of the frame: within the stack, of any alignment.
const FLAGS: MemFlagsData = MemFlagsData::new().with_notrap();

impl<'k> Printer<'k, '_> {
    /// Prints a loop over lanes as a call, with the results of its folds. `None` if it has no wide
    /// form.
    pub(in crate::emit) fn wide_loop(
        &mut self,
        l: &'k Loop,
        kinds: &Kinds<'k>,
        extent: Value,
    ) -> Result<Option<Vec<Value>>, EmitError> {
        let Some(wide) = &self.wide else {
            return Ok(None);
        };
        let (is_listed, position) = (wide.is_listed, wide.functions.len());
        let known = ops::as_iconst(&self.b, extent);
        let lanes = i64::from(WIDE);
        let is_split = self.looks.iterations(l, lanes).is_some() && self.flag.is_some();
        let runs = match is_split {
            true => Runs::Split,
            false => Runs::Whole,
        };
        let printed = Plan::new(self.kernel, l, kinds, known)
            .and_then(|plan| Ok((print(&plan, known, runs, is_listed)?, plan)));
        let (function, plan) = match printed {
            Ok(printed) => printed,
            Err(reason) => {
                tracing::debug!(kernel = %self.kernel.name, reason, "loop is not wide");
                return Ok(None);
            }
        };
        let (frame, _) = self.frame(&plan)?;
        let group = lanes * function.copies as i64;
        if let Some(wide) = &mut self.wide {
            wide.functions.push(function);
        }
        match self.looks.iterations(l, group).filter(|_| is_split) {
            None => {
                let zero = ops::constant(&mut self.b, types::I64, 0);
                self.call(position, frame, [zero, extent]);
            }
            Some(steps) => {
                let distance = steps.saturating_mul(group);
                self.calls(&plan, position, frame, extent, distance)?;
            }
        }
        let mut results = Vec::new();
        for (fold, carried) in l.carried.iter().enumerate() {
            let repr = self.repr(self.dtype(carried.acc)?)?;
            let at = self.b.ins().stack_addr(types::I64, frame, 0);
            let (ty, offset) = (repr.ty(Form::Vector), quad_at(&plan, fold));
            let quad = self.b.ins().load(ty, FLAGS, at, offset);
            results.push(self.combine(carried, Partials::Parts(vec![quad]))?);
        }
        Ok(Some(results))
    }

    /// Prints a loop whose iterations only run a loop over lanes, each the same but for where its
    /// elements lie: one call runs many. `false` if it is none.
    pub(in crate::emit) fn wide_rows(&mut self, rows: &'k Loop) -> Result<bool, EmitError> {
        let Some(wide) = &self.wide else {
            return Ok(false);
        };
        let (is_listed, function_at) = (wide.is_listed, wide.functions.len());
        let Some(l) = only_lanes(rows) else {
            return Ok(false);
        };
        let (by_row, Ok(kinds)) = (Kinds::of_rows(self.kernel, rows), Kinds::of(self.kernel, l))
        else {
            return Ok(false);
        };
        let looks = self.looks.iterations(l, i64::from(WIDE)).is_some() && self.flag.is_some();
        if looks || by_row.get(l.extent) != Kind::Uniform {
            return Ok(false);
        }
        let zero = ops::constant(&mut self.b, types::I64, 0);
        self.at_row(rows, zero)?;
        let extent = self.uniform(l.extent)?;
        let known = ops::as_iconst(&self.b, extent);
        let printed = Plan::new(self.kernel, l, &kinds, known).and_then(|plan| {
            let is_even = plan
                .pointers
                .iter()
                .all(|p| by_row.get(p.1) != Kind::Varying)
                && plan
                    .uniforms
                    .iter()
                    .all(|&v| by_row.get(v) == Kind::Uniform);
            match is_even {
                true => Ok((print(&plan, known, Runs::Rows, is_listed)?, plan)),
                false => Err("its rows differ".to_owned()),
            }
        });
        let (function, plan) = match printed {
            Ok(printed) => printed,
            Err(reason) => {
                tracing::debug!(kernel = %self.kernel.name, reason, "rows are not one call");
                return Ok(false);
            }
        };
        let (frame, firsts) = self.frame(&plan)?;
        if let Some(wide) = &mut self.wide {
            wide.functions.push(function);
        }
        let one = ops::constant(&mut self.b, types::I64, 1);
        self.at_row(rows, one)?;
        let seconds = self.addresses(&plan)?;
        for (pointer, (first, second)) in firsts.into_iter().zip(seconds).enumerate() {
            let by = self.b.ins().isub(second, first);
            let at = self.b.ins().stack_addr(types::I64, frame, 0);
            self.b
                .ins()
                .store(FLAGS, by, at, advance_at(&plan, pointer));
        }
        let end = self.uniform(rows.extent)?;
        let look = self.looks.iterations(rows, 1);
        let distance = look.unwrap_or(i64::MAX >> 1);
        let steps = (distance, look.map(|_| 1));
        self.counted(zero, end, steps, Vec::new(), |p, row, _| {
            let until = p.nearer(row, end, distance);
            let count = p.b.ins().isub(until, row);
            let at = p.b.ins().stack_addr(types::I64, frame, 0);
            p.b.ins().store(FLAGS, count, at, rows_at(&plan));
            p.call(function_at, frame, [zero, extent]);
            Ok(Vec::new())
        })?;
        Ok(true)
    }

    /// Computes what a loop's iteration computes before its inner loop.
    fn at_row(&mut self, rows: &'k Loop, row: Value) -> Result<(), EmitError> {
        self.set(rows.var, Val::Uniform(row))?;
        for inst in &rows.body.0 {
            match inst {
                Inst::Let { id, rhs } => {
                    let value = self.rhs(*id, rhs)?;
                    self.set(*id, value)?;
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// The addresses of the first lane, by pointer; and all that is the same in each lane is
    /// computed.
    fn addresses(&mut self, plan: &Plan<'k>) -> Result<Vec<Value>, EmitError> {
        let l = plan.of;
        let base = ops::constant(&mut self.b, types::I64, 0);
        let stride = Stride::Const(1);
        self.set(l.var, Val::Affine { base, stride })?;
        for inst in &l.body.0 {
            if let Inst::Let { id, rhs } = inst
                && plan.kind(*id) != Kind::Varying
            {
                let value = self.rhs(*id, rhs)?;
                self.set(*id, value)?;
            }
        }
        let mut addresses = Vec::with_capacity(plan.pointers.len());
        for &(buffer, index) in &plan.pointers {
            let dtype = self.kernel.buffer_dtype(buffer);
            let first = match self.get(index)? {
                Val::Affine { base, .. } | Val::Uniform(base) => base,
                Val::Lanes(_) => return Err(self.malformed("a wide loop scatters")),
            };
            addresses.push(self.address(buffer, dtype, first));
        }
        Ok(addresses)
    }

    /// The frame of a call, with all that it is passed, and the pointers among that.
    fn frame(&mut self, plan: &Plan<'k>) -> Result<(StackSlot, Vec<Value>), EmitError> {
        let addresses = self.addresses(plan)?;
        let bytes = frame_bytes(plan).max(1);
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
        let frame = self.b.create_sized_stack_slot(data);
        let at = self.b.ins().stack_addr(types::I64, frame, 0);
        for (slot, &address) in addresses.iter().enumerate() {
            self.b.ins().store(FLAGS, address, at, slot as i32 * 8);
        }
        for (position, &value) in plan.uniforms.iter().enumerate() {
            let slot = plan.pointers.len() + position;
            let repr = self.repr(self.dtype(value)?)?;
            let value = self.uniform(value)?;
            let value = match repr {
                Repr::Bool => {
                    let wide = self.b.ins().uextend(types::I32, value);
                    self.b.ins().ineg(wide)
                }
                _ => value,
            };
            self.b.ins().store(FLAGS, value, at, slot as i32 * 8);
        }
        Ok((frame, addresses))
    }

    fn call(&mut self, position: usize, frame: StackSlot, [begin, end]: [Value; 2]) {
        // The assembled code keeps to one convention everywhere.
        let mut signature = Signature::new(CallConv::SystemV);
        signature.params.extend([AbiParam::new(types::I64); 4]);
        let signature = self.b.import_signature(signature);
        let name = self
            .b
            .func
            .declare_imported_user_function(UserExternalName {
                namespace: NAMESPACE,
                index: position as u32,
            });
        let function = self.b.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        });
        let frame = self.b.ins().stack_addr(types::I64, frame, 0);
        // Folds begin with the first iteration.
        let zero = ops::constant(&mut self.b, types::I64, 0);
        let equal = cranelift_codegen::ir::condcodes::IntCC::Equal;
        let is_first = self.b.ins().icmp(equal, begin, zero);
        let is_first = self.b.ins().uextend(types::I64, is_first);
        self.b.ins().call(function, &[frame, begin, end, is_first]);
    }

    /// Calls for so many iterations each, with looks between them.
    fn calls(
        &mut self,
        plan: &Plan<'k>,
        position: usize,
        frame: StackSlot,
        extent: Value,
        distance: i64,
    ) -> Result<(), EmitError> {
        // There may be no iteration.
        for (fold, carried) in plan.of.carried.iter().enumerate() {
            let dtype = self.dtype(carried.acc)?;
            let repr = self.repr(dtype)?;
            let op = carried.combine.unwrap_or(FoldOp::Add);
            let identity = self.literal(dtype, op.identity(dtype))?;
            let quad = ops::splat(&mut self.b, Form::Vector, repr, identity);
            let at = self.b.ins().stack_addr(types::I64, frame, 0);
            self.b.ins().store(FLAGS, quad, at, quad_at(plan, fold));
        }
        let zero = ops::constant(&mut self.b, types::I64, 0);
        self.counted(
            zero,
            extent,
            (distance, Some(1)),
            Vec::new(),
            |p, begin, _| {
                let end = p.nearer(begin, extent, distance);
                p.call(position, frame, [begin, end]);
                Ok(Vec::new())
            },
        )?;
        Ok(())
    }
}

/// The loop over lanes that is all that a serial loop runs, neither carrying anything. Nothing is
/// loaded before it, which would be done ahead of its turn.
fn only_lanes(rows: &Loop) -> Option<&Loop> {
    let mut found = None;
    for inst in &rows.body.0 {
        match inst {
            Inst::Let {
                rhs: Rhs::Load { .. },
                ..
            } => return None,
            Inst::Let { .. } if found.is_none() => {}
            Inst::Loop(l) if found.is_none() && l.carried.is_empty() => found = Some(l),
            _ => return None,
        }
    }
    let is_lanes = |l: &&Loop| matches!(l.kind, LoopKind::Lanes(_));
    found.filter(is_lanes).filter(|_| rows.carried.is_empty())
}
