//! What the targets share: launches to kernels in a target's words, side by side; equal kernels
//! once; every refusal in one report; programs put together.

use std::collections::BTreeMap;

use alula_kernel::{Compute, Kernel};
use alula_lower::build::Policy;
use alula_lower::legalize::{Caps, legalize};
use alula_lower::plan::{KernelWork, Launch, Lowered};
use alula_lower::schedule::schedule;
use alula_program::{Constant, KernelEntry, Plan, Program, Step};
use alula_tensor::{Dim, Storage};
use rayon::prelude::*;
use serde::Serialize;

use super::{CompileError, CompileOptions, Refusal};
use crate::{Precision, Target};

/// Why a launch has no code.
pub(super) enum NoCode {
    /// The target lacks something.
    Refused(String),
    /// A defect of ours.
    Failed(String),
}

impl NoCode {
    pub(super) fn refused(reason: impl ToString) -> NoCode {
        NoCode::Refused(reason.to_string())
    }

    pub(super) fn failed(reason: impl ToString) -> NoCode {
        NoCode::Failed(reason.to_string())
    }
}

/// How a target lays out and words its kernels.
pub(super) struct Words {
    pub(super) policy: Policy,
    pub(super) caps: Caps,
    pub(super) verify: bool,
}

impl Words {
    pub(super) fn new(policy: Policy, caps: Caps, options: &CompileOptions) -> Words {
        Words {
            policy,
            caps,
            verify: options.verify,
        }
    }

    /// The kernel of a launch as plain loops in the target's words.
    pub(super) fn kernel(&self, launch: &Launch) -> Result<Kernel, NoCode> {
        self.finish(self.scheduled(launch)?)
    }

    /// The kernel of a launch as loops, bound to what runs them.
    pub(super) fn scheduled(&self, launch: &Launch) -> Result<Kernel, NoCode> {
        self.check(launch)?;
        match &launch.work {
            KernelWork::Compute(compute) => Ok(self.loops(launch, compute)),
            KernelWork::Kernel(kernel) => Ok(kernel.as_ref().clone()),
            KernelWork::Contract(contract) => {
                let plain = contract.to_compute();
                let plain =
                    plain.ok_or_else(|| NoCode::failed("the contraction has no plain form"))?;
                Ok(self.loops(launch, &plain))
            }
        }
    }

    /// Verifies a definition or contraction, if that is asked for.
    pub(super) fn check(&self, launch: &Launch) -> Result<(), NoCode> {
        let name = launch.name.as_str();
        let checked = match &launch.work {
            _ if !self.verify => Ok(()),
            KernelWork::Compute(compute) => alula_kernel::verify_compute(name, compute),
            KernelWork::Contract(contract) => alula_kernel::verify_contract(name, contract),
            KernelWork::Kernel(_) => Ok(()),
        };
        checked.map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            NoCode::failed(lines.join("; "))
        })
    }

    fn loops(&self, launch: &Launch, compute: &Compute) -> Kernel {
        let _span = tracing::trace_span!("build").entered();
        schedule(&launch.name, compute, &launch.params(compute), self.policy)
    }

    /// A kernel in the target's words.
    pub(super) fn finish(&self, mut kernel: Kernel) -> Result<Kernel, NoCode> {
        tracing::trace_span!("legalize")
            .in_scope(|| legalize(&mut kernel, &self.caps))
            .map_err(NoCode::refused)?;
        if self.verify
            && let Err(errors) = alula_kernel::verify(&kernel)
        {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            return Err(NoCode::failed(lines.join("; ")));
        }
        Ok(kernel)
    }
}

/// The nodes of each launch.
pub(super) fn nodes(lowered: &Lowered) -> Vec<&str> {
    let mut nodes = vec![""; lowered.launches.len()];
    for step in lowered.plans.iter().flat_map(|plan| &plan.steps) {
        if let Step::Launch { kernel, name, .. } = step {
            nodes[*kernel] = name;
        }
    }
    nodes
}

/// Makes something of each launch, side by side.
///
/// # Errors
/// Every refusal, or the first defect.
pub(super) fn each<T: Send>(
    lowered: &Lowered,
    target: Target,
    make: impl Fn(usize, &Launch) -> Result<T, NoCode> + Sync,
) -> Result<Vec<T>, CompileError> {
    let names = nodes(lowered);
    // Threads of a pool know no span of the one that waits for them.
    let span = tracing::info_span!("kernels", of = names.len());
    let _guard = span.enter();
    let made: Vec<Result<T, NoCode>> = lowered
        .launches
        .par_iter()
        .enumerate()
        .map(|(position, launch)| {
            let (name, nodes) = (launch.name.as_str(), names[position]);
            let _span = tracing::debug_span!(parent: &span, "kernel", name, nodes).entered();
            make(position, launch)
        })
        .collect();
    let (mut results, mut refusals) = (Vec::with_capacity(made.len()), Vec::new());
    for (position, made) in made.into_iter().enumerate() {
        let nodes = || names[position].to_owned();
        match made {
            Ok(made) => results.push(made),
            Err(NoCode::Refused(reason)) => refusals.push(Refusal {
                nodes: nodes(),
                reason,
            }),
            Err(NoCode::Failed(reason)) => {
                return Err(CompileError::Emit {
                    kernel: lowered.launches[position].name.clone(),
                    nodes: nodes(),
                    reason,
                });
            }
        }
    }
    match refusals.is_empty() {
        true => Ok(results),
        false => Err(CompileError::Refused { target, refusals }),
    }
}

/// What a launch of a step, whose kernel was fine before, has no code for: a defect of ours.
pub(super) fn defect(
    (plan, step): (&Plan, usize),
    kernel: &str,
    what: &str,
    error: NoCode,
) -> CompileError {
    let nodes = match &plan.steps[step] {
        Step::Launch { name, .. } => name.clone(),
        _ => String::new(),
    };
    let (NoCode::Refused(reason) | NoCode::Failed(reason)) = error;
    CompileError::Emit {
        kernel: kernel.to_owned(),
        nodes,
        reason: format!("{what}: {reason}"),
    }
}

/// Positions of items that differ; and for each item the position of its like among these.
pub(super) fn merge<T: Serialize>(items: impl Iterator<Item = T>) -> (Vec<usize>, Vec<usize>) {
    let mut unique = Vec::new();
    let mut known: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let position_of = items
        .enumerate()
        .map(|(position, item)| {
            let bytes = postcard::to_stdvec(&item).expect("a kernel is plain data");
            *known
                .entry(*blake3::hash(&bytes).as_bytes())
                .or_insert_with(|| {
                    unique.push(position);
                    unique.len() - 1
                })
        })
        .collect();
    (unique, position_of)
}

/// The kernel under no name, to be compared.
pub(super) fn nameless(kernel: &Kernel) -> Kernel {
    Kernel {
        name: String::new(),
        ..kernel.clone()
    }
}

/// Code of all kernels, as a back end linked it.
pub(super) struct Code {
    pub(super) kernels: Vec<KernelEntry>,
    pub(super) code: Vec<u8>,
    pub(super) features: Vec<String>,
    pub(super) abi: String,
    /// Scalar evaluations of each launch, about.
    pub(super) works: Vec<Dim>,
    /// How exact contractions are.
    pub(super) precision: Precision,
}

/// Scalar evaluations of each launch, about.
pub(super) fn works(lowered: &Lowered) -> Vec<Dim> {
    let launches = lowered.launches.iter();
    launches.map(|launch| launch.work.evaluations()).collect()
}

/// Puts a program together; `position_of` tells which kernel a launch runs.
pub(super) fn program(
    target: Target,
    lowered: Lowered,
    position_of: &[usize],
    code: Code,
) -> Program {
    let mut kernels = code.kernels;
    for (work, &kernel) in code.works.into_iter().zip(position_of) {
        kernels[kernel].work = work;
    }
    let mut plans = lowered.plans;
    for step in plans.iter_mut().flat_map(|plan| &mut plan.steps) {
        if let Step::Launch { kernel, .. } = step {
            *kernel = position_of[*kernel];
        }
    }
    let mut constants = Vec::with_capacity(lowered.constants.len());
    let mut data = Vec::with_capacity(lowered.constants.len());
    for (name, tensor) in lowered.constants {
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        let storage = match (tensor.storage(), tensor.strings()) {
            (Some(storage), _) => storage.clone(),
            (None, strings) => {
                let strings = strings.unwrap_or_default();
                Storage::copy_from(&alula_runtime::artifact::encode_strings(strings))
            }
        };
        constants.push(Constant {
            dtype,
            shape,
            bytes: storage.bytes().len() as u64,
            name,
        });
        data.push(storage);
    }
    Program {
        target: target.name().to_owned(),
        precision: code.precision.name().to_owned(),
        abi: code.abi,
        features: code.features,
        tuned: None,
        plans,
        kernels,
        code: code.code,
        constants,
        data,
    }
}
