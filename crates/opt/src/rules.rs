//! The sets of rules. A new set is one line here.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use alula_ir::Graph;

use crate::engine::{Compiled, RuleSet, apply_rules};
use crate::fold::Folder;
use crate::options::{OptError, Options, Report};
use crate::rule::Rule;

mod activation;
mod algebra;
mod annotation;
mod attention;
mod conv;
mod fold;
mod form;
mod matmul;
mod norm;
mod quant;
mod shape;
mod transpose;

/// Sets by name, in no order of application (see `pipeline`).
const SETS: &[(&str, &[Rule])] = &[
    ("activation", activation::RULES),
    ("algebra", algebra::RULES),
    ("annotation", annotation::RULES),
    ("attention", attention::RULES),
    ("conv", conv::RULES),
    ("fold", fold::RULES),
    ("form", form::RULES),
    ("matmul", matmul::RULES),
    ("norm", norm::RULES),
    ("quant", quant::RULES),
    ("shape", shape::RULES),
    ("transpose", transpose::RULES),
];

/// The names of the sets with their rules.
pub fn sets() -> impl Iterator<Item = (&'static str, &'static [Rule])> {
    SETS.iter().copied()
}

/// All rules.
pub fn all_rules() -> impl Iterator<Item = &'static Rule> {
    SETS.iter().flat_map(|(_, rules)| *rules)
}

/// The rules of a set, parsed once.
///
/// # Panics
/// When a rule's text is wrong, which a test excludes.
pub(crate) fn compiled(set: &str) -> &'static [Compiled] {
    static COMPILED: OnceLock<BTreeMap<&'static str, Vec<Compiled>>> = OnceLock::new();
    let compile = |rule: &Rule| match Compiled::new(rule) {
        Ok(compiled) => compiled,
        Err(reason) => panic!("rule {}: {reason}", rule.name),
    };
    let sets = COMPILED.get_or_init(|| {
        sets()
            .map(|(name, rules)| (name, rules.iter().map(compile).collect()))
            .collect()
    });
    sets.get(set).map_or(&[], Vec::as_slice)
}

/// Applies one rule to a graph until it does not fire any more, for tests and tools.
///
/// # Errors
/// [`OptError::UnknownRule`], and [`OptError::Verify`] if `options` ask for verification.
pub fn apply_rule(graph: &mut Graph, name: &str, options: &Options) -> Result<Report, OptError> {
    let set = sets().find(|(_, rules)| rules.iter().any(|rule| rule.name == name));
    let Some((set, _)) = set else {
        return Err(OptError::UnknownRule(name.to_owned()));
    };
    let options = Options {
        only: Some([name.to_owned()].into()),
        ..options.clone()
    };
    let (mut folder, mut report) = (Folder::new(graph, &options), Report::default());
    let set = RuleSet::new(compiled(set), &options);
    apply_rules(graph, &set, &options, &mut folder, &mut report)?;
    report.folded_nodes = folder.nodes;
    report.folded_bytes = folder.bytes;
    report.fold_refused = folder.refused;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_parses_and_has_a_name_of_its_own() {
        let mut names = BTreeSet::new();
        for rule in all_rules() {
            if let Err(reason) = Compiled::new(rule) {
                panic!("{}: {reason}", rule.name);
            }
            assert!(names.insert(rule.name), "two rules are named {}", rule.name);
            assert!(
                !rule.summary.is_empty() && !rule.summary.ends_with('.'),
                "{}",
                rule.name
            );
        }
    }
}
