//! Axes of a contraction with their strides in every operand.

use std::collections::BTreeMap;

use alula_kernel::{Affine, Contract, ContractOperand, Role, VarId};
use alula_tensor::Dim;

use super::{AxisMap, plan::Layout};

/// Index functions of a contraction as linear functions of its variables.
pub(super) struct Maps<'c> {
    pub(super) contract: &'c Contract,
    pub(super) a: Affine,
    pub(super) b: Affine,
    pub(super) c: Affine,
    /// Of the bias, once one is found.
    pub(super) bias: Affine,
}

/// The element offset as a function of the variables that have more than one value; `skip` names
/// axes that are left out.
pub(super) fn linear(
    contract: &Contract,
    index: &[Affine],
    layout: &Layout,
    skip: &[usize],
) -> Affine {
    let mut sum = Affine::constant(0_i64);
    for (axis, (index, stride)) in index.iter().zip(&layout.strides).enumerate() {
        if !skip.contains(&axis) {
            sum = sum.plus(&index.clone().times(stride));
        }
    }
    sum.terms
        .retain(|&var, _| !contract.epilogue.pool.extent(var).is(1));
    sum
}

/// An index in variables of the result's axes as one in the contraction's variables.
pub(super) fn through_result(contract: &Contract, index: &Affine) -> Affine {
    let by_var: BTreeMap<VarId, &Affine> = contract
        .epilogue
        .axes
        .iter()
        .map(|axis| axis.var)
        .zip(&contract.out)
        .collect();
    let mut sum = Affine::constant(index.offset.clone());
    for (var, coefficient) in &index.terms {
        let inner = by_var
            .get(var)
            .map_or_else(|| Affine::var(*var), |&inner| inner.clone());
        sum = sum.plus(&inner.times(coefficient));
    }
    sum
}

impl<'c> Maps<'c> {
    pub(super) fn new(
        contract: &'c Contract,
        layouts: &[Layout],
        result: &Layout,
        window_axes: &[usize],
    ) -> Maps<'c> {
        let side = |side: &ContractOperand, skip: &[usize]| {
            linear(contract, &side.index, &layouts[side.operand as usize], skip)
        };
        Maps {
            contract,
            a: side(&contract.a, window_axes),
            b: side(&contract.b, &[]),
            c: linear(contract, &contract.out, result, &[]),
            bias: Affine::constant(0_i64),
        }
    }

    pub(super) fn extent(&self, var: VarId) -> &Dim {
        self.contract.epilogue.pool.extent(var)
    }

    /// The variables of a role whose extent is not 1, in order.
    pub(super) fn vars(&self, role: Role) -> Vec<VarId> {
        let mut vars = self.contract.axes_of(role);
        vars.retain(|&var| !self.extent(var).is(1));
        vars
    }

    /// One axis with all strides.
    pub(super) fn axis(&self, var: VarId) -> AxisMap {
        AxisMap {
            extent: self.extent(var).clone(),
            a: self.a.coefficient(var),
            b: self.b.coefficient(var),
            c: self.c.coefficient(var),
            bias: self.bias.coefficient(var),
        }
    }
}

/// An axis with one position.
pub(super) fn unit() -> AxisMap {
    let zero = Dim::new(0);
    AxisMap {
        extent: Dim::new(1),
        a: zero.clone(),
        b: zero.clone(),
        c: zero.clone(),
        bias: zero,
    }
}

/// Merges neighbours that all operands walk as one axis.
pub(super) fn collapse(axes: Vec<AxisMap>) -> Vec<AxisMap> {
    let mut merged: Vec<AxisMap> = Vec::new();
    for axis in axes {
        let steps = |outer: &Dim, inner: &Dim| *outer == inner.clone() * axis.extent.clone();
        match merged.last_mut() {
            Some(outer)
                if steps(&outer.a, &axis.a)
                    && steps(&outer.b, &axis.b)
                    && steps(&outer.c, &axis.c)
                    && steps(&outer.bias, &axis.bias) =>
            {
                let extent = outer.extent.clone() * axis.extent.clone();
                *outer = AxisMap { extent, ..axis };
            }
            _ => merged.push(axis),
        }
    }
    merged
}
