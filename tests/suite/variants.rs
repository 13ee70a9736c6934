//! Random graphs under each forced family of micro-kernels, which a process takes once: so each in
//! one of its own. `tools/variants` sends more of them.

use std::process::Command;

use alula_cpu::{ISA_VARIABLE, Isa};

/// Graphs of each family, other ones than those of the default.
const GRAPHS: &str = "60";
const SEED: &str = "20000";

#[test]
fn random_graphs_agree_under_each_forced_family() {
    let here = match cfg!(target_arch = "x86_64") {
        true => &[Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Amx][..],
        false => &[Isa::Portable, Isa::Neon][..],
    };
    for isa in here {
        if let Err(reason) = isa.require() {
            let name = format!("forced_{}_runs_random_graphs", isa.name());
            alula_testkit::skip(&name, &reason.to_string());
            continue;
        }
        let binary = std::env::current_exe().expect("this process has a file");
        let output = Command::new(binary)
            .args(["random_graphs_agree_with_their_reference", "--nocapture"])
            .env(ISA_VARIABLE, isa.name())
            .env("ALULA_RANDOM_GRAPHS", GRAPHS)
            .env("ALULA_RANDOM_SEED", SEED)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        let ran = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {said}{ran}", isa.name());
        assert!(ran.contains("1 passed"), "{}: {ran}", isa.name());
    }
}
