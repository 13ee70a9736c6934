//! Decisions about a contraction that others than the estimate of its cost may take: which
//! micro-kernels and products, and how large blocks are.
//!
//! What may be decided depends on the contraction and on what is wanted of it: no choice is less
//! exact than that, and each gives right results. In words a choice is `six on amx` or
//! `whole on avx512, rows 64, cols 512`.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "emit")]
use super::{CpuContract, Form, Wanted, choice::is_streamed};
use alula_microkernel::{BlockLimit, Isa, Products};

/// How a contraction is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContractChoice {
    /// The family of micro-kernels.
    pub isa: Isa,
    /// How values of f32 are multiplied; whole for bytes.
    pub products: Products,
    /// How large blocks are at most.
    pub limit: BlockLimit,
}

const fn word(products: Products) -> &'static str {
    match products {
        Products::Whole => "whole",
        Products::Six => "six",
        Products::Three => "three",
        Products::One => "one",
    }
}

/// The words behind those of the kernels; none where nothing is limited.
pub(super) fn limit_words(limit: BlockLimit) -> String {
    let word = |name: &str, most: Option<u32>| most.map(|most| format!(", {name} {most}"));
    let words = [word("rows", limit.rows), word("cols", limit.cols)];
    words.into_iter().flatten().collect()
}

impl fmt::Display for ContractChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (products, isa) = (word(self.products), self.isa.name());
        write!(f, "{products} on {isa}{}", limit_words(self.limit))
    }
}

impl FromStr for ContractChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<ContractChoice, String> {
        let wrong = || format!("{text:?} is no way to run a contraction, such as \"six on amx\"");
        let mut words = text.split(", ");
        let kernels = words.next().unwrap_or_default();
        let (products, isa) = kernels.split_once(" on ").ok_or_else(wrong)?;
        let mut all = Products::ALL.into_iter();
        let mut choice = ContractChoice {
            isa: Isa::from_name(isa).map_err(|_| wrong())?,
            products: all.find(|p| word(*p) == products).ok_or_else(wrong)?,
            limit: BlockLimit::default(),
        };
        for limit in words {
            let (name, most) = limit.split_once(' ').ok_or_else(wrong)?;
            let most = most.parse().ok().filter(|&most: &u32| most > 0);
            let most = most.ok_or_else(wrong)?;
            match name {
                "rows" if choice.limit.rows.is_none() => choice.limit.rows = Some(most),
                "cols" if choice.limit.cols.is_none() => choice.limit.cols = Some(most),
                _ => return Err(wrong()),
            }
        }
        Ok(choice)
    }
}

/// Rows and columns that blocks are tried with: up to what near caches hold.
#[cfg(feature = "emit")]
const LIMITS: [[Option<u32>; 2]; 6] = [
    [Some(32), None],
    [Some(64), None],
    [Some(256), None],
    [None, Some(128)],
    [None, Some(512)],
    [Some(64), Some(256)],
];

#[cfg(feature = "emit")]
impl CpuContract {
    /// How it is run.
    pub fn choice(&self) -> ContractChoice {
        ContractChoice {
            isa: self.isa,
            products: self.products,
            limit: self.limit,
        }
    }

    /// Every choice of micro-kernels and products that may be taken, without limits of blocks.
    pub fn kernel_choices(&self, wanted: Wanted) -> Vec<ContractChoice> {
        let of = |isa, products| ContractChoice {
            isa,
            products,
            limit: BlockLimit::default(),
        };
        let mut choices = vec![of(wanted.isa.without_tiles(), Products::Whole)];
        if is_streamed(&self.form, wanted) {
            choices.push(of(wanted.isa, wanted.products));
        }
        if wanted.isa != Isa::Amx || !matches!(self.form, Form::Product(_)) {
            return choices;
        }
        if self.is_integer() {
            choices.push(of(wanted.isa, Products::Whole));
            return choices;
        }
        // In the order of exactness, up to the least that is wanted.
        let parts = Products::ALL.into_iter().skip(1);
        let least = wanted.products.parts();
        let exact = parts.filter(|products| least > 0 && products.parts() >= least);
        choices.extend(exact.map(|products| of(wanted.isa, products)));
        choices
    }

    /// Limits of blocks that cut this contraction in ways that differ from one another and from the
    /// one that it has, for so many threads. All of them where only a run knows the sizes.
    pub fn limit_choices(&self, threads: usize) -> Vec<ContractChoice> {
        if self.is_integer() || !matches!(self.form, Form::Product(_)) {
            return Vec::new();
        }
        let blocks = |limit| {
            let limited = CpuContract {
                limit,
                ..self.clone()
            };
            let bound = limited.bind(&|_| None, threads).ok();
            bound.and_then(|bound| bound.blocks())
        };
        let mut known = vec![blocks(BlockLimit::default())];
        let limits = LIMITS.map(|[rows, cols]| BlockLimit { rows, cols });
        let differs = |limit: &BlockLimit| {
            let made = blocks(*limit);
            let is_new = made.is_none() || !known.contains(&made);
            known.push(made);
            is_new
        };
        let limits = limits.into_iter().filter(differs);
        limits
            .map(|limit| ContractChoice {
                limit,
                ..self.choice()
            })
            .collect()
    }

    /// The contraction, run so.
    ///
    /// # Errors
    /// Why this choice may not be taken, in words.
    pub fn with_choice(
        mut self,
        choice: ContractChoice,
        wanted: Wanted,
    ) -> Result<CpuContract, String> {
        let kernels = ContractChoice {
            limit: BlockLimit::default(),
            ..choice
        };
        let allowed = self.kernel_choices(wanted);
        if !allowed.contains(&kernels) {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            return Err(format!("{kernels} is none of {}", allowed.join(", ")));
        }
        if choice.limit != BlockLimit::default()
            && (self.is_integer() || !matches!(self.form, Form::Product(_)))
        {
            return Err("only blocks of products of floats can be limited".to_owned());
        }
        self.isa = choice.isa;
        self.products = choice.products;
        self.limit = choice.limit;
        Ok(self)
    }

    /// What is decided about, as bytes: form, sizes, dtypes and epilogue, and what is wanted, but
    /// not how it is run. Names do not count.
    pub fn content(&self, wanted: Wanted) -> Vec<u8> {
        let plain = CpuContract {
            isa: wanted.isa,
            products: wanted.products,
            limit: BlockLimit::default(),
            ..self.clone()
        };
        postcard::to_stdvec(&(plain, wanted.is_constant)).expect("a contraction is plain data")
    }
}

#[cfg(all(test, feature = "emit"))]
mod tests {
    use super::*;

    #[test]
    fn choices_are_words() {
        for text in [
            "whole on portable",
            "six on amx",
            "three on amx, rows 64",
            "whole on avx512, rows 32, cols 512",
        ] {
            let choice: ContractChoice = text.parse().expect("a choice");
            assert_eq!(choice.to_string(), text);
        }
        for text in [
            "",
            "six",
            "six on",
            "seven on amx",
            "six on abacus",
            "six on amx, rows 0",
            "six on amx, rows 1, rows 2",
            "six on amx, taps 1",
        ] {
            assert!(text.parse::<ContractChoice>().is_err(), "{text}");
        }
    }
}
