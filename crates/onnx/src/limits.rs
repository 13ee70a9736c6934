//! Bounds on what a model file may ask for.

/// Bounds of an import. The defaults let every known real model through.
#[derive(Clone, Debug)]
pub struct ImportLimits {
    /// Bytes of the model file, external data not counted.
    pub file_bytes: u64,
    /// Nodes, after functions are inlined, sub-graphs included.
    pub nodes: usize,
    /// Nesting of sub-graphs and function calls.
    pub depth: usize,
    /// Bytes of all sparse tensors once they are dense.
    pub dense_bytes: usize,
}

impl Default for ImportLimits {
    fn default() -> ImportLimits {
        ImportLimits {
            file_bytes: 4 << 30,
            nodes: 1 << 17,
            depth: 64,
            dense_bytes: 128 << 20,
        }
    }
}
