//! Several targets in one file, and what they do with it.

use crate::support::{Place, digits};

const TARGETS: [&str; 3] = ["cpu", "wgpu", "cuda"];

#[test]
fn one_artifact_serves_several_targets() {
    let place = Place::new();
    let model = digits().display().to_string();
    place.ok(&[
        "compile",
        &model,
        "-o",
        "all.alula",
        "--target",
        "cpu,wgpu,cuda",
    ]);
    let all = place
        .ok(&["--json", "inspect", "all.alula"])
        .json()
        .remove(0);
    let sections = all["sections"].as_array().expect("a list");
    let names: Vec<&str> = sections.iter().filter_map(|s| s["name"].as_str()).collect();
    for wanted in ["cpu/code", "wgpu/code", "cuda/code"] {
        assert!(names.contains(&wanted), "{names:?}");
    }
    assert_eq!(
        names.iter().filter(|name| name.contains("weights")).count(),
        1
    );
    for target in ["cpu", "wgpu", "cuda"] {
        let one = place.ok(&["--json", "inspect", "all.alula", "--target", target]);
        assert_eq!(one.json()[0]["programs"][0]["target"], target);
    }
    let devices = place.ok(&["--json", "devices"]).json();
    for device in devices {
        let target = device["target"].as_str().expect("a name").to_owned();
        if target == "reference" {
            continue;
        }
        let done = place.run(&["run", "all.alula", "--target", &target, "--random", "1"]);
        // A device that is not there is told, not run into.
        let wanted = if device["available"] == true { 0 } else { 1 };
        assert_eq!(done.code, wanted, "{target}: {}", done.stderr);
        if wanted == 1 {
            assert!(done.stderr.contains(&target), "{}", done.stderr);
        }
    }
}

#[test]
fn printed_definitions_are_worded_for_a_target() {
    let place = Place::new();
    let model = digits().display().to_string();
    let printed = place.ok(&["compile", &model, "--emit", "kernel"]).stdout;
    let count = ["compute (", "contract ("].map(|word| printed.matches(word).count());
    assert!(count.iter().all(|count| *count > 0), "{printed}");
    place.write("kernels.txt", printed);
    for target in TARGETS {
        let legal = place.ok(&["opt", "kernels.txt", "--target", target]).stdout;
        assert_eq!(
            legal.matches("kernel ").count(),
            count.iter().sum::<usize>(),
            "{legal}"
        );
    }
    place.write(
        "wrong.txt",
        "compute () -> f32[] over () {\n  result 1.5x\n}\n",
    );
    let done = place.run(&["opt", "wrong.txt"]);
    assert_eq!(done.code, 1);
    for word in ["wrong.txt:2:10", "'1.5x' is no f32"] {
        assert!(done.stderr.contains(word), "{}", done.stderr);
    }
}

#[test]
fn a_target_that_is_not_in_the_file_is_named() {
    let place = Place::new();
    let model = digits().display().to_string();
    place.ok(&["compile", &model, "-o", "cpu.alula"]);
    let done = place.run(&["run", "cpu.alula", "--target", "cuda", "--random", "1"]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("cuda") && done.stderr.contains("cpu"),
        "{}",
        done.stderr
    );
}

#[test]
fn stages_are_written_one_file_a_kernel() {
    let place = Place::new();
    let model = digits().display().to_string();
    place.ok(&[
        "compile",
        &model,
        "--emit-dir",
        "d",
        "--target",
        "cpu,wgpu,cuda",
    ]);
    for file in [
        "import.ir",
        "opt.ir",
        "prim.ir",
        "cpu/plan.txt",
        "wgpu/fusion.txt",
    ] {
        assert!(place.path("d").join(file).is_file(), "{file}");
    }
    for (folder, word) in [
        ("cpu/kernel", "contract"),
        ("cpu/clif", "function"),
        ("wgpu/wgsl", "@compute"),
        ("cuda/ptx", ".entry"),
    ] {
        let entries: Vec<_> = std::fs::read_dir(place.path("d").join(folder))
            .expect("a folder")
            .flatten()
            .collect();
        let has =
            |path: std::path::PathBuf| std::fs::read_to_string(path).expect("text").contains(word);
        assert!(
            entries.iter().any(|entry| has(entry.path())),
            "{folder} has no {word}"
        );
        // What a kernel becomes can be read again.
        if folder == "wgpu/wgsl" {
            let legal = place.path("d/wgpu/legal");
            let file = std::fs::read_dir(legal).expect("a folder").flatten().next();
            let path = file.expect("a kernel").path().display().to_string();
            place.ok(&["opt", &path, "--target", "wgpu"]);
        }
    }
    place.ok(&["opt", "d/opt.ir"]);
}
