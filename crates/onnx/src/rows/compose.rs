//! Short forms for rows that build an operator out of many others.

use alula_ir::{Attrs, OpDef, ValueId};
use alula_ops::elementwise::arithmetic::{ADD, DIV, MUL, SUB};
use alula_ops::elementwise::choice::{CAST, SELECT};
use alula_ops::indexing::GATHER;
use alula_ops::reduce::REDUCE_SUM;
use alula_ops::shape::{CONCAT, DIMS, EXPAND, RESHAPE, SLICE, TRANSPOSE};
use alula_tensor::{DType, Dim, Tensor};

use super::{RowCtx, RowError};

/// One value, or why there is none.
pub(super) type Value = Result<ValueId, RowError>;

impl RowCtx<'_, '_> {
    /// An operator without attributes.
    pub(super) fn op(&mut self, op: &'static OpDef, operands: &[ValueId]) -> Value {
        self.push(op, operands, Attrs::new())
    }

    pub(super) fn add(&mut self, a: ValueId, b: ValueId) -> Value {
        self.op(&ADD, &[a, b])
    }

    pub(super) fn sub(&mut self, a: ValueId, b: ValueId) -> Value {
        self.op(&SUB, &[a, b])
    }

    pub(super) fn mul(&mut self, a: ValueId, b: ValueId) -> Value {
        self.op(&MUL, &[a, b])
    }

    pub(super) fn div(&mut self, a: ValueId, b: ValueId) -> Value {
        self.op(&DIV, &[a, b])
    }

    /// `a` where `cond` holds, else `b`.
    pub(super) fn select(&mut self, cond: ValueId, a: ValueId, b: ValueId) -> Value {
        self.op(&SELECT, &[cond, a, b])
    }

    /// A number of the dtype of `like`.
    pub(super) fn number(&mut self, like: ValueId, value: f64) -> Value {
        let dtype = self.ty(like)?.dtype;
        self.scalar(dtype, value)
    }

    /// `x` plus a number.
    pub(super) fn plus(&mut self, x: ValueId, value: f64) -> Value {
        let value = self.number(x, value)?;
        self.add(x, value)
    }

    /// `x` times a number.
    pub(super) fn times(&mut self, x: ValueId, factor: f64) -> Value {
        if factor == 1.0 {
            return Ok(x);
        }
        let factor = self.number(x, factor)?;
        self.mul(x, factor)
    }

    /// `x` in another dtype.
    pub(super) fn cast(&mut self, x: ValueId, to: DType) -> Value {
        if self.ty(x)?.dtype == to {
            return Ok(x);
        }
        self.push(&CAST, &[x], Attrs::new().with("to", to))
    }

    /// `x` under other extents.
    pub(super) fn view(&mut self, x: ValueId, to: Vec<Dim>) -> Value {
        if self.ty(x)?.shape == to {
            return Ok(x);
        }
        self.push(&RESHAPE, &[x], Attrs::new().with("to", to))
    }

    /// `x` with a new axis of extent 1 in front of `axis`.
    pub(super) fn unsqueeze(&mut self, x: ValueId, axis: usize) -> Value {
        let mut shape = self.ty(x)?.shape;
        shape.insert(axis, Dim::new(1));
        self.view(x, shape)
    }

    /// `x` repeated to these extents.
    pub(super) fn expand(&mut self, x: ValueId, to: Vec<Dim>) -> Value {
        if self.ty(x)?.shape == to {
            return Ok(x);
        }
        self.push(&EXPAND, &[x], Attrs::new().with("to", to))
    }

    /// `x` with its axes in another order.
    pub(super) fn permute(&mut self, x: ValueId, perm: &[i64]) -> Value {
        self.push(&TRANSPOSE, &[x], Attrs::new().with("perm", perm.to_vec()))
    }

    /// Slices of `x` along an axis at positions.
    pub(super) fn gather(&mut self, x: ValueId, indices: ValueId, axis: usize) -> Value {
        let attrs = Attrs::new().with("axis", axis as i64);
        self.push(&GATHER, &[x, indices], attrs)
    }

    /// The elements `start..end` of one axis.
    pub(super) fn part(&mut self, x: ValueId, axis: usize, start: Dim, end: Dim) -> Value {
        let attrs = Attrs::new()
            .with("axes", vec![axis as i64])
            .with("starts", vec![start])
            .with("ends", vec![end]);
        self.push(&SLICE, &[x], attrs)
    }

    /// Every `step`-th element of one axis.
    pub(super) fn every(&mut self, x: ValueId, axis: usize, start: i64, step: i64) -> Value {
        let attrs = Attrs::new()
            .with("axes", vec![axis as i64])
            .with("starts", vec![Dim::new(start)])
            .with("ends", vec![Dim::new(i64::MAX)])
            .with("steps", vec![step]);
        self.push(&SLICE, &[x], attrs)
    }

    /// Values joined along an axis.
    pub(super) fn join(&mut self, values: &[ValueId], axis: usize) -> Value {
        self.push(&CONCAT, values, Attrs::new().with("axis", axis as i64))
    }

    /// A reduction over axes.
    pub(super) fn reduce(
        &mut self,
        op: &'static OpDef,
        x: ValueId,
        axes: Vec<i64>,
        keepdims: bool,
    ) -> Value {
        let attrs = Attrs::new().with("axes", axes).with("keepdims", keepdims);
        self.push(op, &[x], attrs)
    }

    /// The sum of all elements, a scalar.
    pub(super) fn total(&mut self, x: ValueId) -> Value {
        let rank = self.rank(x)? as i64;
        self.reduce(&REDUCE_SUM, x, (0..rank).collect(), false)
    }

    /// A dim as an `i64` scalar.
    pub(super) fn dim(&mut self, dim: Dim) -> Value {
        let attrs = Attrs::new().with("values", vec![dim]).with("scalar", true);
        self.push(&DIMS, &[], attrs)
    }

    /// Dims as an `i64` list.
    pub(super) fn dims(&mut self, dims: Vec<Dim>) -> Value {
        self.push(&DIMS, &[], Attrs::new().with("values", dims))
    }

    /// `0, 1, .. count - 1` of a dtype.
    pub(super) fn iota(&mut self, dtype: DType, count: Dim) -> Value {
        let (zero, one) = (self.scalar(dtype, 0.0)?, self.scalar(dtype, 1.0)?);
        let attrs = Attrs::new().with("count", vec![count]);
        self.push(&alula_ops::shape::RANGE, &[zero, one], attrs)
    }

    /// A constant list of integers.
    pub(super) fn list(&mut self, values: &[i64]) -> ValueId {
        self.constant(Tensor::from_i64s(values))
    }
}

/// An attribute that takes one of a few words.
pub(super) fn one_of(name: &str, given: &str, words: &[&str]) -> Result<usize, RowError> {
    let found = words.iter().position(|word| *word == given);
    found.ok_or_else(|| RowError::Invalid(format!("attribute {name} is {given:?}")))
}
