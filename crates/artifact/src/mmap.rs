//! The one place that maps a file: the reader's only `unsafe`.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps `file` read-only. The mapping begins at a page, hence at a multiple of every section
/// alignment.
///
/// The mapping shows what is in the file at each moment. An artifact is trusted like an executable:
/// whoever can change it in place can change what runs, and truncating it while it is mapped ends
/// the process with a bus error. The writer never changes a file in place; it renames a new one
/// over the old name, which leaves existing mappings as they are.
pub(crate) fn map_read_only(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only and private to this process. That nobody changes the file in
    // place while it is mapped is the documented condition on whoever opens an artifact.
    unsafe { Mmap::map(file) }
}
