//! Searches along many rays at once: in every round the images of all open searches go through the network together.

use lots_nn::{InputSpec, Network};
use ndarray::{Array2, ArrayView4};

use super::decision::{Decision, Wanted};
use super::ray::Ray;
use super::search::{Answer, Found, Search};
use crate::error::Error;
use crate::parallel;

/// The search of one attack along its ray.
pub(super) struct Pursuit {
    pub(super) ray: Ray,
    /// The origin's class.
    pub(super) class: usize,
    pub(super) wanted: Wanted,
    pub(super) search: Search,
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
    /// The next step to look at, unless the search is at its end.
    fn next(&mut self) -> Option<f32> {
        match self.search.next(&self.ray) {
            Ok(step) => Some(step),
            Err(found) => {
                self.found = Some(found);
                None
            }
        }
    }

    /// Takes the representation of the image at the step that was asked for.
    fn tell(&mut self, decision: &dyn Decision, representation: &[f32]) {
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
        self.search.tell(answer, decision.distance(representation, self.wanted));
    }
}

/// Follows all of `open` to their ends; in each round, those that are not there yet are judged again.
pub(super) fn pursue(
    network: &dyn Network,
    decision: &dyn Decision,
    mut open: Vec<&mut Pursuit>,
) -> Result<(), Error> {
    let InputSpec { channels, height, width, .. } = *network.input();
    let size = channels * height * width;
    let mut pixels = Vec::new();
    let mut rows: Option<Array2<f32>> = None;
    loop {
        let asked = parallel::map(open.into_iter().enumerate().collect(), |(i, pursuit)| {
            if let Some(rows) = &rows {
                pursuit.tell(decision, rows.row(i).to_slice().unwrap_or_default());
            }
            let step = pursuit.next();
            step.map(|step| (pursuit, step))
        });
        let asked: Vec<(&mut Pursuit, f32)> = asked.into_iter().flatten().collect();
        if asked.is_empty() {
            return Ok(());
        }
        pixels.resize(asked.len() * size, 0.0);
        let images = pixels.chunks_mut(size).zip(asked).collect();
        open = parallel::map(images, |(image, (pursuit, step))| {
            pursuit.ray.render(step, image);
            pursuit
        });
        let shape = [open.len(), channels, height, width];
        let batch = ArrayView4::from_shape(shape, &pixels);
        let batch = batch.map_err(|e| Error::Attack(e.to_string()))?;
        rows = Some(whole_rows(network.represent(batch, decision.layer())?, open.len())?);
    }
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
