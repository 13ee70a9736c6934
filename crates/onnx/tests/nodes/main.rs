//! What becomes of nodes that are not as they should be.

mod attributes;
#[path = "../rows/build.rs"]
#[expect(dead_code, reason = "the tests of rows use the rest")]
mod build;
mod cases;
mod demands;
mod made;
mod ranks;
mod types;
