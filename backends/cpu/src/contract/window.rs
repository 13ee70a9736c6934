//! Finding the sliding window of a convolution in the left side's index.

use alula_kernel::{Affine, Contract, Role, VarId};
use alula_tensor::Dim;

use super::plan::{Layout, NotSupported};

/// One windowed axis of the left side: `index = stride * position + dilation * tap - pad`.
#[derive(Clone, Debug)]
pub(super) struct WindowAxis {
    /// The axis of the operand; `None` for the height of a one-dimensional window.
    pub(super) axis: Option<usize>,
    pub(super) position: Option<VarId>,
    pub(super) tap: Option<VarId>,
    pub(super) stride: Dim,
    pub(super) dilation: Dim,
    pub(super) pad: Dim,
}

impl WindowAxis {
    /// The height of a one-dimensional window.
    pub(super) fn trivial() -> WindowAxis {
        let one = Dim::new(1);
        WindowAxis {
            axis: None,
            position: None,
            tap: None,
            stride: one.clone(),
            dilation: one,
            pad: Dim::new(0),
        }
    }

    /// The extent of a variable, 1 if there is none.
    pub(super) fn extent(contract: &Contract, var: Option<VarId>) -> Dim {
        var.map_or(Dim::new(1), |var| {
            contract.epilogue.pool.extent(var).clone()
        })
    }

    /// The size of the image along this axis.
    pub(super) fn input(&self, contract: &Contract) -> Dim {
        let operand = &contract.epilogue.operands[contract.a.operand as usize];
        self.axis
            .map_or(Dim::new(1), |axis| operand.shape[axis].clone())
    }

    /// The stride of this axis in memory.
    pub(super) fn step(&self, layout: &Layout) -> Dim {
        self.axis
            .map_or(Dim::new(0), |axis| layout.strides[axis].clone())
    }
}

/// The windowed axes of the left side: those that are padded, or where a row and a summed variable
/// meet.
///
/// # Errors
/// An axis that is padded in another way.
pub(super) fn find(contract: &Contract) -> Result<Vec<WindowAxis>, NotSupported> {
    let mut found = Vec::new();
    for (axis, index) in contract.a.index.iter().enumerate() {
        let of = |role| -> Vec<VarId> {
            let vars = contract.axes_of(role);
            index
                .terms
                .keys()
                .copied()
                .filter(|var| vars.contains(var))
                .collect()
        };
        let (positions, taps) = (of(Role::M), of(Role::K));
        let padded = contract.a.padded.contains(&axis);
        let meets = !positions.is_empty() && !taps.is_empty();
        if !padded && !meets {
            continue;
        }
        let simple = positions.len() <= 1
            && taps.len() <= 1
            && index.terms.len() == positions.len() + taps.len();
        if !simple {
            return Err(NotSupported::new(format!(
                "axis {axis} of the left side is not a window"
            )));
        }
        let window = window_axis(axis, index, positions.first(), taps.first());
        if window.pad.as_const().is_some_and(|pad| pad < 0) {
            return Err(NotSupported::new(format!(
                "axis {axis} of the left side is cropped by its window"
            )));
        }
        found.push(window);
    }
    Ok(found)
}

fn window_axis(
    axis: usize,
    index: &Affine,
    position: Option<&VarId>,
    tap: Option<&VarId>,
) -> WindowAxis {
    let factor = |var: Option<&VarId>| var.map_or(Dim::new(1), |&var| index.coefficient(var));
    WindowAxis {
        axis: Some(axis),
        position: position.copied(),
        tap: tap.copied(),
        stride: factor(position),
        dilation: factor(tap),
        pad: Dim::new(0) - index.offset.clone(),
    }
}
