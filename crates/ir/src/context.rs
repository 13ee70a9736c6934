//! What an operator's functions are given.

use alula_kernel::Operand;
pub use alula_tensor::Value as HostValue;
use alula_tensor::{DType, DTypeClass, Dim, Scalar, Shape, Tensor, TensorType, ValueType};

use crate::{Attrs, EvalError, InferError, Origin, ValueId};

/// What inference knows of an operand.
#[derive(Clone, Debug)]
pub struct OperandFacts<'g> {
    /// The value.
    pub value: ValueId,
    /// Its type.
    pub ty: &'g ValueType,
    /// Its elements as dims in row-major order, where known (small integer tensors).
    pub content: Option<Vec<Dim>>,
    /// Its elements, if it is a constant.
    pub constant: Option<&'g Tensor>,
}

/// A result as inferred.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// Its type.
    pub ty: ValueType,
    /// Its elements as dims in row-major order, where known (small integer tensors).
    pub content: Option<Vec<Dim>>,
}

impl Inferred {
    /// A tensor of which only the type is known.
    pub fn tensor(dtype: DType, shape: Shape) -> Inferred {
        Inferred {
            ty: TensorType::new(dtype, shape).into(),
            content: None,
        }
    }

    /// The result with its elements known as dims.
    #[must_use]
    pub fn with_content(mut self, content: Option<Vec<Dim>>) -> Inferred {
        self.content = content;
        self
    }
}

impl From<ValueType> for Inferred {
    fn from(ty: ValueType) -> Inferred {
        Inferred { ty, content: None }
    }
}

impl From<TensorType> for Inferred {
    fn from(ty: TensorType) -> Inferred {
        Inferred {
            ty: ty.into(),
            content: None,
        }
    }
}

/// The situation of a node whose type is asked for.
pub struct InferCtx<'g> {
    /// Attributes, complete and of the right kinds.
    pub attrs: &'g Attrs,
    /// Facts about operands; `None` where absent.
    pub operands: Vec<Option<OperandFacts<'g>>>,
    /// Number of results that the node is asked for, where the operator leaves that open.
    pub results_wanted: usize,
    /// Symbols made by this inference: name and origin (an `Extent`'s value is the position of
    /// the result, to be replaced by its id).
    pub(crate) fresh: Vec<(alula_tensor::Symbol, FreshOrigin)>,
    pub(crate) next_symbol: u32,
}

/// The origin of a symbol while its results have no ids yet.
#[derive(Clone, Debug)]
pub(crate) enum FreshOrigin {
    Known(Origin),
    Extent { result: usize, axis: usize },
}

impl<'g> InferCtx<'g> {
    /// Number of operands, absent ones included.
    pub fn len(&self) -> usize {
        self.operands.len()
    }

    /// Whether there are no operands.
    pub fn is_empty(&self) -> bool {
        self.operands.is_empty()
    }

    /// Whether an operand is there.
    pub fn has(&self, position: usize) -> bool {
        self.operands.get(position).is_some_and(Option::is_some)
    }

    /// Facts about an operand that must be there.
    ///
    /// # Errors
    /// [`InferError::MissingOperand`].
    pub fn facts(&self, position: usize) -> Result<&OperandFacts<'g>, InferError> {
        let operand = self.operands.get(position).and_then(Option::as_ref);
        operand.ok_or(InferError::MissingOperand(position))
    }

    /// The type of a tensor operand that must be there.
    ///
    /// # Errors
    /// [`InferError::MissingOperand`], [`InferError::BadDType`] if it is not a tensor, or
    /// [`InferError::Unsupported`] if its rank is not known.
    pub fn tensor(&self, position: usize) -> Result<&'g TensorType, InferError> {
        let facts = self.facts(position)?;
        if let ValueType::Unranked(dtype) = facts.ty {
            return Err(InferError::Unsupported(format!(
                "operand {position} is a tensor of {dtype} whose rank is not known"
            )));
        }
        facts.ty.as_tensor().ok_or_else(|| InferError::BadDType {
            operand: position,
            given: facts.ty.to_string(),
            wanted: "a tensor".to_owned(),
        })
    }

    /// The elements of an operand as dims, where they are known.
    pub fn content(&self, position: usize) -> Option<&[Dim]> {
        self.operands.get(position)?.as_ref()?.content.as_deref()
    }

    /// The elements of an operand as integers, where all are known.
    pub fn const_ints(&self, position: usize) -> Option<Vec<i64>> {
        self.content(position)?.iter().map(Dim::as_const).collect()
    }

    /// The elements of an operand, if it is a constant.
    pub fn constant(&self, position: usize) -> Option<&'g Tensor> {
        self.operands.get(position)?.as_ref()?.constant
    }

    /// Checks that an operand's dtype is of one of the classes.
    ///
    /// # Errors
    /// [`InferError::BadDType`].
    pub fn expect_class(
        &self,
        position: usize,
        classes: &[DTypeClass],
    ) -> Result<DType, InferError> {
        let ty = self.tensor(position)?;
        if classes.contains(&ty.dtype.class()) {
            return Ok(ty.dtype);
        }
        Err(InferError::BadDType {
            operand: position,
            given: ty.to_string(),
            wanted: format!("{classes:?}").to_lowercase(),
        })
    }

    /// Checks that two operands have one dtype, and returns it.
    ///
    /// # Errors
    /// [`InferError::BadDType`].
    pub fn expect_same_dtype(&self, a: usize, b: usize) -> Result<DType, InferError> {
        let (first, second) = (self.tensor(a)?, self.tensor(b)?);
        if first.dtype == second.dtype {
            return Ok(first.dtype);
        }
        Err(InferError::BadDType {
            operand: b,
            given: second.to_string(),
            wanted: format!("{}, the dtype of operand {a}", first.dtype),
        })
    }

    /// An axis attribute or operand, counted from the end if negative.
    ///
    /// # Errors
    /// [`InferError::Mismatch`] when out of range.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, InferError> {
        let count = rank as i64;
        let normal = if axis < 0 {
            axis.saturating_add(count)
        } else {
            axis
        };
        if (0..count).contains(&normal) {
            Ok(normal as usize)
        } else {
            Err(InferError::Mismatch(format!(
                "axis {axis} is out of range for rank {rank}"
            )))
        }
    }

    /// A new symbol for an extent that the operator decides while it runs.
    pub fn fresh_extent(&mut self, result: usize, axis: usize) -> Dim {
        self.fresh_symbol(FreshOrigin::Extent { result, axis })
    }

    /// A new symbol for an element of an integer operand, known once that is computed.
    ///
    /// # Errors
    /// [`InferError::MissingOperand`].
    pub fn fresh_content(&mut self, operand: usize, index: usize) -> Result<Dim, InferError> {
        let value = self.facts(operand)?.value;
        Ok(self.fresh_symbol(FreshOrigin::Known(Origin::Content { value, index })))
    }

    fn fresh_symbol(&mut self, origin: FreshOrigin) -> Dim {
        let prefix = match &origin {
            FreshOrigin::Extent { .. } => "$e",
            FreshOrigin::Known(_) => "$",
        };
        let symbol = alula_tensor::Symbol::new(format!("{prefix}{}", self.next_symbol));
        self.next_symbol += 1;
        self.fresh.push((symbol.clone(), origin));
        Dim::symbol(symbol)
    }
}

/// The situation of a node that the reference evaluates.
pub struct EvalCtx<'v> {
    /// Attributes.
    pub attrs: &'v Attrs,
    /// Operand values; `None` where absent.
    pub operands: Vec<Option<&'v HostValue>>,
    /// Result types as inferred, with every symbol replaced by its value where it is known.
    pub results: Vec<ValueType>,
    /// Most bytes that one result may have.
    pub bytes_max: u64,
    /// Evaluates a sub-graph on values; used by control flow.
    pub run_graph: &'v dyn Fn(&crate::Graph, Vec<HostValue>) -> Result<Vec<HostValue>, EvalError>,
}

impl<'v> EvalCtx<'v> {
    /// A tensor operand that must be there.
    ///
    /// # Errors
    /// [`EvalError::Value`] when it is absent or not a tensor.
    pub fn tensor(&self, position: usize) -> Result<&'v Tensor, EvalError> {
        self.optional(position)
            .ok_or_else(|| EvalError::Value(format!("operand {position} is not a tensor")))
    }

    /// A tensor operand, if it is there.
    pub fn optional(&self, position: usize) -> Option<&'v Tensor> {
        self.operands.get(position).copied().flatten()?.as_tensor()
    }

    /// The elements of an integer operand.
    ///
    /// # Errors
    /// [`EvalError::Value`] when it is absent or not of integers.
    pub fn ints(&self, position: usize) -> Result<Vec<i64>, EvalError> {
        let tensor = self.tensor(position)?;
        tensor.to_i64s().ok_or_else(|| {
            EvalError::Value(format!(
                "operand {position} of {} is not of integers",
                tensor.dtype()
            ))
        })
    }

    /// A result tensor made of scalars, each converted to the dtype as a cast would.
    ///
    /// # Errors
    /// [`EvalError::Tensor`] when the number of values does not fit the shape.
    pub fn result(
        &self,
        dtype: DType,
        shape: &[usize],
        values: &[Scalar],
    ) -> Result<HostValue, EvalError> {
        Ok(Tensor::from_scalars(dtype, shape, values)?.into())
    }

    /// A zeroed tensor within the limit of bytes.
    ///
    /// # Errors
    /// [`EvalError::TooLarge`].
    pub fn zeros(&self, dtype: DType, shape: &[usize]) -> Result<Tensor, EvalError> {
        let elements = shape
            .iter()
            .try_fold(1_u64, |n, &extent| n.checked_mul(extent as u64));
        let bytes = elements.and_then(|n| n.checked_mul(dtype.size_bytes() as u64));
        match bytes {
            Some(bytes) if bytes <= self.bytes_max => Ok(Tensor::zeros(dtype, shape)?),
            Some(bytes) => Err(EvalError::TooLarge(bytes)),
            None => Err(EvalError::TooLarge(u64::MAX)),
        }
    }
}

/// The situation of a node that is lowered.
pub struct LowerCtx<'g> {
    /// The operator's name, for messages.
    pub op: &'static str,
    /// Attributes.
    pub attrs: &'g Attrs,
    /// Operand types; `None` where absent.
    pub operands: Vec<Option<&'g ValueType>>,
    /// Operand elements where the operand is a constant.
    pub constants: Vec<Option<&'g Tensor>>,
    /// Result types.
    pub results: Vec<&'g ValueType>,
}

impl LowerCtx<'_> {
    /// Whether an operand is there.
    pub fn has(&self, position: usize) -> bool {
        self.operands.get(position).is_some_and(Option::is_some)
    }

    /// The type of a tensor operand.
    ///
    /// # Panics
    /// When it is absent or no tensor: inference has refused that.
    #[track_caller]
    pub fn tensor(&self, position: usize) -> &TensorType {
        let ty = self
            .operands
            .get(position)
            .copied()
            .flatten()
            .and_then(ValueType::as_tensor);
        ty.unwrap_or_else(|| panic!("{}: operand {position} is no tensor", self.op))
    }

    /// The type of a tensor result.
    ///
    /// # Panics
    /// When it is no tensor: a bug of the operator's row.
    #[track_caller]
    pub fn result(&self, position: usize) -> &TensorType {
        let ty = self.results[position].as_tensor();
        ty.unwrap_or_else(|| panic!("{}: result {position} is no tensor", self.op))
    }

    /// The *present* operands as a definition's operands, in order.
    pub fn compute_operands(&self) -> Vec<Operand> {
        self.operands
            .iter()
            .flatten()
            .filter_map(|ty| ty.as_tensor())
            .map(|ty| Operand {
                dtype: ty.dtype,
                shape: ty.shape.clone(),
            })
            .collect()
    }

    /// The position of an operand among the present ones.
    pub fn present(&self, position: usize) -> usize {
        self.operands[..position].iter().flatten().count()
    }
}
