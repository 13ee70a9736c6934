//! What definitions may know of small constants.
//!
//! Those of one element are written into the definitions that load them: what a model passes as an
//! operand (the bounds of a clip, a scale) is a number to the code then, an epilogue of
//! micro-kernels may know it, and loops need no pointer for it. Of others the code knows a bound.

use std::borrow::Cow;

use alula_kernel::{Compute, ExprId, Pool, Substitution};
use alula_lower::plan::{KernelWork, Launch, Lowered};
use alula_tensor::{DType, Scalar, Tensor};

/// Elements of constants that are looked at, at most: factors for each channel, not weights.
const BOUNDED_MAX: usize = 1 << 14;

/// For each launch, what the elements of its constants do not exceed: a power of two, so that
/// kernels stay alike for different constants.
pub(super) fn bounds(lowered: &Lowered) -> Vec<Vec<Option<f32>>> {
    let of_constant: Vec<Option<f32>> = lowered.constants.iter().map(|(_, t)| bound(t)).collect();
    let of_launch = lowered.launches.iter().map(|launch| {
        let constants = launch.constants.iter();
        constants
            .map(|constant| of_constant[(*constant)?])
            .collect()
    });
    of_launch.collect()
}

/// The least power of two that no element exceeds in magnitude, if all are finite.
fn bound(tensor: &Tensor) -> Option<f32> {
    if tensor.dtype() != DType::F32 || tensor.len() > BOUNDED_MAX {
        return None;
    }
    let elements = tensor.to_f64s();
    if !elements.iter().all(|x| x.is_finite()) {
        return None;
    }
    let most = elements.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let bound = most.max(f64::from(f32::MIN_POSITIVE)).log2().ceil().exp2() as f32;
    bound.is_finite().then_some(bound)
}

/// The launch with its constants of one element in its definition.
pub(super) fn inlined<'l>(launch: &'l Launch, constants: &[(String, Tensor)]) -> Cow<'l, Launch> {
    let scalars: Vec<Option<(DType, Scalar)>> = launch
        .constants
        .iter()
        .map(|constant| {
            let (_, tensor) = constants.get((*constant)?)?;
            let is_number = tensor.len() == 1 && tensor.dtype() != DType::String;
            Some((tensor.dtype(), tensor.get(0).filter(|_| is_number)?))
        })
        .collect();
    if scalars.iter().all(Option::is_none) {
        return Cow::Borrowed(launch);
    }
    let mut launch = launch.clone();
    match &mut launch.work {
        KernelWork::Compute(compute) => inline(compute, &scalars),
        KernelWork::Contract(contract) => inline(&mut contract.epilogue, &scalars),
        KernelWork::Kernel(_) => {}
    }
    Cow::Owned(launch)
}

/// Replaces loads of such operands. Variables stay what they are: others refer to them.
pub(super) fn inline(compute: &mut Compute, scalars: &[Option<(DType, Scalar)>]) {
    let from = compute.pool.clone();
    let vars = compute.axes.iter().map(|axis| axis.var);
    let vars = vars.map(|var| (var, compute.pool.var_expr(var))).collect();
    let mut load = |pool: &mut Pool, operand: u32, dtype: DType, index: Vec<ExprId>| match scalars
        .get(operand as usize)
    {
        Some(Some((of, value))) if *of == dtype => pool.constant(dtype, *value),
        _ => pool.load(operand, dtype, index),
    };
    compute.body = compute.pool.import(
        &from,
        compute.body,
        &mut Substitution {
            vars,
            load: &mut load,
            acc: None,
        },
    );
}

#[cfg(test)]
mod tests {
    use alula_kernel::{Expr, Operand};
    use alula_tensor::{Dim, ScalarOp};

    use super::*;

    /// `out[i] = max(x[i], bounds[0])`, the bounds being this constant.
    fn launch(bounds: &Tensor) -> Launch {
        let operand = |len: usize| Operand {
            dtype: DType::F32,
            shape: vec![Dim::from(len)],
        };
        let operands = vec![operand(8), operand(bounds.len())];
        let mut compute = Compute::begin(operands, DType::F32, &[Dim::new(8)]);
        let at = compute.pool.var_expr(compute.axes[0].var);
        let first = compute.pool.dim(Dim::new(0));
        let value = compute.load(0, vec![at]);
        let bound = compute.load(1, vec![first]);
        let body = compute.pool.apply(ScalarOp::Max, &[value, bound]);
        Launch {
            work: KernelWork::Compute(Box::new(compute.finish(body))),
            name: "max".to_owned(),
            constants: vec![None, Some(0), None],
            layouts: Vec::new(),
        }
    }

    fn bound_after(bounds: &[f32]) -> Expr {
        let shape = [bounds.len()];
        let bounds = Tensor::from_slice(&shape, bounds).expect("a tensor");
        let launch = launch(&bounds);
        let launch = inlined(&launch, &[("bounds".to_owned(), bounds)]);
        let KernelWork::Compute(compute) = &launch.work else {
            panic!("a definition stays one");
        };
        let Expr::Apply { operands, .. } = &compute.pool.node(compute.body).expr else {
            panic!("the operator stays");
        };
        compute.pool.node(operands[1]).expr.clone()
    }

    #[test]
    fn writes_one_element_and_keeps_loads_of_several() {
        assert!(matches!(bound_after(&[6.0]), Expr::Const(_)));
        assert!(matches!(bound_after(&[6.0, 7.0]), Expr::Load { .. }));
    }
}
