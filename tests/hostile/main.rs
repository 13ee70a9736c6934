//! Models that ask for the absurd, through the whole pipeline: a clear error or the right answer,
//! at once, in little memory, and never a panic. Each runs in a process of its own, which counts
//! what it takes; `ALULA_TEST_COSTS=1` prints it.

mod bytes;
mod files;
mod sizes;
mod structure;
mod support;
mod time;
mod values;

/// The process of a case.
#[test]
fn one_case() {
    alula_tests::child::serve();
}
