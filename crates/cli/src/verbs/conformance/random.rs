//! Tests whose references were drawn by NumPy's generator. ONNX does not say which generator an
//! implementation uses, so values cannot agree: what must agree are types and statistics.

use alula::{DType, Tensor, Value};

/// Judges inputs, outputs by name, and references.
type Statistics = fn(&[Value], &[(String, Value)], &[Value]) -> Result<(), String>;

/// Standard deviations from its mean at which a sum of draws is no accident.
const SIGMAS: f64 = 5.0;

/// How a test's draws are judged, if it has any.
pub(super) fn statistics(test: &str) -> Option<Statistics> {
    let (_, name) = test.split_once("/test_")?;
    if name.starts_with("bernoulli") {
        return Some(bernoulli);
    }
    let draws = name.starts_with("training_dropout") && !name.contains("zero_ratio");
    draws.then_some(dropout)
}

fn tensor<'v>(value: Option<&'v Value>, what: &str) -> Result<&'v Tensor, String> {
    let tensor = value.and_then(Value::as_tensor);
    tensor.ok_or_else(|| format!("{what} is no tensor"))
}

fn same_types(outputs: &[(String, Value)], expected: &[Value]) -> Result<(), String> {
    for ((name, actual), expected) in outputs.iter().zip(expected) {
        let (actual, expected) = (
            tensor(Some(actual), name)?,
            tensor(Some(expected), "the reference")?,
        );
        if actual.ty() != expected.ty() {
            return Err(format!("{name}: {}, not {}", actual.ty(), expected.ty()));
        }
    }
    Ok(())
}

/// Whether a sum is near its mean, given its variance.
fn near(what: &str, sum: f64, mean: f64, variance: f64) -> Result<(), String> {
    if (sum - mean).abs() <= SIGMAS * variance.sqrt() + 1e-9 {
        return Ok(());
    }
    let sigma = variance.sqrt();
    Err(format!(
        "{what}: {sum} where {mean} is expected, sigma {sigma}"
    ))
}

/// Zeros and ones, as many as the probabilities say.
fn bernoulli(
    inputs: &[Value],
    outputs: &[(String, Value)],
    expected: &[Value],
) -> Result<(), String> {
    same_types(outputs, expected)?;
    let chances = tensor(inputs.first(), "the input")?.to_f64s();
    let drawn = tensor(outputs.first().map(|(_, value)| value), "the output")?.to_f64s();
    let is_possible = |(drawn, chance): (&f64, &f64)| {
        (*drawn == 0.0 && *chance < 1.0) || (*drawn == 1.0 && *chance > 0.0)
    };
    if !drawn.iter().zip(&chances).all(is_possible) {
        return Err("a draw is neither 0 nor 1, or impossible".to_owned());
    }
    let variance = chances.iter().map(|chance| chance * (1.0 - chance)).sum();
    near("ones", drawn.iter().sum(), chances.iter().sum(), variance)
}

/// Each element dropped to 0 or kept and scaled, as the mask says, as many as the ratio says.
fn dropout(
    inputs: &[Value],
    outputs: &[(String, Value)],
    expected: &[Value],
) -> Result<(), String> {
    same_types(outputs, expected)?;
    let x = tensor(inputs.first(), "the input")?.to_f64s();
    let ratio = match inputs.get(1).and_then(Value::as_tensor) {
        Some(ratio) if ratio.dtype() != DType::Bool => ratio.to_f64s()[0],
        _ => 0.5,
    };
    let y = tensor(outputs.first().map(|(_, value)| value), "the output")?.to_f64s();
    let scale = 1.0 / (1.0 - ratio);
    let is_kept = |x: f64, y: f64| y != 0.0 && (y - x * scale).abs() <= 1e-3 * (x * scale).abs();
    let mut kept = 0.0;
    for (index, (x, y)) in x.iter().zip(&y).enumerate() {
        if !is_kept(*x, *y) && *y != 0.0 {
            return Err(format!("element {index} of {x} became {y}"));
        }
        kept += f64::from(is_kept(*x, *y));
    }
    if let Some((_, mask)) = outputs.get(1) {
        let mask = tensor(Some(mask), "the mask")?.to_f64s();
        if mask
            .iter()
            .zip(&y)
            .any(|(mask, y)| (*mask == 1.0) != (*y != 0.0))
        {
            return Err("the mask is not what was dropped".to_owned());
        }
    }
    let count = x.len() as f64;
    near(
        "elements kept",
        kept,
        count * (1.0 - ratio),
        count * ratio * (1.0 - ratio),
    )
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn value(values: &[f32]) -> Value {
        Tensor::from_slice(&[values.len()], values)
            .expect("tensor")
            .into()
    }

    #[test]
    fn too_many_or_impossible_ones_are_found() {
        let half = value(&[0.5; 100]);
        let draws = |ones: usize| {
            let mut draws = vec![0.0; 100];
            draws[..ones].fill(1.0);
            [("y".to_owned(), value(&draws))]
        };
        let judge = |ones| bernoulli(from_ref(&half), &draws(ones), from_ref(&half));
        assert_eq!(judge(55), Ok(()));
        assert!(judge(80).is_err());
        let never = value(&[0.0; 100]);
        assert!(bernoulli(from_ref(&never), &draws(1), from_ref(&never)).is_err());
    }

    #[test]
    fn kept_elements_are_scaled() {
        let x = value(&[1.0; 40]);
        let output = |kept: f32| {
            let y: Vec<f32> = (0..40)
                .map(|k| if k % 2 == 0 { kept } else { 0.0 })
                .collect();
            [("y".to_owned(), value(&y))]
        };
        assert_eq!(dropout(from_ref(&x), &output(2.0), from_ref(&x)), Ok(()));
        assert!(dropout(from_ref(&x), &output(1.0), from_ref(&x)).is_err());
    }
}
