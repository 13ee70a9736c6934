//! Sliding windows as ONNX states them: `strides`, `dilations`, `pads` and `auto_pad`.

use alula_ir::Attrs;
use alula_tensor::Dim;

use super::{RowCtx, RowError};

/// How `auto_pad` pads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AutoPad {
    /// As the attribute `pads` says.
    NotSet,
    /// As many windows as `extent / stride` rounded up; the odd element goes to the end.
    SameUpper,
    /// The same with the odd element at the begin.
    SameLower,
    /// No padding.
    Valid,
}

/// A window's attributes over `rank` spatial axes.
pub(super) struct Window {
    pub(super) kernel: Vec<Dim>,
    pub(super) strides: Vec<i64>,
    pub(super) dilations: Vec<i64>,
    pub(super) auto_pad: AutoPad,
    pub(super) pads: Vec<i64>,
}

impl Window {
    pub(super) fn new(ctx: &RowCtx<'_, '_>, kernel: Vec<Dim>) -> Result<Window, RowError> {
        let rank = kernel.len();
        let list = |name: &str, count: usize, default: i64| {
            let given = ctx.ints(name).unwrap_or_else(|| vec![default; count]);
            match given.len() == count {
                true => Ok(given),
                false => Err(RowError::Invalid(format!(
                    "attribute {name} is {given:?}, needs {count} entries for {rank} spatial axes"
                ))),
            }
        };
        let auto_pad = match ctx.str_or("auto_pad", "NOTSET").as_str() {
            "NOTSET" | "" => AutoPad::NotSet,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            "VALID" => AutoPad::Valid,
            other => {
                return Err(RowError::Invalid(format!(
                    "attribute auto_pad is {other:?}"
                )));
            }
        };
        let window = Window {
            strides: list("strides", rank, 1)?,
            dilations: list("dilations", rank, 1)?,
            pads: match auto_pad {
                AutoPad::NotSet => list("pads", 2 * rank, 0)?,
                _ => vec![0; 2 * rank],
            },
            auto_pad,
            kernel,
        };
        let positive = |values: &[i64]| values.iter().all(|value| *value > 0);
        if !positive(&window.strides) || !positive(&window.dilations) {
            return Err(RowError::Invalid(format!(
                "strides {:?} and dilations {:?} must be positive",
                window.strides, window.dilations
            )));
        }
        Ok(window)
    }

    /// `(kernel - 1) * dilation + 1`.
    pub(super) fn span(&self, axis: usize) -> Dim {
        (self.kernel[axis].clone() - Dim::new(1)) * Dim::new(self.dilations[axis]) + Dim::new(1)
    }

    /// Whether `auto_pad` asks for as many windows as the extent has strides.
    pub(super) fn is_same(&self) -> bool {
        matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower)
    }

    /// Begin and end of a total padding.
    pub(super) fn share(&self, total: &Dim) -> (Dim, Dim) {
        let half = total.floor_div(&Dim::new(2));
        let rest = total.clone() - half.clone();
        match self.auto_pad {
            AutoPad::SameLower => (rest, half),
            _ => (half, rest),
        }
    }

    /// Pads of a convolution or pool over these extents: all begins, then all ends.
    pub(super) fn resolved_pads(&self, extents: &[Dim]) -> Vec<Dim> {
        if !self.is_same() {
            return self.pads.iter().map(|pad| Dim::new(*pad)).collect();
        }
        let (mut begins, mut ends) = (Vec::new(), Vec::new());
        for (axis, extent) in extents.iter().enumerate() {
            let stride = Dim::new(self.strides[axis]);
            let reach = (extent.ceil_div(&stride) - Dim::new(1)) * stride + self.span(axis);
            let total = (reach - extent.clone()).maximum(&Dim::new(0));
            let (begin, end) = self.share(&total);
            begins.push(begin);
            ends.push(end);
        }
        begins.append(&mut ends);
        begins
    }

    /// The IR's attributes with these pads.
    pub(super) fn attrs(&self, pads: Vec<Dim>) -> Attrs {
        Attrs::new()
            .with("strides", self.strides.clone())
            .with("dilations", self.dilations.clone())
            .with("pads", pads)
    }
}
