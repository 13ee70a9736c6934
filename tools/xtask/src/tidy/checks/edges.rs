//! Crates depend on each other as the table in [`policy`] says, and in no other way.

use crate::tidy::Finding;
use crate::tidy::policy::{DEV_EVERYWHERE, EDGES, EDGES_FREE};
use crate::tidy::repo::Repo;

/// Every edge between crates of the workspace that no row allows, and every crate without a row.
pub(crate) fn check(repo: &Repo) -> Vec<Finding> {
    let is_ours = |name: &str| repo.packages.iter().any(|package| package.name == name);
    let mut findings = Vec::new();
    for package in &repo.packages {
        if EDGES_FREE.contains(&package.name.as_str()) {
            continue;
        }
        let Some(row) = EDGES.iter().find(|row| row.name == package.name) else {
            let message = "is not in the table of allowed edges (EDGES in tidy/policy.rs)";
            findings.push(Finding::new(&package.name, message));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|edge| is_ours(&edge.name))
        {
            let target = dependency.name.as_str();
            let is_allowed = row.normal.contains(&target)
                || dependency.is_dev
                    && (row.dev.contains(&target) || DEV_EVERYWHERE.contains(&target));
            if !is_allowed {
                let table = if dependency.is_dev {
                    "dev-dependencies"
                } else {
                    "dependencies"
                };
                let message = format!("must not depend on {target} in its [{table}]");
                findings.push(Finding::new(&package.name, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::repo::{Dependency, Package};

    fn findings(name: &str, target: &str, is_dev: bool) -> Vec<Finding> {
        let package = |name: &str, dependencies| Package {
            name: name.to_owned(),
            targets: Vec::new(),
            dependencies,
        };
        let edge = Dependency {
            name: target.to_owned(),
            is_dev,
        };
        let packages = vec![package(name, vec![edge]), package(target, Vec::new())];
        let of_name = |finding: &Finding| finding.place == name;
        check(&Repo {
            files: Vec::new(),
            packages,
        })
        .into_iter()
        .filter(of_name)
        .collect()
    }

    #[test]
    fn an_upward_edge_is_named_with_its_place() {
        let found = findings("alula-ir", "alula-opt", false);
        let message = "must not depend on alula-opt in its [dependencies]";
        assert_eq!(found, [Finding::new("alula-ir", message)]);
        assert!(findings("alula-opt", "alula-ir", false).is_empty());
    }

    #[test]
    fn test_only_edges_are_not_for_shipping() {
        assert!(findings("alula-ops", "alula-testkit", true).is_empty());
        assert_eq!(findings("alula-ops", "alula-testkit", false).len(), 1);
        assert_eq!(findings("alula-ops", "alula-onnx", true).len(), 1);
    }

    #[test]
    fn a_crate_needs_a_row_unless_it_is_free() {
        assert_eq!(findings("alula-novel", "alula-ir", false).len(), 1);
        assert!(findings("xtask", "alula-ir", false).is_empty());
    }
}
