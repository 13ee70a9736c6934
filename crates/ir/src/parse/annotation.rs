//! Annotations behind a tensor's type.
//!
//! ```text
//! f32[N, 4] quant<u8, scale [0.5], zero [128]>
//! f32[2, 8] quant<i4, axis 1 block 4, scale [0.5, 0.25, 1.0, 2.0]>
//! f32[8, 4] sparse<2:4, axis 0, zeros 500>
//! ```

use std::sync::Arc;

use alula_tensor::{Granularity, Quant, Sparsity, SparsityKind, Tensor, TensorType};

use super::{Parsed, Parser};
use crate::token::Token;

impl Parser<'_> {
    /// What follows dtype and extents, checked against them.
    pub(super) fn annotations(&mut self, ty: &mut TensorType) -> Parsed<()> {
        if self.take(&Token::Word("quant".to_owned()))? {
            ty.quant = Some(Arc::new(self.quant()?));
        }
        if self.take(&Token::Word("sparse".to_owned()))? {
            ty.sparsity = Some(Arc::new(self.sparsity()?));
        }
        ty.check_annotations()
    }

    fn quant(&mut self) -> Parsed<Quant> {
        self.expect('<')?;
        let storage = self.dtype()?;
        let mut quant = Quant {
            storage,
            granularity: Granularity::Tensor,
            scale: Vec::new(),
            zero_point: Vec::new(),
        };
        while self.mark(',')? {
            match self.word()?.as_str() {
                "axis" => {
                    let axis = self.number()?;
                    quant.granularity = match self.take(&Token::Word("block".to_owned()))? {
                        true => {
                            let size = self.number()?;
                            Granularity::Block { axis, size }
                        }
                        false => Granularity::Axis(axis),
                    };
                }
                "scale" => quant.scale = self.list(Self::number)?,
                "zero" => quant.zero_point = self.list(Self::number)?,
                other => return Err(format!("expected axis, scale or zero, found {other}")),
            }
        }
        self.expect('>')?;
        Ok(quant)
    }

    fn sparsity(&mut self) -> Parsed<Sparsity> {
        self.expect('<')?;
        let kind = match self.word()?.as_str() {
            "unstructured" => SparsityKind::Unstructured,
            "block" => {
                let size = self.word()?;
                let sides = size.split_once('x');
                let side = |text: &str| text.parse::<usize>().ok();
                let sides = sides.and_then(|(h, w)| Some((side(h)?, side(w)?)));
                let (height, width) =
                    sides.ok_or_else(|| format!("{size} is no size of blocks"))?;
                SparsityKind::Block { height, width }
            }
            count => {
                let n = count
                    .parse()
                    .map_err(|_| format!("there is no sparsity {count}"))?;
                self.expect(':')?;
                let m = self.number()?;
                self.expect(',')?;
                self.keyword("axis")?;
                let axis = self.number()?;
                SparsityKind::NofM { n, m, axis }
            }
        };
        self.expect(',')?;
        self.keyword("zeros")?;
        let zeros_per_mille = self.number()?;
        self.expect('>')?;
        Ok(Sparsity {
            kind,
            zeros_per_mille,
        })
    }
}

/// A constant keeps what its type promises.
pub(super) fn check_constant(ty: &TensorType, tensor: &Tensor) -> Parsed<()> {
    match &ty.sparsity {
        Some(sparsity) if !sparsity.holds(tensor) => Err(format!("the constant is not {sparsity}")),
        _ => Ok(()),
    }
}
