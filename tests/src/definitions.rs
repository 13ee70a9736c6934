//! Definitions and contractions as text and back.

use alula_kernel::text::{Printed, parse_definitions};
use alula_kernel::{verify_compute, verify_contract};
use alula_lower::plan::{KernelWork, Launch};

/// Definitions and contractions verify, print, and print again as they parse.
///
/// # Errors
/// What does not hold, with the text.
pub fn round_trip(launch: &Launch) -> Result<(), String> {
    let name = launch.name.as_str();
    let (verified, printed) = match &launch.work {
        KernelWork::Compute(compute) => (
            verify_compute(name, compute),
            Printed(compute.as_ref()).to_string(),
        ),
        KernelWork::Contract(contract) => (
            verify_contract(name, contract),
            Printed(contract.as_ref()).to_string(),
        ),
        KernelWork::Kernel(_) => return Ok(()),
    };
    verified.map_err(|errors| format!("{errors:?}\n{printed}"))?;
    let parsed = parse_definitions(&printed).map_err(|error| format!("{error}\n{printed}"))?;
    let again: String = parsed.iter().map(ToString::to_string).collect();
    match again == printed {
        true => Ok(()),
        false => Err(format!(
            "the definition does not print as it parses:\n{printed}{again}"
        )),
    }
}
