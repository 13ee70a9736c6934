//! How much memory compiling takes.

use crate::support::Place;

const EXTENT: usize = 1024;
const WEIGHTS: usize = 16;

/// A field of a protobuf message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// Products in a row, each with a weight of its own. Elements of the first half of the weights do
/// not lie at multiples of their size, those of the second do.
fn products() -> Vec<u8> {
    let negation = alula::doc_model();
    let extent = [EXTENT as u8 & 0x7F | 0x80, (EXTENT >> 7) as u8];
    let (mut tensors, mut rest) = (Vec::new(), Vec::new());
    let mut last = "x".to_owned();
    for k in 0..WEIGHTS {
        let elements: Vec<u8> = (0..EXTENT * EXTENT)
            .flat_map(|i| ((i * 7 + k) as f32).to_le_bytes())
            .collect();
        let head = |name: &str| {
            [
                &field(1, &[extent, extent].concat())[..],
                &[2 << 3, 1],
                &field(8, name.as_bytes()),
            ]
            .concat()
        };
        // Three fields begin between here and the elements, each with five bytes.
        let begin = |name: &str| negation.len() + tensors.len() + head(name).len() + 15;
        let mut name = format!("w{k}.");
        while begin(&name).is_multiple_of(4) != (k >= WEIGHTS / 2) {
            name.push('.');
        }
        let tensor = [head(&name), field(9, &elements)].concat();
        tensors.extend(field(5, &tensor));
        let next = format!("z{k}");
        let node = [
            field(1, last.as_bytes()),
            field(1, name.as_bytes()),
            field(2, next.as_bytes()),
            field(4, b"MatMul"),
        ];
        rest.extend(field(1, &node.concat()));
        last = next;
    }
    rest.extend(field(12, &field(1, last.as_bytes())));
    // Two messages one after the other are one, with the fields of both.
    [negation, field(7, &[tensors, rest].concat())].concat()
}

#[test]
fn a_weight_leaves_memory_when_it_is_packed() {
    let place = Place::new();
    place.negation();
    place.write("products.onnx", products());
    let peak = |model: &str| {
        let dim = format!("N={EXTENT}");
        let words = ["--json", "compile", model, "--dim", &dim, "--threads", "1"];
        place.ok(&words).json()[0]["rss_mb"].as_f64()
    };
    let (Some(few), Some(many)) = (peak("negate.onnx"), peak("products.onnx")) else {
        let name = "a_weight_leaves_memory_when_it_is_packed";
        alula_testkit::skip(
            name,
            "the system does not tell how much memory a process had",
        );
        return;
    };
    // The mapped file and what is packed; half as much again if copies stayed.
    let file = (WEIGHTS * EXTENT * EXTENT * 4) as f64 / 1e6;
    let taken = (many - few) / file;
    assert!(taken < 2.2, "{taken:.2} times the weights");
}
