//! The functions behind integer and bit instructions, on raw register bits.

use crate::types::Type;

/// A function on the raw bits of up to four operands; the result is masked to the type's width.
pub(crate) type IntFn = fn(u64, u64, u64, u64) -> u64;

/// Functions of one integer type: its own width, its unsigned twin, and the type twice as wide.
macro_rules! integer_functions {
    ($name:ident, $t:ty, $u:ty, $wide:ty) => {
        fn $name(mnemonic: &str, part: &str) -> Option<IntFn> {
            const BITS: u32 = <$t>::BITS;
            Some(match (mnemonic, part) {
                ("add", "") => |a, b, _, _| (a as $t).wrapping_add(b as $t) as $u as u64,
                ("sub", "") => |a, b, _, _| (a as $t).wrapping_sub(b as $t) as $u as u64,
                ("add", "sat") => |a, b, _, _| (a as $t).saturating_add(b as $t) as $u as u64,
                ("sub", "sat") => |a, b, _, _| (a as $t).saturating_sub(b as $t) as $u as u64,
                ("mul", "lo") => |a, b, _, _| (a as $t).wrapping_mul(b as $t) as $u as u64,
                ("mul", "hi") => |a, b, _, _| {
                    ((a as $t as $wide).wrapping_mul(b as $t as $wide) >> BITS) as $u as u64
                },
                ("mul", "wide") => {
                    |a, b, _, _| (a as $t as $wide).wrapping_mul(b as $t as $wide) as u64
                }
                ("mad", "lo") => {
                    |a, b, c, _| (a as $t).wrapping_mul(b as $t).wrapping_add(c as $t) as $u as u64
                }
                ("mad", "hi") => |a, b, c, _| {
                    let high = (a as $t as $wide).wrapping_mul(b as $t as $wide) >> BITS;
                    (high as $t).wrapping_add(c as $t) as $u as u64
                },
                ("mad", "wide") => |a, b, c, _| {
                    ((a as $t as $wide).wrapping_mul(b as $t as $wide) as u64).wrapping_add(c)
                },
                // The ISA leaves division by zero open; devices return all ones.
                ("div", "") => |a, b, _, _| match b as $t {
                    0 => u64::MAX,
                    b => (a as $t).wrapping_div(b) as $u as u64,
                },
                ("rem", "") => |a, b, _, _| match b as $t {
                    0 => u64::MAX,
                    b => (a as $t).wrapping_rem(b) as $u as u64,
                },
                ("min", "") => |a, b, _, _| (a as $t).min(b as $t) as $u as u64,
                ("max", "") => |a, b, _, _| (a as $t).max(b as $t) as $u as u64,
                ("neg", "") => |a, _, _, _| (a as $t).wrapping_neg() as $u as u64,
                ("abs", "") => |a, _, _, _| {
                    let a = a as $t;
                    #[allow(unused_comparisons, reason = "one text serves both signednesses")]
                    let value = if a < 0 { (0 as $t).wrapping_sub(a) } else { a };
                    value as $u as u64
                },
                ("shr", "") => |a, b, _, _| {
                    let (a, amount) = (a as $t, b as u32);
                    // One shift by the width less one, then one more, never overflows.
                    if amount >= BITS {
                        (a >> (BITS - 1) >> 1) as $u as u64
                    } else {
                        (a >> amount) as $u as u64
                    }
                },
                ("bfe", "") => |a, position, length, _| {
                    let (a, position) = (a as $t, (position & 0xff) as u32);
                    let length = (length & 0xff) as u32;
                    if length == 0 {
                        return 0;
                    }
                    // Beyond the top bit, the field's sign (or zero) fills.
                    let shifted = if position >= BITS {
                        a >> (BITS - 1) >> 1
                    } else {
                        a >> position
                    };
                    let sign_at = (position + length - 1).min(BITS - 1);
                    let keep = length.min(BITS);
                    let sign = a >> sign_at & 1;
                    #[allow(unused_comparisons, reason = "one text serves both signednesses")]
                    let signed = <$t>::MIN < 0;
                    let mask = <$u>::MAX >> (BITS - keep);
                    let high = if signed && sign != 0 { !mask } else { 0 };
                    ((shifted as $u & mask) | high) as u64
                },
                _ => return None,
            })
        }
    };
}

integer_functions!(u16_function, u16, u16, u32);
integer_functions!(s16_function, i16, u16, i32);
integer_functions!(u32_function, u32, u32, u64);
integer_functions!(s32_function, i32, u32, i64);
integer_functions!(u64_function, u64, u64, u128);
integer_functions!(s64_function, i64, u64, i128);

/// The function of an arithmetic mnemonic at an integer type; `part` is `lo`, `hi`, `wide`,
/// `sat` or empty.
pub(crate) fn arithmetic(mnemonic: &str, part: &str, ty: Type) -> Option<IntFn> {
    match ty {
        Type::U16 => u16_function(mnemonic, part),
        Type::S16 => s16_function(mnemonic, part),
        Type::U32 => u32_function(mnemonic, part),
        Type::S32 => s32_function(mnemonic, part),
        Type::U64 => u64_function(mnemonic, part),
        Type::S64 => s64_function(mnemonic, part),
        // Shifts of untyped words fill with zeros.
        Type::B16 if mnemonic == "shr" => u16_function(mnemonic, part),
        Type::B32 if mnemonic == "shr" => u32_function(mnemonic, part),
        Type::B64 if mnemonic == "shr" => u64_function(mnemonic, part),
        _ => None,
    }
}

/// The function of a logic or bit mnemonic; the caller masks the result to the type.
pub(crate) fn logic(mnemonic: &str, bits: u32) -> Option<IntFn> {
    Some(match (mnemonic, bits) {
        ("and", _) => |a, b, _, _| a & b,
        ("or", _) => |a, b, _, _| a | b,
        ("xor", _) => |a, b, _, _| a ^ b,
        ("not", _) => |a, _, _, _| !a,
        ("cnot", _) => |a, _, _, _| u64::from(a == 0),
        ("shl", 16) => |a, b, _, _| if b as u32 >= 16 { 0 } else { a << b },
        ("shl", 32) => |a, b, _, _| if b as u32 >= 32 { 0 } else { a << b },
        ("shl", 64) => |a, b, _, _| if b as u32 >= 64 { 0 } else { a << b },
        ("popc", 32 | 64) => |a, _, _, _| u64::from(a.count_ones()),
        ("clz", 32) => |a, _, _, _| u64::from((a as u32).leading_zeros()),
        ("clz", 64) => |a, _, _, _| u64::from(a.leading_zeros()),
        ("brev", 32) => |a, _, _, _| u64::from((a as u32).reverse_bits()),
        ("brev", 64) => |a, _, _, _| a.reverse_bits(),
        ("bfi", 32) => |a, b, position, length| insert_bits(a, b, position, length, 32),
        ("bfi", 64) => |a, b, position, length| insert_bits(a, b, position, length, 64),
        ("lop3", 32) => |a, b, c, table| {
            (0..8)
                .filter(|row| table >> row & 1 == 1)
                .fold(0, |out, row| {
                    let pick = |x: u64, bit: u32| if row >> bit & 1 == 1 { x } else { !x };
                    out | (pick(a, 2) & pick(b, 1) & pick(c, 0))
                })
        },
        ("prmt", 32) => |a, b, selector, _| {
            let bytes = (a & 0xffff_ffff) | b << 32;
            (0..4).fold(0, |out, i| {
                let pick = selector >> (4 * i) & 0xf;
                let byte = bytes >> (8 * (pick & 7)) & 0xff;
                let byte = if pick & 8 == 0 {
                    byte
                } else {
                    (byte >> 7) * 0xff
                };
                out | byte << (8 * i)
            })
        },
        _ => return None,
    })
}

/// Funnel shifts of `b:a` by `c`; `part` is `l.wrap`, `l.clamp`, `r.wrap` or `r.clamp`.
pub(crate) fn funnel(left: bool, wrap: bool) -> IntFn {
    match (left, wrap) {
        (true, true) => |a, b, c, _| ((b << 32 | a) << (c & 31)) >> 32,
        (true, false) => |a, b, c, _| ((b << 32 | a) << (c as u32).min(32)) >> 32,
        (false, true) => |a, b, c, _| (b << 32 | a) >> (c & 31),
        (false, false) => |a, b, c, _| (b << 32 | a) >> (c as u32).min(32),
    }
}

fn insert_bits(a: u64, b: u64, position: u64, length: u64, bits: u32) -> u64 {
    let (position, length) = ((position & 0xff) as u32, (length & 0xff) as u32);
    if length == 0 || position >= bits {
        return b;
    }
    let mask = (u64::MAX >> (64 - length.min(bits))) << position;
    (b & !mask) | (a << position & mask)
}

/// Four products of bytes and a sum: `dp4a`, each side signed or not.
pub(crate) fn dot4(a_signed: bool, b_signed: bool) -> IntFn {
    fn dot(a: u64, b: u64, c: u64, a_signed: bool, b_signed: bool) -> u64 {
        let byte = |word: u64, i: u32, signed: bool| {
            let value = (word >> (8 * i)) as u8;
            if signed {
                i32::from(value as i8)
            } else {
                i32::from(value)
            }
        };
        let sum = (0..4)
            .map(|i| byte(a, i, a_signed) * byte(b, i, b_signed))
            .sum::<i32>();
        u64::from((c as i32).wrapping_add(sum) as u32)
    }
    match (a_signed, b_signed) {
        (false, false) => |a, b, c, _| dot(a, b, c, false, false),
        (false, true) => |a, b, c, _| dot(a, b, c, false, true),
        (true, false) => |a, b, c, _| dot(a, b, c, true, false),
        (true, true) => |a, b, c, _| dot(a, b, c, true, true),
    }
}
