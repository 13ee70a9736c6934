//! Assembly that both register tiles of bf16 parts are made of: loads of B, products, and the order
//! of products of a step. Loads of A are each kernel's own: a macro that takes the part's number.
//!
//! Accumulators are tiles 0 to 3, A is in 4 and 5, B in 6 and 7. From one product to the next only
//! the part of A or that of B changes, so that six products take 14 loads and three take 8.

/// The tiles that a part of B is loaded from; parts are 2048 bytes apart, the smaller ones behind.
macro_rules! b_two {
    (0) => {
        tiles!(
            "tileloadd tmm6, [{b} + {b_line}*1]",
            "tileloadd tmm7, [{b} + {b_line}*1 + 1024]"
        )
    };
    (1) => {
        tiles!(
            "tileloadd tmm6, [{b} + {b_line}*1 + 2048]",
            "tileloadd tmm7, [{b} + {b_line}*1 + 3072]"
        )
    };
    (2) => {
        tiles!(
            "tileloadd tmm6, [{b} + {b_line}*1 + 4096]",
            "tileloadd tmm7, [{b} + {b_line}*1 + 5120]"
        )
    };
}
macro_rules! b_one {
    (0) => {
        tiles!("tileloadd tmm6, [{b} + {b_line}*1]")
    };
    (1) => {
        tiles!("tileloadd tmm6, [{b} + {b_line}*1 + 2048]")
    };
    (2) => {
        tiles!("tileloadd tmm6, [{b} + {b_line}*1 + 4096]")
    };
}

/// The products of what is loaded, by the rows and columns of accumulators.
macro_rules! dot_two_two {
    () => {
        tiles!(
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7"
        )
    };
}
macro_rules! dot_two_one {
    () => {
        tiles!("tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm2, tmm5, tmm6")
    };
}
macro_rules! dot_one_two {
    () => {
        tiles!("tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7")
    };
}
macro_rules! dot_one_one {
    () => {
        tiles!("tdpbf16ps tmm0, tmm4, tmm6")
    };
}

/// The products of one step.
macro_rules! six {
    ($a:ident, $b:ident, $dot:ident) => {
        concat!(
            $a!(0),
            $b!(2),
            $dot!(),
            $b!(1),
            $dot!(),
            $a!(1),
            $dot!(),
            $b!(0),
            $dot!(),
            $a!(2),
            $dot!(),
            $a!(0),
            $dot!()
        )
    };
}
macro_rules! three {
    ($a:ident, $b:ident, $dot:ident) => {
        concat!($a!(1), $b!(0), $dot!(), $a!(0), $dot!(), $b!(1), $dot!())
    };
}
macro_rules! one {
    ($a:ident, $b:ident, $dot:ident) => {
        concat!($a!(0), $b!(0), $dot!())
    };
}

/// Fetches lines of what comes next of B.
macro_rules! fetch {
    ($($offset:literal)*) => { concat!($("prefetcht1 [{next} + ", $offset, "]\n"),*) };
}
macro_rules! fetch_eight {
    () => { fetch!("0" "64" "128" "192" "256" "320" "384" "448") };
}
macro_rules! fetch_sixteen {
    () => {
        concat!(fetch_eight!(), fetch!("512" "576" "640" "704" "768" "832" "896" "960"))
    };
}
macro_rules! fetch_more {
    () => {
        concat!(
            fetch_sixteen!(),
            fetch!("1024" "1088" "1152" "1216" "1280" "1344" "1408" "1472")
        )
    };
}

/// Runs `kernel` for the rows and columns that there are.
macro_rules! by_shape {
    ($kernel:ident, $o:ident, $products:ident, $fetch:ident, $sizes:tt) => {
        match ($o.rows_past, $o.cols_past) {
            (true, true) => $kernel!($o, $products, a_two, b_two, dot_two_two, $fetch, $sizes),
            (true, false) => $kernel!($o, $products, a_two, b_one, dot_two_one, $fetch, $sizes),
            (false, true) => $kernel!($o, $products, a_one, b_two, dot_one_two, $fetch, $sizes),
            (false, false) => $kernel!($o, $products, a_one, b_one, dot_one_one, $fetch, $sizes),
        }
    };
}
