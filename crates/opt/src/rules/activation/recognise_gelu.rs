//! The Gaussian error linear unit `x/2 * (1 + erf(x / sqrt 2))` in any order of its products.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "recognise_gelu",
    "x/2 * (1 + erf(x / sqrt 2)) becomes gelu(x)",
)
.matching(&[
    "mul(mul(?x:float, 0.5), add(erf(div(?x, ~1.4142135623730951)), 1))",
    "mul(mul(?x:float, add(erf(div(?x, ~1.4142135623730951)), 1)), 0.5)",
    "mul(?x:float, mul(add(erf(div(?x, ~1.4142135623730951)), 1), 0.5))",
    "mul(mul(?x:float, 0.5), add(erf(mul(?x, ~0.7071067811865476)), 1))",
    "mul(mul(?x:float, add(erf(mul(?x, ~0.7071067811865476)), 1)), 0.5)",
    "mul(?x:float, mul(add(erf(mul(?x, ~0.7071067811865476)), 1), 0.5))",
    "mul(?x:float, add(mul(erf(div(?x, ~1.4142135623730951)), 0.5), 0.5))",
    "mul(?x:float, add(mul(erf(mul(?x, ~0.7071067811865476)), 0.5), 0.5))",
])
.to("gelu(?x)");
