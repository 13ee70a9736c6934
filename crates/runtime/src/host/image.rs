//! Images: bytes to pixels. JPEG is decoded here, JPEG 2000 by `hayro-jpeg2000`, other formats by
//! `image`; without the feature `images` they are refused.
//!
//! As ONNX has it, what cannot be decoded is an image without pixels.

use alula_program::PixelFormat;
use alula_tensor::Tensor;

use super::jpeg;
use crate::StepError;

/// Width, height, and a byte for each of red, green and blue; `None` where nothing can be decoded.
type Pixels = Option<(usize, usize, Vec<u8>)>;

/// The pixels of an encoded image, `u8[height, width, channels]`. `room` bounds the memory.
pub(super) fn decode(bytes: &[u8], format: PixelFormat, room: u64) -> Result<Tensor, StepError> {
    let pixels = match bytes {
        [0xff, 0xd8, ..] => jpeg::decode(bytes, room)?,
        _ => others(bytes, room)?,
    };
    let (width, height, rgb) = pixels.unwrap_or_default();
    let values = match format {
        PixelFormat::Rgb => rgb,
        PixelFormat::Bgr => {
            let mut bgr = rgb;
            bgr.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
            bgr
        }
        PixelFormat::Grayscale => rgb.chunks_exact(3).map(luma).collect(),
    };
    Ok(Tensor::from_slice(
        &[height, width, format.channels()],
        &values,
    )?)
}

/// ITU-R 601-2 in 16 fractional bits, as Pillow has it.
fn luma(pixel: &[u8]) -> u8 {
    let part = |channel: usize, share: u32| u32::from(pixel[channel]) * share;
    ((part(0, 19_595) + part(1, 38_470) + part(2, 7_471) + 0x8000) >> 16) as u8
}

#[cfg(not(feature = "images"))]
fn others(_: &[u8], _: u64) -> Result<Pixels, StepError> {
    Err(StepError::value(
        "images other than JPEG are decoded in builds with the feature `images` only",
    ))
}

#[cfg(feature = "images")]
fn others(bytes: &[u8], room: u64) -> Result<Pixels, StepError> {
    if is_jpeg2000(bytes) {
        return jpeg2000(bytes, room);
    }
    let reader = image::ImageReader::new(std::io::Cursor::new(bytes));
    let Ok(mut reader) = reader.with_guessed_format() else {
        return Ok(None);
    };
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(room);
    reader.limits(limits);
    let image = match reader.decode() {
        Ok(image) => image,
        Err(image::ImageError::Limits(error)) => return Err(StepError::Value(error.to_string())),
        Err(_) => return Ok(None),
    };
    let (width, height) = (image.width(), image.height());
    check_room(width, height, room)?;
    Ok(Some((
        width as usize,
        height as usize,
        image.into_rgb8().into_raw(),
    )))
}

#[cfg(feature = "images")]
fn check_room(width: u32, height: u32, room: u64) -> Result<(), StepError> {
    let needed = u64::from(width)
        .saturating_mul(u64::from(height))
        .saturating_mul(16);
    crate::bind::limit(needed, room)
}

#[cfg(feature = "images")]
fn is_jpeg2000(bytes: &[u8]) -> bool {
    const BOX: &[u8] = b"\0\0\0\x0cjP  ";
    const CODESTREAM: &[u8] = b"\xff\x4f\xff\x51";
    bytes.starts_with(BOX) || bytes.starts_with(CODESTREAM)
}

#[cfg(feature = "images")]
fn jpeg2000(bytes: &[u8], room: u64) -> Result<Pixels, StepError> {
    use hayro_jpeg2000::{ColorSpace, DecodeSettings, DecoderContext, Image};
    let Ok(image) = Image::new(bytes, &DecodeSettings::default()) else {
        return Ok(None);
    };
    let (width, height) = (image.width(), image.height());
    check_room(width, height, room)?;
    let colours = match image.color_space() {
        ColorSpace::Gray
        | ColorSpace::Icc {
            num_channels: 1, ..
        } => 1,
        ColorSpace::RGB
        | ColorSpace::Icc {
            num_channels: 3, ..
        } => 3,
        _ => return Ok(None),
    };
    let mut context = DecoderContext::default();
    let Ok(decoded) = image.decode(&mut context) else {
        return Ok(None);
    };
    let values = decoded.data_u8();
    // Channels are interleaved; what lies behind the colours is transparency.
    let pixels = values.chunks_exact(colours + usize::from(image.has_alpha()));
    let rgb: Vec<u8> = match colours {
        1 => pixels.flat_map(|pixel| [pixel[0]; 3]).collect(),
        _ => pixels
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect(),
    };
    let (width, height) = (width as usize, height as usize);
    Ok((rgb.len() == width * height * 3).then_some((width, height, rgb)))
}
