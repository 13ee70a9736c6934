//! Entry points: from a file or bytes to a graph.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use alula_ir::Graph;
use bytes::Bytes;

use crate::external::ExternalFiles;
use crate::limits::ImportLimits;
use crate::map::map_file;
use crate::model::Importer;
use crate::{ImportError, proto};

/// What the user decides about an import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Symbolic dims to fix, by name.
    pub dims: BTreeMap<String, i64>,
    /// Shapes of inputs to fix, by name.
    pub shapes: BTreeMap<String, Vec<i64>>,
    /// Bounds.
    pub limits: ImportLimits,
}

/// An imported model.
#[derive(Debug)]
pub struct Import {
    /// The graph; inputs and outputs have the model's names.
    pub graph: Graph,
    /// Versions of operator domains; the main domain is the empty string.
    pub opsets: BTreeMap<String, i64>,
    /// `name version` of the exporter, where given.
    pub producer: String,
    /// Metadata entries.
    pub metadata: BTreeMap<String, String>,
    /// Things worth telling the user that are no errors.
    pub warnings: Vec<String>,
}

/// Imports a model file, memory-mapped. External data is looked for beneath its folder.
///
/// # Errors
/// [`ImportError`]; everything unsupported is reported at once.
pub fn import_file(path: &Path, options: &ImportOptions) -> Result<Import, ImportError> {
    let fail = |error| ImportError::Read {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        let error = std::io::Error::other("not a regular file");
        return Err(ImportError::Read {
            path: path.to_owned(),
            error,
        });
    }
    let limit = options.limits.file_bytes;
    if metadata.len() > limit {
        return Err(ImportError::TooLarge {
            bytes: metadata.len(),
            limit,
        });
    }
    let bytes = if metadata.len() == 0 {
        Bytes::new()
    } else {
        map_file(&file).map_err(fail)?
    };
    let external = ExternalFiles::beside(path)?;
    import(bytes, &external, options)
}

/// Imports a model from memory; external data is refused.
///
/// # Errors
/// [`ImportError`]; everything unsupported is reported at once.
pub fn import_bytes(
    bytes: impl Into<Bytes>,
    options: &ImportOptions,
) -> Result<Import, ImportError> {
    let bytes = bytes.into();
    let limit = options.limits.file_bytes;
    if bytes.len() as u64 > limit {
        return Err(ImportError::TooLarge {
            bytes: bytes.len() as u64,
            limit,
        });
    }
    import(bytes, &ExternalFiles::none(), options)
}

fn import(
    bytes: Bytes,
    external: &ExternalFiles,
    options: &ImportOptions,
) -> Result<Import, ImportError> {
    let span = tracing::info_span!("import", bytes = bytes.len());
    let _guard = span.enter();
    let model = {
        let _decode = tracing::info_span!("decode").entered();
        proto::decode_model(bytes)?
    };
    Importer::new(&model, external, options)?.run()
}
