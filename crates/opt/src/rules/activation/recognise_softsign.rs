//! `x / (1 + |x|)`.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule =
    Rule::rounding("recognise_softsign", "x / (1 + |x|) becomes softsign(x)")
        .matching(&["div(?x:float, add(abs(?x), 1))"])
        .to("softsign(?x)");
