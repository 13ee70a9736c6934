//! Developer tasks.

#![expect(clippy::print_stdout, reason = "a developer tool talks on stdout")]

mod codegen;

fn main() -> anyhow::Result<()> {
    let task = std::env::args().nth(1);
    match task.as_deref() {
        Some("codegen-proto") => codegen::run(&codegen::workspace_root()),
        _ => anyhow::bail!("usage: xtask codegen-proto"),
    }
}
