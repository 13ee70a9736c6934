//! Sequences and optionals.

use alula_program::HostFn;
use alula_tensor::{Tensor, Value};

use super::{Operands, Room, axis as along};
use crate::StepError;

pub(super) fn call(
    function: &HostFn,
    given: &Operands<'_>,
    room: &Room,
) -> Result<Value, StepError> {
    Ok(match function {
        HostFn::SequenceConstruct => {
            let values = (0..given.0.len()).map(|k| given.value(k).cloned());
            Value::Sequence(values.collect::<Result<_, _>>()?)
        }
        HostFn::SequenceEmpty => Value::Sequence(Vec::new()),
        HostFn::SequenceAt => {
            let values = given.sequence(0)?;
            values[position(given.int(1)?, values.len())?].clone()
        }
        HostFn::SequenceInsert => {
            let values = given.sequence(0)?;
            let at = match given.has(2) {
                true => insertion(given.int(2)?, values.len())?,
                false => values.len(),
            };
            let mut longer = room.vec(values.len() + 1)?;
            longer.extend_from_slice(&values[..at]);
            longer.push(given.value(1)?.clone());
            longer.extend_from_slice(&values[at..]);
            Value::Sequence(longer)
        }
        HostFn::SequenceErase => {
            let values = given.sequence(0)?;
            let at = if given.has(1) { given.int(1)? } else { -1 };
            let at = position(at, values.len())?;
            let mut shorter = room.vec(values.len() - 1)?;
            shorter.extend_from_slice(&values[..at]);
            shorter.extend_from_slice(&values[at + 1..]);
            Value::Sequence(shorter)
        }
        HostFn::SequenceLength => Tensor::scalar(given.sequence(0)?.len() as i64).into(),
        HostFn::ConcatFromSequence { axis, new_axis } => {
            join(given.sequence(0)?, *axis, *new_axis, room)?.into()
        }
        HostFn::SplitToSequence { axis, keepdims } => split(given, *axis, *keepdims, room)?,
        HostFn::Optional => match given.has(0) {
            true => Value::Optional(Some(Box::new(given.value(0)?.clone()))),
            false => Value::Optional(None),
        },
        HostFn::OptionalGetElement => match given.value(0)? {
            Value::Optional(Some(value)) => value.as_ref().clone(),
            Value::Optional(None) => return Err(StepError::value("the optional is empty")),
            value => value.clone(),
        },
        HostFn::OptionalHasElement => {
            let holds = given.has(0) && !matches!(given.value(0)?, Value::Optional(None));
            Tensor::from_bools(&[], &[holds])?.into()
        }
        other => return Err(StepError::Value(format!("{other:?} is no sequence step"))),
    })
}

/// A position to insert at among `count` elements: -1 stands before the last one, `count` behind.
fn insertion(at: i64, count: usize) -> Result<usize, StepError> {
    match usize::try_from(at) {
        Ok(at) if at == count => Ok(at),
        _ => position(at, count),
    }
}

/// A position that may count from the end.
fn position(at: i64, count: usize) -> Result<usize, StepError> {
    let given = at;
    let at = if at < 0 {
        at.saturating_add(count as i64)
    } else {
        at
    };
    if (0..count as i64).contains(&at) {
        return Ok(at as usize);
    }
    Err(StepError::Value(format!(
        "position {given} is out of range: there are {count}"
    )))
}

fn join(values: &[Value], axis: i64, new_axis: bool, room: &Room) -> Result<Tensor, StepError> {
    let mut parts = room.vec(values.len())?;
    for value in values {
        let tensor = value
            .as_tensor()
            .ok_or_else(|| StepError::value("an element of the sequence is no tensor"))?;
        parts.push(tensor.clone());
    }
    let rank = parts.first().map_or(0, Tensor::rank) + usize::from(new_axis);
    let axis = along::normal(axis, rank)?;
    if new_axis {
        for part in &mut parts {
            let mut shape = part.shape().to_vec();
            shape.insert(axis.min(shape.len()), 1);
            *part = part.reshape(&shape)?;
        }
    }
    along::concat(&parts, axis, room)
}

/// Parts of one length, of listed lengths, or (by default) of length 1.
fn split(given: &Operands<'_>, axis: i64, keepdims: bool, room: &Room) -> Result<Value, StepError> {
    let tensor = given.tensor(0)?;
    let axis = along::normal(axis, tensor.rank())?;
    let extent = tensor.shape()[axis];
    let (lengths, squeeze) = match given.has(1) {
        false => (room.filled(extent, 1)?, !keepdims),
        true => {
            let split = given.tensor(1)?;
            let ints = split.to_i64s().unwrap_or_default();
            let lengths: Option<Vec<usize>> =
                ints.iter().map(|&n| usize::try_from(n).ok()).collect();
            let wrong = || StepError::Value(format!("parts of {ints:?} do not fill {extent}"));
            let lengths = lengths.ok_or_else(wrong)?;
            match (split.rank(), lengths.as_slice()) {
                (0, &[length]) if length > 0 => {
                    let mut lengths = room.filled(extent.div_ceil(length), length)?;
                    if let (Some(last), rest @ 1..) = (lengths.last_mut(), extent % length) {
                        *last = rest;
                    }
                    (lengths, false)
                }
                (1, _) => {
                    let total = lengths.iter().try_fold(0_usize, |n, &l| n.checked_add(l));
                    if total != Some(extent) {
                        return Err(wrong());
                    }
                    (lengths, false)
                }
                _ => return Err(wrong()),
            }
        }
    };
    let mut begin = 0;
    let mut parts = room.vec(lengths.len())?;
    for length in lengths {
        let mut part = along::take(tensor, axis, begin..begin + length, room)?;
        if squeeze {
            let mut shape = part.shape().to_vec();
            shape.remove(axis);
            part = part.reshape(&shape)?;
        }
        parts.push(part.into());
        begin += length;
    }
    Ok(Value::Sequence(parts))
}
