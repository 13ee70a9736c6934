//! What `tidy` allows, as data. A change here is a change of the architecture or of the house
//! rules, and is reviewed as one.

/// The crates of this workspace that a crate may depend on.
pub(super) struct Edges {
    pub(super) name: &'static str,
    /// In `[dependencies]` and `[build-dependencies]`.
    pub(super) normal: &'static [&'static str],
    /// In `[dev-dependencies]`, besides `normal` and [`DEV_EVERYWHERE`].
    pub(super) dev: &'static [&'static str],
}

/// One row per crate; edges go one way, from later rows to earlier ones.
pub(super) const EDGES: &[Edges] = &[
    Edges {
        name: "alula-tensor",
        normal: &[],
        dev: &[],
    },
    Edges {
        name: "alula-program",
        normal: &["alula-tensor"],
        dev: &[],
    },
    Edges {
        name: "alula-kernel",
        normal: &["alula-tensor"],
        dev: &[],
    },
    Edges {
        name: "alula-ir",
        normal: &["alula-kernel", "alula-program", "alula-tensor"],
        dev: &[],
    },
    Edges {
        name: "alula-ops",
        normal: &["alula-ir", "alula-kernel", "alula-program", "alula-tensor"],
        dev: &[],
    },
    Edges {
        name: "alula-onnx",
        normal: &[
            "alula-ops",
            "alula-ir",
            "alula-program",
            "alula-kernel",
            "alula-tensor",
        ],
        dev: &[],
    },
    Edges {
        name: "alula-opt",
        normal: &["alula-ops", "alula-ir", "alula-tensor"],
        dev: &[],
    },
    Edges {
        name: "alula-lower",
        normal: &[
            "alula-kernel",
            "alula-program",
            "alula-ops",
            "alula-ir",
            "alula-tensor",
        ],
        dev: &[],
    },
    Edges {
        name: "alula-artifact",
        normal: &["alula-program", "alula-tensor"],
        dev: &[],
    },
    Edges {
        name: "alula-runtime",
        normal: &["alula-artifact", "alula-program", "alula-tensor"],
        dev: &[],
    },
    Edges {
        name: "alula-microkernel",
        normal: &[],
        dev: &[],
    },
    Edges {
        name: "alula-ptx-interpreter",
        normal: &[],
        dev: &[],
    },
    Edges {
        name: "alula-cpu",
        normal: &[
            "alula-microkernel",
            "alula-kernel",
            "alula-program",
            "alula-tensor",
        ],
        dev: &[],
    },
    Edges {
        name: "alula-wgpu",
        normal: &["alula-kernel", "alula-program", "alula-tensor"],
        dev: &[],
    },
    Edges {
        name: "alula-cuda",
        // The interpreter under a feature: a driver that needs no GPU.
        normal: &[
            "alula-ptx-interpreter",
            "alula-kernel",
            "alula-program",
            "alula-tensor",
        ],
        dev: &[],
    },
    Edges {
        name: "alula",
        normal: &[
            "alula-cpu",
            "alula-wgpu",
            "alula-cuda",
            "alula-runtime",
            "alula-artifact",
            "alula-lower",
            "alula-kernel",
            "alula-program",
            "alula-opt",
            "alula-onnx",
            "alula-ops",
            "alula-ir",
            "alula-tensor",
        ],
        dev: &[],
    },
    Edges {
        name: "alula-cli",
        normal: &["alula", "alula-runtime", "alula-tensor"],
        dev: &[],
    },
    Edges {
        name: "alula-testkit",
        normal: &["alula", "alula-ops", "alula-ir", "alula-tensor"],
        dev: &[],
    },
];

/// What any crate's tests may use.
pub(super) const DEV_EVERYWHERE: &[&str] = &["alula-testkit"];

/// Crates that nothing depends on and that may depend on everything.
pub(super) const EDGES_FREE: &[&str] = &["alula-tests", "alula-benches", "xtask"];

/// Folders of crates outside of the workspace, and why: fuzz targets need a nightly compiler.
pub(super) const OUTSIDE_WORKSPACE: &[&str] = &["fuzz/"];

/// Where rewrite rules live, and the tests of the same names.
pub(super) const RULES_FOLDER: &str = "crates/opt/src/rules/";
pub(super) const RULE_TESTS_FOLDER: &str = "tests/rules/";

/// Files above this many lines are listed, and above the next they fail.
pub(super) const LINES_NOTED: usize = 400;
pub(super) const LINES_MAX: usize = 800;

/// Longer files, each with the reason.
pub(super) const LONG_FILES: &[(&str, &str)] = &[];

/// Columns of a line of Rust.
pub(super) const COLUMNS_MAX: usize = 100;

/// Where lines may be wider: patterns of rules keep one node a line, as IR text does.
pub(super) const WIDE_PLACES: &[&str] = &["crates/opt/src/rules/*"];

/// What a generated file says within its first lines. Such files are free in length and width.
pub(super) const GENERATED_MARK: &str = concat!("do not", " edit");

/// Words that must not appear anywhere, each with the reason. Written in halves, because this file
/// is checked too.
pub(super) const WORDS: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/Us", "ers/"), "a path of one machine"),
    (concat!("<<<", "<<<< "), "a merge that was not finished"),
    (concat!(">>>", ">>>> "), "a merge that was not finished"),
];

/// Where unsafe code may be. `*` stands for anything, folders included.
pub(super) const UNSAFE_PLACES: &[&str] = &[
    "backends/cpu/*",
    // Entries of the micro-kernels take pointers.
    "benches/kernels/products.rs",
    "benches/kernels/depthwise.rs",
    "backends/*/src/device*",
    "crates/tensor/src/storage*",
    "crates/artifact/src/mmap*",
    "crates/onnx/src/map.rs",
    "crates/onnx/tests/*",
    "crates/onnx/src/external*",
    // An allocator that counts.
    "crates/alula/tests/allocations.rs",
];

/// Where collections without an order are forbidden.
pub(super) const ORDERED_PLACES: &[&str] =
    &["crates/ir/src/*", "crates/opt/src/*", "crates/lower/src/*"];

/// Whether `path` matches `pattern`, in which each `*` stands for any characters.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, rest)) => path.strip_prefix(start).is_some_and(|path| {
            let ends = path.char_indices().map(|(at, _)| at).chain([path.len()]);
            ends.into_iter().any(|at| matches(rest, &path[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_anything() {
        assert!(matches("a/*/b*", "a/x/y/bc"));
        assert!(matches("a/*", "a/"));
        assert!(!matches("a/*/b*", "a/xb"));
        assert!(!matches("a", "ab"));
    }

    #[test]
    fn edges_lead_to_earlier_rows_only() {
        for (index, row) in EDGES.iter().enumerate() {
            for target in row.normal.iter().chain(row.dev) {
                let at = EDGES.iter().position(|other| other.name == *target);
                assert!(at.is_some_and(|at| at < index), "{} -> {target}", row.name);
            }
        }
    }
}
