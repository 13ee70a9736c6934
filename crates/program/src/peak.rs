//! How much memory a plan needs, before it runs.

use std::collections::BTreeSet;
use std::fmt;

use alula_tensor::{Dim, Symbol};

use crate::{Lifetime, Place, Plan, pack};

/// Planned memory of a plan in bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Peak {
    /// What the arena takes.
    Exact(usize),
    /// What is alive at the fullest steps, whichever is the fullest under a binding of the symbols.
    /// The arena takes this and what alignment adds.
    Symbolic(Vec<Dim>),
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peak::Exact(bytes) => write!(f, "{bytes}"),
            Peak::Symbolic(dims) => match dims.as_slice() {
                [dim] => write!(f, "{dim}"),
                dims => {
                    let texts: Vec<String> = dims.iter().map(Dim::to_string).collect();
                    write!(f, "max({})", texts.join(", "))
                }
            },
        }
    }
}

/// Values under which steps are compared.
const SAMPLES: [i64; 5] = [1, 2, 16, 128, 1024];

impl Plan {
    /// Planned memory of a run. Values whose sizes only a step decides are not in it, nor what
    /// sub-plans need.
    pub fn peak(&self) -> Peak {
        let slots = || {
            self.slots.iter().filter_map(|slot| match slot.place {
                Place::Arena { first, last } => Some((first, last, &slot.bytes)),
                _ => None,
            })
        };
        let lives: Option<Vec<Lifetime>> = slots()
            .map(|(first, last, bytes)| {
                let bytes = usize::try_from(bytes.as_const()?).ok()?;
                Some(Lifetime { bytes, first, last })
            })
            .collect();
        if let Some((_, total)) = lives.as_deref().and_then(pack) {
            return Peak::Exact(total);
        }
        let mut alive: Vec<Vec<&Dim>> = vec![Vec::new(); self.steps.len()];
        for (first, last, bytes) in slots() {
            let end = alive.len().min(last.saturating_add(1));
            for step in alive.get_mut(first..end).into_iter().flatten() {
                step.push(bytes);
            }
        }
        let mut fullest = BTreeSet::new();
        for sample in SAMPLES {
            let size = |dims: &Vec<&Dim>| -> i64 {
                let bytes = dims.iter().map(|dim| dim.eval(&|_: &Symbol| Some(sample)));
                bytes.fold(0, |sum, bytes| sum.saturating_add(bytes.unwrap_or(0)))
            };
            let sizes = alive.iter().map(size).enumerate();
            fullest.extend(sizes.max_by_key(|(step, size)| (*size, std::cmp::Reverse(*step))));
        }
        let mut dims: Vec<Dim> = Vec::new();
        for (step, _) in fullest {
            let dim: Dim = alive[step]
                .iter()
                .fold(Dim::new(0), |sum, dim| sum + (*dim).clone());
            if !dims.contains(&dim) {
                dims.push(dim);
            }
        }
        Peak::Symbolic(dims)
    }
}
