use super::*;
use crate::text::parse_kernel;

fn kernel(text: &str) -> Kernel {
    parse_kernel(text).expect("a kernel")
}

/// Whether the last parameter may be the memory of the first.
fn shares(text: &str) -> bool {
    let kernel = kernel(text);
    may_share(&kernel, kernel.params.len() - 1, 0)
}

const MAP: &str = "kernel k(x: f32[4*N] read, out: f32[4*N] write) symbols(N) {
  grid %0 < N
  %1: i64 = const 4
  %2: i64 = mul %0, %1
  for %3 < %1 lanes 4 {
    %4: i64 = add %2, %3
    %5: f32 = load x[%4]
    %6: f32 = exp %5
    store out[%4] = %6
  }
}";

#[test]
fn an_element_is_replaced_by_its_image() {
    assert!(shares(MAP));
}

#[test]
fn the_neighbour_is_still_needed() {
    let reversed = MAP.replace(
        "%5: f32 = load x[%4]",
        "%7: i64 = sub %1, %4\n %5: f32 = load x[%7]",
    );
    assert!(!shares(&reversed));
    let twice = MAP.replace(
        "%6: f32 = exp %5",
        "%7: f32 = load x[%2]\n    %6: f32 = add %5, %7",
    );
    assert!(!shares(&twice), "the first of the row is overwritten");
}

#[test]
fn a_load_after_the_store_is_too_late() {
    let late = "kernel k(x: f32[N] read, out: f32[N] write) symbols(N) {
      grid %0 < N
      %1: f32 = const 0.0
      store out[%0] = %1
      %2: f32 = load x[%0]
    }";
    assert!(!shares(late));
}

#[test]
fn sizes_must_be_the_same() {
    assert!(!shares(
        &MAP.replace("out: f32[4*N]", "out: f64[4*N]")
            .replace("%6: f32 = exp %5", "%7: f32 = exp %5\n %6: f64 = cast %7")
    ));
    assert!(!shares(&MAP.replace("x: f32[4*N]", "x: f32[8*N]")));
}

/// `out[i, j] = x[i, j] / sum over k of x[i, k]`, a grid point for each row.
const ROWS: &str = "kernel k(x: f32[M*N] read, out: f32[M*N] write) symbols(M, N) {
  grid %0 < M
  %1: i64 = dim N
  %2: f32 = const 0.0
  %3: i64 = mul %0, %1
  for %4 < %1 carry (%5: f32 = %2 then %8 into %9 by add) {
    %6: i64 = add %3, %4
    %7: f32 = load x[%6]
    %8: f32 = add %5, %7
  }
  for %10 < %1 {
    %11: i64 = add %3, %10
    %12: f32 = load x[%11]
    %13: f32 = div %12, %9
    store out[%11] = %13
  }
}";

#[test]
fn a_row_is_replaced_once_it_is_summed() {
    assert!(shares(ROWS));
}

#[test]
fn rows_must_not_reach_into_one_another() {
    let wider = ROWS.replace("for %4 < %1", "%14: i64 = add %1, %1\n  for %4 < %14");
    assert!(!shares(&wider), "the sum takes an element of the next row");
    let moved = ROWS.replace("%6: i64 = add %3, %4", "%6: i64 = add %1, %4");
    assert!(!shares(&moved), "every point sums row 1");
    let by_column = ROWS
        .replace("grid %0 < M", "grid %0 < M\n  grid %14 < N")
        .replace(
            "  for %10 < %1 {\n    %11: i64 = add %3, %10",
            "  for %10 < %1 {\n    %11: i64 = add %3, %14",
        );
    assert!(!shares(&by_column), "other points sum the row later");
}

const COPY: &str = "kernel k(x: f32[N] read, at: i64[1] read, out: f32[N] readwrite) symbols(N) {
  %0: i64 = dim N
  for %1 < %0 {
    %2: f32 = load x[%1]
    store out[%1] = %2
  }
  %3: i64 = const 0
  %4: i64 = load at[%3]
  %5: f32 = load out[%4]
  %6: f32 = add %5, %5
  store out[%4] = %6
}";

#[test]
fn a_copy_goes_when_both_are_one() {
    let kernel = kernel(COPY);
    assert!(may_share(&kernel, 2, 0));
    let text = without_copy(&kernel, 2, 0).to_string();
    assert!(!text.contains("load x") && !text.contains("for"), "{text}");
    assert!(text.contains("store out"), "{text}");
}

#[test]
fn a_copy_after_an_update_stays() {
    let late = COPY.replace(
        "  for %1 < %0 {",
        "  %7: f32 = const 1.0\n  %8: i64 = const 0\n  store out[%8] = %7\n  for %1 < %0 {",
    );
    assert!(!may_share(&kernel(&late), 2, 0));
    let read = COPY.replace(
        "%6: f32 = add %5, %5",
        "%7: f32 = load x[%4]\n  %6: f32 = add %5, %7",
    );
    assert!(!may_share(&kernel(&read), 2, 0), "what was there is needed");
}
