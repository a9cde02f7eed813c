//! The CPU engine behind the [`Network`] trait.

use super::forward::{Forward, Passed, gather};
use super::{Layout, Sweep, blocks, largest, split_inside};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::network::{
    Cotangent, InputSpec, LayerId, LayerInfo, Network, ReluRule, Trace, check_images,
};
use crate::parallel::{WORTH, inside, map};
use ndarray::{Array2, Array4, ArrayView4};

impl Network for Graph {
    fn input(&self) -> &InputSpec {
        self.input_spec()
    }

    fn layers(&self) -> &[LayerInfo] {
        self.layer_infos()
    }

    fn output(&self) -> LayerId {
        Graph::output(self)
    }

    fn is_exact_in_batches(&self) -> bool {
        true
    }

    fn represent(&self, images: ArrayView4<'_, f32>, layer: LayerId) -> Result<Array2<f32>> {
        check_images(self.input_spec(), &images)?;
        self.value_of(layer)?;
        let forward = Forward::new(self, &[layer], false, false);
        let elements = self.layer_infos()[layer.0].shape.iter().product();
        let cut = blocks(self, images.len_of(ndarray::Axis(0)));
        let inside = split_inside(cut.len());
        let parts = awake(self, inside, || {
            map(!inside, cut, |(first, layout)| {
                let passed = forward.run(&images, first, layout, inside);
                let mut rows = vec![0.0; layout.images * elements];
                extract(self, &passed, forward.wanted[0], &mut rows);
                rows
            })
        });
        collect_rows(parts, elements)
    }

    fn trace<'n>(
        &'n self,
        images: ArrayView4<'_, f32>,
        layers: &[LayerId],
    ) -> Result<Box<dyn Trace + 'n>> {
        check_images(self.input_spec(), &images)?;
        for &layer in layers {
            self.value_of(layer)?;
        }
        let forward = Forward::new(self, layers, true, false);
        let count = images.len_of(ndarray::Axis(0));
        let cut = blocks(self, count);
        let block_size = cut.first().map_or(1, |c| c.1.images);
        let inside = split_inside(cut.len());
        let passed = awake(self, inside, || {
            map(!inside, cut, |(first, layout)| forward.run(&images, first, layout, inside))
        });
        Ok(Box::new(GraphTrace { graph: self, layers: layers.to_vec(), count, block_size, passed }))
    }
}

/// Calls `f`, with the pool's threads awake where it splits the work of large operators.
fn awake<R: Send>(graph: &Graph, splits: bool, f: impl FnOnce() -> R + Send) -> R {
    if splits && largest(graph) > WORTH / 4 { inside(f) } else { f() }
}

/// Rows of one value of a block, [image][element].
fn extract(graph: &Graph, passed: &Passed, root: usize, rows: &mut [f32]) {
    let elements = graph.values()[root].elements();
    let lanes = passed.layout.lanes;
    let Some(value) = &passed.values[root] else { return };
    for (at, row) in rows.chunks_exact_mut(elements).enumerate() {
        gather(
            graph.isa(),
            &value[at / lanes * elements * lanes..][..elements * lanes],
            at % lanes,
            lanes,
            row,
        );
    }
}

fn collect_rows(mut parts: Vec<Vec<f32>>, elements: usize) -> Result<Array2<f32>> {
    let all = if parts.len() == 1 { parts.swap_remove(0) } else { parts.concat() };
    let rows = all.len() / elements;
    Array2::from_shape_vec((rows, elements), all).map_err(|e| Error::Request(e.to_string()))
}

/// A kept forward pass of a [`Graph`].
struct GraphTrace<'g> {
    graph: &'g Graph,
    layers: Vec<LayerId>,
    count: usize,
    block_size: usize,
    passed: Vec<Passed>,
}

impl GraphTrace<'_> {
    fn check_layer(&self, layer: LayerId) -> Result<()> {
        if self.layers.contains(&layer) {
            return Ok(());
        }
        let name = self.graph.layer_infos().get(layer.0).map_or("?", |l| l.name.as_str());
        Err(Error::Request(format!(
            "layer \"{name}\" was not asked for when the images were traced"
        )))
    }
}

impl Trace for GraphTrace<'_> {
    fn representation(&self, layer: LayerId) -> Result<Array2<f32>> {
        self.check_layer(layer)?;
        let root = self.graph.values()[self.graph.value_of(layer)?].root;
        let elements = self.graph.values()[root].elements();
        let parts = self.passed.iter().map(|passed| {
            let mut rows = vec![0.0; passed.layout.images * elements];
            extract(self.graph, passed, root, &mut rows);
            rows
        });
        collect_rows(parts.collect(), elements)
    }

    fn back_project(&self, rows: &[Cotangent<'_>]) -> Result<Array4<f32>> {
        self.back_project_by(ReluRule::Slope, rows)
    }

    fn back_project_by(&self, rule: ReluRule, rows: &[Cotangent<'_>]) -> Result<Array4<f32>> {
        for row in rows {
            self.check_layer(row.layer)?;
            let info = &self.graph.layer_infos()[row.layer.0];
            if row.image >= self.count {
                return Err(Error::Request(format!(
                    "image {} was not traced; {} were",
                    row.image, self.count
                )));
            }
            if row.values.len() != info.shape.iter().product::<usize>() {
                return Err(Error::Shape {
                    what: format!("cotangent at \"{}\"", info.name),
                    wanted: info.shape.clone(),
                    found: vec![row.values.len()],
                });
            }
        }
        // Rows of one layer go together: what a row's result is made of does not depend on the other rows.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&r| rows[r].layer);
        let mut layers: Vec<LayerId> = rows.iter().map(|r| r.layer).collect();
        layers.sort_unstable();
        layers.dedup();
        let sweeps = layers.iter().map(|&layer| Sweep::new(self.graph, layer, rule));
        let sweeps = sweeps.collect::<Result<Vec<_>>>()?;
        let mut work: Vec<(&Sweep<'_>, Vec<usize>, Layout)> = Vec::new();
        let mut first = 0;
        for (sweep, layer) in sweeps.iter().zip(&layers) {
            let n = order[first..].iter().take_while(|&&r| rows[r].layer == *layer).count();
            for (start, layout) in blocks(self.graph, n) {
                work.push((sweep, order[first + start..][..layout.images].to_vec(), layout));
            }
            first += n;
        }
        let inside = split_inside(work.len());
        let parts = awake(self.graph, inside, || {
            map(!inside, work, |(sweep, members, layout)| {
                let block: Vec<Cotangent<'_>> = members.iter().map(|&r| rows[r]).collect();
                (sweep.run(&self.passed, self.block_size, &block, layout, inside), members)
            })
        });
        let input = self.graph.input_spec();
        let mut out = Array4::zeros((rows.len(), input.channels, input.height, input.width));
        let elements = input.channels * input.height * input.width;
        if let Some(flat) = out.as_slice_mut() {
            for (part, members) in parts {
                for (row, &member) in part.chunks_exact(elements).zip(&members) {
                    flat[member * elements..][..elements].copy_from_slice(row);
                }
            }
        }
        Ok(out)
    }
}
