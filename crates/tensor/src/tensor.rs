//! Host tensors: dtype, extents and shared bytes in row-major order.

use std::sync::Arc;

use crate::{DType, DTypeClass, Element, MiniFloat, OutOfMemory, Scalar, Storage, TensorType};

/// A tensor in host memory, row-major, innermost axis last. Cloning shares the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Data,
}

#[derive(Clone, Debug, PartialEq)]
enum Data {
    Bytes(Storage),
    Strings(Arc<Vec<String>>),
}

/// Why a tensor cannot be made or read as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The extents ask for another amount of data than there is.
    #[error("shape {shape:?} of {dtype} needs {needed} bytes, the data has {given}")]
    Length {
        /// Element type.
        dtype: DType,
        /// Extents asked for.
        shape: Vec<usize>,
        /// Bytes (for strings: elements) that the extents need.
        needed: usize,
        /// Bytes (for strings: elements) given.
        given: usize,
    },
    /// The extents multiply beyond what memory can address.
    #[error("shape {0:?} has more elements than memory can address")]
    TooLarge(Vec<usize>),
    /// The system has no memory for the elements.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// The elements are of another type.
    #[error("tensor holds {actual}, not {wanted}")]
    WrongType {
        /// Type asked for.
        wanted: DType,
        /// Type held.
        actual: DType,
    },
}

fn count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .try_fold(1_usize, |n, &extent| n.checked_mul(extent))
}

fn bytes_needed(dtype: DType, shape: &[usize]) -> Result<usize, TensorError> {
    count(shape)
        .and_then(|n| n.checked_mul(dtype.size_bytes()))
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(|| TensorError::TooLarge(shape.to_vec()))
}

impl Tensor {
    /// A tensor of zeros (empty strings for strings).
    ///
    /// # Errors
    /// [`TensorError::TooLarge`], [`TensorError::OutOfMemory`].
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        let bytes = bytes_needed(dtype, shape)?;
        let data = match dtype {
            DType::String => {
                let n = count(shape).ok_or_else(|| TensorError::TooLarge(shape.to_vec()))?;
                let mut strings = Vec::new();
                strings.try_reserve_exact(n).map_err(|_| OutOfMemory {
                    bytes: n.saturating_mul(size_of::<String>()),
                })?;
                strings.resize(n, String::new());
                Data::Strings(Arc::new(strings))
            }
            _ => Data::Bytes(Storage::try_zeroed(bytes)?),
        };
        Ok(Tensor {
            dtype,
            shape: shape.to_vec(),
            data,
        })
    }

    /// A tensor over existing bytes: little-endian, row-major, one element per byte for types
    /// narrower than a byte.
    ///
    /// # Errors
    /// [`TensorError::Length`] when the shape needs another number of bytes.
    pub fn from_storage(
        dtype: DType,
        shape: &[usize],
        storage: Storage,
    ) -> Result<Tensor, TensorError> {
        let needed = bytes_needed(dtype, shape)?;
        let given = storage.bytes().len();
        if needed != given || dtype == DType::String {
            return Err(TensorError::Length {
                dtype,
                shape: shape.to_vec(),
                needed,
                given,
            });
        }
        Ok(Tensor {
            dtype,
            shape: shape.to_vec(),
            data: Data::Bytes(storage),
        })
    }

    /// A tensor with a copy of `values`.
    ///
    /// # Errors
    /// [`TensorError::Length`] when the shape needs another number of elements,
    /// [`TensorError::OutOfMemory`].
    pub fn from_slice<T: Element>(shape: &[usize], values: &[T]) -> Result<Tensor, TensorError> {
        let storage = Storage::try_copy_from(bytemuck::cast_slice(values))?;
        Tensor::from_storage(T::DTYPE, shape, storage)
    }

    /// A tensor of truth values.
    ///
    /// # Errors
    /// [`TensorError::Length`] when the shape needs another number of elements,
    /// [`TensorError::OutOfMemory`].
    pub fn from_bools(shape: &[usize], values: &[bool]) -> Result<Tensor, TensorError> {
        let storage = Storage::try_copy_from(bytemuck::cast_slice(values))?;
        Tensor::from_storage(DType::Bool, shape, storage)
    }

    /// A tensor of strings.
    ///
    /// # Errors
    /// [`TensorError::Length`] when the shape needs another number of elements.
    pub fn from_strings(shape: &[usize], values: Vec<String>) -> Result<Tensor, TensorError> {
        let needed = count(shape).ok_or_else(|| TensorError::TooLarge(shape.to_vec()))?;
        if needed != values.len() {
            let (dtype, given) = (DType::String, values.len());
            return Err(TensorError::Length {
                dtype,
                shape: shape.to_vec(),
                needed,
                given,
            });
        }
        let data = Data::Strings(Arc::new(values));
        Ok(Tensor {
            dtype: DType::String,
            shape: shape.to_vec(),
            data,
        })
    }

    /// A tensor whose elements are `values`, each converted to `dtype` as a cast would.
    ///
    /// # Errors
    /// [`TensorError::Length`] when the shape needs another number of elements.
    pub fn from_scalars(
        dtype: DType,
        shape: &[usize],
        values: &[Scalar],
    ) -> Result<Tensor, TensorError> {
        let mut tensor = Tensor::zeros(dtype, shape)?;
        if tensor.len() != values.len() || dtype == DType::String {
            let (needed, given) = (tensor.len(), values.len());
            return Err(TensorError::Length {
                dtype,
                shape: shape.to_vec(),
                needed,
                given,
            });
        }
        let size = dtype.size_bytes();
        let bytes = tensor.bytes_mut();
        for (chunk, &value) in bytes.chunks_exact_mut(size).zip(values) {
            value.cast(dtype).store(dtype, chunk);
        }
        Ok(tensor)
    }

    /// A rank-0 tensor.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor::from_slice(&[], &[value]).expect("one element fills a scalar")
    }

    /// A rank-1 `i64` tensor.
    pub fn from_i64s(values: &[i64]) -> Tensor {
        Tensor::from_slice(&[values.len()], values).expect("the extent is the length")
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Bytes(storage) => storage.bytes().len() / self.dtype.size_bytes(),
            Data::Strings(strings) => strings.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type, with constant dims.
    pub fn ty(&self) -> TensorType {
        TensorType::of(self.dtype, &self.shape)
    }

    /// The elements' bytes; empty for strings.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Bytes(storage) => storage.bytes(),
            Data::Strings(_) => &[],
        }
    }

    /// The elements' bytes for writing; copies shared data first. Empty for strings.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.data {
            Data::Bytes(storage) => storage.to_mut(),
            Data::Strings(_) => &mut [],
        }
    }

    /// The shared bytes, if these are not strings.
    pub fn storage(&self) -> Option<&Storage> {
        match &self.data {
            Data::Bytes(storage) => Some(storage),
            Data::Strings(_) => None,
        }
    }

    /// The elements as Rust values, if the type and the alignment fit.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        (T::DTYPE == self.dtype).then(|| bytemuck::try_cast_slice(self.bytes()).ok())?
    }

    /// The elements for writing, if the type fits. Copies shared data first.
    pub fn as_mut_slice<T: Element>(&mut self) -> Option<&mut [T]> {
        if T::DTYPE != self.dtype {
            return None;
        }
        bytemuck::try_cast_slice_mut(self.bytes_mut()).ok()
    }

    /// The elements as Rust values, copied.
    ///
    /// # Errors
    /// [`TensorError::WrongType`].
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, TensorError> {
        if T::DTYPE != self.dtype {
            return Err(TensorError::WrongType {
                wanted: T::DTYPE,
                actual: self.dtype,
            });
        }
        Ok(bytemuck::pod_collect_to_vec(self.bytes()))
    }

    /// The strings, if these are strings.
    pub fn strings(&self) -> Option<&[String]> {
        match &self.data {
            Data::Bytes(_) => None,
            Data::Strings(strings) => Some(strings),
        }
    }

    /// Element `index` in row-major order, if it exists and is not a string.
    pub fn get(&self, index: usize) -> Option<Scalar> {
        let size = self.dtype.size_bytes();
        let bytes = self.bytes().get(index.checked_mul(size)?..)?.get(..size)?;
        (size > 0).then(|| Scalar::load(self.dtype, bytes))
    }

    /// All elements; empty for strings.
    pub fn to_scalars(&self) -> Vec<Scalar> {
        match self.dtype.size_bytes() {
            0 => Vec::new(),
            size => self
                .bytes()
                .chunks_exact(size)
                .map(|b| Scalar::load(self.dtype, b))
                .collect(),
        }
    }

    /// All elements as `f64`; integers beyond 53 bits round, bools are 0 and 1.
    pub fn to_f64s(&self) -> Vec<f64> {
        match self.dtype {
            DType::F32 => self
                .bytes()
                .chunks_exact(4)
                .map(|b| f64::from(bytemuck::pod_read_unaligned::<f32>(b)))
                .collect(),
            dtype => match MiniFloat::of(dtype).filter(|_| dtype.size_bytes() == 1) {
                Some(format) => self
                    .bytes()
                    .iter()
                    .map(|&b| format.decode(u32::from(b)))
                    .collect(),
                None => self.to_scalars().into_iter().map(Scalar::to_f64).collect(),
            },
        }
    }

    /// All elements as `i64`, if this is an integer or bool tensor whose values fit.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        match self.dtype.class() {
            DTypeClass::Signed | DTypeClass::Unsigned | DTypeClass::Bool => self
                .to_scalars()
                .into_iter()
                .map(|value| i64::try_from(value.as_int()?).ok())
                .collect(),
            DTypeClass::Float | DTypeClass::String => None,
        }
    }

    /// The same elements under other extents.
    ///
    /// # Errors
    /// [`TensorError::Length`] when the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor, TensorError> {
        let needed = count(shape).ok_or_else(|| TensorError::TooLarge(shape.to_vec()))?;
        if needed != self.len() {
            let size = self.dtype.size_bytes().max(1);
            return Err(TensorError::Length {
                dtype: self.dtype,
                shape: shape.to_vec(),
                needed: needed.saturating_mul(size),
                given: self.len() * size,
            });
        }
        Ok(Tensor {
            shape: shape.to_vec(),
            ..self.clone()
        })
    }
}

/// Row-major strides, in elements.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}
