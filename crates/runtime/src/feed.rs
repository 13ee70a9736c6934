//! What a caller passes in, without owning it.

use alula_tensor::{DType, Storage, Tensor, Value, ValueType};

use crate::{RunError, StepError};

/// A tensor in the caller's memory: little-endian, row-major.
#[derive(Clone, Copy, Debug)]
pub struct TensorRef<'a> {
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: &'a [usize],
    /// The elements.
    pub bytes: &'a [u8],
}

impl<'a> TensorRef<'a> {
    /// A tensor's elements where they lie.
    pub fn of(tensor: &'a Tensor) -> TensorRef<'a> {
        TensorRef {
            dtype: tensor.dtype(),
            shape: tensor.shape(),
            bytes: tensor.bytes(),
        }
    }

    fn describe(&self) -> String {
        let extents: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        format!("{}[{}]", self.dtype, extents.join(", "))
    }
}

/// An input of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Feed<'a> {
    Tensor(TensorRef<'a>),
    Value(&'a Value),
}

impl<'a> Feed<'a> {
    pub(crate) fn of(value: &'a Value) -> Feed<'a> {
        match value {
            Value::Tensor(tensor) if tensor.dtype() != DType::String => {
                Feed::Tensor(TensorRef::of(tensor))
            }
            _ => Feed::Value(value),
        }
    }

    /// The elements, if this is a tensor of numbers.
    pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Feed::Tensor(tensor) => Some(tensor.bytes),
            Feed::Value(_) => None,
        }
    }

    /// The extents, if this is a tensor.
    pub(crate) fn shape(&self) -> Option<&'a [usize]> {
        match self {
            Feed::Tensor(tensor) => Some(tensor.shape),
            Feed::Value(value) => value.as_tensor().map(Tensor::shape),
        }
    }

    /// A value of its own; copies the bytes of a borrowed tensor.
    pub(crate) fn to_value(self) -> Result<Value, StepError> {
        match self {
            Feed::Value(value) => Ok(value.clone()),
            Feed::Tensor(TensorRef {
                dtype,
                shape,
                bytes,
            }) => {
                let storage = Storage::try_copy_from(bytes)?;
                Ok(Tensor::from_storage(dtype, shape, storage)?.into())
            }
        }
    }

    /// Checks kind, dtype, rank, constant extents and length against the declaration.
    pub(crate) fn check(&self, name: &str, declared: &ValueType) -> Result<(), RunError> {
        let given = || match self {
            Feed::Tensor(tensor) => tensor.describe(),
            Feed::Value(value) => value.describe(),
        };
        let fail = |reason: String| RunError::InputType {
            name: name.to_owned(),
            declared: declared.to_string(),
            given: given(),
            reason,
        };
        let (tensor, ty) = match (self, declared) {
            (Feed::Tensor(tensor), ValueType::Tensor(ty)) => (tensor, ty),
            (Feed::Tensor(tensor), ValueType::Unranked(dtype)) if tensor.dtype == *dtype => {
                return self.check_length(tensor, fail);
            }
            (Feed::Value(value), declared) if value.fits(declared) => return Ok(()),
            _ => return Err(fail("another kind of value".to_owned())),
        };
        if tensor.dtype != ty.dtype {
            return Err(fail("the dtypes differ".to_owned()));
        }
        if tensor.shape.len() != ty.rank() {
            return Err(fail("the ranks differ".to_owned()));
        }
        for (axis, (dim, &extent)) in ty.shape.iter().zip(tensor.shape).enumerate() {
            let known = dim.as_const();
            if known.is_some_and(|known| usize::try_from(known) != Ok(extent)) {
                return Err(fail(format!("axis {axis} is {extent}, not {dim}")));
            }
        }
        self.check_length(tensor, fail)
    }

    /// Checks that there are as many bytes as extents and dtype say.
    fn check_length(
        &self,
        tensor: &TensorRef<'_>,
        fail: impl Fn(String) -> RunError,
    ) -> Result<(), RunError> {
        let elements = tensor.shape.iter().try_fold(1_usize, |n, &extent| {
            if extent > i64::MAX as usize {
                return None;
            }
            n.checked_mul(extent)
        });
        let elements = if tensor.shape.contains(&0) {
            Some(0)
        } else {
            elements
        };
        let bytes = elements.and_then(|n| n.checked_mul(tensor.dtype.size_bytes()));
        if bytes == Some(tensor.bytes.len()) {
            Ok(())
        } else {
            Err(fail(format!("there are {} bytes", tensor.bytes.len())))
        }
    }
}
