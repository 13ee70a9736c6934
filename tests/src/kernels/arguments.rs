//! What a device takes as arguments of a launch, and what it refuses before anything is run.

use alula_program::{Arg, DeviceError, Launch, Module};
use alula_tensor::{DType, ScalarOp};
use alula_testkit::tolerance::Class;

use super::Case;
use super::scalar_cases;

/// `out[i] = -x[i]` over `N` elements.
pub fn negation() -> Case {
    let only = |op: ScalarOp, dtype: DType| op == ScalarOp::Neg && dtype == DType::F32;
    let mut cases = scalar_cases(only, |_, _| false, |_| Class::Exact);
    cases.pop().expect("one operator on one dtype")
}

/// `module` has the one kernel [`negation`], and four floats from 1 to 4 as its constant.
pub fn check_arguments(module: &dyn Module) {
    let mut arena = module.arena(64).expect("64 bytes");
    let mut launch = |args: &mut [Arg<'_>], count: i64| {
        let launch = Launch {
            kernel: 0,
            args,
            symbols: &[count],
            work: 0,
            deadline: None,
        };
        module.launch(arena.as_mut(), launch)
    };
    let mut out = [0; 16];
    launch(&mut [Arg::Constant(0), Arg::HostMut(&mut out)], 4).expect("a constant is lent");
    let floats: Vec<f32> = out
        .chunks(4)
        .map(|e| f32::from_le_bytes([e[0], e[1], e[2], e[3]]))
        .collect();
    assert_eq!(floats, [-1.0, -2.0, -3.0, -4.0]);
    launch(&mut [Arg::Host(&[]), Arg::HostMut(&mut [])], 0).expect("nothing to do");

    let mut refused = |args: &mut [Arg<'_>], position: usize| match launch(args, 4) {
        Err(DeviceError::BadArg { param, reason, .. }) => assert_eq!(param, position, "{reason}"),
        other => panic!("{args:?}: {other:?}"),
    };
    refused(&mut [Arg::Constant(1), Arg::Arena(0..16)], 0);
    refused(&mut [Arg::Constant(0), Arg::HostMut(&mut out[..12])], 1);
    refused(&mut [Arg::Arena(0..12), Arg::Arena(16..32)], 0);
    refused(&mut [Arg::Arena(0..16), Arg::Arena(56..72)], 1);
    refused(&mut [Arg::Arena(0..16), Arg::Arena(8..24)], 1);
    refused(&mut [Arg::Arena(0..16), Arg::Constant(0)], 1);
}
