//! Maps: made of rows of scores, and taken apart into keys and values, which are tensors like
//! others: what else there is to do with a map is done with those. They live on the host.

use alula_ir::{EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, Lowering, OpDef};
use alula_program::HostFn;
use alula_tensor::{DType, Map, Scalar, Tensor, ValueType};

use crate::shape::PLAIN;

/// A map for each row.
pub static ZIP_MAPS: OpDef = OpDef {
    name: "zip_maps",
    summary: "a sequence with one map for each row of x, from keys[k] to x[row, k]; of a single \
              row, if x has one axis",
    operands: &["x", "keys"],
    attrs: &[],
    traits: PLAIN,
    infer: infer_zip,
    eval: eval_zip,
    lowering: Lowering::Host(|_| Ok(HostFn::ZipMaps)),
    examples: &[
        "graph @e(%x: f32[N, 3]) {
           %k = const i64[3] [5, -1, 3] %s = zip_maps %x, %k
           %i = const i64[] [0] %m = sequence_at %s, %i
           %a, %b = map_entries %m return a: %a, b: %b }",
        "graph @e(%x: i32[2]) {
           %k = const string[2] [\"b\", \"a\"] %s = zip_maps %x, %k
           %n = sequence_length %s return s: %s, n: %n }",
        "graph @e(%x: f64[0, 1]) {
           %k = const i64[1] [7] %s = zip_maps %x, %k return s: %s }",
    ],
};

fn infer_zip(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let (x, keys) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if !Map::takes_keys(keys.dtype) {
        return Err(InferError::BadDType {
            operand: 1,
            given: keys.to_string(),
            wanted: "keys that are i64 or strings".to_owned(),
        });
    }
    let columns = match x.shape.as_slice() {
        [columns] | [_, columns] => columns,
        _ => return Err(InferError::Mismatch(format!("{x} is no table of rows"))),
    };
    let differ = |a: Option<i64>, b: Option<i64>| a.zip(b).is_some_and(|(a, b)| a != b);
    if keys.rank() != 1 || differ(columns.as_const(), keys.shape[0].as_const()) {
        return Err(InferError::Mismatch(format!("rows of {x} for keys {keys}")));
    }
    if let Some(given) = ctx.constant(1) {
        let map = Map::new(given.clone(), given.clone());
        map.map_err(|error| InferError::Mismatch(error.to_string()))?;
    }
    let map = ValueType::Map {
        key: keys.dtype,
        value: x.dtype,
    };
    Ok(vec![ValueType::Sequence(Box::new(map)).into()])
}

fn eval_zip(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, keys) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let (rows, columns) = match *x.shape() {
        [columns] => (1, columns),
        [rows, columns] => (rows, columns),
        _ => return Err(EvalError::Value(format!("{} is no table", x.ty()))),
    };
    let row = |row: usize| -> Result<HostValue, EvalError> {
        let places = (0..columns).map(|column| row * columns + column);
        let values = match x.strings() {
            Some(strings) => {
                let strings = places.map(|at| strings[at].clone()).collect();
                Tensor::from_strings(&[columns], strings)?
            }
            None => {
                let values: Vec<Scalar> = places.filter_map(|at| x.get(at)).collect();
                Tensor::from_scalars(x.dtype(), &[columns], &values)?
            }
        };
        let map = Map::new(keys.clone(), values);
        Ok(map
            .map_err(|error| EvalError::Value(error.to_string()))?
            .into())
    };
    let maps = (0..rows).map(row).collect::<Result<_, _>>()?;
    Ok(vec![HostValue::Sequence(maps)])
}

/// Keys and values.
pub static MAP_ENTRIES: OpDef = OpDef {
    name: "map_entries",
    summary: "the keys of a map, ascending (strings by their bytes), and the values in their order",
    operands: &["map"],
    attrs: &[],
    traits: PLAIN,
    infer: |ctx| match ctx.facts(0)?.ty {
        ValueType::Map { key, value } => {
            let count = vec![ctx.fresh_extent(0, 0)];
            Ok(vec![
                Inferred::tensor(*key, count.clone()),
                Inferred::tensor(*value, count),
            ])
        }
        other => Err(InferError::BadDType {
            operand: 0,
            given: other.to_string(),
            wanted: "a map".to_owned(),
        }),
    },
    eval: |ctx| match ctx.operands.first().copied().flatten() {
        Some(HostValue::Map(map)) => {
            Ok(vec![map.keys().clone().into(), map.values().clone().into()])
        }
        _ => Err(EvalError::Value("a map is needed".to_owned())),
    },
    lowering: Lowering::Host(|_| Ok(HostFn::MapEntries)),
    examples: &["graph @e(%x: f32[2]) {
       %k = const string[2] [\"b\", \"a\"] %s = zip_maps %x, %k
       %i = const i64[] [0] %m = sequence_at %s, %i
       %a, %b = map_entries %m %c = const string[3] [\"a\", \"c\", \"b\"]
       %d = const f32[] [0.5] %y = lookup %c, %a, %b, %d return y: %y }"],
};

/// The dtypes of keys and values, if a type is a map's.
pub fn map_of(ty: &ValueType) -> Option<(DType, DType)> {
    match ty {
        ValueType::Map { key, value } => Some((*key, *value)),
        ValueType::Tensor(_)
        | ValueType::Unranked(_)
        | ValueType::Sequence(_)
        | ValueType::Optional(_) => None,
    }
}
