//! Host steps: functions whose result shapes depend on data, or whose values are sequences,
//! optionals, maps or strings. The list is closed; everything else is compiled.
//!
//! Written for speed on typical sizes, and independent of the reference, which tests them.

mod axis;
mod compress;
mod image;
mod jpeg;
mod keys;
mod map;
mod mel;
mod nms;
mod nonzero;
mod random;
mod room;
mod sequence;
mod text;
mod topk;
mod unique;

#[cfg(test)]
mod tests;

use alula_program::HostFn;
use alula_tensor::{Map, Tensor, Value, ValueType};
use smallvec::SmallVec;

pub(crate) use room::Room;

use crate::StepError;

/// What the plan says of a result.
pub(crate) struct Wanted<'p> {
    /// Its declared type.
    pub(crate) ty: &'p ValueType,
    /// Its extents, where they are known before the step.
    pub(crate) shape: Option<Vec<usize>>,
}

/// Operands of a call.
pub(crate) struct Operands<'v>(&'v [Option<Value>]);

impl Operands<'_> {
    fn value(&self, position: usize) -> Result<&Value, StepError> {
        let value = self.0.get(position).and_then(Option::as_ref);
        value.ok_or_else(|| StepError::Value(format!("operand {position} is missing")))
    }

    fn tensor(&self, position: usize) -> Result<&Tensor, StepError> {
        let tensor = self.value(position)?.as_tensor();
        tensor.ok_or_else(|| StepError::Value(format!("operand {position} is no tensor")))
    }

    fn sequence(&self, position: usize) -> Result<&[Value], StepError> {
        let values = self.value(position)?.as_sequence();
        values.ok_or_else(|| StepError::Value(format!("operand {position} is no sequence")))
    }

    fn map(&self, position: usize) -> Result<&Map, StepError> {
        let map = self.value(position)?.as_map();
        map.ok_or_else(|| StepError::Value(format!("operand {position} is no map")))
    }

    fn has(&self, position: usize) -> bool {
        self.0.get(position).is_some_and(Option::is_some)
    }

    /// The first element of an integer operand.
    fn int(&self, position: usize) -> Result<i64, StepError> {
        let ints = self.tensor(position)?.to_i64s();
        let first = ints.and_then(|ints| ints.first().copied());
        first.ok_or_else(|| StepError::Value(format!("operand {position} is no integer")))
    }

    /// The first element of a float operand.
    fn float(&self, position: usize) -> Result<f64, StepError> {
        let first = self.tensor(position)?.get(0).map(|scalar| scalar.to_f64());
        first.ok_or_else(|| StepError::Value(format!("operand {position} is no number")))
    }
}

/// Runs a function. Results that the plan does not take are not given. What it makes, results and
/// temporaries, comes out of `room`.
pub(crate) fn call(
    function: &HostFn,
    operands: &[Option<Value>],
    wanted: &[Wanted<'_>],
    room: &Room,
) -> Result<SmallVec<[Value; 4]>, StepError> {
    let given = Operands(operands);
    let mut results: SmallVec<[Value; 4]> = SmallVec::new();
    match function {
        HostFn::NonZero => results.push(nonzero::nonzero(given.tensor(0)?, room)?.into()),
        HostFn::TopK { axis, largest, .. } => {
            let (x, k) = (given.tensor(0)?, given.int(1)?);
            let (values, indices) = topk::topk(x, k, *axis, *largest, room)?;
            results.push(values.into());
            results.push(indices.into());
        }
        HostFn::Unique { axis, sorted } => {
            let unique = unique::unique(given.tensor(0)?, *axis, *sorted, room)?;
            results.extend(unique.into_iter().map(Value::from));
        }
        HostFn::Compress { axis } => {
            let kept = compress::compress(given.tensor(0)?, given.tensor(1)?, *axis, room)?;
            results.push(kept.into());
        }
        HostFn::NonMaxSuppression { center_point_box } => {
            let boxes = nms::select(&given, *center_point_box, room)?;
            results.push(boxes.into());
        }
        HostFn::DecodeImage { format } => {
            let x = given.tensor(0)?;
            let image = image::decode(x.bytes(), *format, room.left())?;
            room.take(image.bytes().len())?;
            results.push(image.into());
        }
        HostFn::RandomNormal {
            mean,
            scale,
            seed,
            dtype,
        } => {
            let kind = random::Kind::Normal {
                mean: *mean,
                scale: *scale,
            };
            results.push(random::random(kind, *seed, *dtype, wanted, room)?.into());
        }
        HostFn::RandomUniform {
            low,
            high,
            seed,
            dtype,
        } => {
            let kind = random::Kind::Uniform {
                low: *low,
                high: *high,
            };
            results.push(random::random(kind, *seed, *dtype, wanted, room)?.into());
        }
        HostFn::StringConcat
        | HostFn::StringEqual
        | HostFn::StringSplit { .. }
        | HostFn::StringNormalize { .. }
        | HostFn::RegexFullMatch { .. }
        | HostFn::StringFormat { .. }
        | HostFn::StringParse { .. }
        | HostFn::Lookup => results.extend(text::call(function, &given, room)?),
        HostFn::SequenceConstruct
        | HostFn::SequenceEmpty
        | HostFn::SequenceAt
        | HostFn::SequenceInsert
        | HostFn::SequenceErase
        | HostFn::SequenceLength
        | HostFn::ConcatFromSequence { .. }
        | HostFn::SplitToSequence { .. }
        | HostFn::Optional
        | HostFn::OptionalGetElement
        | HostFn::OptionalHasElement => results.push(sequence::call(function, &given, room)?),
        HostFn::MelEdges => results.push(mel::edges(&given, wanted, room)?.into()),
        HostFn::ZipMaps => {
            let maps = map::zip(given.tensor(0)?, given.tensor(1)?, room)?;
            results.push(Value::Sequence(maps));
        }
        HostFn::MapEntries => {
            let map = given.map(0)?;
            results.push(map.keys().clone().into());
            results.push(map.values().clone().into());
        }
    }
    results.truncate(wanted.len());
    Ok(results)
}
