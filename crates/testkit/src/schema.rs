//! Serialised forms and their version numbers: a form that changes without its number fails.
//!
//! The form of a type is what serde asks for as it reads one: every structure and enum in it with
//! names, order and types of fields and variants. It is kept in a text file whose first line is
//! the version.

use std::fmt::Write;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_reflection::{ContainerFormat, Registry, Tracer, TracerConfig, VariantFormat};

/// The form of a type as text, one line a field or variant.
///
/// # Panics
/// When the type asks serde for something that has no fixed form.
pub fn of<T: DeserializeOwned>() -> String {
    let mut tracer = Tracer::new(TracerConfig::default());
    // Whoever writes such a test wants to know what cannot be traced.
    if let Err(error) = tracer.trace_simple_type::<T>() {
        panic!(
            "the form of {} is not fixed: {error}",
            std::any::type_name::<T>()
        );
    }
    let registry = tracer.registry();
    let registry = registry.unwrap_or_else(|error| panic!("a variant was not reached: {error}"));
    text(&registry)
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
