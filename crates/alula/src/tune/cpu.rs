//! The processor that measurements hold for.

use alula_cpu::{CpuFeatures, Isa};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::compile::CompileError;

/// A processor, as far as schedules depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// Its name, with family, model and stepping where there are such.
    pub model: String,
    /// The family of micro-kernels that is in use, which `ALULA_CPU_ISA` may force.
    pub kernels: String,
    /// Extensions that the code generator knows, sorted.
    pub features: Vec<String>,
}

impl Cpu {
    /// The one that this process runs on.
    ///
    /// # Errors
    /// [`CompileError::Target`] if `ALULA_CPU_ISA` names what is not there.
    pub fn host() -> Result<Cpu, Error> {
        let isa = Isa::current().map_err(|error| CompileError::Target(error.to_string()))?;
        let CpuFeatures { arch, extensions } = CpuFeatures::host();
        Ok(Cpu {
            model: model().unwrap_or(arch),
            kernels: isa.name().to_owned(),
            features: extensions,
        })
    }

    /// A word on it, for people.
    pub fn describe(&self) -> String {
        format!("{}, {} micro-kernels", self.model, self.kernels)
    }

    /// The first fact that differs, in words.
    pub(super) fn unlike(&self, host: &Cpu) -> Option<String> {
        let facts = [
            ("the processor", &self.model, &host.model),
            ("the family of micro-kernels", &self.kernels, &host.kernels),
        ];
        for (what, measured, here) in facts {
            if measured != here {
                return Some(format!("{what} was {measured:?}, here it is {here:?}"));
            }
        }
        let words = |features: &[String]| features.join(" ");
        let (measured, here) = (words(&self.features), words(&host.features));
        (measured != here)
            .then(|| format!("the features were \"{measured}\", here they are \"{here}\""))
    }
}

#[cfg(target_arch = "x86_64")]
fn model() -> Option<String> {
    let cpuid = raw_cpuid::CpuId::new();
    let brand = cpuid.get_processor_brand_string()?;
    let name = brand.as_str().trim().to_owned();
    let Some(info) = cpuid.get_feature_info() else {
        return Some(name);
    };
    let (family, model, stepping) = (info.family_id(), info.model_id(), info.stepping_id());
    Some(format!(
        "{name}, family {family} model {model} stepping {stepping}"
    ))
}

/// What Linux says of others than x86-64.
#[cfg(not(target_arch = "x86_64"))]
fn model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let facts = ["model name", "CPU implementer", "CPU part", "CPU variant"];
    let fact = |name: &&str| {
        let line = text.lines().find(|line| line.starts_with(*name))?;
        Some(format!("{name} {}", line.split_once(':')?.1.trim()))
    };
    let found: Vec<String> = facts.iter().filter_map(fact).collect();
    (!found.is_empty()).then(|| found.join(", "))
}
