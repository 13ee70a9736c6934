//! What values other than tensors of numbers hold, in a few words and as JSON: the first strings,
//! the first elements of a sequence, the first keys of a map with their values.

use alula::{DType, Map, Scalar, Tensor, Value};
use serde_json::json;

/// Most elements that are shown of each.
const MOST: usize = 5;

/// The first elements as text: `[{0: 0.25, 1: 0.75}, f32[2, 3]]`; none of numbers.
pub(crate) fn text(value: &Value) -> Option<String> {
    let listed = |shown: Vec<String>, count: usize| {
        let rest = if count > MOST { ", .." } else { "" };
        format!("{}{rest}", shown.join(", "))
    };
    match value {
        Value::Tensor(tensor) => {
            let strings = tensor.strings()?;
            let shown = strings.iter().take(MOST).map(|text| format!("{text:?}"));
            Some(format!("[{}]", listed(shown.collect(), strings.len())))
        }
        Value::Sequence(values) => {
            let shown = values.iter().take(MOST);
            let shown = shown.map(|value| text(value).unwrap_or_else(|| value.describe()));
            Some(format!("[{}]", listed(shown.collect(), values.len())))
        }
        Value::Optional(held) => text(held.as_deref()?),
        Value::Map(map) => {
            let shown = map.entries().take(MOST);
            let shown = shown.map(|(key, value)| format!("{key}: {value}"));
            Some(format!("{{{}}}", listed(shown.collect(), map.len())))
        }
    }
}

/// The first elements as JSON: a list of strings or of a sequence, an object of a map; nothing of
/// numbers.
pub(crate) fn json(value: &Value) -> Option<serde_json::Value> {
    match value {
        Value::Tensor(tensor) => {
            let strings = tensor.strings()?.iter().take(MOST);
            Some(strings.cloned().collect())
        }
        Value::Sequence(values) => {
            let shown = values.iter().take(MOST);
            let shown = shown.map(|value| json(value).unwrap_or_else(|| value.describe().into()));
            Some(shown.collect())
        }
        Value::Optional(held) => json(held.as_deref()?),
        Value::Map(map) => Some(object(map)),
    }
}

fn object(map: &Map) -> serde_json::Value {
    let entry = |at: usize| {
        let key = match map.keys().strings() {
            Some(strings) => strings[at].clone(),
            None => element(map.keys(), at).to_string(),
        };
        (key, element(map.values(), at))
    };
    let entries = (0..map.len().min(MOST)).map(entry);
    entries.collect::<serde_json::Map<_, _>>().into()
}

fn element(list: &Tensor, at: usize) -> serde_json::Value {
    match (list.strings(), list.get(at)) {
        (Some(strings), _) => json!(strings[at]),
        (None, Some(Scalar::Float(value))) if list.dtype() == DType::F64 => json!(value),
        (None, Some(Scalar::Float(value))) => json!(value as f32),
        (None, Some(Scalar::Int(value))) => json!(i64::try_from(value).ok()),
        (None, None) => serde_json::Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(count: usize) -> Value {
        let keys: Vec<i64> = (0..count as i64).collect();
        let values: Vec<f32> = keys.iter().map(|key| *key as f32 + 0.25).collect();
        let values = Tensor::from_slice(&[count], &values).expect("a tensor");
        Map::new(Tensor::from_i64s(&keys), values)
            .expect("a map")
            .into()
    }

    fn words_of(words: &[&str]) -> Tensor {
        let strings = words.iter().map(|word| (*word).to_owned()).collect();
        Tensor::from_strings(&[words.len()], strings).expect("a tensor")
    }

    #[test]
    fn first_elements_are_shown() {
        let list = Value::Sequence(vec![map(2), Tensor::scalar(1.0_f32).into()]);
        assert_eq!(text(&list).as_deref(), Some("[{0: 0.25, 1: 1.25}, f32[]]"));
        assert_eq!(json(&list), Some(json!([{"0": 0.25, "1": 1.25}, "f32[]"])));
        let long = text(&map(6)).expect("a map has text");
        assert!(long.ends_with("4: 4.25, ..}"), "{long}");
        let words = words_of(&["a \"b\""]);
        let named = Value::from(Map::new(words.clone(), words).expect("a map"));
        assert_eq!(text(&named).as_deref(), Some(r#"{"a \"b\"": "a \"b\""}"#));
        let words = Value::from(words_of(&["a", "b"]));
        assert_eq!(text(&words).as_deref(), Some(r#"["a", "b"]"#));
        assert_eq!(json(&words), Some(json!(["a", "b"])));
        assert_eq!(json(&named), Some(json!({"a \"b\"": "a \"b\""})));
        assert_eq!(text(&Tensor::scalar(1.0_f32).into()), None);
    }
}
