//! 8-bit images: what data sets hold, what attacks return, what measures compare.

mod decode;
mod file;
mod fit;
mod perturbation;

use std::fmt;

pub use fit::Fit;
pub use perturbation::perturbation;
pub(crate) use perturbation::unperturbed;

/// An 8-bit image, grey (1 channel) or RGB (3 channels).
///
/// Pixels lie row by row, the channels of one pixel side by side, 0–255.
///
/// Paper: section 4, discrete pixel values.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
}

/// Why pixels do not make an [`Image`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ImageShapeError {
    /// Neither grey nor RGB.
    #[error("an image has 1 (grey) or 3 (RGB) channels, not {0}")]
    Channels(usize),
    /// No pixel at all.
    #[error("an image of {width}×{height} pixels has no content")]
    Empty {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// The number of bytes does not fit the shape.
    #[error(
        "an image of {width}×{height} pixels and {channels} channel(s) needs {wanted} bytes, found {found}"
    )]
    Length {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Number of channels.
        channels: usize,
        /// Bytes that the shape asks for.
        wanted: usize,
        /// Bytes that were given.
        found: usize,
    },
}

impl Image {
    /// An image of `width` × `height` pixels from `width * height * channels` bytes.
    ///
    /// # Errors
    /// When there is no pixel, `channels` is neither 1 nor 3, or the number of bytes does not fit.
    pub fn new(
        width: usize,
        height: usize,
        channels: usize,
        pixels: Vec<u8>,
    ) -> Result<Self, ImageShapeError> {
        if channels != 1 && channels != 3 {
            return Err(ImageShapeError::Channels(channels));
        }
        if width == 0 || height == 0 {
            return Err(ImageShapeError::Empty { width, height });
        }
        let wanted = width.saturating_mul(height).saturating_mul(channels);
        if pixels.len() != wanted {
            let found = pixels.len();
            return Err(ImageShapeError::Length { width, height, channels, wanted, found });
        }
        Ok(Self { width, height, channels, pixels })
    }

    /// An image whose shape has been checked already.
    pub(crate) fn of_checked(shape: [usize; 3], pixels: Vec<u8>) -> Self {
        let [height, width, channels] = shape;
        debug_assert_eq!(pixels.len(), height * width * channels);
        Self { width, height, channels, pixels }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// 1 for grey, 3 for RGB.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// All pixels: row by row, channels of a pixel side by side, 0–255.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image {}×{}×{}", self.width, self.height, self.channels)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::decode::tests::grey_png;
}
