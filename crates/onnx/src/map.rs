//! The model file as bytes without reading it.

use std::fs::File;

use bytes::Bytes;
use memmap2::Mmap;

/// Maps a file that is not empty.
pub(crate) fn map_file(file: &File) -> std::io::Result<Bytes> {
    // SAFETY: the mapping is private and read-only. That nobody truncates the file meanwhile is
    // asked of the user, as every reader of mapped models does.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
