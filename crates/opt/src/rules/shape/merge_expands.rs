//! Of two expansions in a row, the last one is enough.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("merge_expands", "expand(expand(x)) becomes one expand")
    .matching(&["expand(expand(?x){..}){to = ?t}"])
    .sharing()
    .to("expand(?x){to = ?t}");
