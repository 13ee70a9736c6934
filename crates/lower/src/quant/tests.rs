//! What is said of annotations.

use alula_ir::parse;
use alula_ops::registry;

use crate::expand;
use crate::plan::LowerOptions;

/// Each annotation's fate as lines.
fn fates(text: &str) -> Vec<String> {
    let mut graph = parse(text, registry(), &|_| None).unwrap();
    let fates = expand(&mut graph, &LowerOptions::default()).unwrap();
    let mut lines = Vec::new();
    for fate in &fates {
        for part in fate.parts() {
            let honoured = if part.is_native {
                "natively"
            } else {
                "by definition"
            };
            let (value, annotation) = (&fate.value, &fate.annotation);
            lines.push(format!(
                "{value}: {annotation} {honoured}, {}: {}",
                part.node, part.how
            ));
        }
    }
    lines
}

#[test]
fn each_maker_and_reader_is_told() {
    let lines = fates(
        "graph @g(%x: f32[N, 2]) {
           %w = const i8[2, 3] [3, -5, 0, 7, 1, 2]
           %s = const f32[] [0.25]
           %f = dequantize_linear %w, %s : f32[2, 3] quant<i8, scale [0.25]>
           %a = exp %x : f32[N, 2] quant<u8, scale [0.25]>
           %y = matmul %a, %f : f32[N, 3] quant<i8, scale [0.5]>
           %z = relu %y
           return z: %z }",
    );
    let expected = [
        "f: quant<i8> natively, f: stored as it is",
        "f: quant<i8> natively, y: summed in i32",
        "a: quant<u8> by definition, a: quantized behind exp",
        "a: quant<u8> natively, y: summed in i32",
        "y: quant<i8> natively, y: requantized from sums in i32",
        "y: quant<i8> by definition, z: dequantized: no integer kernel for relu",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_product_that_stays_real_says_why() {
    let reason = |left: &str, scale: &str, right: &str| {
        let text = format!(
            "graph @g(%x: f32[N, 2]) {{
               %w = const i8[2, 3] [3, -5, 0, 7, 1, 2]
               %s = const {scale}
               %f = dequantize_linear %w, %s {{axis = 0}} : f32[2, 3] {right}
               %a = exp %x : f32[N, 2] {left}
               %y = matmul %a, %f
               return y: %y }}"
        );
        let lines = fates(&text);
        let line = lines
            .iter()
            .find_map(|line| line.split_once("dequantized: "));
        line.map_or(String::new(), |(_, reason)| reason.to_owned())
    };
    let (one, rows) = ("f32[] [0.25]", "f32[2] [0.25, 0.5]");
    let (bytes, along) = (
        "quant<i8, scale [0.25]>",
        "quant<i8, axis 0, scale [0.25, 0.5]>",
    );
    for (left, scale, right, expected) in [
        (bytes, one, bytes, ""),
        (
            bytes,
            rows,
            along,
            "scales of the right side are along axis 0",
        ),
        (
            "quant<u8, axis 1, scale [0.25, 0.5]>",
            one,
            bytes,
            "the left side has more than one scale",
        ),
        (
            "quant<i16, scale [0.25]>",
            one,
            bytes,
            "no integer kernel for i16",
        ),
        ("", one, bytes, "the left side of matmul is not quantized"),
        (bytes, one, "", "the right side of matmul is not quantized"),
    ] {
        assert_eq!(reason(left, scale, right), expected, "{left} {right}");
    }
}

#[test]
fn sparse_constants_run_dense() {
    let lines = fates(
        "graph @g(%x: f32[N, 4]) {
           %w = const f32[4, 1] sparse<2:4, axis 0, zeros 500> [1.0, 0.0, 0.0, 2.0]
           %y = matmul %x, %w
           return y: %y }",
    );
    let line = "w: sparse<2:4, axis 0, zeros 500> by definition, y: run dense: no kernel for it";
    assert_eq!(lines, [line]);
}

#[test]
fn what_bounds_or_chooses_steps_is_done_on_them() {
    let parts = |op: &str, from: &str, to: &str| {
        let text = format!(
            "graph @g(%x: f32[1, 2, 4, 4]) {{
               %six = const f32[] [6.0]
               %a = exp %x : f32[1, 2, 4, 4] quant<{from}>
               %y = {op} quant<{to}>
               return y: %y }}"
        );
        let mut found: Vec<String> = fates(&text);
        found.retain(|line| line.contains("y: ") && line.starts_with("y:"));
        found.len() == 1 && found[0].contains("done on what is stored")
    };
    let (relu, clip) = (
        "relu %a : f32[1, 2, 4, 4]",
        "clip %a, _, %six : f32[1, 2, 4, 4]",
    );
    let pool = "max_pool %a {kernel = [2, 2], strides = [2, 2]} : f32[1, 2, 2, 2]";
    let same = "i8, scale [0.0625]";
    let zero = "u8, scale [0.0625], zero [100]";
    for (op, from, to, expected) in [
        (relu, same, same, true),
        (relu, zero, zero, true),
        (clip, same, same, true),
        (pool, zero, zero, true),
        // Near misses: other steps, other storage, and more than bounds.
        (relu, same, "i8, scale [0.125]", false),
        (relu, same, zero, false),
        (pool, same, "i8, scale [0.0625], zero [3]", false),
        ("tanh %a : f32[1, 2, 4, 4]", same, same, false),
    ] {
        assert_eq!(parts(op, from, to), expected, "{op} {from} {to}");
    }
}

/// The nodes of the graph that annotations come to.
fn nodes(text: &str) -> Vec<&'static str> {
    let mut graph = parse(text, registry(), &|_| None).unwrap();
    expand(&mut graph, &LowerOptions::default()).unwrap();
    graph
        .nodes()
        .into_iter()
        .map(|id| graph.node(id).op.name)
        .collect()
}

#[test]
fn affine_chains_between_steps_are_one_product_and_sum() {
    let steps = "quant<i8, scale [0.0625], zero [-3]>";
    let chain = |chain: &str, to: &str| {
        format!(
            "graph @g(%x: f32[1, 2, 4]) {{
               %m = const f32[2, 1] [0.53, -0.27]
               %o = const f32[1, 2, 1] [0.4, -0.1]
               %w = const f32[4] [0.5, 1.5, 2.5, 3.5]
               %t = const f32[] [1.73]
               %six = const f32[] [6.0]
               %a = exp %x : f32[1, 2, 4] {steps}
               {chain} : f32[1, 2, 4] quant<{to}>
               return y: %y }}"
        )
    };
    let (byte, word) = ("u8, scale [0.05], zero [100]", "u16, scale [0.05]");
    for (text, to, expected) in [
        ("%p = mul %a, %m %y = add %o, %p", byte, true),
        ("%p = mul %a, %m %q = add %p, %o %y = relu %q", byte, true),
        (
            "%p = div %a, %t %q = sub %t, %p %y = clip %q, _, %six",
            byte,
            true,
        ),
        ("%y = relu %a", byte, true),
        // Near misses: factors along two axes, bounds that differ by channel, another reader of
        // what is between, more than one operand, and what is no byte.
        ("%p = mul %a, %m %y = add %p, %w", byte, false),
        ("%p = relu %a %y = add %p, %o", byte, false),
        (
            "%p = mul %a, %m %q = exp %p %r = add %p, %o %y = add %r, %q",
            byte,
            false,
        ),
        ("%p = mul %a, %a %y = add %p, %o", byte, false),
        ("%p = mul %a, %m %y = add %p, %o", word, false),
    ] {
        let nodes = nodes(&chain(text, to));
        assert_eq!(
            nodes.contains(&"rescale"),
            expected,
            "{text} {to}: {nodes:?}"
        );
        assert_eq!(
            nodes.contains(&"add") || nodes.contains(&"sub"),
            !expected,
            "{text} {to}"
        );
    }
    let lines = fates(&chain("%p = mul %a, %m %y = add %p, %o", byte));
    let expected = [
        "a: quant<i8> by definition, a: quantized behind exp",
        "a: quant<i8> natively, p: rescaled as it is stored",
        "y: quant<u8> natively, y: rescaled from what is stored",
    ];
    assert_eq!(lines, expected);
}
