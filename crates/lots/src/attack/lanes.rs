//! Many minimisations at once. The optimiser asks for one image after the other; so each runs in a thread of its own, and where all wait
//! for the network, their images go through it together.

use std::collections::BTreeSet;
#[cfg(feature = "parallel")]
use std::sync::mpsc;

use lots_nn::{Cotangent, InputSpec, LayerId, Network};
use ndarray::{Array2, ArrayView4, Axis};

use super::decision::Decision;
use super::descent::{Descent, Look, Sight};
use super::driver::flat;
use super::pursuit::{check_count, whole_rows};
use crate::error::Error;

/// Pixel values of the images that are minimised at a time; an optimiser keeps some thirty numbers for each.
const LANE_VALUES: usize = 1 << 20;
/// At most so many threads wait for the network.
const LANES: usize = 64;

/// How many minimisations of images of so many pixel values are run together.
pub(super) fn lanes(pixels: usize) -> usize {
    (LANE_VALUES / pixels.max(1)).clamp(4, LANES)
}

/// Runs all of `descents`, up to [`lanes`], to their ends.
pub(super) fn descend<'a>(
    network: &dyn Network,
    decision: &dyn Decision,
    descents: Vec<&mut Descent<'a>>,
) -> Result<(), Error> {
    #[cfg(feature = "parallel")]
    if descents.len() > 1 && rayon::current_num_threads() > 1 {
        return side_by_side(network, decision, descents);
    }
    let eye = |look: Look<'a>| {
        let sight = look_at(network, decision, &[look])?.pop();
        sight.ok_or_else(|| Error::Attack("the network saw nothing in an image".to_owned()))
    };
    descents.into_iter().try_for_each(|descent| descent.run(decision, &eye))
}

/// What a lane has to say: an image to look at, or that it is at its end.
#[cfg(feature = "parallel")]
type Said<'a> = (usize, Option<Look<'a>>);

/// Says at its end that a lane is at its end, whatever that end is.
#[cfg(feature = "parallel")]
struct Leaving<'a>(usize, mpsc::Sender<Said<'a>>);

#[cfg(feature = "parallel")]
impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        // Nobody listens any more after an error.
        let _ = self.1.send((self.0, None));
    }
}

#[cfg(feature = "parallel")]
fn side_by_side<'a>(
    network: &dyn Network,
    decision: &dyn Decision,
    descents: Vec<&mut Descent<'a>>,
) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let (say, said) = mpsc::channel::<Said<'a>>();
        let (mut replies, mut threads) = (Vec::new(), Vec::new());
        for (lane, descent) in descents.into_iter().enumerate() {
            let (reply, replied) = mpsc::channel::<Sight>();
            replies.push(reply);
            let leaving = Leaving(lane, say.clone());
            threads.push(scope.spawn(move || {
                let gone = || Error::Attack("the network looks no more".to_owned());
                let eye = |look| {
                    leaving.1.send((lane, Some(look))).map_err(|_| gone())?;
                    replied.recv().map_err(|_| gone())
                };
                descent.run(decision, &eye)
            }));
        }
        drop(say);
        let mut underway = threads.len();
        while underway > 0 {
            let mut asking = Vec::new();
            while asking.len() < underway
                && let Ok((lane, look)) = said.recv()
            {
                match look {
                    Some(look) => asking.push((lane, look)),
                    None => underway -= 1,
                }
            }
            // In the order of the attacks, whoever came first.
            asking.sort_unstable_by_key(|&(lane, _)| lane);
            let (lanes, looks): (Vec<usize>, Vec<Look<'_>>) = asking.into_iter().unzip();
            // An error ends the lanes too: their replies fail.
            for (lane, sight) in lanes.into_iter().zip(look_at(network, decision, &looks)?) {
                let _ = replies[lane].send(sight);
            }
        }
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(end) => end,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ended.collect()
    })
}

/// Lets the network look at some images together.
fn look_at(
    network: &dyn Network,
    decision: &dyn Decision,
    looks: &[Look<'_>],
) -> Result<Vec<Sight>, Error> {
    let Some(first) = looks.first() else { return Ok(Vec::new()) };
    let (count, size) = (looks.len(), first.image.len());
    let InputSpec { channels, height, width, .. } = *network.input();
    let mut pixels = Vec::with_capacity(count * size);
    looks.iter().for_each(|look| pixels.extend_from_slice(&look.image));
    let batch = ArrayView4::from_shape([count, channels, height, width], &pixels);
    let batch = batch.map_err(|e| Error::Attack(e.to_string()))?;
    let layer_of =
        |look: &Look<'_>| look.cost.map_or(decision.layer(), |cost| cost.layer(decision));
    let layers: BTreeSet<LayerId> = looks.iter().map(layer_of).collect();
    let layers: Vec<LayerId> = layers.into_iter().collect();
    let trace = network.trace(batch, &layers)?;
    let seen = layers.iter().map(|&layer| whole_rows(trace.representation(layer)?, count));
    let seen: Vec<Array2<f32>> = seen.collect::<Result<_, _>>()?;
    let row = |i: usize, layer: LayerId| {
        seen[layers.partition_point(|&other| other < layer)].row(i).to_vec()
    };
    let rows: Vec<Vec<f32>> =
        looks.iter().enumerate().map(|(i, look)| row(i, layer_of(look))).collect();
    let slope = |(i, look): (usize, &Look<'_>)| {
        Some((i, layer_of(look), look.cost?.slope(decision, &rows[i])))
    };
    let slopes: Vec<_> = looks.iter().enumerate().filter_map(slope).collect();
    let cotangents: Vec<Cotangent<'_>> = slopes
        .iter()
        .map(|(image, layer, values)| Cotangent { image: *image, layer: *layer, values })
        .collect();
    let directions = trace.back_project(&cotangents)?;
    check_count(directions.len_of(Axis(0)), cotangents.len(), "slopes for", "images")?;
    let mut directions = directions.outer_iter();
    let sights = rows.into_iter().zip(looks).map(|(representation, look)| {
        let slope = look.cost.and_then(|_| directions.next()).map(flat).unwrap_or_default();
        Sight { representation, slope }
    });
    Ok(sights.collect())
}
