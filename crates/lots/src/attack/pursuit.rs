//! Searches along many rays at once: in every round the images of all open searches go through the network together.

use lots_nn::{Cotangent, InputSpec, Network};
use ndarray::{Array2, ArrayView1, ArrayView4, Axis};

use super::Passes;
use super::decision::{Decision, Wanted};
use super::ray::Ray;
use super::search::{Answer, Ask, Found, Search};
use crate::error::Error;
use crate::parallel;

/// The search of one attack along its ray.
pub(super) struct Pursuit {
    pub(super) ray: Ray,
    /// The origin's class.
    pub(super) class: usize,
    pub(super) wanted: Wanted,
    pub(super) search: Search,
    pub(super) passes: Passes,
    /// What the network said of the last hit.
    pub(super) judged: Option<Judged>,
    /// How the search ended.
    pub(super) found: Option<Found>,
}

/// What a network says of an image.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) class: usize,
    pub(super) scores: Vec<f32>,
}

impl Judged {
    /// `None` if the representation has no class.
    pub(super) fn of(decision: &dyn Decision, representation: &[f32]) -> Option<Self> {
        let class = decision.decide(representation)?;
        Some(Self { class, scores: decision.scores(representation).into_owned() })
    }
}

impl Pursuit {
    /// What it asks next, unless it is at its end.
    fn ask(&mut self) -> Option<Asked<'_>> {
        match self.search.next(&self.ray) {
            Ok(ask) => Some((self, ask)),
            Err(found) => {
                self.found = Some(found);
                None
            }
        }
    }

    /// Takes the representation of the image at the step that was asked for, and the slope there if it was wanted.
    fn tell(&mut self, decision: &dyn Decision, representation: &[f32], slope: Option<Vec<f32>>) {
        self.passes.forward += 1;
        self.passes.backward += u32::from(slope.is_some());
        let class = decision.decide(representation);
        let answer = if self.wanted.is_met(class) {
            // Too close to call is not yet there.
            if decision.is_clear(representation) { Answer::Hit } else { Answer::Origin }
        } else if class == Some(self.class) {
            Answer::Origin
        } else {
            Answer::Other
        };
        if answer == Answer::Hit {
            self.judged = Judged::of(decision, representation);
        }
        self.search.tell(answer, decision.distance(representation, self.wanted), slope);
    }
}

/// Pixel values of images that are traced at a time.
const TRACED_VALUES: usize = 1 << 19;

/// A search that is not at its end, and what it asks.
type Asked<'p> = (&'p mut Pursuit, Ask);

/// Follows all of `open` to their ends; in each round, those that are not there yet are judged again.
pub(super) fn pursue(
    network: &dyn Network,
    decision: &dyn Decision,
    open: Vec<&mut Pursuit>,
) -> Result<(), Error> {
    let InputSpec { channels, height, width, .. } = *network.input();
    let traced = (TRACED_VALUES / (channels * height * width).max(1)).max(1);
    let mut pixels = Vec::new();
    let asked = parallel::map(open, Pursuit::ask);
    let mut asked: Vec<Asked<'_>> = asked.into_iter().flatten().collect();
    while !asked.is_empty() {
        let (mut sloped, plain): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|(_, ask)| ask.slope);
        asked = judge(network, decision, plain, &mut pixels)?;
        while !sloped.is_empty() {
            let rest = sloped.split_off(sloped.len().min(traced));
            asked.extend(judge(network, decision, sloped, &mut pixels)?);
            sloped = rest;
        }
    }
    Ok(())
}

/// Lets the network judge what is asked, all of it with slopes or without, and returns those who ask on.
fn judge<'p>(
    network: &dyn Network,
    decision: &dyn Decision,
    asked: Vec<Asked<'p>>,
    pixels: &mut Vec<f32>,
) -> Result<Vec<Asked<'p>>, Error> {
    let Some((_, Ask { slope, .. })) = asked.first() else { return Ok(asked) };
    let (count, with_slopes, layer) = (asked.len(), *slope, decision.layer());
    let InputSpec { channels, height, width, .. } = *network.input();
    let size = channels * height * width;
    pixels.resize(count * size, 0.0);
    let images = pixels.chunks_mut(size).zip(asked).collect();
    let open = parallel::map(images, |(image, (pursuit, ask))| {
        pursuit.ray.render(ask.step, image);
        pursuit
    });
    let batch = ArrayView4::from_shape([count, channels, height, width], pixels);
    let batch = batch.map_err(|e| Error::Attack(e.to_string()))?;
    let (rows, slopes) = if with_slopes {
        let trace = network.trace(batch, &[layer])?;
        let rows = whole_rows(trace.representation(layer)?, count)?;
        let slope = |(row, pursuit): (ArrayView1<'_, f32>, &&mut Pursuit)| {
            decision.slope(row.to_slice().unwrap_or_default(), pursuit.wanted)
        };
        let cotangents: Vec<Vec<f32>> = rows.outer_iter().zip(&open).map(slope).collect();
        let cotangent = |(image, values)| Cotangent { image, layer, values };
        let cotangents: Vec<Cotangent<'_>> =
            cotangents.iter().map(Vec::as_slice).enumerate().map(cotangent).collect();
        let slopes = trace.back_project(&cotangents)?;
        check_count(slopes.len_of(Axis(0)), count, "slopes for", "images")?;
        (rows, Some(slopes))
    } else {
        (whole_rows(network.represent(batch, layer)?, count)?, None)
    };
    let asked = parallel::map(open.into_iter().enumerate().collect(), |(i, pursuit)| {
        let slope = slopes.as_ref();
        let slope = slope.map(|slopes| slopes.index_axis(Axis(0), i).iter().copied().collect());
        pursuit.tell(decision, rows.row(i).to_slice().unwrap_or_default(), slope);
        pursuit.ask()
    });
    Ok(asked.into_iter().flatten().collect())
}

/// What a network says of `count` images, image by image in memory.
pub(super) fn whole_rows(rows: Array2<f32>, count: usize) -> Result<Array2<f32>, Error> {
    check_count(rows.nrows(), count, "representations of", "images")?;
    Ok(if rows.is_standard_layout() { rows } else { rows.as_standard_layout().into_owned() })
}

/// Networks of others may be wrong.
pub(super) fn check_count(found: usize, wanted: usize, what: &str, of: &str) -> Result<(), Error> {
    if found == wanted {
        return Ok(());
    }
    let problem =
        format!("the network gives {found} {what} {wanted} {of}; its results cannot be trusted");
    Err(Error::Attack(problem))
}
