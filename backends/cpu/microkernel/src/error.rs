//! The errors of this crate.

use thiserror::Error;

use crate::isa::Isa;

/// A micro-kernel family that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IsaError {
    /// The name is none of the families.
    #[error("unknown instruction set `{name}`: expected portable, neon, avx2, avx512 or amx")]
    Unknown {
        /// The word that was given.
        name: String,
    },
    /// The family exists, but this CPU or build lacks it.
    #[error("instruction set {} is not available on this cpu", isa.name())]
    Unavailable {
        /// The family asked for.
        isa: Isa,
    },
}

/// A descriptor or an operand that a kernel refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KernelError {
    /// The instruction set cannot be used.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// A descriptor contradicts itself.
    #[error("{what}: {detail}")]
    Spec {
        /// The field or fact at fault.
        what: &'static str,
        /// What was found.
        detail: String,
    },
    /// An operand is shorter than the descriptor reaches.
    #[error("operand {operand} has {found} elements, but {needed} are needed")]
    Short {
        /// The operand's name in the descriptor's contract.
        operand: &'static str,
        /// Elements (or bytes, for scratch) that the descriptor reaches.
        needed: usize,
        /// Elements that were given.
        found: usize,
    },
    /// A descriptor reaches below the start of an operand.
    #[error("operand {operand} is reached at negative offset {offset}")]
    Negative {
        /// The operand's name in the descriptor's contract.
        operand: &'static str,
        /// The lowest element offset.
        offset: isize,
    },
    /// A task of a parallel region panicked; the message is the panic's, if it was text.
    #[error("a parallel task panicked: {message}")]
    Panicked {
        /// The panic message.
        message: String,
    },
}

impl KernelError {
    pub(crate) fn spec(what: &'static str, detail: impl Into<String>) -> Self {
        Self::Spec {
            what,
            detail: detail.into(),
        }
    }

    /// Refuses `found < needed`.
    pub(crate) fn check_len(
        operand: &'static str,
        needed: usize,
        found: usize,
    ) -> Result<(), Self> {
        if found < needed {
            Err(Self::Short {
                operand,
                needed,
                found,
            })
        } else {
            Ok(())
        }
    }
}
