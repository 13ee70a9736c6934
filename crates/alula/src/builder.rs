//! From an ONNX file to a compiled model.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alula_ir::Graph;
use alula_lower::cluster::{FusionPlan, FusionReport, Strategy};
use alula_lower::layout::LayoutReport;
use alula_lower::quant::{Fate, Native};
use alula_onnx::{Import, ImportError, ImportOptions, NodeRef, Unsupported, import_file};
use alula_program::Program;
use alula_runtime::SessionOptions;

use crate::compile::stages::{self, Stage, StageText};
use crate::compile::{Choices, CompileError, CompileOptions, Compiled, Decisions, compile};
use crate::model::Form;
use crate::{Error, Model, Precision, Target};

/// How an ONNX model is to be compiled. Every method but the last says one thing.
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    path: PathBuf,
    import: ImportOptions,
    compile: CompileOptions,
    optimize: alula_opt::Options,
    targets: Vec<Target>,
    threads: usize,
}

impl ModelBuilder {
    pub(crate) fn new(path: impl AsRef<Path>) -> ModelBuilder {
        ModelBuilder {
            path: path.as_ref().to_owned(),
            import: ImportOptions::default(),
            compile: CompileOptions::default(),
            optimize: alula_opt::Options::default(),
            targets: Vec::new(),
            threads: 0,
        }
    }

    /// Fixes a symbolic dim.
    #[must_use]
    pub fn dim(mut self, name: impl Into<String>, extent: i64) -> ModelBuilder {
        self.import.dims.insert(name.into(), extent);
        self
    }

    /// Fixes the shape of an input.
    #[must_use]
    pub fn shape(mut self, input: impl Into<String>, shape: impl Into<Vec<i64>>) -> ModelBuilder {
        self.import.shapes.insert(input.into(), shape.into());
        self
    }

    /// Adds a target; without any, [`Target::Cpu`].
    #[must_use]
    pub fn target(mut self, target: Target) -> ModelBuilder {
        if !self.targets.contains(&target) {
            self.targets.push(target);
        }
        self
    }

    /// How exact contractions are at least.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> ModelBuilder {
        self.compile.precision = precision;
        self
    }

    /// What may fuse.
    #[must_use]
    pub fn fusion(mut self, strategy: Strategy) -> ModelBuilder {
        self.compile.strategy = strategy;
        self
    }

    /// What takes quantized operands as they are stored, as integers; by default all that can.
    #[must_use]
    pub fn native(mut self, native: Native) -> ModelBuilder {
        self.compile.native = native;
        self
    }

    /// What is to fuse, group by group, in place of a strategy. The same plan serves every target.
    #[must_use]
    pub fn fusion_plan(mut self, plan: FusionPlan) -> ModelBuilder {
        self.compile.fusion = Some(plan);
        self
    }

    /// Schedules for a CPU, in place of what costs say. What they could decide is in the report.
    #[must_use]
    pub fn choices(mut self, choices: impl Into<Arc<Choices>>) -> ModelBuilder {
        self.compile.choices = Some(choices.into());
        self
    }

    /// Schedules that were measured on this CPU: a table that `alula tune` or [`tune::search`]
    /// wrote.
    ///
    /// # Errors
    /// [`Error::Table`] for a file that is no table, or another CPU's.
    ///
    /// [`tune::search`]: crate::tune::search
    pub fn table(self, path: impl AsRef<Path>) -> Result<ModelBuilder, Error> {
        Ok(self.choices(crate::tune::Table::read_choices(path)?))
    }

    /// For this target, whatever was added.
    pub(crate) fn only_target(mut self, target: Target) -> ModelBuilder {
        self.targets = vec![target];
        self
    }

    /// Threads that compile and that sessions run on; 0 takes one for each core.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> ModelBuilder {
        self.threads = threads;
        self
    }

    /// Which rules rewrite the graph.
    #[must_use]
    pub fn optimize(mut self, options: alula_opt::Options) -> ModelBuilder {
        self.optimize = options;
        self
    }

    /// Verify after every stage.
    #[must_use]
    pub fn verify(mut self, verify: bool) -> ModelBuilder {
        self.compile.verify = verify;
        self.optimize.verify |= verify;
        self
    }

    /// Bounds of the import.
    #[must_use]
    pub fn limits(mut self, limits: alula_onnx::ImportLimits) -> ModelBuilder {
        self.import.limits = limits;
        self
    }

    /// The imported graph, not yet optimised.
    ///
    /// # Errors
    /// [`Error::Import`].
    pub fn import(&self) -> Result<Import, Error> {
        Ok(import_file(&self.path, &self.import)?)
    }

    /// Everything in the model that is valid and that Alula does not do; empty if all is supported.
    /// Nodes that the importer takes and that there is no kernel for go by their operator's name in
    /// Alula.
    ///
    /// # Errors
    /// [`Error::Import`] for models that are not valid; as compiling where it is about no node.
    pub fn check(&self) -> Result<Vec<Unsupported>, Error> {
        let mut graph = match import_file(&self.path, &self.import) {
            Ok(import) => import.graph,
            Err(ImportError::Unsupported(list)) => return Ok(list),
            Err(error) => return Err(error.into()),
        };
        // What folds into constants or falls away needs no kernel.
        alula_opt::optimize(&mut graph, &self.optimize)?;
        let refused = alula_lower::refusals(graph).map_err(CompileError::from)?;
        let refused = refused.into_iter().map(|failure| {
            let node = NodeRef {
                name: failure.name,
                op_type: failure.op.to_owned(),
                opset: 0,
                call: None,
            };
            Unsupported::new(node, failure.reason.to_string())
        });
        Ok(refused.collect())
    }

    /// Imports and compiles.
    ///
    /// # Errors
    /// [`Error`].
    pub fn compile(&self) -> Result<Model, Error> {
        let Import {
            graph, warnings, ..
        } = self.import()?;
        let targets = match self.targets.as_slice() {
            [] => &[Target::Cpu],
            targets => targets,
        };
        for target in targets {
            if let (used, Some(reason)) = self.compile.precision.on(*target) {
                let asked = self.compile.precision;
                tracing::warn!("precision {asked} on {target} runs as {used}: {reason}");
            }
        }
        let reference = targets.contains(&Target::Reference).then(|| graph.clone());
        let compiled = self.programs(graph, targets)?;
        for (target, _, report) in &compiled {
            self.warn_of_table(*target, &report.decisions);
        }
        let mut forms = Vec::with_capacity(targets.len());
        let mut reports = Vec::with_capacity(compiled.len());
        if let Some(graph) = reference {
            forms.push(Form::Reference(Box::new(graph)));
        }
        for (target, program, report) in compiled {
            forms.push(Form::Program(target, program));
            reports.push((target, report));
        }
        // In the order in which they were asked for: the first is what a session takes.
        forms.sort_by_key(|form| targets.iter().position(|target| *target == form.target()));
        Ok(Model {
            forms,
            threads: self.threads,
            warnings,
            reports,
            session: SessionOptions::default(),
        })
    }

    /// Says where a table cannot do what it is for.
    fn warn_of_table(&self, target: Target, decisions: &Decisions) {
        let choices = self.compile.choices.as_ref();
        let Some(tuned) = choices.and_then(|choices| choices.tuned.as_ref()) else {
            return;
        };
        if target != Target::Cpu {
            return;
        }
        if decisions.listed() == 0 {
            tracing::warn!("the table has nothing on this model: alula tune measures it");
            return;
        }
        let threads = crate::devices::threads(self.threads);
        if tuned.threads as usize != threads {
            let measured = tuned.threads;
            tracing::warn!(
                "the table was measured with {measured} threads, this is for {threads}: its \
                 schedules are right, but others may be faster"
            );
        }
    }

    /// The reference on the graph that the rules made, and what they did: for finding out whether a
    /// rule is to blame. [`Target::Reference`] evaluates the graph as it was imported.
    ///
    /// # Errors
    /// [`Error::Import`] or [`Error::Optimize`].
    pub fn optimized_reference(&self) -> Result<(crate::Session, alula_opt::Report), Error> {
        let (graph, report, _) = self.optimized(self.import()?.graph)?;
        Ok((crate::Session::reference(graph), report))
    }

    /// Compiles for every target that is compiled for. The last of them takes the graph whole, so
    /// that each weight leaves memory as soon as it is packed.
    fn programs(
        &self,
        graph: Graph,
        targets: &[Target],
    ) -> Result<Vec<(Target, Arc<Program>, CompileReport)>, Error> {
        let mut left = targets.iter().copied().filter(|t| *t != Target::Reference);
        let mut next = left.next();
        if next.is_none() {
            return Ok(Vec::new());
        }
        let (graph, rewrites, took) = self.optimized(graph)?;
        let mut graph = Some(graph);
        let mut programs = Vec::new();
        while let Some(target) = next {
            next = left.next();
            let own = match next {
                Some(_) => graph.clone(),
                None => graph.take(),
            };
            let own = own.expect("only the last target takes the graph");
            let Compiled {
                program,
                fusion,
                layouts,
                annotations,
                decisions,
                times: stages,
            } = self.on_threads(|| compile(own, target, &self.compile))?;
            let mut times = vec![("optimize", took)];
            times.extend(stages);
            let report = CompileReport {
                rewrites: rewrites.clone(),
                fusion,
                layouts,
                annotations,
                decisions,
                times,
            };
            programs.push((target, program, report));
        }
        Ok(programs)
    }

    /// The texts of a stage for a target: one, or one for each kernel.
    ///
    /// # Errors
    /// [`Error`]; stages that the target does not have are [`CompileError::NoStage`].
    ///
    /// [`CompileError::NoStage`]: crate::compile::CompileError::NoStage
    pub fn emit(&self, stage: Stage, target: Target) -> Result<Vec<StageText>, Error> {
        let graph = self.import()?.graph;
        if stage == Stage::Import {
            return Ok(vec![StageText::of_graph(&graph)]);
        }
        let (graph, ..) = self.optimized(graph)?;
        self.on_threads(|| stages::emit(graph, stage, target, &self.compile))
    }

    /// The graph after the rules, which know no target, and how long they took.
    fn optimized(&self, mut graph: Graph) -> Result<(Graph, alula_opt::Report, Duration), Error> {
        let start = Instant::now();
        let rewrites = alula_opt::optimize(&mut graph, &self.optimize)?;
        Ok((graph, rewrites, start.elapsed()))
    }

    /// Runs a stage that compiles side by side on as many threads as asked for.
    fn on_threads<T: Send, E: Into<Error> + Send>(
        &self,
        stage: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, Error> {
        if self.threads == 0 {
            return stage().map_err(Into::into);
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .build();
        match pool {
            Ok(pool) => pool.install(stage).map_err(Into::into),
            // Without threads of our own, those that are there do it.
            Err(_) => stage().map_err(Into::into),
        }
    }
}

/// What happened to a model on its way to a target.
#[derive(Debug)]
pub struct CompileReport {
    /// Rules and passes.
    pub rewrites: alula_opt::Report,
    /// What fused in each plan.
    pub fusion: Vec<FusionReport>,
    /// How the buffers of each plan lie.
    pub layouts: Vec<LayoutReport>,
    /// What became of the annotations on types: what is quantized and what is sparse.
    pub annotations: Vec<Fate>,
    /// What choices could decide; empty without any.
    pub decisions: Decisions,
    /// How long each stage took, in order.
    pub times: Vec<(&'static str, Duration)>,
}

/// [`ModelBuilder::check`] of a model as it is.
///
/// # Errors
/// As [`ModelBuilder::check`].
pub fn check(path: impl AsRef<Path>) -> Result<Vec<Unsupported>, Error> {
    ModelBuilder::new(path).check()
}
