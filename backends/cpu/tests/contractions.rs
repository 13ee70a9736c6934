//! Matrix products and convolutions through the micro-kernels, against the naive definition.

mod support;

use alula_cpu::{Epilogue, Form, Layout, Products, Wanted, plan_contract};
use alula_kernel::{Affine, Compute, Contract, ContractAxis, ContractOperand, Operand, Role};
use alula_microkernel::Isa;
use alula_tensor::{DType, Dim};
use support::contractions::{After, Conv, channels_last, check, finish};

/// `[batch.., M, K] x [batch.., K, N]`; an operand without batch axes repeats.
struct MatMul {
    batch: Vec<i64>,
    a_batch: bool,
    b_batch: bool,
    m: i64,
    n: i64,
    k: i64,
    turn: [bool; 2],
}

impl MatMul {
    fn contract(&self, after: After) -> Contract {
        let dims = |batch: bool, rows: i64, cols: i64, turn: bool| -> Vec<Dim> {
            let head = if batch { self.batch.as_slice() } else { &[] };
            let tail = if turn { [cols, rows] } else { [rows, cols] };
            head.iter().chain(&tail).map(|&d| Dim::new(d)).collect()
        };
        let f32 = |shape| Operand {
            dtype: DType::F32,
            shape,
        };
        let operands = vec![
            f32(dims(self.a_batch, self.m, self.k, self.turn[0])),
            f32(dims(self.b_batch, self.k, self.n, self.turn[1])),
        ];
        let shape = dims(true, self.m, self.n, false);
        let mut epilogue = Compute::begin(operands, DType::F32, &shape);
        let batch: Vec<_> = self.batch.iter().map(|&e| epilogue.pool.var(e)).collect();
        let mut var = |extent: i64| epilogue.pool.var(extent);
        let (m, n, k) = (var(self.m), var(self.n), var(self.k));
        let index = |with: bool, rows, cols, turn: bool| -> Vec<Affine> {
            let head = if with { batch.clone() } else { Vec::new() };
            let tail = if turn { [cols, rows] } else { [rows, cols] };
            head.into_iter().chain(tail).map(Affine::var).collect()
        };
        let side = |operand, index| ContractOperand {
            operand,
            index,
            zero_point: None,
            padded: Vec::new(),
        };
        let role = if self.b_batch { Role::Batch } else { Role::M };
        let axis = |var, role| ContractAxis { var, role };
        let mut axes: Vec<_> = batch.iter().map(|&var| axis(var, role)).collect();
        axes.extend([axis(m, Role::M), axis(n, Role::N), axis(k, Role::K)]);
        Contract {
            axes,
            a: side(0, index(self.a_batch, m, k, self.turn[0])),
            b: side(1, index(self.b_batch, k, n, self.turn[1])),
            acc: DType::F32,
            out: index(true, m, n, false),
            epilogue: finish(epilogue, after, shape.len() - 1),
        }
    }
}

fn row_major(contract: &Contract) -> (Vec<Layout>, Layout) {
    let operands = contract.epilogue.operands.iter();
    let layouts = operands
        .map(|operand| Layout::row_major(&operand.shape))
        .collect();
    (layouts, Layout::row_major(&contract.epilogue.shape()))
}

#[test]
fn matrix_products_of_every_orientation() {
    for isa in Isa::available() {
        for (m, n, k) in [(1, 7, 5), (37, 33, 19), (4, 1, 64), (64, 70, 1), (3, 5, 0)] {
            for turn in [[false, false], [true, false], [false, true], [true, true]] {
                for (batch, a_batch, b_batch) in [
                    (vec![], true, true),
                    (vec![2, 3], true, true),
                    (vec![3], true, false),
                ] {
                    for after in After::ALL {
                        let batch = batch.clone();
                        let product = MatMul {
                            batch,
                            a_batch,
                            b_batch,
                            m,
                            n,
                            k,
                            turn,
                        };
                        let contract = product.contract(after);
                        let (layouts, result) = row_major(&contract);
                        let planned = check(&contract, &layouts, &result, isa);
                        let tile = matches!(planned.epilogue, Epilogue::Tile { .. });
                        assert_eq!(tile, after == After::Scaled, "{after:?}");
                    }
                }
            }
        }
    }
}

fn conv(groups: i64, channels: [i64; 2], kernel: [i64; 2]) -> Conv {
    Conv {
        images: 2,
        groups,
        channels,
        input: vec![9, 11],
        kernel: kernel.to_vec(),
        stride: 1,
        dilation: 1,
        pad: 0,
    }
}

fn check_conv(conv: &Conv, after: After, last: bool, isa: Isa) -> Form {
    let contract = conv.contract(after);
    let (mut layouts, mut result) = row_major(&contract);
    if last {
        for (position, layout) in layouts.iter_mut().enumerate() {
            let shape = &contract.epilogue.operands[position].shape;
            if position != 1 && shape.len() > 2 {
                *layout = channels_last(shape);
            }
        }
        result = channels_last(&contract.epilogue.shape());
    }
    check(&contract, &layouts, &result, isa).form
}

#[test]
fn convolutions_of_every_kind() {
    let isa = Isa::best();
    for last in [false, true] {
        for (stride, dilation, pad) in [(1, 1, 0), (1, 1, 1), (2, 1, 1), (1, 2, 2), (3, 1, 0)] {
            for (groups, channels, kernel) in [
                (1, [5, 7], [3, 3]),
                (1, [16, 40], [1, 1]),
                (2, [6, 8], [3, 2]),
                (1, [3, 4], [1, 5]),
            ] {
                let conv = Conv {
                    stride,
                    dilation,
                    pad,
                    ..conv(groups, channels, kernel)
                };
                for after in After::ALL {
                    let Form::Product(product) = check_conv(&conv, after, last, isa) else {
                        panic!("{conv:?} is no product");
                    };
                    // Few channels in planes, and a padding: the window slides over a copy.
                    let copied = !last && pad > 0 && groups == 1 && kernel[1] > 1;
                    assert_eq!(product.is_copied, copied, "{conv:?}");
                }
            }
        }
    }
}

#[test]
fn depthwise_convolutions_take_their_own_kernel() {
    for isa in Isa::available() {
        for last in [false, true] {
            for (stride, pad, kernel) in [
                (1, 1, [3, 3]),
                (2, 1, [3, 3]),
                (1, 2, [5, 5]),
                (1, 0, [2, 3]),
            ] {
                let conv = Conv {
                    stride,
                    pad,
                    ..conv(19, [19, 19], kernel)
                };
                for after in After::ALL {
                    let form = check_conv(&conv, after, last, isa);
                    assert!(matches!(form, Form::Depthwise(_)), "{conv:?}");
                }
            }
        }
    }
}

#[test]
fn convolutions_of_one_and_three_dimensions() {
    let isa = Isa::best();
    for last in [false, true] {
        let mut line = Conv {
            pad: 1,
            ..conv(1, [4, 6], [3, 3])
        };
        line.input = vec![17];
        line.kernel = vec![3];
        check_conv(&line, After::BiasRelu, last, isa);
        let mut volume = conv(1, [3, 5], [3, 3]);
        volume.input = vec![4, 5, 6];
        volume.kernel = vec![2, 3, 3];
        check_conv(&volume, After::BiasRelu, last, isa);
        let depthwise = Conv {
            groups: 6,
            channels: [6, 6],
            ..line
        };
        let form = check_conv(&depthwise, After::Bias, last, isa);
        assert!(matches!(form, Form::Depthwise(_)));
    }
}

#[test]
fn a_channel_multiplier_is_a_grouped_product() {
    let conv = Conv {
        pad: 1,
        ..conv(5, [5, 10], [3, 3])
    };
    let form = check_conv(&conv, After::BiasRelu, true, Isa::best());
    assert!(matches!(form, Form::Product(_)));
}

#[test]
fn padded_volumes_are_refused_with_a_reason() {
    let mut volume = Conv {
        pad: 1,
        ..conv(1, [3, 5], [3, 3])
    };
    volume.input = vec![4, 5, 6];
    volume.kernel = vec![3, 3, 3];
    let contract = volume.contract(After::Nothing);
    let (layouts, result) = row_major(&contract);
    let refused = plan_contract(&contract, &layouts, &result, Wanted::whole(Isa::best()))
        .expect_err("refused");
    assert!(refused.to_string().contains("padded axes"), "{refused}");
}

#[test]
fn choices_are_no_less_exact_than_wanted() {
    let product = MatMul {
        batch: vec![],
        a_batch: false,
        b_batch: false,
        m: 300,
        n: 200,
        k: 64,
        turn: [false; 2],
    };
    let contract = product.contract(After::Nothing);
    let (layouts, result) = row_major(&contract);
    let choices = |isa, products| {
        let wanted = Wanted {
            isa,
            products,
            is_constant: true,
            rows: 128,
        };
        let planned = plan_contract(&contract, &layouts, &result, wanted);
        let (planned, _) = planned.expect("planned");
        let choices = planned.kernel_choices(wanted);
        assert!(choices.contains(&planned.choice()));
        for choice in &choices {
            let chosen = planned.clone().with_choice(*choice, wanted);
            assert_eq!(chosen.expect("allowed").choice(), *choice);
        }
        let words: Vec<String> = choices.iter().map(ToString::to_string).collect();
        let content = planned.content(wanted);
        (words.join("; "), content, planned, wanted)
    };
    let (words, content, ..) = choices(Isa::Avx512, Products::One);
    assert_eq!(words, "whole on avx512");
    for (products, expected) in [
        (Products::Whole, "whole on avx512"),
        (Products::Six, "whole on avx512; six on amx"),
        (Products::Three, "whole on avx512; six on amx; three on amx"),
        (
            Products::One,
            "whole on avx512; six on amx; three on amx; one on amx",
        ),
    ] {
        let (words, other, planned, wanted) = choices(Isa::Amx, products);
        assert_eq!(words, expected);
        assert_ne!(content, other, "what is wanted is part of the content");
        for choice in ["one on avx512", "whole on amx", "whole on portable"] {
            let refused = planned
                .clone()
                .with_choice(choice.parse().expect("a choice"), wanted);
            let reason = refused.expect_err("not allowed");
            assert!(reason.starts_with(choice), "{reason}");
        }
    }
}

#[test]
fn vectors_read_constants_as_bf16_for_few_rows_only() {
    let choices = |m, k, products, is_constant| {
        let product = MatMul {
            batch: vec![],
            a_batch: false,
            b_batch: false,
            m,
            n: 512,
            k,
            turn: [false; 2],
        };
        let contract = product.contract(After::Nothing);
        let (layouts, result) = row_major(&contract);
        let wanted = Wanted {
            isa: Isa::Avx512,
            products,
            is_constant,
            rows: 1,
        };
        let (planned, _) = plan_contract(&contract, &layouts, &result, wanted).expect("planned");
        let choices = planned.kernel_choices(wanted);
        let words: Vec<String> = choices.iter().map(ToString::to_string).collect();
        (planned.choice().to_string(), words.join("; "))
    };
    let (chosen, all) = choices(3, 256, Products::One, true);
    assert_eq!(chosen, "one on avx512");
    assert_eq!(all, "whole on avx512; one on avx512");
    for near_miss in [
        choices(4, 256, Products::One, true),
        choices(3, 64, Products::One, true),
        choices(3, 256, Products::Three, true),
        choices(3, 256, Products::One, false),
    ] {
        let whole = "whole on avx512".to_owned();
        assert_eq!(near_miss, (whole.clone(), whole));
    }
}

#[test]
fn limits_that_cut_alike_are_one_choice() {
    let limits = |m, n| {
        let product = MatMul {
            batch: vec![],
            a_batch: false,
            b_batch: false,
            m,
            n,
            k: 64,
            turn: [false; 2],
        };
        let contract = product.contract(After::Nothing);
        let (layouts, result) = row_major(&contract);
        let planned = plan_contract(&contract, &layouts, &result, Wanted::whole(Isa::Portable));
        planned.expect("planned").0.limit_choices(1).len()
    };
    assert_eq!(limits(4, 4), 0);
    assert_eq!(limits(1000, 1000), 6);
}

/// What a product of `[256, 256]` with bias, residual and clip (operands 0 to 3, result 4) is with
/// some of it stored as bf16.
fn stored_as_bf16(after: After, products: Products, params: &[usize]) -> Option<String> {
    let product = MatMul {
        batch: vec![],
        a_batch: true,
        b_batch: true,
        m: 256,
        n: 256,
        k: 256,
        turn: [false; 2],
    };
    let contract = product.contract(after);
    let (layouts, result) = row_major(&contract);
    let wanted = Wanted {
        isa: Isa::Amx,
        products,
        is_constant: true,
        rows: 256,
    };
    let planned = plan_contract(&contract, &layouts, &result, wanted);
    let (planned, _) = planned.expect("planned");
    let narrow = planned.stored_as_bf16(params)?;
    for (param, (new, old)) in narrow.params.iter().zip(&planned.params).enumerate() {
        let half = Dim::new(if params.contains(&param) { 2 } else { 1 });
        assert_eq!(new.bytes.clone() * half, old.bytes, "parameter {param}");
    }
    Some(narrow.describe())
}

#[test]
fn products_of_bf16_take_it_as_left_side_residual_and_result() {
    let of = |params: &[usize]| stored_as_bf16(After::BiasResidualClip, Products::One, params);
    let says = |params: &[usize], word: &str| of(params).is_some_and(|text| text.contains(word));
    assert!(says(&[0], "from bf16"));
    assert!(says(&[4], "to bf16"));
    assert!(says(&[0, 3, 4], "from and to bf16"));
    assert!(of(&[3]).is_some());
    // A right side and a bias are f32, and so is what parts of f32 are taken of, or f32 itself.
    assert_eq!(of(&[1]), None);
    assert_eq!(of(&[2]), None);
    for products in [Products::Six, Products::Whole] {
        assert_eq!(stored_as_bf16(After::Bias, products, &[0]), None);
        assert!(
            stored_as_bf16(After::Bias, products, &[3]).is_some(),
            "the result"
        );
    }
    // A kernel that finishes tiles stores f32.
    assert_eq!(stored_as_bf16(After::Scaled, Products::One, &[3]), None);
    assert!(stored_as_bf16(After::Scaled, Products::One, &[0]).is_some());
}
