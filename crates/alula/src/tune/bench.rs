//! What the search measures with: programs compiled under choices, and times of their runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alula_program::{Device, Program, Step};
use alula_tensor::Value;

use crate::compile::{Choices, Decisions};
use crate::{Error, ModelBuilder, RunOptions, Session, Target, open_device};

/// Times of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// The whole run, in milliseconds; of processor time where one thread runs it.
    pub total_ms: f64,
    /// Each kernel by position, all its launches together, in milliseconds; empty if only the whole
    /// was asked for.
    pub kernels_ms: Vec<f64>,
}

/// Compiles and runs what is measured.
pub trait Bench {
    /// A program that is ready to run.
    type Subject;

    /// Compiles under choices; says what they could decide.
    ///
    /// # Errors
    /// As compiling and loading.
    fn prepare(&mut self, choices: &Choices) -> Result<(Self::Subject, Decisions), Error>;

    /// Runs once, with times of kernels or without.
    ///
    /// # Errors
    /// As a run.
    fn run(&mut self, subject: &Self::Subject, kernels: bool) -> Result<Times, Error>;

    /// The same for programs that are the same, and for no others.
    fn fingerprint(&self, subject: &Self::Subject) -> [u8; 32];

    /// Time since the search began.
    fn elapsed(&self) -> Duration;
}

/// A model on this machine's processor, run on the same inputs each time.
pub struct ModelBench {
    builder: ModelBuilder,
    inputs: Vec<(String, Value)>,
    device: Box<dyn Device>,
    threads: usize,
    began: Instant,
}

/// A model that [`ModelBench`] prepared.
pub struct ModelSubject {
    session: Session,
    program: Arc<Program>,
}

impl ModelBench {
    /// A bench for what the builder compiles; its targets do not count. With so many threads, or 0
    /// for one for each core.
    ///
    /// # Errors
    /// What the device says.
    pub fn new(
        builder: ModelBuilder,
        inputs: Vec<(String, Value)>,
        threads: usize,
    ) -> Result<ModelBench, Error> {
        Ok(ModelBench {
            builder: builder.only_target(Target::Cpu),
            inputs,
            device: open_device(Target::Cpu, threads)?,
            threads: crate::devices::threads(threads),
            began: Instant::now(),
        })
    }
}

impl Bench for ModelBench {
    type Subject = ModelSubject;

    fn prepare(&mut self, choices: &Choices) -> Result<(ModelSubject, Decisions), Error> {
        let model = self.builder.clone().choices(choices.clone()).compile()?;
        let report = model.report(Target::Cpu);
        let decisions = report.map(|report| report.decisions.clone());
        let program = model.program(Target::Cpu).ok_or(Error::NotStorable)?;
        let subject = ModelSubject {
            session: model.session_on(Target::Cpu, self.device.as_ref())?,
            program: Arc::clone(program),
        };
        Ok((subject, decisions.unwrap_or_default()))
    }

    fn run(&mut self, subject: &ModelSubject, kernels: bool) -> Result<Times, Error> {
        let inputs: Vec<(&str, Value)> = self
            .inputs
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        let options = RunOptions {
            profile: kernels,
            ..RunOptions::default()
        };
        let (start, processor) = (Instant::now(), processor_ms());
        let outcome = subject.session.run_with(&inputs, &options)?;
        let total_ms = match self.threads {
            // It passes for this process alone, whatever else the machine does.
            1 => processor_ms() - processor,
            _ => ms(start.elapsed()),
        };
        let mut times = Times {
            total_ms,
            kernels_ms: Vec::new(),
        };
        let Some(profile) = outcome.profile else {
            return Ok(times);
        };
        times.kernels_ms = vec![0.0; subject.program.kernels.len()];
        for step in &profile.steps {
            let steps = &subject.program.plans[step.plan].steps;
            if let Step::Launch { kernel, .. } = &steps[step.step] {
                times.kernels_ms[*kernel] += ms(step.time);
            }
        }
        Ok(times)
    }

    fn fingerprint(&self, subject: &ModelSubject) -> [u8; 32] {
        let program = postcard::to_stdvec(subject.program.as_ref());
        *blake3::hash(&program.expect("a program is plain data")).as_bytes()
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Milliseconds that all threads of this process have had a processor.
fn processor_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 * 1e-6
}
