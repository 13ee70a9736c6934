//! Graphs to kernels and plans.

use alula::Target;
use alula::compile::{CompileOptions, compile};
use alula_kernel::text::{Printed, parse_kernel};
use alula_kernel::verify;
use alula_lower::build::Policy;
use alula_lower::cluster::Strategy;
use alula_lower::legalize::legalize;
use alula_lower::plan::{KernelWork, Lowered, lower};
use alula_lower::schedule::schedule;
use alula_program::{Check, Place, Plan, Slot, Step};
use alula_tests::backends::Backend;
use alula_tests::definitions::round_trip;

use super::text::graph;

fn lowered(text: &str, strategy: Strategy) -> Result<Lowered, String> {
    lower(graph(text)?, strategy).map_err(|error| error.to_string())
}

/// Groups under a strategy (`auto` if none is named), and why values were not fused.
pub(crate) fn fusion(text: &str, options: &[&str]) -> Result<String, String> {
    let strategy = options
        .first()
        .map_or(Ok(Strategy::Auto), |name| name.parse())?;
    let mut shown = String::new();
    for report in lowered(text, strategy)?.fusion {
        for group in report.groups {
            shown.push_str(&format!("group: {}\n", group.join(", ")));
        }
        for decision in report.decisions {
            if let Some(reason) = decision.refused {
                shown.push_str(&format!("{} is kept: {reason}\n", decision.value));
            }
        }
    }
    Ok(shown)
}

/// The kernel of each launch, laid out for a policy (`cpu`, `gpu` or `naive`), and `legal` for the
/// CPU if asked for. Contractions print as they are.
pub(crate) fn kernels(text: &str, options: &[&str]) -> Result<String, String> {
    let policy = match options.first() {
        Some(&"cpu") | None => Policy::Cpu { lanes: 4 },
        Some(&"gpu") => Policy::Gpu { lanes: 64 },
        Some(&"naive") => Policy::Naive,
        Some(other) => return Err(format!("there is no policy {other}")),
    };
    let caps = Backend::Cpu.caps().expect("it has words of its own");
    let mut shown = String::new();
    for launch in lowered(text, Strategy::Auto)?.launches {
        round_trip(&launch)?;
        let mut kernel = match &launch.work {
            KernelWork::Compute(compute) => {
                schedule(&launch.name, compute, &launch.params(compute), policy)
            }
            KernelWork::Contract(contract) => {
                shown.push_str(&format!("{}\n", Printed(contract.as_ref())));
                continue;
            }
            KernelWork::Kernel(kernel) => kernel.as_ref().clone(),
        };
        if options.contains(&"legal") {
            legalize(&mut kernel, &caps).map_err(|error| error.to_string())?;
        }
        verify(&kernel).map_err(|errors| format!("{errors:?}"))?;
        let printed = kernel.to_string();
        let again = parse_kernel(&printed).map_err(|error| format!("{error}\n{printed}"))?;
        if again.to_string() != printed {
            return Err(format!(
                "the kernel does not print as it parses:\n{printed}"
            ));
        }
        shown.push_str(&printed);
    }
    Ok(shown)
}

/// Slots and steps of each plan; with `cpu` as they are once kernels are built for it, and what
/// a run holds.
pub(crate) fn plan(text: &str, options: &[&str]) -> Result<String, String> {
    if options.contains(&"cpu") {
        let (graph, options) = (graph(text)?, CompileOptions::default());
        let compiled = compile(graph, Target::Cpu, &options).map_err(|error| error.to_string())?;
        let plans = compiled.program.plans.iter();
        let plans: String = plans.map(ToString::to_string).collect();
        return Ok(format!("{plans}peak {}\n", compiled.program.peak()));
    }
    let lowered = lowered(text, Strategy::Auto)?;
    let mut shown = String::new();
    for plan in &lowered.plans {
        show_plan(plan, &lowered, &mut shown);
    }
    Ok(shown)
}

fn show_plan(plan: &Plan, lowered: &Lowered, shown: &mut String) {
    let mut line = |text: String| {
        shown.push_str(&text);
        shown.push('\n');
    };
    line(format!("plan {}", plan.name));
    for def in &plan.symbols {
        line(format!("  symbol {}: {:?}", def.symbol, def.origin));
    }
    for Check {
        left,
        right,
        nodes,
        reason,
    } in &plan.checks
    {
        let reason = reason.iter().map(|reason| format!(", else {reason}"));
        let reason: String = reason.collect();
        line(format!("  check {left} = {right} for {nodes}{reason}"));
    }
    for (position, Slot { ty, bytes, place }) in plan.slots.iter().enumerate() {
        let place = match place {
            Place::Input(input) => format!("input {input}"),
            Place::Constant(constant) => format!("constant {constant}"),
            Place::Arena { first, last } => format!("arena, steps {first} to {last}"),
            Place::Dynamic => "made by its step".to_owned(),
            Place::Alias(other) => format!("as slot {}", other.0),
            Place::Part { base, offset } => format!("in slot {} from byte {offset}", base.0),
        };
        line(format!("  slot {position}: {ty}, {bytes} bytes, {place}"));
    }
    for (position, step) in plan.steps.iter().enumerate() {
        let slots = |all: &[alula_program::SlotId]| {
            let all: Vec<String> = all.iter().map(|slot| slot.0.to_string()).collect();
            all.join(", ")
        };
        let text = match step {
            Step::Launch { kernel, args, .. } => {
                format!(
                    "launch {} on {}",
                    lowered.launches[*kernel].name,
                    slots(args)
                )
            }
            Step::Host { name, results, .. } => format!("host {name} into {}", slots(results)),
            Step::Dims { result, .. } => format!("dims into {}", result.0),
            Step::If { results, .. } => format!("if into {}", slots(results)),
            Step::Loop { results, .. } => format!("loop into {}", slots(results)),
        };
        line(format!("  step {position}: {text}"));
    }
    for port in &plan.outputs {
        line(format!("  output {} is slot {}", port.name, port.slot.0));
    }
}
