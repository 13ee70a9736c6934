//! Non-maximum suppression: per batch and class the best boxes that do not overlap a better one.

use std::borrow::Cow;

use alula_tensor::{DType, OutOfMemory, Tensor};

use super::{Operands, Room};
use crate::StepError;

/// A box by its corners and area.
#[derive(Clone, Copy)]
struct Corners {
    y: [f32; 2],
    x: [f32; 2],
    area: f32,
}

impl Corners {
    fn new(b: &[f32], center_point_box: bool) -> Corners {
        let (y, x) = if center_point_box {
            let (half_w, half_h) = (b[2] / 2.0, b[3] / 2.0);
            (
                [b[1] - half_h, b[1] + half_h],
                [b[0] - half_w, b[0] + half_w],
            )
        } else {
            let order = |a: f32, b: f32| [a.min(b), a.max(b)];
            (order(b[0], b[2]), order(b[1], b[3]))
        };
        let area = (y[1] - y[0]) * (x[1] - x[0]);
        Corners { y, x, area }
    }

    fn overlaps(&self, other: &Corners, iou_max: f32) -> bool {
        let side = |a: [f32; 2], b: [f32; 2]| a[1].min(b[1]) - a[0].max(b[0]);
        let (height, width) = (side(self.y, other.y), side(self.x, other.x));
        if height <= 0.0 || width <= 0.0 || self.area <= 0.0 || other.area <= 0.0 {
            return false;
        }
        let shared = height * width;
        shared / (self.area + other.area - shared) > iou_max
    }
}

/// `i64[count, 3]`: batch, class and box of each that is kept; per class the best score first.
pub(super) fn select(
    given: &Operands<'_>,
    center_point_box: bool,
    room: &Room,
) -> Result<Tensor, StepError> {
    let (boxes, scores) = (given.tensor(0)?, given.tensor(1)?);
    let per_class = match given.has(2) {
        true => usize::try_from(given.int(2)?.max(0)).unwrap_or(usize::MAX),
        false => 0,
    };
    let iou_max = if given.has(3) {
        given.float(3)? as f32
    } else {
        0.0
    };
    let score_min = match given.has(4) {
        true => Some(given.float(4)? as f32),
        false => None,
    };
    let (&[batches, count, 4], &[score_batches, classes, score_count]) =
        (boxes.shape(), scores.shape())
    else {
        return Err(mismatch(boxes, scores));
    };
    if (batches, count) != (score_batches, score_count) || boxes.dtype() != scores.dtype() {
        return Err(mismatch(boxes, scores));
    }
    if !matches!(boxes.dtype(), DType::F32 | DType::F16) {
        return Err(mismatch(boxes, scores));
    }
    let (boxes, scores) = (floats(boxes, room)?, floats(scores, room)?);
    let mut selected: Vec<[i64; 3]> = Vec::new();
    let mut candidates: Vec<usize> = room.vec(count)?;
    let mut kept: Vec<(usize, Corners)> = room.vec(count.min(per_class))?;
    let mut corners: Vec<Corners> = room.vec(count)?;
    for batch in 0..batches {
        let boxes = boxes[batch * count * 4..(batch + 1) * count * 4].chunks_exact(4);
        corners.clear();
        corners.extend(boxes.map(|b| Corners::new(b, center_point_box)));
        for class in 0..classes {
            let begin = (batch * classes + class) * count;
            let scores = &scores[begin..begin + count];
            candidates.clear();
            let passes = |k: &usize| score_min.is_none_or(|min| scores[*k] > min);
            candidates.extend((0..count).filter(passes));
            candidates.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            kept.clear();
            for &candidate in &candidates {
                if kept.len() >= per_class {
                    break;
                }
                let corners = corners[candidate];
                if kept
                    .iter()
                    .any(|(_, better)| corners.overlaps(better, iou_max))
                {
                    continue;
                }
                kept.push((candidate, corners));
            }
            // As many as there are boxes in each class at most: too many to reserve.
            room.take(kept.len() * size_of::<[i64; 3]>())?;
            let bytes = (selected.len() + kept.len()) * size_of::<[i64; 3]>();
            let reserved = selected.try_reserve(kept.len());
            reserved.map_err(|_| OutOfMemory { bytes })?;
            let (batch, class) = (batch as i64, class as i64);
            selected.extend(kept.iter().map(|(k, _)| [batch, class, *k as i64]));
        }
    }
    room.ints(&[selected.len(), 3], |out| {
        out.copy_from_slice(selected.as_flattened());
    })
}

/// Elements as `f32`, where they lie if they are.
fn floats<'t>(tensor: &'t Tensor, room: &Room) -> Result<Cow<'t, [f32]>, StepError> {
    if let Some(values) = tensor.as_slice::<f32>() {
        return Ok(Cow::Borrowed(values));
    }
    let mut values = room.vec(tensor.len())?;
    let elements = (0..tensor.len()).filter_map(|k| tensor.get(k));
    values.extend(elements.map(|element| element.to_f64() as f32));
    Ok(Cow::Owned(values))
}

fn mismatch(boxes: &Tensor, scores: &Tensor) -> StepError {
    StepError::Value(format!(
        "boxes {} and scores {} do not belong together",
        boxes.ty(),
        scores.ty()
    ))
}
