//! The pipeline on small graphs: passes, options, and what is reported.

use alula_ir::{Graph, parse};
use alula_ops::registry;
use alula_opt::{FoldLimit, OptError, Options, Report, optimize};

fn graph(text: &str) -> Graph {
    parse(text, registry(), &|_| None).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn optimized(text: &str, options: &Options) -> (String, Report) {
    let mut graph = graph(text);
    let report = optimize(&mut graph, options).expect("the graph verifies after every step");
    (graph.to_string(), report)
}

/// Checks what a graph becomes, by the operators that are left.
fn check(text: &str, options: &Options, expected: &[&str]) -> Report {
    let (after, report) = optimized(text, options);
    let after_graph = graph(&after);
    let nodes = after_graph.nodes();
    let ops: Vec<&str> = nodes
        .iter()
        .map(|id| after_graph.node(*id).op.name)
        .collect();
    assert_eq!(ops, expected, "{after}");
    report
}

fn verified() -> Options {
    Options {
        verify: true,
        ..Options::default()
    }
}

#[test]
fn shape_arithmetic_dies() {
    let text = "graph @g(%x: f32[N, 4]) {
        %s = dims {values = [N, 4]}
        %i = const i64[1] [0]
        %n = gather %s, %i
        %t = const i64[1] [2]
        %m = mul %n, %t
        return m: %m }";
    let (after, _) = optimized(text, &verified());
    assert!(
        after.contains("dims {values = [2*N]}") && !after.contains("gather"),
        "{after}"
    );
}

#[test]
fn equal_nodes_and_constants_merge() {
    let text = "graph @g(%x: f32[N], %y: f32[N]) {
        %a = const f32[] [3.5]
        %b = const f32[] [3.5]
        %p = mul %x, %a
        %q = mul %b, %x
        %r = add %x, %y
        %s = add %y, %x
        %t = sub %p, %r
        %u = pow %q, %s
        return t: %t, u: %u }";
    check(text, &verified(), &["mul", "add", "sub", "pow"]);
}

#[test]
fn merged_outputs_keep_their_names() {
    let text = "graph @g(%x: f32[2]) { %a = neg %x %b = neg %x return a: %a, b: %b }";
    let (after, _) = optimized(text, &verified());
    assert!(after.contains("return a: %a, b: %a"), "{after}");
}

#[test]
fn folding_keeps_to_its_budget() {
    let text = "graph @g(%x: f32[1000, 1000]) {
        %c = const f32[1, 1] [2.0]
        %e = expand %c {to = [1000, 1000]}
        %y = pow %e, %x
        return y: %y }";
    let options = Options {
        fold_bytes_max: 1000,
        disabled: ["shape".to_owned()].into(),
        ..verified()
    };
    let report = check(text, &options, &["expand", "pow"]);
    let refusal = report.fold_refused.get("e").expect("it is too large");
    assert_eq!((refusal.bytes, refusal.limit), (4_000_000, FoldLimit::Node));
    let report = check(
        text,
        &Options {
            fold_bytes_max: 5_000_000,
            ..options
        },
        &["pow"],
    );
    assert_eq!((report.folded_nodes, report.folded_bytes), (1, 4_000_000));
}

#[test]
fn folding_keeps_to_a_budget_of_the_whole_model() {
    // Each node is small; all together are not.
    let text = "graph @g(%x: f32[8]) {
        %a = const f32[1] [2.0]
        %b = const f32[1] [3.0]
        %c = const f32[1] [5.0]
        %p = expand %a {to = [1000, 8]}
        %q = expand %b {to = [1000, 8]}
        %r = expand %c {to = [1000, 8]}
        %y = pow %p, %x
        %z = pow %q, %x
        %w = pow %r, %x
        return y: %y, z: %z, w: %w }";
    let options = Options {
        fold_total_max: Some(70_000),
        disabled: ["shape".to_owned()].into(),
        ..verified()
    };
    let report = check(text, &options, &["expand", "pow", "pow", "pow"]);
    assert_eq!((report.folded_nodes, report.folded_bytes), (2, 64_000));
    let refusal = report.fold_refused.get("r").expect("the budget is spent");
    assert_eq!((refusal.bytes, refusal.limit), (32_000, FoldLimit::Total));
}

#[test]
fn what_folding_replaces_counts_for_nothing() {
    // A product with weights that leave the model, and one with weights that stay.
    let weights = vec!["0.5"; 100].join(", ");
    let text = |outputs: &str| {
        format!(
            "graph @g(%x: f32[N, 100]) {{
            %w = const f32[100] [{weights}]
            %s = const f32[1] [1.5]
            %v = mul %w, %s
            %y = pow %x, %v
            return y: %y{outputs} }}"
        )
    };
    let options = Options {
        fold_total_max: Some(0),
        ..verified()
    };
    check(&text(""), &options, &["pow"]);
    let report = check(&text(", w: %w"), &options, &["mul", "pow"]);
    assert_eq!(report.fold_refused["v"].limit, FoldLimit::Total);
}

#[test]
fn tables_that_a_model_scales_itself_stay_compressed() {
    let text = |beside: &str, user: &str| {
        format!(
            "graph @g(%x: f32[N, 200], %i: i64[N]) {{
            %w = const i8[200, 200] splat 3
            %s = const f32[200] splat 0.25
            %f = cast %w {{to = f32}}
            {beside}
            %y = {user}
            return y: %y }}"
        )
    };
    let (scaled, taken) = ("%d = mul %f, %s", "gather %d, %i");
    let expected = ["dequantize_linear", "gather"];
    check(&text(scaled, taken), &verified(), &expected);
    let shifted = "%z = const f32[] [2.0] %g = sub %f, %z %d = mul %g, %s";
    check(&text(shifted, taken), &verified(), &expected);
    let asked = Options {
        fold_dequantize: true,
        ..verified()
    };
    check(&text(scaled, taken), &asked, &["gather"]);
    // Without a scale it is no dequantization.
    check(&text("%d = neg %f", taken), &verified(), &["gather"]);
    // A product would expand all of it in each run; beyond the budget it has to.
    check(&text(scaled, "matmul %x, %d"), &verified(), &["matmul"]);
    let bounded = Options {
        fold_total_max: Some(50_000),
        ..verified()
    };
    let expected = ["dequantize_linear", "matmul"];
    check(&text(scaled, "matmul %x, %d"), &bounded, &expected);
}

#[test]
fn dequantized_weights_stay_compressed_unless_asked_for() {
    let text = "graph @g(%x: f32[N, 2]) {
        %w = const i8[2, 2] [1, -2, 3, 4]
        %s = const f32[] [0.5]
        %d = dequantize_linear %w, %s
        %y = matmul %x, %d
        return y: %y }";
    check(text, &verified(), &["dequantize_linear", "matmul"]);
    check(
        text,
        &Options {
            fold_dequantize: true,
            ..verified()
        },
        &["matmul"],
    );
}

#[test]
fn dequantized_parameters_that_feed_no_contraction_are_folded() {
    let text = "graph @g(%x: f32[N, 2]) {
        %w = const i32[2] [1, -2]
        %s = const f32[] [0.5]
        %d = dequantize_linear %w, %s
        %y = add %x, %d
        return y: %y }";
    check(text, &verified(), &["add"]);
}

#[test]
fn transposed_weights_are_not_copied() {
    let text = "graph @g(%x: f32[N, 2], %i: i64[N]) {
        %w = const f32[3, 2] [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        %t = transpose %w {perm = [1, 0]}
        %g = gather %w, %i
        %y = matmul %x, %t
        return y: %y, g: %g }";
    let report = check(text, &verified(), &["gather", "matmul"]);
    assert_eq!(report.folded_nodes, 0);
}

#[test]
fn sub_graphs_are_optimized() {
    let text = "graph @g(%c: bool[], %x: f32[2]) {
        %y = if %c, %x, %x {
          then = graph @a(%a: f32[2]) { %n = neg %a %m = neg %n return y: %m },
          else = graph @b(%b: f32[2]) { %r = relu %b %s = relu %r return y: %s },
          then_inputs = 1 }
        return y: %y }";
    let (after, report) = optimized(text, &verified());
    assert!(
        !after.contains("neg") && after.matches("relu").count() == 1,
        "{after}"
    );
    assert_eq!((report.nodes_before, report.nodes_after), (5, 2));
}

#[test]
fn rules_can_be_chosen() {
    let text = "graph @g(%x: f32[N]) {
        %o = const f32[] [1.0]
        %z = const f32[] [0.0]
        %a = add %x, %z
        %y = mul %a, %o
        return y: %y }";
    check(text, &verified(), &[]);
    let only = Options {
        only: Some(["drop_mul_one".to_owned()].into()),
        ..verified()
    };
    check(text, &only, &["add"]);
    let without = Options {
        disabled: ["drop_mul_one".to_owned()].into(),
        ..verified()
    };
    check(text, &without, &["mul"]);
    let first = Options {
        fires_max: Some(1),
        ..verified()
    };
    let report = check(text, &first, &["mul"]);
    assert_eq!(report.total_fires(), 1);
    let set = Options {
        only: Some(["fold".to_owned()].into()),
        ..verified()
    };
    check(text, &set, &[]);
    let other_set = Options {
        only: Some(["transpose".to_owned()].into()),
        ..verified()
    };
    check(text, &other_set, &["add", "mul"]);
    let pass = Options {
        only: Some(["merge_equal".to_owned()].into()),
        ..verified()
    };
    let error = optimize(&mut graph(text), &pass).expect_err("a pass is no rule");
    assert!(matches!(error, OptError::PassAsRule(name) if name == "merge_equal"));
    let unknown = Options {
        only: Some(["drop_everything".to_owned()].into()),
        ..verified()
    };
    let error = optimize(&mut graph(text), &unknown).expect_err("there is no such rule");
    assert!(matches!(error, OptError::UnknownRule(name) if name == "drop_everything"));
}

#[test]
fn lossy_rules_are_asked_for() {
    let text = "graph @g(%x: f32[N, 3]) {
        %b = const f32[] [1e-12]
        %s = reduce_l2 %x {axes = [1]}
        %m = max %s, %b
        %y = div %x, %m
        return y: %y }";
    check(text, &verified(), &["reduce_l2", "max", "div"]);
    check(
        text,
        &Options {
            allow_approximate: true,
            ..verified()
        },
        &["lp_normalization"],
    );
}

#[test]
fn a_near_miss_says_why() {
    let text = "graph @g(%x: f32[N]) { %s = sigmoid %x %y = mul %x, %s return y: %y, s: %s }";
    let (_, report) = optimized(text, &verified());
    let miss = report.near_misses.first().expect("silu nearly matches");
    assert_eq!((miss.rule, miss.node.as_str()), ("recognise_silu", "y"));
    assert_eq!(miss.reason, "sigmoid s is an output, too");
}

#[test]
fn batch_normalizations_fold_into_weights_of_any_size() {
    let weights = vec!["0.5"; 64].join(", ");
    let text = format!(
        "graph @g(%x: f32[N, 32, 4]) {{
        %w = const f32[2, 32, 1] [{weights}]
        %s = const f32[2] [1.5, -0.5]
        %v = const f32[2] [2.0, 0.75]
        %c = conv %x, %w
        %y = batch_norm %c, %s, %s, %s, %v
        return y: %y }}"
    );
    let options = Options {
        fold_bytes_max: 16,
        ..verified()
    };
    let report = check(&text, &options, &["conv"]);
    assert!(report.fold_refused.is_empty(), "{:?}", report.fold_refused);
}
