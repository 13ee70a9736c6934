//! Products of the recurrent weights with a state: row by row, or column by column of transposed
//! weights, and where they are kept until the cell takes them.

use alula_ir::LowerCtx;
use alula_kernel::ValueId;
use alula_tensor::{DType, Dim, Scalar, ScalarOp};

use super::place::Place;
use super::scan::{Extents, GATES, TRANSPOSED, WEIGHTS};
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
pub(super) fn columns(ctx: &LowerCtx<'_>, extents: &Extents) -> Option<[i64; 2]> {
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

impl Place {
    /// Products of rows `gates * H + j` of the recurrent weights with a vector: element `k` of it
    /// is loaded by `with`. Quantized weights take the hidden state before the step only.
    fn products(
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
}
