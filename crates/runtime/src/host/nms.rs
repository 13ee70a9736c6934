//! Non-maximum suppression: per batch and class the best boxes that do not overlap a better one.

use alula_tensor::{DType, Tensor};

use super::Operands;
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
pub(super) fn select(given: &Operands<'_>, center_point_box: bool) -> Result<Tensor, StepError> {
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
    let floats = |tensor: &Tensor| -> Vec<f32> {
        match tensor.as_slice::<f32>() {
            Some(values) => values.to_vec(),
            None => tensor.to_f64s().into_iter().map(|v| v as f32).collect(),
        }
    };
    let (boxes, scores) = (floats(boxes), floats(scores));
    let mut selected: Vec<i64> = Vec::new();
    let mut candidates: Vec<usize> = Vec::with_capacity(count);
    let mut kept: Vec<Corners> = Vec::new();
    for batch in 0..batches {
        let corners: Vec<Corners> = boxes[batch * count * 4..(batch + 1) * count * 4]
            .chunks_exact(4)
            .map(|b| Corners::new(b, center_point_box))
            .collect();
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
                if kept.iter().any(|better| corners.overlaps(better, iou_max)) {
                    continue;
                }
                kept.push(corners);
                selected.extend([batch as i64, class as i64, candidate as i64]);
            }
        }
    }
    Ok(Tensor::from_slice(&[selected.len() / 3, 3], &selected)?)
}

fn mismatch(boxes: &Tensor, scores: &Tensor) -> StepError {
    StepError::Value(format!(
        "boxes {} and scores {} do not belong together",
        boxes.ty(),
        scores.ty()
    ))
}
