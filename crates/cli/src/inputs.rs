//! Inputs of a run: from files, from the manifest beside the model, or made up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alula::{DType, Dim, Port, Scalar, Tensor, TensorType, Value, npy, pb};

use crate::args::Importing;
use crate::failure::Failure;
use crate::manifest::{self, Words};

/// Values by input name.
pub(crate) type Named = Vec<(String, Value)>;

/// Reads an input of a port's type from an `.npy` or `.pb` file.
pub(crate) fn read(path: &Path, port: &Port) -> Result<Value, Failure> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => Ok(npy::read(path)?.into()),
        Some("pb") => Ok(pb::read(path, &port.ty)?),
        _ => Err(Failure::user(format!(
            "{}: want .npy or .pb",
            path.display()
        ))),
    }
}

/// Inputs given as files.
pub(crate) fn from_files(ports: &[Port], files: &[(String, PathBuf)]) -> Result<Named, Failure> {
    let mut values = Named::new();
    for (name, path) in files {
        let port = ports
            .iter()
            .find(|port| port.name == *name)
            .ok_or_else(|| {
                let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
                Failure::user(format!(
                    "there is no input {name:?}: the model's inputs are {}",
                    known.join(", ")
                ))
            })?;
        values.push((name.clone(), read(path, port)?));
    }
    Ok(values)
}

/// Adds what the files do not give: the example of the manifest beside the model where there is
/// one, unless other shapes are asked for, else values of guessed shapes.
pub(crate) fn complete(
    values: &mut Named,
    ports: &[Port],
    model: &Path,
    importing: &Importing,
    seed: u64,
) -> Result<(), Failure> {
    let is_asked = !importing.shape.is_empty() || !importing.dim.is_empty();
    let example = match values.is_empty() {
        true => manifest::record(model).and_then(|record| manifest::example(&record, 0)),
        false => None,
    };
    let has = |listed: &[(String, Tensor)], port: &Port| {
        let tensor = listed.iter().find(|(name, _)| *name == port.name);
        tensor.is_some_and(|(_, tensor)| Value::from(tensor.clone()).fits(&port.ty))
    };
    // A part of an example may not fit shapes that are guessed.
    let example = example.filter(|listed| !is_asked || ports.iter().all(|port| has(listed, port)));
    let extents = extents(ports, importing);
    for port in ports {
        if values.iter().any(|(name, _)| *name == port.name) {
            continue;
        }
        let listed = example
            .iter()
            .flatten()
            .find(|(name, _)| *name == port.name);
        let value = match listed.filter(|(_, tensor)| Value::from(tensor.clone()).fits(&port.ty)) {
            Some((_, tensor)) => tensor.clone().into(),
            None => make_up(port, importing, &extents, seed)?,
        };
        values.push((port.name.clone(), value));
    }
    Ok(())
}

fn make_up(
    port: &Port,
    importing: &Importing,
    extents: &Extents,
    seed: u64,
) -> Result<Value, Failure> {
    let ty = port.ty.as_tensor().ok_or_else(|| {
        let (name, ty) = (&port.name, &port.ty);
        Failure::user(format!(
            "input {name:?} ({ty}) cannot be made up: give a .pb file"
        ))
    })?;
    let asked = importing.shape.iter().find(|(name, _)| *name == port.name);
    let shape: Vec<usize> = match asked {
        Some((_, shape)) => shape.iter().map(|&extent| extent as usize).collect(),
        None => guess_shape(&port.name, ty, extents),
    };
    let fail = |error| Failure::user(format!("input {:?}: {error}", port.name));
    if ty.dtype == DType::String {
        return Ok(Tensor::zeros(DType::String, &shape).map_err(fail)?.into());
    }
    let count = shape
        .iter()
        .try_fold(1_usize, |n, &extent| n.checked_mul(extent))
        .filter(|&count| count <= 1 << 32)
        .ok_or_else(|| Failure::user(format!("input {:?} would be too large", port.name)))?;
    let mut words = Words::new(&format!("{seed}/{}", port.name));
    let values: Vec<Scalar> = (0..count)
        .map(|position| element(&port.name, ty.dtype, position, &shape, &mut words))
        .collect();
    Ok(Tensor::from_scalars(ty.dtype, &shape, &values)
        .map_err(fail)?
        .into())
}

/// Symbols with what they are asked or guessed to be.
type Extents = BTreeMap<String, i64>;

/// An extent for every symbol that an axis of an input is: the one asked for, else the guess for
/// the first such axis, so that extents made of several symbols fit them.
fn extents(ports: &[Port], importing: &Importing) -> Extents {
    let mut extents: Extents = importing.dim.iter().cloned().collect();
    for port in ports {
        let Some(ty) = port.ty.as_tensor() else {
            continue;
        };
        let asked = importing.shape.iter().find(|(name, _)| *name == port.name);
        for (axis, dim) in ty.shape.iter().enumerate() {
            let Some(symbol) = dim.as_symbol() else {
                continue;
            };
            let extent = asked.and_then(|(_, shape)| shape.get(axis).copied());
            let guess = || guess_extent(&port.name, dim, axis, ty) as i64;
            let name = symbol.name().to_owned();
            extents
                .entry(name)
                .or_insert_with(|| extent.unwrap_or_else(guess));
        }
    }
    extents
}

fn guess_shape(name: &str, ty: &TensorType, extents: &Extents) -> Vec<usize> {
    let bind = |symbol: &alula::Symbol| extents.get(symbol.name()).copied();
    let axes = ty.shape.iter().enumerate();
    axes.map(|(axis, dim)| {
        // The same symbol may be guessed otherwise at another axis: a run says what is wrong.
        let known = dim.eval(&bind).ok();
        let known = known.and_then(|extent| usize::try_from(extent).ok());
        known.unwrap_or_else(|| guess_extent(name, dim, axis, ty))
    })
    .collect()
}

/// A plausible extent: batches of 1, images of 224, sequences of 128.
fn guess_extent(name: &str, dim: &Dim, axis: usize, ty: &TensorType) -> usize {
    let is_batch = dim.to_string().to_lowercase().contains("batch");
    if axis == 0 || is_batch {
        return 1;
    }
    let is_image = ty.rank() == 4 && !name.contains("past");
    match axis {
        1 if is_image => 3,
        2.. if is_image && ty.dtype == DType::F32 => 224,
        _ => 128,
    }
}

/// A plausible element: small normal numbers, token numbers, masks of ones, positions.
fn element(
    name: &str,
    dtype: DType,
    position: usize,
    shape: &[usize],
    words: &mut Words,
) -> Scalar {
    let name = name.to_lowercase();
    let word = words.next().unwrap_or_default();
    match dtype.class() {
        alula::DTypeClass::Float => {
            // The sum of four uniform numbers is near enough to normal.
            let part = |shift: u32| f64::from((word >> shift) as u16) / 65536.0 - 0.5;
            Scalar::Float((part(0) + part(16) + part(32) + part(48)) * 3.0_f64.sqrt())
        }
        alula::DTypeClass::Bool => Scalar::Int(1),
        _ if name.contains("position") => {
            Scalar::Int((position % shape.last().copied().unwrap_or(1).max(1)) as i128)
        }
        _ if name.contains("mask") => Scalar::Int(1),
        _ if name.contains("type") => Scalar::Int(0),
        _ if name == "sr" || name == "sample_rate" => Scalar::Int(16_000),
        _ => Scalar::Int(i128::from(word % 100)),
    }
}
