//! `decode_image`: the pixels of an encoded image.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, Lowering,
    OpDef,
};
use alula_program::{HostFn, PixelFormat};
use alula_tensor::{DType, Dim, Tensor};

use crate::shape::PLAIN;

/// The pixels of an image.
///
/// The reference knows plain PPM only: what a codec does to any other format is its own meaning.
pub static DECODE_IMAGE: OpDef = OpDef {
    name: "decode_image",
    summary: "u8[height, width, channels]: the pixels of the image that the bytes x encode",
    operands: &["x"],
    attrs: &[AttrSpec::required(
        "format",
        AttrKind::Str,
        "rgb, bgr, or grayscale, which has one channel",
    )],
    traits: PLAIN,
    infer,
    eval,
    lowering: Lowering::Host(|ctx| {
        let format = format(ctx.attrs.str("format"));
        let format = format.ok_or_else(|| {
            alula_ir::LowerError::Unsupported("a format that inference refuses".to_owned())
        })?;
        Ok(HostFn::DecodeImage { format })
    }),
    examples: &[
        "graph @e() {
           %x = const u8[17] [80, 54, 10, 50, 32, 49, 10, 50, 53, 53, 10, 1, 2, 3, 200, 100, 50]
           %y = decode_image %x {format = \"rgb\"} return y: %y }",
        "graph @e() {
           %x = const u8[17] [80, 54, 10, 50, 32, 49, 10, 50, 53, 53, 10, 1, 2, 3, 200, 100, 50]
           %y = decode_image %x {format = \"bgr\"} return y: %y }",
        "graph @e() {
           %x = const u8[17] [80, 54, 10, 50, 32, 49, 10, 50, 53, 53, 10, 1, 2, 3, 200, 100, 50]
           %y = decode_image %x {format = \"grayscale\"} return y: %y }",
    ],
};

fn format(word: &str) -> Option<PixelFormat> {
    match word {
        "rgb" => Some(PixelFormat::Rgb),
        "bgr" => Some(PixelFormat::Bgr),
        "grayscale" => Some(PixelFormat::Grayscale),
        _ => None,
    }
}

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let word = ctx.attrs.str("format");
    let format = format(word).ok_or_else(|| InferError::BadAttr {
        name: "format".to_owned(),
        reason: format!("is {word:?}"),
    })?;
    let x = ctx.tensor(0)?;
    if x.dtype != DType::U8 || x.rank() != 1 {
        return Err(InferError::BadDType {
            operand: 0,
            given: x.to_string(),
            wanted: "u8 of rank 1".to_owned(),
        });
    }
    let (height, width) = (ctx.fresh_extent(0, 0), ctx.fresh_extent(0, 1));
    let channels = Dim::from(format.channels());
    Ok(vec![Inferred::tensor(
        DType::U8,
        vec![height, width, channels],
    )])
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let bytes = ctx.tensor(0)?.bytes();
    let other = || EvalError::Value("the reference decodes plain PPM only".to_owned());
    // "P6", width, height and "255", then a byte of white space, then the pixels.
    let mut words = bytes.splitn(5, |byte| byte.is_ascii_whitespace());
    let mut word = || words.next().and_then(|word| str::from_utf8(word).ok());
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<usize>().ok());
    let is_ppm = word() == Some("P6");
    let (width, height) = (number(word()), number(word()));
    let (Some(width), Some(height), true) = (width, height, is_ppm && word() == Some("255")) else {
        return Err(other());
    };
    let pixels = words.next().unwrap_or_default();
    if width.checked_mul(height).and_then(|n| n.checked_mul(3)) != Some(pixels.len()) {
        return Err(EvalError::Value(format!(
            "{height} x {width} pixels are not there"
        )));
    }
    let format = format(ctx.attrs.str("format")).ok_or_else(other)?;
    let mut values = Vec::new();
    for pixel in pixels.chunks_exact(3) {
        let (red, green, blue) = (pixel[0], pixel[1], pixel[2]);
        match format {
            PixelFormat::Rgb => values.extend([red, green, blue]),
            PixelFormat::Bgr => values.extend([blue, green, red]),
            // ITU-R 601-2, as Pillow rounds it.
            PixelFormat::Grayscale => {
                let parts = [(red, 0.299), (green, 0.587), (blue, 0.114)];
                let luma: f64 = parts
                    .iter()
                    .map(|(value, share)| f64::from(*value) * share)
                    .sum();
                values.push((luma + 0.5).floor() as u8);
            }
        }
    }
    let tensor = Tensor::from_slice(&[height, width, format.channels()], &values)?;
    Ok(vec![tensor.into()])
}
