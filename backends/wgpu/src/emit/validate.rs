//! The validator's word on every shader, before anybody else sees it.

use naga::valid::{Capabilities, ValidationFlags, Validator};

/// Parses and validates a shader.
///
/// # Errors
/// The parser's or the validator's report, with the place in the text.
pub(super) fn validate(text: &str) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|error| error.emit_to_string(text))?;
    Validator::new(ValidationFlags::all(), Capabilities::SHADER_INT64)
        .validate(&module)
        .map(|_| ())
        .map_err(|error| error.emit_to_string(text))
}
