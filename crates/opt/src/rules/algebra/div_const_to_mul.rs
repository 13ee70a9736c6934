//! Division by a constant is multiplication by its reciprocal, computed once. Reciprocals must be
//! normal numbers: subnormal divisors would become infinite factors.

use alula_ir::Graph;
use alula_tensor::DType;

use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn reciprocals_are_normal(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    let Some(tensor) = graph.as_constant(found.value("c")) else {
        return Err("the divisor is no constant".into());
    };
    let is_f32 = tensor.dtype() == DType::F32;
    let normal = tensor.to_f64s().into_iter().all(|value| {
        let reciprocal = 1.0 / value;
        match is_f32 {
            true => (reciprocal as f32).is_normal() && (value as f32).is_normal(),
            // Narrow floats would round twice.
            false => tensor.dtype() == DType::F64 && reciprocal.is_normal() && value.is_normal(),
        }
    });
    require(normal, "a divisor has no normal reciprocal")
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("div_const_to_mul", "x / c becomes x * (1 / c)")
    .matching(&["div(?x:float, ?c:const)"])
    .when(reciprocals_are_normal)
    .to("mul(?x, div(1, ?c))");
