//! Loops: serial ones, and loops over lanes as groups of vectors with a serial rest.
//!
//! A `Lanes(w)` loop runs `w` iterations at once while that many are left, then one by one. If it
//! carries nothing, groups may be wider than asked for; what accumulators keep is in `partials`.

use alula_kernel::{Block, Carried, Inst, Loop, LoopKind};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlagsData, Value, types};

use super::EmitError;
use super::kinds::{Kind, Kinds};
use super::ops;
use super::partials::Partials;
use super::printer::{Printer, Stride, Val};
use super::repr::QUAD;

/// Bodies of at most this many instructions are printed for four quads at once, when iterations
/// carry nothing.
const UNROLL_BY_4: usize = 12;
/// The same for two quads.
const UNROLL_BY_2: usize = 40;

impl<'k> Printer<'k, '_> {
    /// Prints a loop of any kind.
    pub(super) fn print_loop(&mut self, l: &'k Loop) -> Result<(), EmitError> {
        match l.kind {
            LoopKind::Lanes(width) if self.quads == 0 => self.lanes_loop(l, width),
            LoopKind::Serial if self.quads == 0 && self.wide_rows(l)? => Ok(()),
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

    fn carried_out(&mut self, l: &'k Loop, results: Vec<Vec<Value>>) -> Result<(), EmitError> {
        for (carried, parts) in l.carried.iter().zip(results) {
            let value = self.as_carried(carried, parts);
            self.set(carried.result, value)?;
        }
        Ok(())
    }

    /// Iterations `start..end` one by one; carried values by accumulator.
    fn serial(
        &mut self,
        l: &'k Loop,
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
    pub(super) fn counted(
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
    pub(super) fn nearer(&mut self, from: Value, end: Value, distance: i64) -> Value {
        let left = self.b.ins().isub(end, from);
        let distance = ops::constant(&mut self.b, types::I64, distance);
        let ahead = self.b.ins().smin(left, distance);
        self.b.ins().iadd(from, ahead)
    }

    fn lanes_loop(&mut self, l: &'k Loop, width: u32) -> Result<(), EmitError> {
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
        if let Err(reason) = &kinds {
            tracing::debug!(kernel = %self.kernel.name, reason, "loop is not vectorised");
        }
        if let Ok(kinds) = &kinds
            && let Some(results) = self.wide_loop(l, kinds, extent)?
        {
            let results = results.into_iter().map(|value| vec![value]).collect();
            return self.carried_out(l, results);
        }
        if l.carried.is_empty() {
            let start = match kinds {
                Ok(kinds) => self.vector_groups(l, kinds, width, zero, extent)?,
                Err(_) => zero,
            };
            if !self.is_multiple(extent, width) || start == zero {
                self.serial(l, start, extent, Vec::new())?;
            }
            return Ok(());
        }
        let partials = match kinds {
            Ok(kinds) => self.vector_partials(l, kinds, width, zero, extent)?,
            Err(_) => self.memory_partials(l, width, zero, extent, None)?,
        };
        let mut results = Vec::new();
        for (carried, partials) in l.carried.iter().zip(partials) {
            results.push(vec![self.combine(carried, partials)?]);
        }
        self.carried_out(l, results)
    }

    /// Whether the extent is known to be a multiple of the width.
    pub(super) fn is_multiple(&self, extent: Value, width: u32) -> bool {
        ops::as_iconst(&self.b, extent).is_some_and(|n| n >= 0 && n % i64::from(width) == 0)
    }

    /// All full groups in vectors, of a loop that carries nothing. Returns where the rest begins.
    fn vector_groups(
        &mut self,
        l: &'k Loop,
        kinds: Kinds<'k>,
        width: u32,
        zero: Value,
        extent: Value,
    ) -> Result<Value, EmitError> {
        let known = ops::as_iconst(&self.b, extent);
        let mut start = zero;
        let outer = std::mem::replace(&mut self.kinds, kinds);
        let size = num_insts(&l.body);
        let wide = match size {
            _ if size <= UNROLL_BY_4 => QUAD * 4,
            _ if size <= UNROLL_BY_2 => QUAD * 2,
            _ => QUAD,
        };
        if wide > width && known.is_none_or(|n| n >= i64::from(wide)) {
            start = self.groups(l, wide, start, extent, Vec::new())?.0;
        }
        let (end, _) = self.groups(l, width, start, extent, Vec::new())?;
        self.kinds = outer;
        Ok(end)
    }

    /// Partial values of all iterations: full groups in vectors, the rest in memory.
    fn vector_partials(
        &mut self,
        l: &'k Loop,
        kinds: Kinds<'k>,
        width: u32,
        zero: Value,
        extent: Value,
    ) -> Result<Vec<Partials>, EmitError> {
        let outer = std::mem::replace(&mut self.kinds, kinds);
        let init = l
            .carried
            .iter()
            .map(|carried| self.partials(carried, width));
        let init = init.collect::<Result<Vec<_>, _>>()?;
        let (end, partials) = self.groups(l, width, zero, extent, init)?;
        self.kinds = outer;
        if self.is_multiple(extent, width) {
            return Ok(partials.into_iter().map(Partials::Parts).collect());
        }
        self.memory_partials(l, width, end, extent, Some(partials))
    }

    /// Full groups of `width` lanes from `start` on.
    fn groups(
        &mut self,
        l: &'k Loop,
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
