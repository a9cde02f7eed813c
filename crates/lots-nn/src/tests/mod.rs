//! Tests that look inside the crate: every operator and small networks against plain loops in f64, results bit for bit,
//! and files that are no networks.
//!
//! `naive` is the oracle, `model` writes ONNX files, `check` compares the engine with the oracle.

mod bad_axes;
mod bad_files;
mod bad_nodes;
mod check;
mod compare;
mod conv_transpose;
mod elementwise;
mod exact;
mod external;
mod linear;
mod model;
mod naive;
mod networks;
mod normalize;
mod operators;
mod outline;
mod preprocessing;
mod product;
mod rearrange;
mod reduce;
mod relu_rules;
mod resize;
mod training;
mod unary;
mod whole_networks;
