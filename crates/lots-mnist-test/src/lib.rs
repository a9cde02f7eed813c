//! The 10,000 test digits of MNIST (Y. LeCun, C. Cortes; CC BY-SA 3.0), as the original gzipped IDX files.

/// The images: gzipped IDX of unsigned bytes, shape `[N, 28, 28]`, 0 = background, 255 = ink.
pub const IMAGES: &[u8] = include_bytes!("../data/t10k-images-idx3-ubyte.gz");

/// The labels: gzipped IDX of unsigned bytes, shape `[N]`, each 0–9.
pub const LABELS: &[u8] = include_bytes!("../data/t10k-labels-idx1-ubyte.gz");
