//! Many walks at once: in every round the images of all that are underway go through the network together.

use std::collections::BTreeSet;

use lots_nn::{Cotangent, InputSpec, LayerId, Network};
use ndarray::{Array2, ArrayView4, Axis};

use super::decision::Decision;
use super::driver::flat;
use super::pursuit::{check_count, whole_rows};
use super::walk::{Row, Walker};
use crate::error::Error;
use crate::parallel;

/// Pixel values of images that are traced at a time. With more, what layers see of them lies in the cache no longer when it is looked at.
const TRACED_VALUES: usize = 1 << 17;

/// Follows all of `walkers` to their ends; in each round, those that are there leave.
pub(super) fn follow(
    network: &dyn Network,
    decision: &dyn Decision,
    mut walkers: Vec<&mut Walker<'_>>,
) -> Result<(), Error> {
    let InputSpec { channels, height, width, .. } = *network.input();
    let traced = (TRACED_VALUES / (channels * height * width).max(1)).max(1);
    while !walkers.is_empty() {
        let mut underway = Vec::new();
        while !walkers.is_empty() {
            let rest = walkers.split_off(walkers.len().min(traced));
            underway.extend(advance(network, decision, walkers)?);
            walkers = rest;
        }
        walkers = underway;
    }
    Ok(())
}

/// Lets the network look at the image of each, and returns those who go on from there.
fn advance<'w, 'a>(
    network: &dyn Network,
    decision: &dyn Decision,
    walkers: Vec<&'w mut Walker<'a>>,
) -> Result<Vec<&'w mut Walker<'a>>, Error> {
    let count = walkers.len();
    let InputSpec { channels, height, width, .. } = *network.input();
    let pixels: Vec<f32> = walkers.iter().flat_map(|walker| walker.image()).copied().collect();
    let batch = ArrayView4::from_shape([count, channels, height, width], &pixels);
    let batch = batch.map_err(|e| Error::Attack(e.to_string()))?;
    let layers: BTreeSet<LayerId> =
        walkers.iter().flat_map(|walker| walker.layers(decision)).collect();
    let layers: Vec<LayerId> = layers.into_iter().collect();
    let trace = network.trace(batch, &layers)?;
    let seen = layers.iter().map(|&layer| whole_rows(trace.representation(layer)?, count));
    let seen: Vec<Array2<f32>> = seen.collect::<Result<_, _>>()?;
    let looks = parallel::map(walkers.into_iter().enumerate().collect(), |(i, walker)| {
        let rows = walker.look(decision, |layer| {
            let rows = &seen[layers.partition_point(|&other| other < layer)];
            &rows.as_slice().unwrap_or_default()[i * rows.ncols()..][..rows.ncols()]
        });
        (walker, rows)
    });
    let rows: Vec<Cotangent<'_>> =
        looks.iter().enumerate().flat_map(|(i, (_, rows))| cotangents(i, rows)).collect();
    let directions = trace.back_project(&rows)?;
    check_count(directions.len_of(Axis(0)), rows.len(), "directions for", "cotangents")?;
    let mut directions = directions.outer_iter();
    let ready = looks.into_iter().map(|(walker, rows)| {
        let own: Vec<_> = directions.by_ref().take(rows.len()).collect();
        (walker, own)
    });
    let gone = parallel::map(ready.collect(), |(walker, directions)| {
        let goes_on = walker.go(directions.into_iter().map(flat).collect());
        goes_on.then_some(walker)
    });
    Ok(gone.into_iter().flatten().collect())
}

/// What is to be sent back from an image of a trace.
pub(super) fn cotangents(image: usize, rows: &[Row]) -> impl Iterator<Item = Cotangent<'_>> {
    rows.iter().map(move |Row { layer, cotangent }| Cotangent {
        image,
        layer: *layer,
        values: cotangent,
    })
}
