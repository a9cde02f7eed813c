//! What a network wants done to 8-bit images before they go in.

use std::fmt;

/// From raw images, RGB or grey, [channels, height, width], 0–255, to what a network takes: channels in `order`, values
/// spread over `range`, then `(value − mean) / std`, in `layout`.
///
/// [`Graph::open_with`](crate::Graph::open_with) puts it in front of the network as nodes; it belongs to the network from
/// there on.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// Order of the channels; no matter for grey.
    pub order: ChannelOrder,
    /// Order of the axes.
    pub layout: Layout,
    /// Where black and white come to lie.
    pub range: ValueRange,
    /// What is subtracted, in units of `range`: one number, or one a channel in the order of the network's channels.
    pub mean: Vec<f32>,
    /// What is divided by, likewise.
    pub std: Vec<f32>,
}

/// Order of the channels of colour images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Order of the axes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Images, channels, height, width.
    Nchw,
    /// Images, height, width, channels.
    Nhwc,
}

/// The values of black (0) and white (255).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueRange {
    /// Black.
    pub low: f32,
    /// White, above `low`.
    pub high: f32,
}

impl Preprocessing {
    /// None: RGB or grey, NCHW, 0–255.
    pub fn raw() -> Self {
        Self {
            order: ChannelOrder::Rgb,
            layout: Layout::Nchw,
            range: ValueRange { low: 0.0, high: 255.0 },
            mean: vec![0.0],
            std: vec![1.0],
        }
    }

    /// As torchvision's classifiers want it: 0–1, ImageNet's mean and standard deviation.
    pub fn imagenet() -> Self {
        Self {
            range: ValueRange { low: 0.0, high: 1.0 },
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            ..Self::raw()
        }
    }

    /// As PyTorch's example for MNIST wants it: 0–1, the training digits' mean and standard deviation.
    pub fn mnist() -> Self {
        Self {
            range: ValueRange { low: 0.0, high: 1.0 },
            mean: vec![0.1307],
            std: vec![0.3081],
            ..Self::raw()
        }
    }
}

/// `BGR, NHWC, 0 to 1, mean 0.5, std 0.25`: what differs from plain RGB in NCHW without mean and std is said.
impl fmt::Display for Preprocessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.order {
            ChannelOrder::Rgb => "RGB or grey",
            ChannelOrder::Bgr => "BGR",
        })?;
        if self.layout == Layout::Nhwc {
            f.write_str(", NHWC")?;
        }
        write!(f, ", {} to {}", self.range.low, self.range.high)?;
        let raw = Self::raw();
        for (what, numbers, none) in [("mean", &self.mean, &raw.mean), ("std", &self.std, &raw.std)]
        {
            if numbers != none {
                let numbers: Vec<String> = numbers.iter().map(f32::to_string).collect();
                write!(f, ", {what} {}", numbers.join(" "))?;
            }
        }
        Ok(())
    }
}

/// How to open a network. What is `None` is left to the file's metadata, and where that says nothing, is
/// [raw](Preprocessing::raw).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpenOptions {
    /// Order of the channels.
    pub order: Option<ChannelOrder>,
    /// Order of the axes.
    pub layout: Option<Layout>,
    /// Where black and white come to lie.
    pub range: Option<ValueRange>,
    /// What is subtracted, in units of the range.
    pub mean: Option<Vec<f32>>,
    /// What is divided by.
    pub std: Option<Vec<f32>>,
}

/// All of it, whatever the metadata say.
impl From<Preprocessing> for OpenOptions {
    fn from(all: Preprocessing) -> Self {
        let Preprocessing { order, layout, range, mean, std } = all;
        Self {
            order: Some(order),
            layout: Some(layout),
            range: Some(range),
            mean: Some(mean),
            std: Some(std),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_differs() {
        let odd = Preprocessing {
            order: ChannelOrder::Bgr,
            layout: Layout::Nhwc,
            range: ValueRange { low: -1.0, high: 1.0 },
            mean: vec![0.5],
            std: vec![0.25, 0.5, 1.0],
        };
        let cases = [
            (Preprocessing::raw(), "RGB or grey, 0 to 255"),
            (Preprocessing::mnist(), "RGB or grey, 0 to 1, mean 0.1307, std 0.3081"),
            (
                Preprocessing::imagenet(),
                "RGB or grey, 0 to 1, mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
            ),
            (odd, "BGR, NHWC, -1 to 1, mean 0.5, std 0.25 0.5 1"),
        ];
        for (preprocessing, wanted) in cases {
            assert_eq!(preprocessing.to_string(), wanted);
        }
    }
}
