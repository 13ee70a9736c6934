//! Images that libjpeg-turbo 3.1 wrote, and what it made of them.

use super::decode;

const SEQUENTIAL: &[u8] = include_bytes!("testdata/sequential.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("testdata/progressive.jpg");
const ROOM: u64 = 1 << 20;

#[test]
fn pixels_are_those_of_libjpeg() {
    let cases = [
        // Chroma of half the extents each way, a restart marker after each MCU.
        (
            SEQUENTIAL,
            (17, 9),
            include_bytes!("testdata/sequential.rgb").as_slice(),
        ),
        // Chroma of half the width.
        (
            PROGRESSIVE,
            (11, 13),
            include_bytes!("testdata/progressive.rgb").as_slice(),
        ),
    ];
    for (bytes, extents, rgb) in cases {
        let (width, height, pixels) = decode(bytes, ROOM).expect("there is room").expect("pixels");
        assert_eq!((width, height), extents);
        assert!(pixels == rgb, "{width} x {height}");
    }
}

#[test]
fn damaged_data_have_no_pixels_or_others_and_never_panic() {
    for bytes in [SEQUENTIAL, PROGRESSIVE] {
        for end in 0..bytes.len() - 2 {
            assert!(
                decode(&bytes[..end], ROOM)
                    .expect("there is room")
                    .is_none(),
                "{end}"
            );
        }
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.to_vec();
                bytes[position] ^= 1 << bit;
                let _ = decode(&bytes, ROOM);
            }
        }
    }
}

#[test]
fn a_large_image_needs_room() {
    let error = decode(SEQUENTIAL, 1000).expect_err("there is no room");
    assert!(error.to_string().contains("1000"), "{error}");
}
