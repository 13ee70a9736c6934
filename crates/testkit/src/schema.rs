//! Serialised forms and their version numbers: a form that changes without its number fails.
//!
//! The form of a type is what serde asks for as it reads one: every structure and enum in it with
//! names, order and types of fields and variants. It is kept in a text file whose first line is
//! the version.

use std::any::type_name;
use std::fmt::Write;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_reflection::{ContainerFormat, Registry, Samples, Tracer, TracerConfig, VariantFormat};

/// The form of types, put together type by type.
///
/// A pass through a type takes one way through each enum, so that every enum in it is named on its
/// own: [`Form::text`] says which was forgotten.
pub struct Form(Tracer);

impl Default for Form {
    fn default() -> Form {
        Form(Tracer::new(TracerConfig::default()))
    }
}

impl Form {
    /// Goes through a type until every variant of the enum of this name was taken, which is the
    /// type or right inside of it; once, if there is none.
    ///
    /// # Panics
    /// When the type asks serde for something that has no fixed form.
    #[must_use]
    pub fn with<T: DeserializeOwned>(mut self, name: &str) -> Form {
        let samples = Samples::new();
        loop {
            if let Err(error) = self.0.trace_type_once::<T>(&samples) {
                panic!("the form of {} is not fixed: {error}", type_name::<T>());
            }
            if self.0.check_incomplete_enum(name).is_none() {
                return self;
            }
        }
    }

    /// The form as text, one line a field or variant.
    ///
    /// # Panics
    /// When variants of an enum were not reached.
    pub fn text(self) -> String {
        match self.0.registry() {
            Ok(registry) => text(&registry),
            Err(error) => panic!("name each enum: {error}"),
        }
    }
}

fn text(registry: &Registry) -> String {
    let mut text = String::new();
    for (name, format) in registry {
        let _ = match format {
            ContainerFormat::UnitStruct => writeln!(text, "{name}"),
            ContainerFormat::NewTypeStruct(inner) => writeln!(text, "{name}: {inner:?}"),
            ContainerFormat::TupleStruct(inner) => writeln!(text, "{name}: {inner:?}"),
            ContainerFormat::Struct(fields) => {
                let _ = writeln!(text, "{name}");
                for field in fields {
                    let _ = writeln!(text, "  {}: {:?}", field.name, field.value);
                }
                Ok(())
            }
            ContainerFormat::Enum(variants) => {
                let _ = writeln!(text, "{name}");
                for (number, variant) in variants {
                    let _ = write!(text, "  {number} {}", variant.name);
                    let _ = match &variant.value {
                        VariantFormat::Unit => writeln!(text),
                        VariantFormat::Struct(fields) => {
                            let field = |field: &serde_reflection::Named<_>| {
                                format!("{}: {:?}", field.name, field.value)
                            };
                            let fields: Vec<String> = fields.iter().map(field).collect();
                            writeln!(text, " {{ {} }}", fields.join(", "))
                        }
                        VariantFormat::NewType(inner) => writeln!(text, " {inner:?}"),
                        VariantFormat::Tuple(inner) => writeln!(text, " {inner:?}"),
                        VariantFormat::Variable(_) => writeln!(text, " unknown"),
                    };
                }
                Ok(())
            }
        };
    }
    text
}

/// Compares a form with the one in a file, whose first line is its version. `BLESS=1` writes the
/// file, if the version was raised over the file's.
///
/// # Panics
/// When the form is another, or the version is.
pub fn hold(file: &Path, version: u32, form: &str) {
    let wanted = format!("version {version}\n{form}");
    let found = std::fs::read_to_string(file).unwrap_or_default();
    if found == wanted {
        return;
    }
    let first = found.lines().next().unwrap_or_default();
    let known: Option<u32> = first
        .strip_prefix("version ")
        .and_then(|number| number.parse().ok());
    let file = file.display();
    assert!(
        known.is_none_or(|known| known < version),
        "what version {version} stands for has changed: raise it, then renew {file} by BLESS=1\n{}",
        crate::unified_diff(&found, &wanted)
    );
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file.to_string(), wanted).expect("the file is written");
        return;
    }
    panic!("{file} is of another version than {version}: renew it by BLESS=1");
}
