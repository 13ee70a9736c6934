//! The approximation of GELU by a hyperbolic tangent, `x/2 * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`,
//! in any order of its products.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("recognise_gelu_tanh", "the tanh form of gelu becomes gelu {tanh = true}")
    .matching(&[
        "mul(mul(?x:float, 0.5), add(tanh(mul(add(?x, mul(pow(?x, 3), ~0.044715)), ~0.7978845608028654)), 1))",
        "mul(mul(?x:float, add(tanh(mul(add(?x, mul(pow(?x, 3), ~0.044715)), ~0.7978845608028654)), 1)), 0.5)",
        "mul(?x:float, mul(add(tanh(mul(add(?x, mul(pow(?x, 3), ~0.044715)), ~0.7978845608028654)), 1), 0.5))",
        "mul(?x:float, add(mul(tanh(mul(add(?x, mul(pow(?x, 3), ~0.044715)), ~0.7978845608028654)), 0.5), 0.5))",
        "mul(mul(?x:float, 0.5), add(tanh(mul(add(?x, mul(mul(mul(?x, ?x), ?x), ~0.044715)), ~0.7978845608028654)), 1))",
        "mul(mul(?x:float, add(tanh(mul(add(?x, mul(mul(mul(?x, ?x), ?x), ~0.044715)), ~0.7978845608028654)), 1)), 0.5)",
        "mul(?x:float, mul(add(tanh(mul(add(?x, mul(mul(mul(?x, ?x), ?x), ~0.044715)), ~0.7978845608028654)), 1), 0.5))",
        "mul(?x:float, add(mul(tanh(mul(add(?x, mul(mul(mul(?x, ?x), ?x), ~0.044715)), ~0.7978845608028654)), 0.5), 0.5))",
        "mul(mul(?x:float, 0.5), add(tanh(mul(add(?x, mul(mul(mul(?x, ~0.044715), ?x), ?x)), ~0.7978845608028654)), 1))",
        "mul(mul(?x:float, add(tanh(mul(add(?x, mul(mul(mul(?x, ~0.044715), ?x), ?x)), ~0.7978845608028654)), 1)), 0.5)",
        "mul(?x:float, mul(add(tanh(mul(add(?x, mul(mul(mul(?x, ~0.044715), ?x), ?x)), ~0.7978845608028654)), 1), 0.5))",
        "mul(?x:float, add(mul(tanh(mul(add(?x, mul(mul(mul(?x, ~0.044715), ?x), ?x)), ~0.7978845608028654)), 0.5), 0.5))",
        "mul(mul(?x:float, 0.5), add(tanh(mul(mul(?x, ~0.7978845608028654), add(mul(mul(?x, ~0.044715), ?x), 1))), 1))",
        "mul(mul(?x:float, add(tanh(mul(mul(?x, ~0.7978845608028654), add(mul(mul(?x, ~0.044715), ?x), 1))), 1)), 0.5)",
        "mul(?x:float, mul(add(tanh(mul(mul(?x, ~0.7978845608028654), add(mul(mul(?x, ~0.044715), ?x), 1))), 1), 0.5))",
        "mul(?x:float, add(mul(tanh(mul(mul(?x, ~0.7978845608028654), add(mul(mul(?x, ~0.044715), ?x), 1))), 0.5), 0.5))",
        "mul(mul(?x:float, 0.5), add(tanh(mul(?x, add(mul(mul(?x, ?x), ~0.035677408136300125), ~0.7978845608028654))), 1))",
        "mul(mul(?x:float, add(tanh(mul(?x, add(mul(mul(?x, ?x), ~0.035677408136300125), ~0.7978845608028654))), 1)), 0.5)",
        "mul(?x:float, mul(add(tanh(mul(?x, add(mul(mul(?x, ?x), ~0.035677408136300125), ~0.7978845608028654))), 1), 0.5))",
        "mul(?x:float, add(mul(tanh(mul(?x, add(mul(mul(?x, ?x), ~0.035677408136300125), ~0.7978845608028654))), 0.5), 0.5))",
    ])
    .to("gelu(?x){tanh = true}");
