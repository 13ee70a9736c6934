//! Every scalar operator and conversion that a back end claims, on edge values, against
//! `ScalarOp::eval` and `Scalar::cast`.

use std::collections::BTreeMap;

use alula_kernel::{Access, BufferId, GridAxis, Inst, Kernel, Param, Rhs};
use alula_tensor::{DType, Dim, Scalar, ScalarOp, Symbol, Tensor};
use alula_testkit::SplitMix64;
use alula_testkit::tolerance::Class;
use alula_testkit::values::{float_edges, integer_edges};

use super::Case;

/// Most elements of a case.
const ELEMENTS_MAX: usize = 600;

/// One case for each operator and dtype that `native` says, and for each conversion that `cast`
/// says. `class` is how far an operator's results on floats may be off.
pub fn scalar_cases(
    native: impl Fn(ScalarOp, DType) -> bool,
    cast: impl Fn(DType, DType) -> bool,
    class: impl Fn(ScalarOp) -> Class,
) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in DType::ALL {
        for op in ScalarOp::ALL.into_iter().filter(|&op| native(op, dtype)) {
            let result = op.result(dtype);
            let mut dtypes = vec![dtype; op.arity()];
            dtypes[..op.first_typed()].fill(DType::Bool);
            let columns = columns(&dtypes, op);
            let rhs = |values: &[alula_kernel::ValueId]| Rhs::Apply {
                op,
                operands: values.iter().copied().collect(),
            };
            let expected = rows(&columns).map(|row| op.eval(dtype, &row)).collect();
            let name = format!("{op}.{dtype}");
            cases.push(case(
                &name,
                &dtypes,
                &columns,
                result,
                expected,
                &rhs,
                class(op),
            ));
        }
        for to in DType::ALL
            .into_iter()
            .filter(|&to| to != dtype && cast(dtype, to))
        {
            let columns = vec![edges(dtype)];
            let rhs = |values: &[alula_kernel::ValueId]| Rhs::Cast(values[0]);
            let expected = columns[0].iter().map(|value| value.cast(to)).collect();
            let name = format!("cast.{dtype}.{to}");
            cases.push(case(
                &name,
                &[dtype],
                &columns,
                to,
                expected,
                &rhs,
                Class::Exact,
            ));
        }
    }
    cases
}

/// The values of each operand: all pairs of edges, as many as are wanted.
fn columns(dtypes: &[DType], op: ScalarOp) -> Vec<Vec<Scalar>> {
    let mut lists: Vec<Vec<Scalar>> = dtypes.iter().map(|&dtype| edges(dtype)).collect();
    if let ([list], DType::F32) = (lists.as_mut_slice(), dtypes[0]) {
        list.extend(spread());
    }
    let total: usize = lists.iter().map(Vec::len).product();
    let step = total.div_ceil(ELEMENTS_MAX);
    let mut columns = vec![Vec::new(); lists.len()];
    for row in (0..total).step_by(step) {
        let mut rest = row;
        let picked: Vec<Scalar> = lists
            .iter()
            .map(|list| {
                let value = list[rest % list.len()];
                rest /= list.len();
                value
            })
            .collect();
        // Powers of integers beyond their width cost more than they tell.
        if op == ScalarOp::Pow && picked[1].to_f64().abs() > 1e6 {
            continue;
        }
        for (column, value) in columns.iter_mut().zip(picked) {
            column.push(value);
        }
    }
    columns
}

/// Floats of both signs over many magnitudes.
fn spread() -> Vec<Scalar> {
    let mut random = SplitMix64::new(11);
    (0..400)
        .map(|_| {
            let size = random.uniform(-24.0..24.0).exp2() * random.uniform(-1.0..1.0);
            Scalar::Float(size).cast(DType::F32)
        })
        .collect()
}

fn rows(columns: &[Vec<Scalar>]) -> impl Iterator<Item = Vec<Scalar>> {
    (0..columns[0].len()).map(|row| columns.iter().map(|column| column[row]).collect())
}

fn edges(dtype: DType) -> Vec<Scalar> {
    if dtype == DType::Bool {
        return vec![Scalar::Int(0), Scalar::Int(1)];
    }
    if dtype.is_integer() {
        let signed = dtype.int_range().is_some_and(|range| range.0 < 0);
        let mut values = integer_edges(dtype.bits(), signed);
        let small = [3, 5, 7, 31, 32, 63, 64, 100, -2, -3, -7];
        let (least, greatest) = dtype.int_range().unwrap_or_default();
        values.extend(small.into_iter().filter(|v| (least..=greatest).contains(v)));
        return values.into_iter().map(Scalar::Int).collect();
    }
    let more = [
        0.1,
        -0.3,
        2.0,
        3.0,
        -7.0,
        10.5,
        0.7,
        0.99,
        -0.99,
        1.2,
        88.0,
        -87.0,
        100.5,
        2147483648.0,
        -2147483904.0,
        4294967296.0,
        1e10,
        1e-5,
        -1e-3,
        5000.25,
        123456.7,
    ];
    let more = more
        .into_iter()
        .map(|value| Scalar::Float(value).cast(dtype).to_f64());
    float_edges(dtype)
        .into_iter()
        .chain(more)
        .map(Scalar::Float)
        .collect()
}

/// `out[i] = rhs(x0[i], ...)` over a symbolic number of elements.
fn case(
    name: &str,
    dtypes: &[DType],
    columns: &[Vec<Scalar>],
    result: DType,
    expected: Vec<Scalar>,
    rhs: &dyn Fn(&[alula_kernel::ValueId]) -> Rhs,
    class: Class,
) -> Case {
    let mut kernel = Kernel::new(name);
    let (symbol, elements) = (Symbol::new("N"), Dim::named("N"));
    kernel.symbols.push(symbol.clone());
    let i = kernel.value(DType::I64);
    kernel.grid.push(GridAxis {
        var: i,
        extent: elements.clone(),
    });
    let mut values = Vec::new();
    for (position, &dtype) in dtypes.iter().enumerate() {
        let (name, elements) = (format!("x{position}"), elements.clone());
        kernel.params.push(Param {
            name,
            dtype,
            elements,
            access: Access::Read,
            bound: None,
        });
        let id = kernel.value(dtype);
        let buffer = BufferId::Param(position as u32);
        kernel.body.0.push(Inst::Let {
            id,
            rhs: Rhs::Load { buffer, index: i },
        });
        values.push(id);
    }
    let name = "out".to_owned();
    kernel.params.push(Param {
        name,
        dtype: result,
        elements,
        access: Access::Write,
        bound: None,
    });
    let value = kernel.value(result);
    kernel.body.0.push(Inst::Let {
        id: value,
        rhs: rhs(&values),
    });
    let buffer = BufferId::Param(dtypes.len() as u32);
    kernel.body.0.push(Inst::Store {
        buffer,
        index: i,
        value,
    });
    let count = expected.len();
    let tensor = |dtype: DType, values: &[Scalar]| {
        Tensor::from_scalars(dtype, &[count], values).expect("one value for each element")
    };
    Case {
        name: kernel.name.clone(),
        kernel,
        operands: dtypes
            .iter()
            .zip(columns)
            .map(|(&dtype, c)| tensor(dtype, c))
            .collect(),
        results: vec![tensor(result, &expected)],
        symbols: BTreeMap::from([(symbol, count as i64)]),
        class,
    }
}
