//! Loops: serial ones, and loops over lanes as groups of vectors with a serial rest.
//!
//! A `Lanes(w)` loop runs `w` iterations at once while that many are left, then one by one. If it
//! carries nothing, groups may be wider than asked for. Accumulators keep `w` partial values from
//! the identity, in the order of combination that `LoopKind::Lanes` fixes.

use alula_kernel::{Block, Carried, FoldOp, Inst, Loop, LoopKind};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlagsData, Value, types};

use super::EmitError;
use super::kinds::{Kind, Kinds};
use super::lanes::extract;
use super::ops;
use super::printer::{Printer, Stride, Val};
use super::repr::{Form, QUAD};

/// Bodies of at most this many instructions are printed for four quads at once, when iterations
/// carry nothing.
const UNROLL_BY_4: usize = 12;
/// The same for two quads.
const UNROLL_BY_2: usize = 40;

impl<'k> Printer<'k, '_> {
    /// Prints a loop of any kind.
    pub(super) fn print_loop(&mut self, l: &Loop) -> Result<(), EmitError> {
        match l.kind {
            LoopKind::Lanes(width) if self.quads == 0 => self.lanes_loop(l, width),
            LoopKind::Serial | LoopKind::Lanes(_) => {
                let zero = ops::constant(&mut self.b, types::I64, 0);
                let extent = self.uniform(l.extent)?;
                let init = l.carried.iter().map(|c| self.carried_in(c));
                let init = init.collect::<Result<Vec<_>, _>>()?;
                let results = self.serial(l, zero, extent, init)?;
                self.carried_out(l, results)
            }
        }
    }

    /// What a serial loop passes on: one scalar, or lanes where they differ.
    fn carried_in(&mut self, carried: &Carried) -> Result<Vec<Value>, EmitError> {
        match self.kinds.get(carried.acc) {
            Kind::Uniform => Ok(vec![self.uniform(carried.init)?]),
            Kind::Affine | Kind::Varying => self.lanes(carried.init),
        }
    }

    fn as_carried(&self, carried: &Carried, parts: Vec<Value>) -> Val {
        match (self.kinds.get(carried.acc), parts.first()) {
            (Kind::Uniform, Some(&value)) => Val::Uniform(value),
            _ => Val::Lanes(parts),
        }
    }

    fn carried_out(&mut self, l: &Loop, results: Vec<Vec<Value>>) -> Result<(), EmitError> {
        for (carried, parts) in l.carried.iter().zip(results) {
            let value = self.as_carried(carried, parts);
            self.set(carried.result, value)?;
        }
        Ok(())
    }

    /// Iterations `start..end` one by one; carried values by accumulator.
    fn serial(
        &mut self,
        l: &Loop,
        start: Value,
        end: Value,
        init: Vec<Vec<Value>>,
    ) -> Result<Vec<Vec<Value>>, EmitError> {
        let sizes: Vec<usize> = init.iter().map(Vec::len).collect();
        let look = self.looks.iterations(l, 1);
        let results = self.counted(start, end, (1, look), init.concat(), |p, i, values| {
            p.set(l.var, Val::Uniform(i))?;
            for (carried, parts) in l.carried.iter().zip(split(values, &sizes)) {
                let value = p.as_carried(carried, parts);
                p.set(carried.acc, value)?;
            }
            p.block(&l.body)?;
            let mut next = Vec::new();
            for carried in &l.carried {
                match p.kinds.get(carried.acc) {
                    Kind::Uniform => next.push(p.uniform(carried.next)?),
                    Kind::Affine | Kind::Varying => next.extend(p.lanes(carried.next)?),
                }
            }
            Ok(next)
        })?;
        Ok(split(&results, &sizes))
    }

    /// A loop from `start` while `i < end`, in steps: `body` gets `i` and the carried values and
    /// returns the next ones. Returns the last. It looks at the flag after so many steps, if that
    /// is said.
    fn counted(
        &mut self,
        start: Value,
        end: Value,
        (step, look): (i64, Option<i64>),
        init: Vec<Value>,
        body: impl FnOnce(&mut Self, Value, &[Value]) -> Result<Vec<Value>, EmitError>,
    ) -> Result<Vec<Value>, EmitError> {
        let (header, exit) = (self.b.create_block(), self.b.create_block());
        let i = self.b.append_block_param(header, types::I64);
        let mut values = Vec::new();
        let mut results = Vec::new();
        for &value in &init {
            let ty = self.b.func.dfg.value_type(value);
            values.push(self.b.append_block_param(header, ty));
            results.push(self.b.append_block_param(exit, ty));
        }
        let args = |values: &[Value]| values.iter().map(|&v| v.into()).collect::<Vec<BlockArg>>();
        // Up to where it does not look, and the flag.
        let look = look.zip(self.flag).map(|(steps, flag)| {
            let limit = self.b.append_block_param(header, types::I64);
            (limit, flag, step.saturating_mul(steps))
        });
        let enters = self.b.ins().icmp(IntCC::SignedLessThan, start, end);
        let mut entry: Vec<Value> = std::iter::once(start).chain(init.iter().copied()).collect();
        if let Some((.., distance)) = look {
            entry.push(self.nearer(start, end, distance));
        }
        self.b
            .ins()
            .brif(enters, header, &args(&entry), exit, &args(&init));

        self.b.switch_to_block(header);
        let next = body(self, i, &values)?;
        let following = self.b.ins().iadd_imm_s(i, step);
        let mut entry: Vec<Value> = std::iter::once(following)
            .chain(next.iter().copied())
            .collect();
        match look {
            None => {
                let again = self.b.ins().icmp(IntCC::SignedLessThan, following, end);
                self.b
                    .ins()
                    .brif(again, header, &args(&entry), exit, &args(&next));
            }
            Some((limit, flag, distance)) => {
                let (pause, check) = (self.b.create_block(), self.b.create_block());
                self.b.set_cold_block(check);
                entry.push(limit);
                let again = self.b.ins().icmp(IntCC::SignedLessThan, following, limit);
                self.b.ins().brif(again, header, &args(&entry), pause, &[]);
                self.b.switch_to_block(pause);
                let more = self.b.ins().icmp(IntCC::SignedLessThan, following, end);
                self.b.ins().brif(more, check, &[], exit, &args(&next));
                self.b.switch_to_block(check);
                // Another thread writes it: each look is a load of its own.
                let is_over = self.b.ins().load(types::I8, MemFlagsData::new(), flag, 0);
                entry.pop();
                entry.push(self.nearer(following, end, distance));
                self.b
                    .ins()
                    .brif(is_over, exit, &args(&next), header, &args(&entry));
            }
        }
        self.b.switch_to_block(exit);
        Ok(results)
    }

    /// `distance` ahead of `from`, but not beyond the end.
    fn nearer(&mut self, from: Value, end: Value, distance: i64) -> Value {
        let left = self.b.ins().isub(end, from);
        let distance = ops::constant(&mut self.b, types::I64, distance);
        let ahead = self.b.ins().smin(left, distance);
        self.b.ins().iadd(from, ahead)
    }

    fn lanes_loop(&mut self, l: &Loop, width: u32) -> Result<(), EmitError> {
        if !width.is_power_of_two() || width > 64 {
            return Err(self.unsupported(format!("a loop over {width} lanes")));
        }
        if l.carried.iter().any(|carried| carried.combine.is_none()) {
            return Err(self.malformed("a vector loop carries a value without an operator"));
        }
        let (zero, extent) = (
            ops::constant(&mut self.b, types::I64, 0),
            self.uniform(l.extent)?,
        );
        let kinds = match Kinds::of(self.kernel, l) {
            _ if width < QUAD => Err(format!("{width} lanes do not fill a vector")),
            kinds => kinds,
        };
        let done = match kinds {
            Ok(kinds) => self.vector_groups(l, kinds, width, zero, extent)?,
            Err(reason) => {
                tracing::debug!(kernel = %self.kernel.name, reason, "loop is not vectorised");
                self.scalar_groups(l, width, zero, extent)?
            }
        };
        let (start, accs) = done;
        let results = if self.is_multiple(extent, width) {
            accs
        } else {
            let init = accs.into_iter().map(|value| vec![value]).collect();
            self.serial(l, start, extent, init)?.concat()
        };
        self.carried_out(l, results.into_iter().map(|value| vec![value]).collect())
    }

    /// Whether the extent is known to be a multiple of the width.
    fn is_multiple(&self, extent: Value, width: u32) -> bool {
        ops::as_iconst(&self.b, extent).is_some_and(|n| n >= 0 && n % i64::from(width) == 0)
    }

    /// All full groups in vectors. Returns where the rest begins, and the accumulators there.
    fn vector_groups(
        &mut self,
        l: &Loop,
        kinds: Kinds<'k>,
        width: u32,
        zero: Value,
        extent: Value,
    ) -> Result<(Value, Vec<Value>), EmitError> {
        let known = ops::as_iconst(&self.b, extent);
        let mut start = zero;
        let outer = std::mem::replace(&mut self.kinds, kinds);
        if l.carried.is_empty() {
            let size = num_insts(&l.body);
            let wide = match size {
                _ if size <= UNROLL_BY_4 => QUAD * 4,
                _ if size <= UNROLL_BY_2 => QUAD * 2,
                _ => QUAD,
            };
            if wide > width && known.is_none_or(|n| n >= i64::from(wide)) {
                start = self.groups(l, wide, start, extent, Vec::new())?.0;
            }
        }
        let init = l
            .carried
            .iter()
            .map(|carried| self.partials(carried, width));
        let init = init.collect::<Result<Vec<_>, _>>()?;
        let (end, partials) = self.groups(l, width, start, extent, init)?;
        let mut accs = Vec::new();
        for (carried, parts) in l.carried.iter().zip(partials) {
            accs.push(self.combine_lanes(carried, parts)?);
        }
        self.kinds = outer;
        Ok((end, accs))
    }

    /// Full groups of `width` lanes from `start` on.
    fn groups(
        &mut self,
        l: &Loop,
        width: u32,
        start: Value,
        extent: Value,
        init: Vec<Vec<Value>>,
    ) -> Result<(Value, Vec<Vec<Value>>), EmitError> {
        let end = self.groups_end(start, extent, width);
        let sizes: Vec<usize> = init.iter().map(Vec::len).collect();
        self.quads = (width / QUAD) as usize;
        let step = i64::from(width);
        let step = (step, self.looks.iterations(l, i64::from(QUAD)));
        let results = self.counted(start, end, step, init.concat(), |p, i, values| {
            p.set(
                l.var,
                Val::Affine {
                    base: i,
                    stride: Stride::Const(1),
                },
            )?;
            for (carried, parts) in l.carried.iter().zip(split(values, &sizes)) {
                p.set(carried.acc, Val::Lanes(parts))?;
            }
            p.block(&l.body)?;
            let next = l.carried.iter().map(|carried| p.lanes(carried.next));
            Ok(next.collect::<Result<Vec<_>, _>>()?.concat())
        })?;
        self.quads = 0;
        Ok((end, split(&results, &sizes)))
    }

    /// Where the last full group from `start` on ends.
    fn groups_end(&mut self, start: Value, extent: Value, width: u32) -> Value {
        let zero = ops::constant(&mut self.b, types::I64, 0);
        let left = self.b.ins().isub(extent, start);
        let left = self.b.ins().smax(left, zero);
        let whole = self.b.ins().band_imm_s(left, -i64::from(width));
        self.b.ins().iadd(start, whole)
    }

    /// The partial values that an accumulator begins with.
    fn partials(&mut self, carried: &Carried, width: u32) -> Result<Vec<Value>, EmitError> {
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

    /// Combines partial values by halves.
    fn combine_lanes(
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

    /// Combines partial values by halves, and then with the value before the loop.
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

    /// All full groups in scalar code, with the same partial values as vectors would have.
    fn scalar_groups(
        &mut self,
        l: &Loop,
        width: u32,
        zero: Value,
        extent: Value,
    ) -> Result<(Value, Vec<Value>), EmitError> {
        if l.carried.is_empty() {
            return Ok((zero, Vec::new()));
        }
        let lanes = width as usize;
        let mut init = Vec::new();
        for carried in &l.carried {
            let identity = self.identity(carried)?;
            init.resize(init.len() + lanes, identity);
        }
        let end = self.groups_end(zero, extent, width);
        let step = i64::from(width);
        let step = (step, self.looks.iterations(l, step));
        let results = self.counted(zero, end, step, init, |p, first, values| {
            let mut next = values.to_vec();
            for lane in 0..lanes {
                let i = p.b.ins().iadd_imm_s(first, lane as i64);
                p.set(l.var, Val::Uniform(i))?;
                for (position, carried) in l.carried.iter().enumerate() {
                    p.set(carried.acc, Val::Uniform(values[position * lanes + lane]))?;
                }
                p.block(&l.body)?;
                for (position, carried) in l.carried.iter().enumerate() {
                    next[position * lanes + lane] = p.uniform(carried.next)?;
                }
            }
            Ok(next)
        })?;
        let mut accs = Vec::new();
        for (carried, partials) in l.carried.iter().zip(results.chunks(lanes)) {
            accs.push(self.combine_scalars(carried, partials.to_vec())?);
        }
        Ok((end, accs))
    }
}

/// Cuts a list into pieces of these sizes.
fn split(values: &[Value], sizes: &[usize]) -> Vec<Vec<Value>> {
    let mut rest = values;
    sizes
        .iter()
        .map(|&size| {
            let (piece, others) = rest.split_at(size);
            rest = others;
            piece.to_vec()
        })
        .collect()
}

fn num_insts(block: &Block) -> usize {
    block
        .0
        .iter()
        .map(|inst| match inst {
            Inst::Let { .. } | Inst::Store { .. } | Inst::Barrier => 1,
            // A loop inside is worth no unrolling.
            Inst::Loop(_) => UNROLL_BY_2,
            Inst::If { then, .. } => 1 + num_insts(then),
        })
        .sum()
}
