//! The inner loops, and the only place with `unsafe` but the team of threads.
//!
//! Everything here works on *lane-blocked* memory: a value of a block of images lies as
//! `[group][element][lane]`, `LANES` images side by side, so that every operator vectorises over images
//! whatever its shape. Single (large) images lie as `[element]`, one lane, and vectorise over pixels or outputs.
//!
//! Each output number is made by one sequence of operations, mostly a single chain of fused multiply-adds or, in tiles
//! (`winograd`), a few short ones, whichever instruction set with FMA, blocking, batch or number of threads computes it: results
//! depend on none of them.

mod conv;
mod lanes;
mod matmul;
mod matmul_back;
mod packed;
mod scatter;
mod simd;
mod single;
mod tile;
mod turned;
mod versions;
mod winograd;

pub(crate) use conv::{
    ConvShape, add, conv_columns_back, conv_of_adjoint, conv_valid, conv_weight_gradient,
    takes_adjoint,
};
pub(crate) use lanes::interleave_lanes;
pub(crate) use matmul::{matmul, matmul_weight_gradient, transpose_lanes};
pub(crate) use matmul_back::matmul_back;
pub(crate) use packed::Packed;
pub(crate) use scatter::{Winners, line_length, winners_back, winners_weights};
pub(crate) use simd::Isa;
pub(crate) use versions::versioned;
pub(crate) use winograd::{Field, Winograd};

/// Images that lie side by side in a lane-blocked value.
pub(crate) const LANES: usize = 16;
