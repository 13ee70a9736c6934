//! How many rows products have that only a run knows of.

use std::collections::BTreeSet;

use alula_kernel::{Contract, Role};
use alula_lower::plan::{KernelWork, Lowered};
use alula_program::{Plan, Step};
use alula_tensor::Dim;

/// Rows where nothing tells: a sentence.
const SOME: i64 = 128;
/// Rows of a model that keeps a cache of what was before: a run adds a token or a few. And those of
/// a product in the body of a loop over what could else be rows: a batch, which is 1 as a rule.
const FEW: i64 = 1;

/// What unknown numbers of rows are taken to be.
pub(super) struct Rows {
    about: i64,
    /// The launches of bodies of loops.
    repeated: BTreeSet<usize>,
}

impl Rows {
    pub(super) fn new(lowered: &Lowered) -> Rows {
        let mut repeated = BTreeSet::new();
        for step in lowered.plans.iter().flat_map(|plan| &plan.steps) {
            if let Step::Loop { body, .. } = step {
                launches(&lowered.plans, *body, &mut repeated);
            }
        }
        Rows {
            about: about(lowered),
            repeated,
        }
    }

    /// In this launch.
    pub(super) fn of(&self, launch: usize) -> i64 {
        match self.repeated.contains(&launch) {
            true => FEW,
            false => self.about,
        }
    }
}

/// The launches of a plan, and of those that it runs.
fn launches(plans: &[Plan], plan: usize, into: &mut BTreeSet<usize>) {
    for step in &plans[plan].steps {
        match step {
            Step::Launch { kernel, .. } => {
                into.insert(*kernel);
            }
            Step::Loop { body, .. } => launches(plans, *body, into),
            Step::If {
                then: (then, _),
                otherwise: (otherwise, _),
                ..
            } => {
                launches(plans, *then, into);
                launches(plans, *otherwise, into);
            }
            Step::Dims { .. } | Step::Host { .. } => {}
        }
    }
}

/// What an unknown number of rows is taken to be in a graph.
fn about(lowered: &Lowered) -> i64 {
    let extends = lowered.launches.iter().any(|launch| match &launch.work {
        KernelWork::Contract(contract) => extends_cache(contract),
        KernelWork::Compute(_) | KernelWork::Kernel(_) => false,
    });
    match extends {
        true => FEW,
        false => SOME,
    }
}

/// Whether rows meet themselves and others before them, as the queries of one run meet the keys of
/// all: `past + sequence` columns for `sequence` rows.
fn extends_cache(contract: &Contract) -> bool {
    let extents = |role: Role| {
        let vars = contract.axes_of(role).into_iter();
        vars.map(|var| contract.epilogue.pool.extent(var).clone())
    };
    let rows: Vec<Dim> = extents(Role::M)
        .filter(|rows| rows.as_symbol().is_some())
        .collect();
    extents(Role::N).any(|cols| {
        rows.iter().any(|rows| {
            let before = cols.clone() - rows.clone();
            let (mut own, mut others) = (BTreeSet::new(), BTreeSet::new());
            rows.collect_symbols(&mut own);
            before.collect_symbols(&mut others);
            // More symbols than those of the rows, none of which is left.
            !others.is_empty() && own.is_disjoint(&others) && cols != before
        })
    })
}

#[cfg(test)]
mod tests {
    use alula_ir::parse;
    use alula_lower::cluster::Strategy;
    use alula_lower::plan::lower;

    use super::*;

    fn rows(text: &str) -> i64 {
        let graph = parse(text, alula_ops::registry(), &|_| None).expect("a graph");
        about(&lower(graph, Strategy::Auto).expect("it lowers"))
    }

    #[test]
    fn a_step_of_a_loop_has_few_rows() {
        let text = "graph @g(%n: i64[], %x: f32[B, 8], %w: f32[8, 8]) {
            %a = matmul %x, %w
            %y = loop %n, _, %a, %w {carried = 1,
              body = graph @b(%i: i64[], %c: bool[], %s: f32[B, 8], %w: f32[8, 8]) {
                %r = matmul %s, %w
                return c: %c, r: %r }}
            return y: %y }";
        let graph = parse(text, alula_ops::registry(), &|_| None).expect("a graph");
        let rows = Rows::new(&lower(graph, Strategy::Auto).expect("it lowers"));
        assert_eq!([rows.of(0), rows.of(1)], [SOME, FEW]);
    }

    #[test]
    fn a_cache_that_grows_means_few_rows() {
        let scores = "graph @g(%q: f32[4, S, 8], %k: f32[4, S, 8], %p: f32[4, P, 8]) {
            %a = concat %p, %k {axis = 1}
            %y = matmul %q, %a {transpose_b = true}
            return y: %y }";
        assert_eq!(rows(scores), FEW);
        // Two numbers of rows that have nothing to do with one another, and the same one twice.
        assert_eq!(
            rows(&scores.replace("%q: f32[4, S, 8]", "%q: f32[4, N, 8]")),
            SOME
        );
        let own = "graph @g(%q: f32[4, S, 8], %k: f32[4, S, 8]) {
            %y = matmul %q, %k {transpose_b = true}
            return y: %y }";
        assert_eq!(rows(own), SOME);
    }
}
