//! Of two reshapes in a row, only the last one counts.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule =
    Rule::exact("merge_reshapes", "reshape(reshape(x)) becomes one reshape")
        .matching(&["reshape(reshape(?x){..}){to = ?t}"])
        .sharing()
        .to("reshape(?x){to = ?t}");
