//! Maps at rest on the host: from integers or strings to elements of one dtype.

use std::fmt;

use crate::{DType, Scalar, Tensor, TensorError};

/// A map. Keys are an `i64` or string tensor `[n]`, ascending and each there once; values are a
/// tensor `[n]` of any dtype, the k-th for the k-th key. Cloning shares the data of both, and maps
/// of one table share its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    keys: Tensor,
    values: Tensor,
}

/// Why keys and values are no map.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MapError {
    /// Keys are of another dtype than a map may have.
    #[error("keys of a map are i64 or string, not {0}")]
    KeyType(DType),
    /// They are not lists of one length.
    #[error("keys {keys:?} and values {values:?} are not lists of one length")]
    Shape {
        /// Extents of the keys.
        keys: Vec<usize>,
        /// Extents of the values.
        values: Vec<usize>,
    },
    /// A key is there twice.
    #[error("key {0} is there twice")]
    Twice(String),
    /// Keys or values cannot be put in order.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl Map {
    /// Whether keys may be of a dtype.
    pub fn takes_keys(dtype: DType) -> bool {
        matches!(dtype, DType::I64 | DType::String)
    }

    /// A map of `keys` to `values`, both `[n]` and in any order, which becomes that of the keys:
    /// of strings, by their bytes.
    ///
    /// # Errors
    /// [`MapError`], saying what is no map.
    pub fn new(keys: Tensor, values: Tensor) -> Result<Map, MapError> {
        if !Map::takes_keys(keys.dtype()) {
            return Err(MapError::KeyType(keys.dtype()));
        }
        if keys.rank() != 1 || keys.shape() != values.shape() {
            return Err(MapError::Shape {
                keys: keys.shape().to_vec(),
                values: values.shape().to_vec(),
            });
        }
        // What is in order already stays shared.
        if is_ascending(&keys) {
            return Ok(Map { keys, values });
        }
        let order = order(&keys)?;
        Ok(Map {
            keys: picked(&keys, &order)?,
            values: picked(&values, &order)?,
        })
    }

    /// The keys, `[n]`, ascending.
    pub fn keys(&self) -> &Tensor {
        &self.keys
    }

    /// The values, `[n]`, in the order of the keys.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys and values as text, in the order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = (String, String)> {
        (0..self.len()).map(|at| (text(&self.keys, at), text(&self.values, at)))
    }
}

/// `{1: 0.5, 4: 0.25}`, strings in quotes.
impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (key, value)) in self.entries().enumerate() {
            write!(f, "{}{key}: {value}", if at == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

/// Whether each key is above the one before it.
fn is_ascending(keys: &Tensor) -> bool {
    match (keys.strings(), keys.as_slice::<i64>()) {
        (Some(strings), _) => strings.is_sorted_by(|a, b| a < b),
        (None, ints) => ints.is_some_and(|ints| ints.is_sorted_by(|a, b| a < b)),
    }
}

/// The positions of keys in ascending order of them.
fn order(keys: &Tensor) -> Result<Vec<usize>, MapError> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    let twice = match (keys.strings(), keys.as_slice::<i64>()) {
        (Some(strings), _) => {
            order.sort_by_key(|&at| &strings[at]);
            let mut pairs = order.windows(2);
            pairs.find(|pair| strings[pair[0]] == strings[pair[1]])
        }
        (None, Some(ints)) => {
            order.sort_by_key(|&at| ints[at]);
            let mut pairs = order.windows(2);
            pairs.find(|pair| ints[pair[0]] == ints[pair[1]])
        }
        (None, None) => None,
    };
    match twice {
        Some(pair) => Err(MapError::Twice(text(keys, pair[0]))),
        None => Ok(order),
    }
}

/// The elements of a list at positions of it.
fn picked(list: &Tensor, order: &[usize]) -> Result<Tensor, TensorError> {
    if let Some(strings) = list.strings() {
        let strings = order.iter().map(|&at| strings[at].clone());
        return Tensor::from_strings(&[order.len()], strings.collect());
    }
    let mut result = Tensor::zeros(list.dtype(), &[order.len()])?;
    let size = list.dtype().size_bytes();
    let bytes = list.bytes();
    for (to, &from) in result.bytes_mut().chunks_exact_mut(size.max(1)).zip(order) {
        to.copy_from_slice(&bytes[from * size..][..size]);
    }
    Ok(result)
}

fn text(list: &Tensor, at: usize) -> String {
    match (list.strings(), list.get(at)) {
        (Some(strings), _) => format!("{:?}", strings[at]),
        (None, Some(Scalar::Float(value))) if list.dtype() == DType::F64 => value.to_string(),
        (None, Some(Scalar::Float(value))) => (value as f32).to_string(),
        (None, Some(Scalar::Int(value))) => value.to_string(),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(values: &[&str]) -> Tensor {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Tensor::from_strings(&[2], values).expect("tensor")
    }

    #[test]
    fn keys_are_sorted_and_values_go_with_them() {
        let values = Tensor::from_slice(&[3], &[0.5_f32, 1.5, 2.5]).expect("tensor");
        let map = Map::new(Tensor::from_i64s(&[7, -1, 3]), values).expect("a map");
        assert_eq!(map.to_string(), "{-1: 1.5, 3: 2.5, 7: 0.5}");
        let map = Map::new(strings(&["b", "a"]), strings(&["x", "y"])).expect("a map");
        assert_eq!(map.to_string(), r#"{"a": "y", "b": "x"}"#);
    }

    #[test]
    fn keys_in_order_are_shared() {
        let keys = Tensor::from_i64s(&[1, 2]);
        let map = Map::new(keys.clone(), keys.clone()).expect("a map");
        assert_eq!(map.keys().bytes().as_ptr(), keys.bytes().as_ptr());
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let ints = |values: &[i64]| Tensor::from_i64s(values);
        let refused = |keys: Tensor, values: Tensor| {
            let error = Map::new(keys, values).expect_err("it is no map");
            error.to_string()
        };
        let twice = refused(ints(&[1, 2, 1]), ints(&[0, 0, 0]));
        assert_eq!(twice, "key 1 is there twice");
        let twice = refused(strings(&["a", "a"]), ints(&[0, 0]));
        assert_eq!(twice, "key \"a\" is there twice");
        let shape = refused(ints(&[1, 2]), ints(&[0]));
        assert!(shape.contains("lists of one length"), "{shape}");
        let floats = Tensor::from_slice(&[1], &[1.0_f32]).expect("tensor");
        assert!(refused(floats, ints(&[0])).contains("not f32"));
        let empty = Map::new(ints(&[]), ints(&[])).expect("an empty one is a map");
        assert!(empty.is_empty());
    }
}
