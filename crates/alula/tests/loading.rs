//! What an application that loads artifacts links.

use std::process::Command;

#[test]
fn loading_links_no_compiler_and_no_front_end() {
    let gpus = ["--features", "wgpu,cuda"];
    for features in [&[][..], &gpus[..]] {
        check(features);
    }
}

fn check(features: &[&str]) {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "-p",
            "alula",
            "-e",
            "normal",
            "--no-default-features",
        ])
        .args(features)
        .args(["--prefix", "none", "--offline"])
        // Cargo can be told to build every crate with the features that the whole workspace needs.
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .env_remove("CARGO_UNSTABLE_FEATURE_UNIFICATION")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(tree.contains("alula-runtime"), "{tree}");
    for absent in [
        "cranelift",
        "alula-onnx",
        "alula-opt",
        "alula-lower",
        "alula-ops",
        "prost",
        "petgraph",
    ] {
        let found = tree.lines().find(|line| line.starts_with(absent));
        assert_eq!(found, None, "loading an artifact links {absent}");
    }
}
