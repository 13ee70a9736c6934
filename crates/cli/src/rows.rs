//! Outputs as a table of rows: detections, each with a box, a score and a label.
//!
//! Rows whose scores are all but equal have no order that numerics could settle. Where a
//! reference says so of itself (`unordered` in its record), a row may lie anywhere, but lie
//! somewhere it must.

use alula::Tensor;

/// The rows of `actual` in the places of the near rows of `expected`: tensors with one first
/// extent, integers equal, floats within `near` of a tensor's largest element. Each row stands for
/// one.
///
/// `None` if some row has no counterpart, or the tensors are no such table.
pub(crate) fn in_places_of(
    expected: &[&Tensor],
    actual: &[&Tensor],
    near: f64,
) -> Option<Vec<Tensor>> {
    let rows = *expected.first()?.shape().first()?;
    let columns: Vec<Column> = expected
        .iter()
        .zip(actual)
        .map(|(expected, actual)| Column::new(expected, actual, rows, near))
        .collect::<Option<_>>()?;
    let mut left: Vec<usize> = (0..rows).collect();
    let mut order = Vec::with_capacity(rows);
    for row in 0..rows {
        let is_near = |&found: &usize| columns.iter().all(|column| column.is_near(row, found));
        let place = left.iter().position(is_near)?;
        order.push(left.remove(place));
    }
    Some(
        actual
            .iter()
            .map(|tensor| reordered(tensor, &order))
            .collect(),
    )
}

/// One tensor of the table, and what it is compared to.
struct Column {
    width: usize,
    expected: Vec<f64>,
    actual: Vec<f64>,
    bound: f64,
}

impl Column {
    fn new(expected: &Tensor, actual: &Tensor, rows: usize, near: f64) -> Option<Column> {
        let is_table = expected.shape().first() == Some(&rows)
            && expected.shape() == actual.shape()
            && expected.dtype() == actual.dtype()
            && expected.strings().is_none();
        if !is_table || rows == 0 {
            return None;
        }
        let values = expected.to_f64s();
        let largest = values.iter().fold(0.0, |most: f64, value| {
            most.max(if value.is_finite() { value.abs() } else { 0.0 })
        });
        Some(Column {
            width: values.len() / rows,
            bound: match expected.dtype().is_float() {
                true => near * largest,
                false => 0.0,
            },
            expected: values,
            actual: actual.to_f64s(),
        })
    }

    fn is_near(&self, row: usize, found: usize) -> bool {
        let of = |values: &[f64], row: usize, at: usize| values[row * self.width + at];
        (0..self.width).all(|at| {
            let (expected, actual) = (of(&self.expected, row, at), of(&self.actual, found, at));
            expected == actual || (expected - actual).abs() <= self.bound
        })
    }
}

fn reordered(tensor: &Tensor, order: &[usize]) -> Tensor {
    let mut result = tensor.clone();
    let row_bytes = tensor.bytes().len() / order.len();
    for (to, from) in order.iter().enumerate() {
        let row = &tensor.bytes()[from * row_bytes..][..row_bytes];
        result.bytes_mut()[to * row_bytes..][..row_bytes].copy_from_slice(row);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detections(scores: &[f32], labels: &[i64]) -> [Tensor; 2] {
        let scores = Tensor::from_slice(&[scores.len()], scores).expect("tensor");
        [scores, Tensor::from_i64s(labels)]
    }

    fn places(expected: &[Tensor; 2], actual: &[Tensor; 2]) -> Option<Vec<Tensor>> {
        in_places_of(&expected.each_ref(), &actual.each_ref(), 1e-4)
    }

    #[test]
    fn rows_of_nearly_equal_scores_may_change_places() {
        let expected = detections(&[0.5, 0.400_000_1, 0.4], &[1, 2, 3]);
        let actual = detections(&[0.5, 0.400_000_1, 0.4], &[1, 3, 2]);
        let [_, labels] = &expected;
        assert_eq!(
            places(&expected, &actual).expect("each has its place")[1],
            *labels
        );
    }

    #[test]
    fn a_row_stands_for_one_and_a_wrong_one_for_none() {
        let expected = detections(&[0.5, 0.4, 0.4], &[1, 2, 3]);
        for (scores, labels) in [
            ([0.5, 0.4, 0.4], [1, 2, 2]),
            ([0.5, 0.4, 0.3], [1, 2, 3]),
            ([0.4, 0.5, 0.4], [1, 2, 3]),
        ] {
            let actual = detections(&scores, &labels);
            assert_eq!(places(&expected, &actual), None, "{scores:?} {labels:?}");
        }
    }
}
