//! A shared view of the bytes of a section.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::backing::Backing;

/// Bytes of an artifact that stay where they are, mapped and shared, for as long as this value or a
/// clone of it lives. Cloning copies no bytes; the artifact itself may be dropped.
#[derive(Clone)]
pub struct Section {
    backing: Arc<Backing>,
    range: Range<usize>,
}

impl Section {
    /// The caller has checked that `range` lies within `backing`.
    pub(crate) fn new(backing: Arc<Backing>, range: Range<usize>) -> Section {
        assert!(
            range.start <= range.end && range.end <= backing.len(),
            "checked by the reader"
        );
        Section { backing, range }
    }

    /// A part of this section, `None` where it does not reach. Shares the same mapping.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Option<Section> {
        self.get(range.clone())?;
        let start = self.range.start + range.start;
        Some(Section::new(
            Arc::clone(&self.backing),
            start..start + range.len(),
        ))
    }
}

impl Deref for Section {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.backing[self.range.clone()]
    }
}

impl AsRef<[u8]> for Section {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Section({} bytes at {})",
            self.range.len(),
            self.range.start
        )
    }
}
