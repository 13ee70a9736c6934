//! A rewrite rule is a file, a test file of the same name, and a line in the list of its set.

use crate::tidy::Finding;
use crate::tidy::policy::{RULE_TESTS_FOLDER, RULES_FOLDER};
use crate::tidy::repo::{File, Repo};
use crate::tidy::scan::has_word;

/// Rules without tests, tests without rules, and rules that their set does not list.
pub(crate) fn check(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &repo.files {
        if let Some((set, rule)) = set_and_name(file, RULES_FOLDER, ".rs")
            && rule != "mod"
        {
            let test = format!("{RULE_TESTS_FOLDER}{set}/{rule}.ir");
            if repo.file(&test).is_none() {
                let message = format!("has no test file {test}");
                findings.push(Finding::new(&file.path, message));
            }
            let list = format!("{RULES_FOLDER}{set}/mod.rs");
            if !repo.file(&list).is_some_and(|list| is_listed(list, rule)) {
                let message = format!("is not declared and listed in {list}");
                findings.push(Finding::new(&file.path, message));
            }
        }
        if let Some((set, rule)) = set_and_name(file, RULE_TESTS_FOLDER, ".ir") {
            let source = format!("{RULES_FOLDER}{set}/{rule}.rs");
            if repo.file(&source).is_none() {
                let message = format!("tests a rule that does not exist: {source}");
                findings.push(Finding::new(&file.path, message));
            }
        }
    }
    findings
}

/// The parts of `folder/SET/NAME.extension`.
fn set_and_name<'a>(file: &'a File, folder: &str, extension: &str) -> Option<(&'a str, &'a str)> {
    let path = file.path.strip_prefix(folder)?.strip_suffix(extension)?;
    path.split_once('/')
}

/// Whether the set declares the module of a rule and uses it in its list.
fn is_listed(list: &File, rule: &str) -> bool {
    let code = list.rust.as_ref().map_or("", |rust| rust.code.as_str());
    let is_declared = code.lines().any(|line| {
        let line = line.trim();
        has_word(line, "mod") && has_word(line, rule) && line.ends_with(';')
    });
    let path = format!("{rule}::");
    let is_used = code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || character == '_')
    });
    is_declared && is_used
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: (&str, &str) = (
        "crates/opt/src/rules/algebra/mod.rs",
        "//! Algebra.\nmod add_zero;\nmod mul_one;\npub const ALL: &[Rule] = &[add_zero::RULE];\n",
    );

    #[test]
    fn a_rule_with_its_test_and_its_line_is_fine() {
        let rule = ("crates/opt/src/rules/algebra/add_zero.rs", "");
        let test = ("tests/rules/algebra/add_zero.ir", "");
        assert_eq!(check(&Repo::of(&[LIST, rule, test])), []);
    }

    #[test]
    fn each_missing_part_is_found() {
        let rule = ("crates/opt/src/rules/algebra/mul_one.rs", "");
        let test = ("tests/rules/algebra/mul_one.ir", "");
        let found = check(&Repo::of(&[LIST, rule]));
        assert!(
            found[0]
                .message
                .contains("no test file tests/rules/algebra/mul_one.ir")
        );
        // Declared, but not in the list.
        assert!(found[1].message.contains("not declared and listed"));
        let found = check(&Repo::of(&[LIST, test]));
        assert!(found[0].message.contains("does not exist"), "{found:?}");
        let unlisted = ("crates/opt/src/rules/algebra/zero.rs", "");
        let its_test = ("tests/rules/algebra/zero.ir", "");
        assert_eq!(check(&Repo::of(&[LIST, unlisted, its_test])).len(), 1);
    }
}
