//! Data sets: the IDX format, images with labels, and the references by which users name them.

pub mod idx;
