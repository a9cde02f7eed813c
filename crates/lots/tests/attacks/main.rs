//! Attacks as their users see them: exact oracles, properties that hold for every method and network, and the search
//! against plain loops.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

/// In a `Network` that wraps another: what it says of itself is what the other one says.
macro_rules! described_by {
    ($network:ident) => {
        fn input(&self) -> &lots_nn::InputSpec {
            self.$network.input()
        }

        fn layers(&self) -> &[lots_nn::LayerInfo] {
            self.$network.layers()
        }

        fn output(&self) -> lots_nn::LayerId {
            self.$network.output()
        }
    };
}

/// In a `Network` that wraps another: it computes what the other one computes.
macro_rules! represented_by {
    ($network:ident) => {
        fn represent(
            &self,
            images: ndarray::ArrayView4<'_, f32>,
            layer: lots_nn::LayerId,
        ) -> Result<ndarray::Array2<f32>, lots_nn::Error> {
            self.$network.represent(images, layer)
        }
    };
}

mod batches;
mod every_method;
mod exact;
mod minima;
mod networks;
mod other_networks;
mod plain_search;
mod requests;
mod table1;
mod threshold;
mod walks;
mod yardsticks;
