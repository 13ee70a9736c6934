//! Runs folders of text files in which inputs stand beside what a stage makes of them.
//!
//! ```text
//! ; test: infer
//! ; --- keeps_the_shape
//! %0 = relu %x
//! ; expect:
//! %0: f32[2, 3] = relu %x
//! ; --- refuses_strings
//! %0 = relu %s
//! ; expect error:
//! relu %0: string is not a number
//! ```
//!
//! The first line names the stage; what follows `test:` goes to the stage function as it stands.
//! A line `; --- name` begins a case, and a file of one case may leave it out. A case is its input,
//! a line `; expect:` or `; expect error:`, and the expectation up to the next case. Blank lines
//! around input and expectation carry no meaning.
//!
//! With `BLESS=1` in the environment, expectations are rewritten in place to what the stage gives;
//! read the change before you commit it.

mod file;
mod runner;

pub use file::{Case, FileError, TestFile};
pub use runner::{run, trials};
