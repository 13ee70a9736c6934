//! The kernel of a scan: its loops over steps, and a cell's place in them.

use alula_ir::{LowerCtx, LowerError};
use alula_kernel::{Access, Kernel, ValueId};
use alula_tensor::{DType, Dim, Scalar, ScalarOp};

use super::quantized::{Params, Quantized};
use super::scan::{Extents, GATES, LENGTHS, TRANSPOSED, WEIGHTS};
use crate::loops::Loops;

/// Hidden elements whose products are computed at a time.
const BLOCK: i64 = 64;
/// Products of a hidden element at most.
const GATES_MAX: i64 = 4;
/// Columns of transposed weights that are added at a time: a sum is loaded and stored for them all.
const COLUMNS: i64 = 8;
/// Products of a step that [`Place::each`] keeps at most.
const SUMS_MAX: i64 = 1 << 13;

/// The array that [`Place::each`] keeps products in.
pub(super) fn keep_sums(l: &mut Loops, ctx: &LowerCtx<'_>) {
    let sums = columns(ctx, &Extents::of(ctx)).map_or(BLOCK * GATES_MAX, |[rows, _]| rows);
    l.local("sums", ctx.tensor(GATES).dtype.compute(), sums as u32);
}

/// Rows and columns of weights that are read column by column.
fn columns(ctx: &LowerCtx<'_>, extents: &Extents) -> Option<[i64; 2]> {
    let [rows, columns] = [extents.rows.as_const()?, extents.hidden.as_const()?];
    (ctx.attrs.bool(TRANSPOSED.name) && rows <= SUMS_MAX).then_some([rows, columns])
}

/// What the products of a gate's rows are added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The gate's input.
    Input,
    /// Nothing.
    Zero,
}

/// A kernel's place in one step of one sequence.
pub(super) struct Place {
    pub(super) hidden: Dim,
    /// Values are computed in this dtype.
    pub(super) dtype: DType,
    /// Direction, an `i64`.
    pub(super) direction: ValueId,
    /// First element of the gates' inputs.
    gates: ValueId,
    /// First element of the direction's recurrent weights.
    weights: ValueId,
    /// First element of the step in result 0, all hidden states.
    all: ValueId,
    /// First element in the last states.
    pub(super) state: ValueId,
    /// Position of result 0 among the parameters.
    first_result: usize,
    /// Number of the direction's first row of weights.
    first_row: ValueId,
    /// Elements between rows of weights, and between columns.
    strides: [Dim; 2],
    /// Columns of weights, if they are read column by column.
    columns: Option<i64>,
    /// Where the hidden state is quantized: the operands for weights, and the step's scale.
    quantized: Option<(Params, ValueId)>,
}

impl Place {
    /// Input of gate `gate` of hidden element `j`; those of the next gate follow.
    pub(super) fn gate(&self, l: &mut Loops, gate: i64, j: ValueId) -> ValueId {
        let row = self.row(l, gate, j);
        let at = l.add(self.gates, row);
        let value = l.load(GATES, at);
        l.cast(value, self.dtype)
    }

    /// `gate * H + j`.
    pub(super) fn row(&self, l: &mut Loops, gate: i64, j: ValueId) -> ValueId {
        let offset = l.dim(self.hidden.clone() * Dim::new(gate));
        l.add(offset, j)
    }

    /// Products of rows `gates * H + j` of the recurrent weights with a vector: element `k` of it
    /// is loaded by `with`. Quantized weights take the hidden state before the step only.
    pub(super) fn products(
        &self,
        l: &mut Loops,
        gates: &[i64],
        j: ValueId,
        with: impl Fn(&mut Loops, ValueId) -> ValueId,
    ) -> Vec<ValueId> {
        let rows: Vec<ValueId> = gates.iter().map(|&gate| self.row(l, gate, j)).collect();
        let [of_row, of_column] = &self.strides;
        let start = |l: &mut Loops, row: ValueId| {
            let offset = l.times(row, of_row.clone());
            l.add(self.weights, offset)
        };
        let starts: Vec<ValueId> = rows.iter().map(|&row| start(l, row)).collect();
        let Some((params, step_scale)) = self.quantized else {
            let dtype = self.dtype;
            return l.sums(self.hidden.clone(), dtype, gates.len(), |l, k| {
                let element = with(l, k);
                starts
                    .iter()
                    .map(|&start| {
                        let offset = l.times(k, of_column.clone());
                        let at = l.add(start, offset);
                        let weight = l.load(WEIGHTS, at);
                        let weight = l.cast(weight, dtype);
                        l.mul(weight, element)
                    })
                    .collect()
            });
        };
        let rows: Vec<ValueId> = rows.iter().map(|&row| l.add(self.first_row, row)).collect();
        let zeros: Vec<_> = rows.iter().map(|&row| params.zero(l, row)).collect();
        let sums = l.sums(self.hidden.clone(), DType::I32, gates.len(), |l, k| {
            let code = self.before(l, 0, k);
            let code = l.cast(code, DType::I32);
            let terms = starts.iter().zip(&zeros);
            terms
                .map(|(&start, &zero)| {
                    let at = l.add(start, k);
                    let weight = params.weight(l, at, zero);
                    l.mul(weight, code)
                })
                .collect()
        });
        let sums = sums.into_iter().zip(rows);
        sums.map(|(sum, row)| params.scaled(l, sum, step_scale, row))
            .collect()
    }

    /// Every hidden element `j` in turn: `cell` gets it and, for each gate, what it starts with and
    /// the products of its rows, as [`Place::products`] gives them. Those of a block of elements
    /// are computed first and kept in the array `sums`, so that the rest runs in lanes. `gates`
    /// follow one another.
    pub(super) fn each(
        &self,
        l: &mut Loops,
        sums: u32,
        gates: &[(i64, Start)],
        with: impl Fn(&mut Loops, ValueId) -> ValueId,
        cell: impl FnOnce(&mut Loops, ValueId, &[ValueId]),
    ) {
        if let Some(columns) = self.columns {
            self.sum_columns(l, sums, gates, columns, with);
            let hidden = l.dim(self.hidden.clone());
            return l.repeat_lanes(hidden, |l, j| {
                let product = |position| {
                    let at = self.row(l, position, j);
                    l.load_local(sums, at)
                };
                let products: Vec<ValueId> = (0..gates.len() as i64).map(product).collect();
                cell(l, j, &products);
            });
        }
        let blocks = (self.hidden.clone() + Dim::new(BLOCK - 1)).floor_div(&Dim::new(BLOCK));
        let hidden = l.dim(self.hidden.clone());
        let block = l.constant(DType::I64, Scalar::Int(i128::from(BLOCK)));
        let kept = |l: &mut Loops, position: usize, in_block: ValueId| {
            let first = i128::from(BLOCK) * position as i128;
            let first = l.constant(DType::I64, Scalar::Int(first));
            l.add(first, in_block)
        };
        l.repeat(blocks, |l, number| {
            let first = l.mul(number, block);
            let left = l.apply(ScalarOp::Sub, &[hidden, first]);
            let extent = l.apply(ScalarOp::Min, &[block, left]);
            l.repeat_value(extent, |l, in_block| {
                let j = l.add(first, in_block);
                let numbers: Vec<i64> = gates.iter().map(|&(gate, _)| gate).collect();
                let products = self.products(l, &numbers, j, with);
                for (position, product) in products.into_iter().enumerate() {
                    let at = kept(l, position, in_block);
                    l.store_local(sums, at, product);
                }
            });
            l.repeat_lanes(extent, |l, in_block| {
                let j = l.add(first, in_block);
                let numbered = gates.iter().enumerate();
                let products: Vec<ValueId> = numbered
                    .map(|(position, &(gate, start))| {
                        let at = kept(l, position, in_block);
                        let product = l.load_local(sums, at);
                        match start {
                            Start::Input => {
                                let input = self.gate(l, gate, j);
                                l.add(input, product)
                            }
                            Start::Zero => product,
                        }
                    })
                    .collect();
                cell(l, j, &products);
            });
        });
    }

    /// Computes what [`Place::each`] keeps of some gates: column by column, so that lanes are rows,
    /// which are adjacent in transposed weights.
    fn sum_columns(
        &self,
        l: &mut Loops,
        sums: u32,
        gates: &[(i64, Start)],
        columns: i64,
        with: impl Fn(&mut Loops, ValueId) -> ValueId,
    ) {
        let rows = l.dim(self.hidden.clone() * Dim::new(gates.len() as i64));
        let mut first = 0;
        for alike in gates.chunk_by(|a, b| a.1 == b.1) {
            let zero = l.constant(self.dtype, Scalar::Float(0.0));
            let extent = l.dim(self.hidden.clone() * Dim::new(alike.len() as i64));
            l.repeat_lanes(extent, |l, row| {
                let value = match alike[0] {
                    (gate, Start::Input) => self.gate(l, gate, row),
                    (_, Start::Zero) => zero,
                };
                let at = self.row(l, first, row);
                l.store_local(sums, at, value);
            });
            first += alike.len() as i64;
        }
        let before = l.dim(self.hidden.clone() * Dim::new(gates[0].0));
        let start = l.add(self.weights, before);
        let add = |l: &mut Loops, first: ValueId, count: i64| {
            let mut terms = Vec::new();
            for column in 0..count {
                let column = l.constant(DType::I64, Scalar::Int(i128::from(column)));
                let column = l.add(first, column);
                let offset = l.times(column, self.strides[1].clone());
                terms.push((l.add(start, offset), with(l, column)));
            }
            l.repeat_lanes(rows, |l, row| {
                let mut sum = l.load_local(sums, row);
                for (start, element) in terms {
                    let at = l.add(start, row);
                    let weight = l.load(WEIGHTS, at);
                    let weight = l.cast(weight, self.dtype);
                    let term = l.mul(weight, element);
                    sum = l.add(sum, term);
                }
                l.store_local(sums, row, sum);
            });
        };
        l.repeat(Dim::new(columns / COLUMNS), |l, at| {
            let first = l.times(at, Dim::new(COLUMNS));
            add(l, first, COLUMNS);
        });
        let rest = columns % COLUMNS;
        if rest > 0 {
            let first = l.constant(DType::I64, Scalar::Int(i128::from(columns - rest)));
            add(l, first, rest);
        }
    }

    /// Element `k` of a state before the step: 0 for the hidden one.
    pub(super) fn before(&self, l: &mut Loops, state: usize, k: ValueId) -> ValueId {
        let at = l.add(self.state, k);
        let value = l.load(self.first_result + 1 + state, at);
        l.cast(value, self.dtype)
    }

    /// Replaces element `k` of a state.
    pub(super) fn replace(&self, l: &mut Loops, state: usize, k: ValueId, value: ValueId) {
        let at = l.add(self.state, k);
        l.store(self.first_result + 1 + state, at, value);
    }

    /// Notes element `k` of the hidden state after the step.
    pub(super) fn note(&self, l: &mut Loops, k: ValueId, value: ValueId) {
        let at = l.add(self.all, k);
        l.store(self.first_result, at, value);
    }

    /// Element `k` of what [`Place::note`] wrote in this step.
    pub(super) fn noted(&self, l: &mut Loops, k: ValueId) -> ValueId {
        let at = l.add(self.all, k);
        let value = l.load(self.first_result, at);
        l.cast(value, self.dtype)
    }

    /// Makes what was noted the hidden state.
    pub(super) fn adopt(&self, l: &mut Loops) {
        let hidden = l.dim(self.hidden.clone());
        l.repeat_lanes(hidden, |l, k| {
            let value = self.noted(l, k);
            self.replace(l, 0, k, value);
        });
    }
}

/// The loops around a cell.
pub(super) struct Walk<'c> {
    ctx: &'c LowerCtx<'c>,
    extents: Extents,
    direction: ValueId,
    first_result: usize,
}

impl Walk<'_> {
    pub(super) fn batch(&self) -> Dim {
        self.extents.batch.clone()
    }

    pub(super) fn hidden(&self) -> Dim {
        self.extents.hidden.clone()
    }

    /// The parameter with the hidden states.
    pub(super) fn hidden_param(&self) -> usize {
        self.first_result + 1
    }

    fn gates_dtype(&self) -> DType {
        self.ctx.tensor(GATES).dtype
    }

    /// First element of a sequence's states.
    pub(super) fn state(&self, l: &mut Loops, run: ValueId) -> ValueId {
        let place = l.times(self.direction, self.batch());
        let place = l.add(place, run);
        l.times(place, self.hidden())
    }

    /// Writes the first states of a sequence, which are in the operands `firsts`.
    fn begin(&self, l: &mut Loops, run: ValueId, firsts: &[usize]) {
        let state = self.state(l, run);
        for (kind, &first) in firsts.iter().enumerate() {
            let param = self.ctx.has(first).then(|| self.ctx.present(first));
            l.repeat(self.hidden(), |l, k| {
                let at = l.add(state, k);
                let value = match param {
                    Some(param) => l.load(param, at),
                    None => l.constant(self.gates_dtype(), Scalar::Float(0.0)),
                };
                l.store(self.first_result + 1 + kind, at, value);
            });
        }
    }

    /// Number of a sequence's steps.
    fn length(&self, l: &mut Loops, run: ValueId) -> ValueId {
        let steps = l.dim(self.extents.steps.clone());
        if !self.ctx.has(LENGTHS) {
            return steps;
        }
        let given = l.load(self.ctx.present(LENGTHS), run);
        let given = l.cast(given, DType::I64);
        let zero = l.constant(DType::I64, Scalar::Int(0));
        let some = l.apply(ScalarOp::Max, &[given, zero]);
        l.apply(ScalarOp::Min, &[some, steps])
    }

    /// Whether the step before `k` of a sequence left its state; `None` where all did.
    pub(super) fn left_state(&self, l: &mut Loops, run: ValueId, k: ValueId) -> Option<ValueId> {
        self.ctx.has(LENGTHS).then(|| {
            let length = self.length(l, run);
            l.apply(ScalarOp::Le, &[k, length])
        })
    }

    /// What happens to a sequence that has a step `k`; `body` gets its length.
    pub(super) fn if_runs(
        &self,
        l: &mut Loops,
        run: ValueId,
        k: ValueId,
        body: impl FnOnce(&mut Loops, ValueId),
    ) {
        let length = self.length(l, run);
        if !self.ctx.has(LENGTHS) {
            return body(l, length);
        }
        let runs = l.apply(ScalarOp::Lt, &[k, length]);
        l.when(runs, |l| body(l, length));
    }

    /// First element of a step in result 0.
    fn first_of(&self, l: &mut Loops, step: ValueId, run: ValueId) -> ValueId {
        let at = l.times(step, self.extents.directions.clone());
        let at = l.add(at, self.direction);
        let at = l.times(at, self.batch());
        let at = l.add(at, run);
        l.times(at, self.hidden())
    }

    /// The place of step `k` of a sequence with `length` steps.
    fn place(
        &self,
        l: &mut Loops,
        run: ValueId,
        (k, length): (ValueId, ValueId),
        quantized: Option<(Params, ValueId)>,
    ) -> Place {
        let (rows, hidden) = (self.extents.rows.clone(), self.hidden());
        let columns = columns(self.ctx, &self.extents).map(|[_, columns]| columns);
        let one = l.constant(DType::I64, Scalar::Int(1));
        let from_end = l.apply(ScalarOp::Sub, &[length, k]);
        let from_end = l.apply(ScalarOp::Sub, &[from_end, one]);
        let is_single = self.extents.directions.is(1);
        let step = match (is_single, self.ctx.attrs.bool("reverse")) {
            (true, true) => from_end,
            (true, false) => k,
            (false, _) => {
                let is_second = l.apply(ScalarOp::Eq, &[self.direction, one]);
                l.apply(ScalarOp::Select, &[is_second, from_end, k])
            }
        };
        let gates = l.times(step, self.batch());
        let gates = l.add(gates, run);
        let gates = l.times(gates, self.extents.directions.clone());
        let gates = l.add(gates, self.direction);
        let first_row = l.times(self.direction, rows.clone());
        Place {
            hidden: self.hidden(),
            dtype: self.gates_dtype().compute(),
            direction: self.direction,
            gates: l.times(gates, rows.clone()),
            weights: l.times(first_row, hidden.clone()),
            all: self.first_of(l, step, run),
            state: self.state(l, run),
            first_result: self.first_result,
            first_row,
            strides: match self.ctx.attrs.bool(TRANSPOSED.name) {
                true => [Dim::new(1), rows],
                false => [hidden, Dim::new(1)],
            },
            columns,
            quantized,
        }
    }

    /// Writes zeros after the last step of a sequence.
    fn end(&self, l: &mut Loops, run: ValueId) {
        let steps = l.dim(self.extents.steps.clone());
        let length = self.length(l, run);
        let rest = l.apply(ScalarOp::Sub, &[steps, length]);
        l.repeat_value(rest, |l, k| {
            let step = l.add(length, k);
            let at = self.first_of(l, step, run);
            l.repeat(self.hidden(), |l, j| {
                let at = l.add(at, j);
                let zero = l.constant(self.gates_dtype(), Scalar::Float(0.0));
                l.store(self.first_result, at, zero);
            });
        });
    }
}

/// The kernel: a point for each direction and sequence, and the steps one after the other. Where
/// the hidden states are quantized, sequences share a range: a point for each direction, and within
/// a step the sequences one after the other.
///
/// The states live in their results, so that any hidden size will do. `firsts` are the operands
/// with the first states.
pub(super) fn lower(
    ctx: &LowerCtx<'_>,
    firsts: &[usize],
    quantized: Option<Quantized>,
    prepare: impl FnOnce(&mut Loops),
    cell: impl FnOnce(&mut Loops, &Place),
) -> Result<Kernel, LowerError> {
    let mut l = Loops::begin(ctx, Access::ReadWrite)?;
    prepare(&mut l);
    let extents = Extents::of(ctx);
    let walk = Walk {
        ctx,
        direction: l.grid(extents.directions.clone()),
        extents,
        first_result: ctx.operands.iter().flatten().count(),
    };
    let Some(params) = quantized.and_then(|quantized| Params::new(ctx, quantized)) else {
        let run = l.grid(walk.batch());
        walk.begin(&mut l, run, firsts);
        let length = walk.length(&mut l, run);
        l.repeat_value(length, |l, k| {
            let place = walk.place(l, run, (k, length), None);
            cell(l, &place);
        });
        walk.end(&mut l, run);
        return Ok(l.finish());
    };
    l.repeat(walk.batch(), |l, run| walk.begin(l, run, firsts));
    l.repeat(walk.extents.steps.clone(), |l, k| {
        let scale = params.quantize(l, &walk, k);
        l.repeat(walk.batch(), |l, run| {
            walk.if_runs(l, run, k, |l, length| {
                let place = walk.place(l, run, (k, length), Some((params, scale)));
                cell(l, &place);
            });
        });
    });
    l.repeat(walk.batch(), |l, run| walk.end(l, run));
    Ok(l.finish())
}
