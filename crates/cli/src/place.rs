//! On what tests run: a target's device, or PTX in its interpreter.

use std::fmt;
use std::str::FromStr;

use alula::{Device, Error, Model, Precision, Session, Target};

/// On what a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The target's device on this machine.
    Here(Target),
    /// The code of CUDA, without a GPU.
    Interpreter,
}

impl Place {
    /// What models are compiled for.
    pub(crate) fn target(self) -> Target {
        match self {
            Place::Here(target) => target,
            Place::Interpreter => Target::Cuda,
        }
    }

    /// Opens the device, for one thread, and for models of a precision.
    pub(crate) fn open(self, precision: Precision) -> Result<Opened, Error> {
        let device = match self {
            Place::Here(Target::Reference) => None,
            Place::Here(target) => Some(alula::open_device(target, 1)?),
            Place::Interpreter => Some(alula::ptx_interpreter()),
        };
        Ok(Opened {
            target: self.target(),
            precision,
            device,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Here(target) => target.fmt(f),
            Place::Interpreter => f.write_str("ptx"),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        match text {
            "ptx" => Ok(Place::Interpreter),
            target => target.parse().map(Place::Here),
        }
    }
}

/// A place whose device is open; models share it.
pub(crate) struct Opened {
    pub(crate) target: Target,
    /// What models are compiled with.
    pub(crate) precision: Precision,
    /// The reference has none.
    device: Option<Box<dyn Device>>,
}

impl Opened {
    /// Loads a model.
    pub(crate) fn session(&self, model: &Model) -> Result<Session, Error> {
        match &self.device {
            Some(device) => model.session_on(self.target, device.as_ref()),
            None => model.session_for(self.target),
        }
    }
}
