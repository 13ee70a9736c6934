use super::{Definition, parse_definitions};
use crate::{verify_compute, verify_contract};

/// Parses, verifies, prints, and expects the same text; what the verifier finds.
fn findings(text: &str) -> Vec<String> {
    let parsed = parse_definitions(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let [definition] = parsed.as_slice() else {
        panic!("{} definitions", parsed.len());
    };
    assert_eq!(definition.to_string(), text);
    let verified = match definition {
        Definition::Compute(compute) => verify_compute("d", compute),
        Definition::Contract(contract) => verify_contract("d", contract),
        Definition::Kernel(_) => panic!("a kernel"),
    };
    let errors = verified.err().unwrap_or_default();
    errors.iter().map(ToString::to_string).collect()
}

fn check(text: &str) {
    assert_eq!(findings(text), [""; 0]);
}

const SOFTMAX: &str = "\
compute (x0: f32[N, floordiv(M + 3, 4)], x1: f32[K]) -> f16[N, floordiv(M + 3, 4)] over \
(i0 < N, i1 < floordiv(M + 3, 4)) {
  equal K = N
  e0: f32 = load x0[i0, i1]
  e1: f32 = load x0[i0, i3]
  e2: f32 = fold max over (i3 < floordiv(M + 3, 4)) of e1
  e3: f32 = sub e0, e2
  e4: f32 = mul e3, 0.5
  e5: bool = is_nan e4
  e6: bool = lt i0, N - 3
  e7: bool = and e5, e6
  e8: f32 = select e7, nan, -inf
  e9: bool = lt f16(0.5), f16(0.25)
  e10: f32 = select e9, e8, e4
  e11: i64 = floordiv 2*i0 + (N - 1)*i1 - 3, M
  e12: f32 = cast e11
  e13: f32 = add e10, e12
  e14: f16 = cast e13
  result e14
}
";

const CONV: &str = "\
contract (x0: u8[B, 3, H], x1: i8[8, 3, 5], x2: u8[], x3: f32[8]) -> f32[B, 8, H] in i32 {
  batch i3 < B
  m i4 < H
  n i5 < 8
  k i6 < 3, i7 < 5
  a = x0[i3, i6, i4 + i7 - 2] - x2 padded on axes 2
  b = x1[i5, i6, i7]
  acc[i3, i5, i4] = sum of a * b
  out[i0, i1, i2]:
  e0: f32 = cast acc
  e1: f32 = load x3[i1]
  e2: f32 = mul e0, e1
  result e2
}
";

#[test]
fn definitions_print_as_they_parse() {
    check(SOFTMAX);
    check(CONV);
    check("compute () -> f32[] over () {\n  result 1.5\n}\n");
    check(
        "compute (x0: i8[4]) -> bool[] over () {\n  e0: i8 = load x0[3]\n  \
           e1: bool = eq e0, -5\n  result e1\n}\n",
    );
    let both = format!("; two\n{SOFTMAX}\n{CONV}kernel empty() {{\n}}\n");
    assert_eq!(parse_definitions(&both).map(|found| found.len()), Ok(3));
}

/// The error, at the last place where `at` stands in the text.
fn check_refusal(text: &str, at: &str, reason: &str) {
    let offset = text.rfind(at).expect("the place is in the text");
    let (line, column) = (
        text[..offset].matches('\n').count() + 1,
        offset - text[..offset].rfind('\n').map_or(0, |line| line + 1) + 1,
    );
    let error = parse_definitions(text).expect_err(reason);
    assert_eq!(
        (error.line, error.column, error.message.as_str()),
        (line, column, reason)
    );
}

#[test]
fn texts_that_are_no_definition_are_refused_where_they_fail() {
    let softmax = |old: &str, new: &str| SOFTMAX.replace(old, new);
    check_refusal(&softmax("x1: f32", "x2: f32"), "x2: f32", "expected 'x1'");
    check_refusal(
        &softmax("e0: f32", "e0: f16"),
        "e0: f16",
        "e0 is f32, not f16",
    );
    check_refusal(
        &softmax("e4: f32", "e3: f32"),
        "e3: f32",
        "e3 is defined twice",
    );
    check_refusal(
        &softmax("mul e3, 0.5", "mul e3, e0x"),
        "e0x",
        "'e0x' is no f32",
    );
    let text = softmax("load x0[i0, i1]", "load x5[i0]");
    check_refusal(&text, "x5", "there is no operand x5");
    let reason = "'i1*i0 + (N - 1)*i1 - 3' is not linear in its variables";
    check_refusal(&softmax("2*i0", "i1*i0"), "i1*i0", reason);
    check_refusal(
        &softmax("fold max", "fold sub"),
        "sub over",
        "'sub' is no fold",
    );
    let reason = "'e4' is f32, and takes bool here";
    check_refusal(&softmax("and e5, e6", "and e5, e4"), "e4\n  e8", reason);
    let reason = "expected 'sum', found 'max'";
    check_refusal(&CONV.replace("sum of", "max of"), "max of", reason);
    let reason = "3 variables for a result of 2 axes";
    let text = softmax("(i0 < N, ", "(i0 < N, i2 < N, ");
    check_refusal(&text, "equal", reason);
    let text = softmax("i3 < floor", "i99999 < floor");
    check_refusal(&text, ") of e1", "i99999 is beyond i65536");
}

#[test]
fn variables_of_folds_are_none_of_the_symbols() {
    let parsed = parse_definitions(SOFTMAX).expect("it parses");
    let Some(Definition::Compute(compute)) = parsed.first() else {
        panic!("it is a definition");
    };
    let pool = &compute.pool;
    for id in (0..pool.len() as u32).map(crate::ExprId) {
        let mut symbols = std::collections::BTreeSet::new();
        if let Some(dim) = pool.as_dim(id) {
            dim.collect_symbols(&mut symbols);
        }
        let names: Vec<&str> = symbols.iter().map(|symbol| symbol.name()).collect();
        assert!(
            names.iter().all(|name| ["N", "M"].contains(name)),
            "{names:?}"
        );
    }
}

#[test]
fn definitions_that_are_not_well_formed_are_found() {
    let cases = [
        (
            SOFTMAX.replace("[i0, i1]", "[i0]"),
            "1 indices into the 2 axes of x0 (rule 2)",
        ),
        (
            SOFTMAX.replace("load x0[i0, i1]", "load x0[i0, i3]"),
            "i3 has no value in the body (rule 5)",
        ),
        (
            SOFTMAX.replace("result e14", "result e11"),
            "the body is i64, the result f16 (rule 7)",
        ),
        (
            CONV.replace("padded on axes 2", "padded on axes 3"),
            "padded axes [3] of a with 3 axes (rule 9)",
        ),
        (
            CONV.replace("b = x1[i5, i6", "b = x1[i4, i6"),
            "an index of b uses i4, which is none of its axes (rule 8)",
        ),
        (
            CONV.replace("acc[i3, i5, i4]", "acc[i3, i5]"),
            "2 positions for 3 output axes (rule 8)",
        ),
    ];
    for (text, expected) in cases {
        let parsed = parse_definitions(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let verified = match &parsed[0] {
            Definition::Compute(compute) => verify_compute("d", compute),
            Definition::Contract(contract) => verify_contract("d", contract),
            Definition::Kernel(_) => panic!("a kernel"),
        };
        let errors = verified.expect_err(expected);
        assert!(errors[0].to_string().ends_with(expected), "{}", errors[0]);
    }
}
