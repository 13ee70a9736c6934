//! Bins of a spectrum at steps of mel.

use alula_tensor::Tensor;

use super::{Operands, Room, Wanted};
use crate::StepError;

/// Edges of triangles, as many as the plan wants: a mel is 2595 / ln 10 of the logarithm of
/// 1 + hertz / 700.
pub(super) fn edges(
    given: &Operands<'_>,
    wanted: &[Wanted<'_>],
    room: &Room,
) -> Result<Tensor, StepError> {
    let shape = wanted.first().and_then(|wanted| wanted.shape.as_deref());
    let shape = shape.ok_or_else(|| StepError::value("the number of edges is not known"))?;
    let count = shape.iter().product::<usize>() as f64;
    let per_decade = 2595.0 / 10.0_f64.ln();
    let mel = |hertz: f64| per_decade * (1.0 + hertz / 700.0).ln();
    let (low, high) = (mel(given.float(2)?), mel(given.float(3)?));
    let points = given.float(0)? + 1.0;
    let rate = given.float(1)?;
    room.ints(shape, |edges| {
        for (at, edge) in edges.iter_mut().enumerate() {
            let mel = low + at as f64 * ((high - low) / count);
            let hertz = 700.0 * ((mel / per_decade).exp() - 1.0);
            *edge = (points * hertz / rate).floor() as i64;
        }
    })
}
