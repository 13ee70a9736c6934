//! The manifest beside a collection of models: how the inputs of example runs follow from a few
//! numbers (`tools/models/examples.py` defines the recipes).

use std::path::Path;

use alula::{DType, Scalar, Tensor};
use serde_json::Value as Json;

/// The record of a model in the `manifest.json` of its folder, if there is one.
pub(crate) fn record(model: &Path) -> Option<Json> {
    let text = std::fs::read_to_string(model.parent()?.join("manifest.json")).ok()?;
    let manifest: Json = serde_json::from_str(&text).ok()?;
    let file = model.file_name()?.to_str()?;
    let records = manifest.get("models")?.as_array()?;
    let found = records
        .iter()
        .find(|record| record["file"].as_str() == Some(file));
    found.cloned()
}

/// The inputs of an example run by name; `None` where the record does not have it.
pub(crate) fn example(record: &Json, index: usize) -> Option<Vec<(String, Tensor)>> {
    let seed = record.get("input_seed").or(record.get("name"))?.as_str()?;
    let recipes = record.get("examples")?.get(index)?.as_object()?;
    recipes
        .iter()
        .map(|(name, recipe)| {
            let tensor = make(&format!("{seed}/{index}/{name}"), recipe)?;
            Some((name.clone(), tensor))
        })
        .collect()
}

fn make(key: &str, recipe: &Json) -> Option<Tensor> {
    let dtype = DType::from_name(recipe["dtype"].as_str()?)?;
    let shape: Vec<usize> = ints(&recipe["shape"])?
        .into_iter()
        .map(|extent| usize::try_from(extent).ok())
        .collect::<Option<_>>()?;
    let count = shape.iter().try_fold(1_usize, |n, &e| n.checked_mul(e))?;
    let generator = recipe["gen"].as_array()?;
    let number = |position: usize| generator.get(position)?.as_f64();
    let int = |position: usize| generator.get(position)?.as_i64();
    let values: Vec<Scalar> = match generator.first()?.as_str()? {
        "uniform" => {
            let (low, high) = (number(1)?, number(2)?);
            let unit = |z: u64| (z >> 40) as f64 / f64::from(1 << 24);
            let words = Words::new(key).take(count);
            words
                .map(|z| Scalar::Float(low + (high - low) * unit(z)))
                .collect()
        }
        "int" => {
            let (low, high) = (int(1)?, int(2)?);
            let span = u64::try_from(high.checked_sub(low)?)
                .ok()
                .filter(|s| *s > 0)?;
            let words = Words::new(key).take(count);
            let value = |z: u64| Scalar::Int(i128::from(low) + i128::from(z % span));
            words.map(value).collect()
        }
        "const" => vec![scalar(generator.get(1)?)?; count],
        "values" => {
            let mut flat = Vec::new();
            flatten(generator.get(1)?, &mut flat)?;
            flat
        }
        "strokes" => {
            let (back, mark) = (scalar(generator.get(1)?)?, scalar(generator.get(2)?)?);
            let size = |position| usize::try_from(int(position)?).ok().filter(|n| *n > 0);
            let (block, row, band) = (size(3)?, size(4)?, int(5)?);
            let [.., height, width] = shape.as_slice() else {
                return None;
            };
            let across = width.div_ceil(block);
            let words: Vec<u64> = Words::new(key)
                .take(height.div_ceil(block) * across)
                .collect();
            let plane = height * width;
            let at = |k: usize| {
                let (i, j) = (k % plane / width, k % width);
                let marked = words[i / block * across + j / block] >> 63 == 1;
                let in_band = ((i % row) as i64) < band;
                if marked && in_band { mark } else { back }
            };
            (0..count).map(at).collect()
        }
        _ => return None,
    };
    Tensor::from_scalars(dtype, &shape, &values).ok()
}

fn ints(json: &Json) -> Option<Vec<i64>> {
    json.as_array()?.iter().map(Json::as_i64).collect()
}

fn scalar(json: &Json) -> Option<Scalar> {
    match (json.as_i64(), json.as_bool()) {
        (Some(int), _) => Some(Scalar::Int(int.into())),
        (None, Some(holds)) => Some(Scalar::Int(holds.into())),
        (None, None) => Some(Scalar::Float(json.as_f64()?)),
    }
}

fn flatten(json: &Json, into: &mut Vec<Scalar>) -> Option<()> {
    match json.as_array() {
        Some(items) => items.iter().try_for_each(|item| flatten(item, into)),
        None => {
            into.push(scalar(json)?);
            Some(())
        }
    }
}

/// Random words: splitmix64 seeded with the FNV-1a hash of a text.
pub(crate) struct Words(u64);

impl Words {
    pub(crate) fn new(text: &str) -> Words {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Words(text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }
}

impl Iterator for Words {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(z ^ (z >> 31))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn recipes_give_their_numbers() {
        let recipe = json!({"dtype": "i64", "shape": [2, 2], "gen": ["values", [[1, 2], [3, 4]]]});
        let tensor = make("k", &recipe).expect("a recipe");
        assert_eq!(tensor.to_i64s(), Some(vec![1, 2, 3, 4]));
        let recipe = json!({"dtype": "i32", "shape": [50], "gen": ["int", 5, 8]});
        let ints = make("k", &recipe)
            .expect("a recipe")
            .to_i64s()
            .expect("ints");
        assert!(ints.iter().all(|i| (5..8).contains(i)) && ints.contains(&7));
        assert_eq!(
            make("k", &json!({"dtype": "f32", "shape": [1], "gen": ["what"]})),
            None
        );
    }

    #[test]
    fn words_are_those_of_splitmix64() {
        // The first two outputs of the generator seeded with 0, as published with it.
        let words: Vec<u64> = Words(0).take(2).collect();
        assert_eq!(words, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }
}
