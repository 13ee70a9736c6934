//! Contractions for the micro-kernels.
//!
//! `plan` (with the `emit` feature) resolves the roles of a contraction's axes to a *product*: a
//! batch-reduce matrix product whose offsets are sums over axes, or a depthwise convolution. The
//! result, [`CpuContract`], is plain data with dims as expressions. [`CpuContract::bind`] gives it
//! sizes, [`Packing`] packs the right side, and [`BoundContract`] runs. Contractions of bytes have
//! their own, [`BoundInteger`].
//!
//! What does not fit is [`NotSupported`] with the reason; `Contract::to_compute` still does.

#[cfg(feature = "emit")]
mod axes;
mod bind;
mod bound;
#[cfg(feature = "emit")]
mod choice;
mod decided;
#[cfg(feature = "emit")]
mod fused;
mod image;
mod integer;
mod packing;
#[cfg(feature = "emit")]
mod plan;
mod product;
mod rows;
#[cfg(feature = "emit")]
mod tile;
#[cfg(feature = "emit")]
mod window;

pub use bound::{BoundContract, ContractError, ContractOperands};
#[cfg(feature = "emit")]
pub use choice::Wanted;
pub use decided::ContractChoice;
use decided::limit_words;
pub use integer::{BoundInteger, IntegerOperands};
#[cfg(feature = "device")]
pub(crate) use integer::{Place, ZeroPoints};
pub use packing::{PackedFor, Packing};
#[cfg(feature = "emit")]
pub use plan::{Layout, NotSupported, plan_contract};
pub use product::{
    AxisMap, BiasAxis, CpuContract, DepthwiseMap, Epilogue, Form, Product, TILE_SYMBOLS, WindowMap,
};
pub use rows::Matrices;
#[cfg(feature = "device")]
pub(crate) use rows::{BlockContract, BlockSide};
#[cfg(feature = "emit")]
pub use tile::{TileEpilogue, TileParam};
