use alula_tensor::{DType, Dim, ScalarOp};

use super::{Printed, parse_kernel, parse_kernels};
use crate::interpret::{Bytes, InterpretError, Options, Stats, run};
use crate::{Compute, FoldOp, Operand, verify};

/// Parses, verifies, prints, and expects the same text.
fn check(text: &str) {
    let kernel = parse_kernel(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    verify(&kernel).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(kernel.to_string(), text);
    assert_eq!(parse_kernel(&kernel.to_string()).as_ref(), Ok(&kernel));
}

const ROW_SUM: &str = "\
kernel row_sum(x: f32[4*N] read, out: f32[N] write) symbols(N) {
  grid %0 < N
  %1: i64 = const 4
  %2: f32 = const 0.0
  %3: i64 = mul %0, %1
  for %4 < %1 lanes 4 carry (%5: f32 = %2 then %9 into %6 by add) {
    %7: i64 = add %3, %4
    %8: f32 = load x[%7]
    %9: f32 = add %5, %8
  }
  store out[%0] = %6
}
";

/// Sums neighbours across lanes through shared memory.
const EXCHANGE: &str = "\
kernel \"ex change\"(x: f32[8] read, out: f32[8] write) {
  local row: f32[8]
  lanes 8 as %0
  %1: f32 = load x[%0]
  store shared row[%0] = %1
  barrier
  %2: i64 = const 7
  %3: i64 = sub %2, %0
  %4: f32 = load shared row[%3]
  %5: bool = lt %4, %1
  if %5 {
    %6: f32 = const nan
    store out[%0] = %6
  }
}
";

#[test]
fn kernels_print_as_they_parse() {
    check(ROW_SUM);
    check(EXCHANGE);
    check(&ROW_SUM.replace("f32[4*N] read", "f32[4*N] read within 0.125"));
    check(
        "kernel empty() {\n  %0: bool = const true\n  %1: f32 = const -inf\n  \
         %2: u32 = bitcast %1\n  %3: i64 = dim 7\n  %4: f16 = cast %1\n}\n",
    );
    assert_eq!(parse_kernels("; nothing\n"), Ok(Vec::new()));
}

#[test]
fn values_are_renumbered() {
    let text = "kernel k() {\n  %7: i64 = const 1\n  %0: i64 = add %7, %7\n}\n";
    let error = parse_kernel(text).expect_err("%1 has no dtype");
    assert!(error.message.contains("%1 is never defined"), "{error}");
    let kernel = parse_kernel(&text.replace("%7", "%1")).expect("parses");
    assert_eq!(
        kernel.to_string(),
        "kernel k() {\n  %0: i64 = const 1\n  %1: i64 = add %0, %0\n}\n"
    );
}

#[test]
fn errors_have_a_place() {
    for (text, line, column, part) in [
        ("kernel k() {\n  %0: i64 = cost 1\n}", 2, 13, "'cost'"),
        ("kernel k(x: f31[1] read) {}", 1, 13, "'f31'"),
        ("kernel k() {\n  store y[%0] = %0\n}", 2, 9, "'y'"),
        ("kernel k() {", 1, 13, "expected '%'"),
        ("kernel k() {\n  %0: f32 = const zero\n}", 2, 19, "'zero'"),
        (
            "kernel k() {\n  %99999999: f32 = const 0\n}",
            2,
            4,
            "beyond",
        ),
    ] {
        let error = parse_kernel(text).expect_err(text);
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{text}: {error}"
        );
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

fn run_text(text: &str, x: &[f32], out: usize) -> Result<(Vec<f32>, Stats), InterpretError> {
    let kernel = parse_kernel(text).expect("parses");
    let mut result = vec![0.0_f32; out];
    let x: Vec<u8> = x.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut bytes: Vec<u8> = result
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let mut buffers = [Bytes::Read(&x), Bytes::Write(&mut bytes)];
    let stats = run(
        &kernel,
        &mut buffers,
        &|_| Some(out as i64),
        Options::default(),
    )?;
    for (value, chunk) in result.iter_mut().zip(bytes.chunks_exact(4)) {
        *value = f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
    }
    Ok((result, stats))
}

#[test]
fn lanes_keep_partial_sums_and_combine_halves() {
    // ((1e8 + 1) + (-1e8 + 1)) in halves is (1e8 - 1e8) + (1 + 1); one by one it would be 1.
    let (sums, stats) = run_text(ROW_SUM, &[1e8, 1.0, -1e8, 1.0], 1).expect("runs");
    assert_eq!((sums, stats.points, stats.loads), (vec![2.0], 1, 4));
}

#[test]
fn barriers_order_shared_memory() {
    let x: Vec<f32> = (0..8).map(|k| k as f32).collect();
    let (out, stats) = run_text(EXCHANGE, &x, 8).expect("runs");
    assert_eq!(stats.barriers, 1);
    assert!(
        out[..4].iter().all(|&v| v == 0.0) && out[4..].iter().all(|v| v.is_nan()),
        "{out:?}"
    );
    let error = run_text(&EXCHANGE.replace("  barrier\n", ""), &x, 8).expect_err("a race");
    assert!(matches!(error, InterpretError::Race { .. }), "{error}");
}

#[test]
fn divergent_barriers_are_found() {
    let text = EXCHANGE.replace(
        "    %6: f32 = const nan\n    store out[%0] = %6\n",
        "    barrier\n",
    );
    let kernel = parse_kernel(&text).expect("parses");
    let errors = verify(&kernel).expect_err("not uniform");
    assert!(errors.iter().any(|error| error.rule == 8), "{errors:?}");
    let x: Vec<f32> = (0..8).map(|k| k as f32).collect();
    let error = run_text(&text, &x, 8).expect_err("divergent");
    assert!(
        matches!(error, InterpretError::DivergentBarrier { .. }),
        "{error}"
    );
}

#[test]
fn accesses_and_steps_are_bounded() {
    let outside = run_text(ROW_SUM, &[0.0; 3], 1).expect_err("too short");
    assert!(
        matches!(outside, InterpretError::Length { .. }),
        "{outside}"
    );
    let text = ROW_SUM.replace("const 4", "const 5");
    let outside = run_text(&text, &[0.0; 4], 1).expect_err("reads the fifth element");
    assert!(
        matches!(outside, InterpretError::OutOfBounds { index: 4, .. }),
        "{outside}"
    );
    let kernel = parse_kernel(&ROW_SUM.replace("const 4", "const 1000000000000")).expect("parses");
    let (x, mut out) = ([0; 16], [0; 4]);
    let mut buffers = [Bytes::Read(&x), Bytes::Write(&mut out)];
    let options = Options {
        steps_max: 100,
        ..Options::default()
    };
    let error = run(&kernel, &mut buffers, &|_| Some(1), options).expect_err("too long");
    assert!(matches!(
        error,
        InterpretError::StepLimit(100) | InterpretError::OutOfBounds { .. }
    ));
}

#[test]
fn verifier_names_the_rule() {
    for (from, to, rule) in [
        ("%9: f32 = add %5, %8", "%9: f32 = add %5, %7", 3),
        ("store out[%0] = %6", "store out[%0] = %9", 2),
        ("store out[%0] = %6", "store x[%0] = %6", 5),
        ("load x[%7]", "load x[%8]", 2),
        ("load x[%7]", "load out[%7]", 5),
        ("lanes 4", "lanes 3", 6),
        (" by add", "", 6),
        ("const 0.0", "const 0.1", 3),
        ("symbols(N)", "", 7),
        ("f32[N] write", "f32[M] write", 7),
        ("store out[%0] = %6", "barrier", 8),
        ("f32[N] write", "f32[N] write within 1.0", 10),
        ("4*N] read", "4*N] read within -1.0", 10),
        ("4*N] read", "4*N] read within inf", 10),
    ] {
        let kernel = parse_kernel(&ROW_SUM.replace(from, to)).expect("parses");
        let errors = verify(&kernel).expect_err(to);
        assert!(
            errors.iter().any(|error| error.rule == rule),
            "{to}: {errors:?}"
        );
    }
}

#[test]
fn definitions_read_well() {
    let shape = [Dim::named("N"), Dim::new(4)];
    let x = Operand {
        dtype: DType::F16,
        shape: shape.to_vec(),
    };
    let mut compute = Compute::begin(vec![x], DType::F16, &shape);
    let index = compute.indices();
    let k = compute.pool.var(4_i64);
    let at = vec![index[0], compute.pool.var_expr(k)];
    let (own, each) = (compute.load(0, index), compute.load(0, at));
    let top = compute.pool.fold(FoldOp::Max, vec![k], each);
    let shifted = compute.pool.sub(own, top);
    let result = compute.pool.unary(ScalarOp::Exp, shifted);
    let text = Printed(&compute.finish(result)).to_string();
    let expected = "\
compute (x0: f16[N, 4]) -> f16[N, 4] over (i0 < N, i1 < 4) {
  e0: f16 = load x0[i0, i1]
  e1: f32 = cast e0
  e2: f16 = load x0[i0, i2]
  e3: f32 = cast e2
  e4: f32 = fold max over (i2 < 4) of e3
  e5: f32 = sub e1, e4
  e6: f32 = exp e5
  e7: f16 = cast e6
  result e7
}
";
    assert_eq!(text, expected);
}
