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
    let links = linked(features, &["--edges", "normal", "--prefix", "none"]);
    assert!(links.contains("alula-runtime"), "{links}");
    for absent in [
        "cranelift",
        "alula-onnx",
        "alula-opt",
        "alula-lower",
        "alula-ops",
        "prost",
        "petgraph",
    ] {
        let found = links.lines().find(|line| line.starts_with(absent));
        let Some(found) = found.and_then(|line| line.split_whitespace().next()) else {
            continue;
        };
        let why = linked(features, &["--edges", "normal,features", "--invert", found]);
        panic!("loading an artifact links {found}, by way of\n{why}");
    }
}

/// What `cargo tree` prints. Cargo can be told by its environment to build every crate with the
/// features that the whole workspace needs, which is not what is asked here.
fn linked(features: &[&str], words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_RESOLVER_") || text.starts_with("CARGO_UNSTABLE_") {
            command.env_remove(&name);
        }
    }
    let output = command
        .args(["tree", "--package", "alula", "--no-default-features"])
        .args(features)
        .args(words)
        .arg("--offline")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    tree
}
