//! The seam between networks and those who study them.

use crate::error::{Error, Result};
use ndarray::{Array2, Array4, ArrayView4};

/// What a network takes: float images [N, channels, height, width], N free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// Name of the input in the file.
    pub name: String,
    /// Channels of an image.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

/// One layer of one network, cheap to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(pub(crate) usize);

impl LayerId {
    /// The layer at `position`, from 0, of a network's own list; for those who implement [`Network`].
    pub const fn new(position: usize) -> Self {
        Self(position)
    }
}

/// What is known of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// How to name it to the network.
    pub id: LayerId,
    /// Position among the layers with weights, from 1 at the input, as the paper counts; `None` for all others. In a converted
    /// VGG Face it is the value after a layer's ReLU that has the index.
    pub index: Option<usize>,
    /// Name of the node.
    pub name: String,
    /// The ONNX operator.
    pub operator: String,
    /// Shape of its representation of one image.
    pub shape: Vec<usize>,
    /// Number of weights, biases and other constants that the node computes with.
    pub parameters: usize,
}

/// A cotangent to send back: a row of numbers at the representation of one image at one layer.
#[derive(Clone, Copy, Debug)]
pub struct Cotangent<'a> {
    /// Position of the image in the batch that was traced.
    pub image: usize,
    /// The layer at which `values` lie.
    pub layer: LayerId,
    /// One number for each element of the representation, in its order.
    pub values: &'a [f32],
}

/// What a ReLU lets through of a cotangent on its way back: `max(x, 0)`, or `min(max(x, 0), high)`.
///
/// Cotangents that go back by another rule than the slope are no products with the Jacobian, but pictures of what a layer
/// responds to. All other operators keep their slopes: a convolution its transpose, a max pool its winners, which that work
/// calls switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReluRule {
    /// What its own slope lets through: where its input is above zero, and below `high`.
    #[default]
    Slope,
    /// Deconvolution: what is above zero of the cotangent, whatever the input is. Source: Zeiler and Fergus 2014.
    Deconvolution,
    /// Guided back-propagation: what both let through. Source: Springenberg et al. 2015.
    Guided,
}

/// A network that can be asked for its representations and sends cotangents back to its input.
///
/// Images are raw: whatever preprocessing there is belongs to the network. Results of one image depend neither on the
/// other images of the batch nor on the number of threads.
pub trait Network: Send + Sync {
    /// What the network takes.
    fn input(&self) -> &InputSpec;

    /// The layers in the order from input to output.
    fn layers(&self) -> &[LayerInfo];

    /// The layer that decides: the logits of a classifier, the descriptor of an embedding network.
    fn output(&self) -> LayerId;

    /// Whether an image gets the same numbers to the last bit in any batch, traced or not, as it gets alone. Attacks look
    /// again, image by image, at what they found by networks that do not say so.
    fn is_exact_in_batches(&self) -> bool {
        false
    }

    /// The representations of `images` at `layer`, [N, elements]; forward only.
    ///
    /// Paper: Eq. 2.
    ///
    /// # Errors
    /// When the images do not fit the input, or the layer is not one of this network's.
    fn represent(&self, images: ArrayView4<'_, f32>, layer: LayerId) -> Result<Array2<f32>>;

    /// Runs `images` forward to the deepest of `layers`, and keeps the representations at all of them and what
    /// back-projection from them needs.
    ///
    /// # Errors
    /// As [`Network::represent`].
    fn trace<'n>(
        &'n self,
        images: ArrayView4<'_, f32>,
        layers: &[LayerId],
    ) -> Result<Box<dyn Trace + 'n>>;
}

/// A forward pass that was kept, ready for back-projections.
pub trait Trace: Send + Sync {
    /// The representations of the traced images at `layer`, [N, elements].
    ///
    /// # Errors
    /// When the layer was not asked for.
    fn representation(&self, layer: LayerId) -> Result<Array2<f32>>;

    /// `Jᵀ · cotangent` of each row, [rows, channels, height, width]: many cotangents, at several layers, of any of the
    /// traced images, over one forward pass. Rows of one layer travel together.
    ///
    /// Paper: B_l in Eq. 3.
    ///
    /// # Errors
    /// When a row's image or layer was not traced, or its length is not that of the representation.
    fn back_project(&self, rows: &[Cotangent<'_>]) -> Result<Array4<f32>>;

    /// [`Trace::back_project`] with another rule at ReLUs, [rows, channels, height, width].
    ///
    /// # Errors
    /// As [`Trace::back_project`]; and, with a rule that is not the slope, when an activation function that is no ReLU lies
    /// between a row and the input, since no such rule is defined for it, or when the network knows none.
    fn back_project_by(&self, rule: ReluRule, rows: &[Cotangent<'_>]) -> Result<Array4<f32>> {
        match rule {
            ReluRule::Slope => self.back_project(rows),
            ReluRule::Deconvolution | ReluRule::Guided => Err(Error::Request(
                "this network sends cotangents back by slopes only, not by deconvolution or guided back-propagation; \
                 read it from an ONNX file"
                    .to_owned(),
            )),
        }
    }
}

/// Checks that `images` fit `input`.
pub(crate) fn check_images(input: &InputSpec, images: &ArrayView4<'_, f32>) -> Result<()> {
    let wanted = [input.channels, input.height, input.width];
    if images.shape()[1..] == wanted {
        return Ok(());
    }
    Err(Error::Shape {
        what: "images [channels, height, width]".into(),
        wanted: wanted.to_vec(),
        found: images.shape()[1..].to_vec(),
    })
}
