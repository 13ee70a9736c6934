//! Compiled models.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alula_artifact::{Artifact, Verify};
use alula_program::{Device, Program};
use alula_runtime::SessionOptions;

use crate::{Error, Session, Target, devices};

/// A compiled model: programs for one or several targets.
#[derive(Debug)]
pub struct Model {
    pub(crate) forms: Vec<Form>,
    /// Threads of the device; 0 takes one for each core.
    pub(crate) threads: usize,
    pub(crate) warnings: Vec<String>,
    #[cfg(feature = "emit")]
    pub(crate) reports: Vec<(Target, crate::CompileReport)>,
    pub(crate) session: SessionOptions,
}

/// A model in the form that a target takes.
#[derive(Debug)]
pub(crate) enum Form {
    #[cfg(feature = "emit")]
    Reference(Box<alula_ir::Graph>),
    Program(Target, Arc<Program>),
}

impl Form {
    pub(crate) fn target(&self) -> Target {
        match self {
            #[cfg(feature = "emit")]
            Form::Reference(_) => Target::Reference,
            Form::Program(target, _) => *target,
        }
    }
}

/// Whether a file begins as artifacts do.
///
/// # Errors
/// [`Error::Io`].
pub fn is_artifact(path: &Path) -> Result<bool, Error> {
    let fail = |source| Error::Io {
        path: PathBuf::from(path),
        source,
    };
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        return Err(fail(std::io::Error::other("not a regular file")));
    }
    let mut head = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(8).read_to_end(&mut head).map_err(fail)?;
    Ok(head == alula_artifact::layout::MAGIC)
}

impl Model {
    /// Opens an artifact, or compiles an ONNX model for this machine's processor.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(path: impl AsRef<Path>) -> Result<Model, Error> {
        let path = path.as_ref();
        if is_artifact(path)? {
            return Model::from_artifact(path);
        }
        #[cfg(feature = "emit")]
        return Model::builder(path).compile();
        #[cfg(not(feature = "emit"))]
        Err(Error::Missing {
            what: "compiler",
            target: Target::Cpu,
        })
    }

    /// Opens an artifact. Weights stay in the file, mapped, and are not read before a run reads
    /// them; everything else is verified.
    ///
    /// # Errors
    /// [`Error::Artifact`] or [`Error::Session`].
    pub fn from_artifact(path: impl AsRef<Path>) -> Result<Model, Error> {
        Model::from_artifact_with(path, Verify::HeaderAndCode)
    }

    /// As [`Model::from_artifact`]; [`Verify::All`] reads and verifies the weights, too.
    ///
    /// ```
    /// use alula::{Model, Verify};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("model.onnx");
    /// # std::fs::write(&path, alula::doc_model())?;
    /// # let file = folder.path().join("model.alula");
    /// # Model::open(&path)?.save(&file)?;
    /// let model = Model::from_artifact_with(&file, Verify::All)?;
    /// assert_eq!(model.targets(), [alula::Target::Cpu]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Model::from_artifact`].
    pub fn from_artifact_with(path: impl AsRef<Path>, verify: Verify) -> Result<Model, Error> {
        let artifact = Artifact::open(path, verify)?;
        let mut forms = Vec::new();
        for name in &artifact.metadata().targets {
            let Ok(target) = name.parse::<Target>() else {
                continue;
            };
            let program = alula_runtime::artifact::program(&artifact, name)?;
            forms.push(Form::Program(target, Arc::new(program)));
        }
        Ok(Model {
            forms,
            threads: 0,
            warnings: Vec::new(),
            #[cfg(feature = "emit")]
            reports: Vec::new(),
            session: SessionOptions::default(),
        })
    }

    /// Says how an ONNX model is to be compiled.
    #[cfg(feature = "emit")]
    pub fn builder(path: impl AsRef<Path>) -> crate::ModelBuilder {
        crate::ModelBuilder::new(path)
    }

    /// The targets that the model was compiled for.
    pub fn targets(&self) -> Vec<Target> {
        self.forms.iter().map(Form::target).collect()
    }

    /// Things worth telling the user that are no errors.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What happened on the way to a target, if the model was compiled just now.
    #[cfg(feature = "emit")]
    pub fn report(&self, target: Target) -> Option<&crate::CompileReport> {
        let mut reports = self.reports.iter();
        reports.find_map(|(of, report)| (*of == target).then_some(report))
    }

    /// The compiled program of a target; the reference has none.
    pub fn program(&self, target: Target) -> Option<&Arc<Program>> {
        self.forms.iter().find_map(|form| match form {
            Form::Program(of, program) if *of == target => Some(program),
            _ => None,
        })
    }

    /// Each contraction that micro-kernels of the CPU run, with its sizes and arithmetic, in words.
    pub fn contractions(&self) -> Vec<(String, String)> {
        let program = self.program(Target::Cpu);
        program.map_or_else(Vec::new, |program| alula_cpu::contractions(program))
    }

    /// Threads of sessions made from now on; 0 takes one for each core.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Model {
        self.threads = threads;
        self
    }

    /// Limits of sessions made from now on. The reference heeds none.
    ///
    /// ```
    /// use alula::{Limits, Model, SessionOptions, Tensor};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("model.onnx");
    /// # std::fs::write(&path, alula::doc_model())?;
    /// let limits = Limits { bytes_max: 1 << 10, ..Limits::default() };
    /// let model = Model::open(&path)?.with_options(SessionOptions { limits });
    /// let x = Tensor::from_slice(&[1000], &[1.0_f32; 1000])?;
    /// let error = model.session()?.run(&[("x", x.into())]).unwrap_err();
    /// assert!(error.to_string().contains("the limit is 1024"), "{error}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_options(mut self, options: SessionOptions) -> Model {
        self.session = options;
        self
    }

    /// Loads the model on the device of its first target.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Session`].
    pub fn session(&self) -> Result<Session, Error> {
        match self.forms.first() {
            Some(form) => self.session_for(form.target()),
            None => Err(Error::Missing {
                what: "device",
                target: Target::Cpu,
            }),
        }
    }

    /// Loads the model on the device of one of its targets.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Session`].
    pub fn session_for(&self, target: Target) -> Result<Session, Error> {
        let form = self.forms.iter().find(|form| form.target() == target);
        match form {
            None => Err(self.lacks(target)),
            #[cfg(feature = "emit")]
            Some(Form::Reference(graph)) => Ok(Session::reference(graph.as_ref().clone())),
            Some(Form::Program(_, program)) => {
                let device = devices::open_device(target, self.threads)?;
                self.loaded(program, target, device.as_ref())
            }
        }
    }

    /// Loads the model on a device that is open already, such as one that models share.
    ///
    /// ```
    /// use alula::{Model, Target};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("model.onnx");
    /// # std::fs::write(&path, alula::doc_model())?;
    /// let device = alula::open_device(Target::Cpu, 1)?;
    /// let session = Model::open(&path)?.session_on(Target::Cpu, device.as_ref())?;
    /// assert_eq!(session.target(), Target::Cpu);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Session`], also where the device is another target's or there is no program.
    pub fn session_on(&self, target: Target, device: &dyn Device) -> Result<Session, Error> {
        let program = self.program(target).ok_or_else(|| self.lacks(target))?;
        self.loaded(program, target, device)
    }

    fn loaded(
        &self,
        program: &Arc<Program>,
        target: Target,
        device: &dyn Device,
    ) -> Result<Session, Error> {
        let options = self.session.clone();
        let session = alula_runtime::Session::new(Arc::clone(program), device, options)?;
        Ok(Session::loaded(session, target))
    }

    fn lacks(&self, target: Target) -> Error {
        Error::Session(alula_runtime::SessionError::NoTarget {
            target: target.to_string(),
            present: self.targets().iter().map(Target::to_string).collect(),
        })
    }

    /// Bytes of the artifact that [`Model::save`] would write; `None` if there is nothing to store.
    pub fn artifact_bytes(&self) -> Option<u64> {
        let programs = self.programs();
        let bytes = alula_runtime::artifact::to_bytes(&programs).ok()?;
        (!programs.is_empty()).then_some(bytes.len() as u64)
    }

    /// Writes the compiled programs to an artifact, whole or not at all: to a file of another name
    /// first, which is then renamed. [`Model::open`] reads it.
    ///
    /// # Errors
    /// [`Error::Save`]; [`Error::NotStorable`] if there is no program.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let programs = self.programs();
        if programs.is_empty() {
            return Err(Error::NotStorable);
        }
        Ok(alula_runtime::artifact::save(path, &programs)?)
    }

    fn programs(&self) -> Vec<&Program> {
        let mut programs = Vec::new();
        for form in &self.forms {
            match form {
                Form::Program(_, program) => programs.push(program.as_ref()),
                #[cfg(feature = "emit")]
                Form::Reference(_) => {}
            }
        }
        programs
    }
}
