//! What must hold of a launch before a device runs it.

use alula_tensor::{Dim, Symbol};

use crate::{Arg, DeviceError, KernelEntry, ParamAccess};

/// Evaluates dims under a launch's symbols.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'l> {
    entry: &'l KernelEntry,
    symbols: &'l [i64],
}

impl<'l> Sizes<'l> {
    /// Values of the kernel's symbols, in order.
    pub fn new(entry: &'l KernelEntry, symbols: &'l [i64]) -> Sizes<'l> {
        Sizes { entry, symbols }
    }

    /// The value of a dim over the kernel's symbols.
    ///
    /// # Errors
    /// [`DeviceError::Launch`] for a symbol without a value, and a value out of range.
    pub fn eval(&self, dim: &Dim) -> Result<i64, DeviceError> {
        let bind = |symbol: &Symbol| {
            let mut known = self.entry.symbols.iter();
            let position = known.position(|known| known == symbol)?;
            self.symbols.get(position).copied()
        };
        dim.eval(&bind)
            .map_err(|error| failed(self.entry, error.to_string()))
    }
}

/// Checks a launch's arguments against the kernel's entry: their number and lengths, that what is
/// only lent is not written, and that memory that is written is no other parameter's unless it is
/// exactly the same range. `arena` is the arena's length, `constant` gives a constant's. Returns
/// how many bytes the kernel may touch of each parameter.
///
/// # Errors
/// [`DeviceError::BadArg`] naming the parameter, [`DeviceError::Launch`].
pub fn check_launch(
    sizes: &Sizes<'_>,
    args: &[Arg<'_>],
    arena: usize,
    constant: &dyn Fn(usize) -> Option<usize>,
) -> Result<Vec<usize>, DeviceError> {
    let entry = sizes.entry;
    if sizes.symbols.len() != entry.symbols.len() || args.len() != entry.params.len() {
        let reason = "the number of arguments or symbols is wrong".to_owned();
        return Err(failed(entry, reason));
    }
    let mut needed = Vec::with_capacity(args.len());
    for (position, (arg, param)) in args.iter().zip(&entry.params).enumerate() {
        let bad = |reason: String| bad(entry, position, reason);
        let is_lent = matches!(arg, Arg::Constant(_) | Arg::Host(_));
        if is_lent && param.access == ParamAccess::Write {
            return Err(bad("it is written, but was given for reading".to_owned()));
        }
        let given = match arg {
            Arg::Arena(range) if range.start > range.end || range.end > arena => {
                return Err(bad(format!("{range:?} lies outside of the arena")));
            }
            Arg::Arena(range) => range.len(),
            Arg::Constant(index) => {
                constant(*index).ok_or_else(|| bad(format!("constant {index} does not exist")))?
            }
            Arg::Host(bytes) => bytes.len(),
            Arg::HostMut(bytes) => bytes.len(),
            Arg::Again(other) => {
                return Err(bad(format!(
                    "it is parameter {other} again, of host memory"
                )));
            }
        };
        let wanted = usize::try_from(sizes.eval(&param.bytes)?.max(0)).unwrap_or(usize::MAX);
        if given < wanted {
            return Err(bad(format!("it has {given} bytes, {wanted} are needed")));
        }
        needed.push(wanted);
    }
    overlaps(entry, args, &needed)?;
    Ok(needed)
}

/// Memory that is written must be no other parameter's, unless it is exactly the same range.
fn overlaps(entry: &KernelEntry, args: &[Arg<'_>], needed: &[usize]) -> Result<(), DeviceError> {
    let in_arena = |position: usize| match &args[position] {
        Arg::Arena(range) if needed[position] > 0 => {
            Some(range.start..range.start + needed[position])
        }
        _ => None,
    };
    for (position, param) in entry.params.iter().enumerate() {
        let Some(range) = in_arena(position).filter(|_| param.access == ParamAccess::Write) else {
            continue;
        };
        for other in (0..args.len()).filter(|&other| other != position) {
            let Some(against) = in_arena(other) else {
                continue;
            };
            let apart = against.end <= range.start || range.end <= against.start;
            if !apart && against != range {
                let reason = format!("it is written and overlaps parameter {other}");
                return Err(bad(entry, position, reason));
            }
        }
    }
    Ok(())
}

fn bad(entry: &KernelEntry, param: usize, reason: String) -> DeviceError {
    DeviceError::BadArg {
        kernel: entry.name.clone(),
        param,
        reason,
    }
}

fn failed(entry: &KernelEntry, reason: String) -> DeviceError {
    DeviceError::Launch {
        kernel: entry.name.clone(),
        reason,
    }
}
