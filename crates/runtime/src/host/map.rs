//! Maps of rows.

use alula_tensor::{Map, MapError, Tensor, Value};

use super::{Room, axis::take};
use crate::StepError;

/// One map for each row of `x`, `[rows, n]` or `[n]`, from `keys`, `[n]`, which all of them share.
pub(super) fn zip(x: &Tensor, keys: &Tensor, room: &Room) -> Result<Vec<Value>, StepError> {
    let (rows, columns) = match *x.shape() {
        [columns] => (1, columns),
        [rows, columns] => (rows, columns),
        _ => return Err(StepError::Value(format!("{} is no table of rows", x.ty()))),
    };
    // The order of the keys is found once, as that of a map to the columns' positions.
    let places = room.ints(&[columns], |places| {
        for (at, place) in places.iter_mut().enumerate() {
            *place = at as i64;
        }
    })?;
    let order = Map::new(keys.clone(), places).map_err(wrong)?;
    let columns_of = order.values().to_i64s().unwrap_or_default();
    let list = x.reshape(&[x.len()])?;
    let mut maps = room.vec(rows)?;
    for row in 0..rows {
        let places = columns_of.iter().map(|&at| row * columns + at as usize);
        let values = take(&list, 0, places, room)?;
        let map = Map::new(order.keys().clone(), values).map_err(wrong)?;
        maps.push(map.into());
    }
    Ok(maps)
}

fn wrong(error: MapError) -> StepError {
    StepError::Value(error.to_string())
}
