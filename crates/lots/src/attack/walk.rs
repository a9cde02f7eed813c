//! One walk from an origin: many small steps, each along a direction that is computed anew, and a search back.

use std::fmt;

use lots_nn::{InputSpec, LayerId};

use super::aim::{Aim, Arrival};
use super::decision::Decision;
use super::gallery::Distance;
use super::method::{Method, cotangent};
use super::pursuit::Judged;
use super::ray::{ROUNDER, image_of, scale};
use super::units::Units;
use super::{Attack, Extent, Passes, Target, deepfool};
use crate::error::Error;
use crate::image::Image;

/// How a method walks: its direction is computed anew at every image that it comes to.
///
/// A step moves the image along the direction and clips it to 0–255; what the network sees, and what is judged, is the image
/// rounded to 8 bits, while the fractions of grey levels are kept for the steps to come.
///
/// Where the walk has arrived, it searches back for the nearest image to the origin in L2 that has arrived too. From each
/// image of the way back that has, it takes one more step ahead, to the end of a box: every pixel may lie between the origin's
/// value and that end's, so that no pixel goes where the method does not lead. In the box, the nearest image that has arrived
/// follows from the slope of the decision, as far as that foretells; the search goes half the way there, and the network judges. What
/// else was tried stands in docs/methods.md.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// At most so many steps, 1 or more.
    pub steps: u32,
    /// How far a step goes, as `pace` measures; above 0.
    pub size: f32,
    /// What `size` measures.
    pub pace: Pace,
    /// Where it ends.
    pub arrival: Arrival,
    /// How far from the origin it may come.
    pub budget: Option<Budget>,
    /// So many images are tried on the way back; 0 for the first that has arrived.
    pub back: u32,
    /// Further layers whose directions are added, each with its weight, if the method has a layer. A weight of 1 counts as
    /// much as the method's own layer: directions are those of the squared distances to the target, each divided by what it is
    /// at the origin.
    pub also: Vec<(LayerId, f32)>,
}

impl Walk {
    /// What can be said against it before anything is computed.
    pub(super) fn check(&self, attack: &Attack<'_>) -> Result<(), Error> {
        let name = attack.method.name();
        let is_size = |size: f32| size.is_finite() && size > 0.0;
        let problem = if self.steps == 0 {
            format!("{name} takes at least 1 step, found 0")
        } else if !is_size(self.size) {
            format!("a step of {name} has to be above 0 grey levels, found {}", self.size)
        } else if let Some(Budget::L2(most)) = self.budget.filter(|budget| !is_size(budget.size()))
        {
            format!("a budget of {name} has to be above 0 grey levels, found {most}")
        } else if let Some(Budget::Linf(0)) = self.budget {
            format!("a budget of {name} has to be 1–255 grey levels, found 0")
        } else if let Arrival::Near { within, .. } = self.arrival
            && !is_size(within)
        {
            format!("a distance to come within has to be above 0, found {within}")
        } else if self.ends_near() && (attack.method.layer().is_none() || attack.target.is_none()) {
            format!(
                "{name} ends near a target's representation, found no target or no layer; give them, or a class as the goal"
            )
        } else if let Some((_, weight)) = self.also.iter().find(|(_, weight)| !is_size(*weight)) {
            format!("the weight of a layer has to be above 0, found {weight}")
        } else if !self.also.is_empty() && attack.method.layer().is_none() {
            format!("{name} starts from the scores, found further layers; leave them away")
        } else if !self.also.is_empty() && matches!(attack.target, Some(Target::Representation(_)))
        {
            "a representation is that of one layer, found further layers; give an image as the target".to_owned()
        } else if !self.also.is_empty() && attack.units.is_some() {
            format!(
                "units are those of one layer, found further layers for {name}; leave one of them away"
            )
        } else if let Extent::Beyond(_) = attack.extent {
            format!(
                "{name} ends at the smallest perturbation that it finds, found a multiple of it; leave that away"
            )
        } else if attack.extent != Extent::Smallest {
            format!("{name} has no fixed L∞ norm, found one; give it a budget instead")
        } else {
            return Ok(());
        };
        Err(Error::Attack(problem))
    }
}

impl Walk {
    /// Whether it ends near a representation, not at a class.
    pub(crate) fn ends_near(&self) -> bool {
        matches!(self.arrival, Arrival::Near { .. })
    }
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, size, pace, arrival, budget, back, also: _ } = self;
        let all = if *arrival == Arrival::End { "" } else { "at most " };
        write!(f, "{all}{steps} steps")?;
        match pace {
            Pace::Linf => write!(f, " of {size}")?,
            Pace::L2 => write!(f, " of L2 {size}")?,
            Pace::Boundary => write!(f, " to the nearest boundary, {size} times as far")?,
        }
        if *back > 0 {
            write!(f, " and {back} back")?;
        }
        match budget {
            Some(Budget::Linf(most)) => write!(f, ", L∞ at most {most}")?,
            Some(Budget::L2(most)) => write!(f, ", L2 at most {most}")?,
            None => {}
        }
        match arrival {
            Arrival::Goal | Arrival::End => Ok(()),
            Arrival::Near { distance: Distance::Euclidean, within } => {
                write!(f, ", to a Euclidean distance of {within}")
            }
            Arrival::Near { distance: Distance::Cosine, within } => {
                write!(f, ", to a cosine distance of {within}")
            }
        }
    }
}

impl Default for Walk {
    fn default() -> Self {
        let (steps, size, pace, arrival, budget) = (100, 64.0, Pace::Linf, Arrival::Goal, None);
        Self { steps, size, pace, arrival, budget, back: 16, also: Vec::new() }
    }
}

/// What the size of a step measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Grey levels of the pixel that changes most.
    #[default]
    Linf,
    /// Euclidean norm, in grey levels.
    L2,
    /// Steps go straight to the nearest boundary to another class, as far as the slopes of the scores foretell, whatever the
    /// method's own direction; the way from the origin to there is multiplied by the size.
    Boundary,
}

/// How far an image may be from the origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Grey levels of each value, 1–255.
    Linf(u8),
    /// Euclidean norm in grey levels, above 0.
    L2(f32),
}

impl Budget {
    fn size(self) -> f32 {
        match self {
            Self::Linf(most) => most.into(),
            Self::L2(most) => most,
        }
    }
}

/// A layer that leads the way.
pub(super) struct Place<'a> {
    pub(super) layer: LayerId,
    pub(super) weight: f32,
    /// What it sees in the target.
    pub(super) target: Option<&'a [f32]>,
}

/// What a walk wants to be sent back from its image.
pub(super) struct Row {
    pub(super) layer: LayerId,
    pub(super) cotangent: Vec<f32>,
}

/// The walk of one attack.
pub(super) struct Walker<'a> {
    pub(super) method: &'a dyn Method,
    pub(super) walk: &'a Walk,
    /// With the number of the layer's units.
    pub(super) units: Option<(&'a Units, usize)>,
    /// The origin's class.
    pub(super) class: usize,
    pub(super) aim: Aim<'a>,
    pub(super) places: Vec<Place<'a>>,
    /// As the network takes images: [channels, height, width], whole numbers.
    pub(super) origin: Vec<f32>,
    /// Where the walk is, fractions included.
    at: Vec<f32>,
    /// The same in whole numbers: what is judged.
    image: Vec<f32>,
    steps: u32,
    back: Option<Back>,
    /// How far it is to each boundary, if these are what leads the way.
    boundaries: Vec<f32>,
    pub(super) passes: Passes,
    /// The nearest image that has arrived.
    pub(super) best: Option<Best>,
}

/// The search back.
struct Back {
    /// The corner of the box that is not the origin.
    end: Vec<f32>,
    left: u32,
    /// The distance to the goal at the image.
    distance: f32,
    /// How far beyond the goal is aimed at, since rounding and curvature are not foretold.
    beyond: f32,
}

/// An image that has arrived.
pub(super) struct Best {
    image: Vec<f32>,
    square: f64,
    pub(super) judged: Judged,
    pub(super) steps: u32,
}

impl Best {
    pub(super) fn image(&self, input: &InputSpec) -> Image {
        image_of(self.image.iter().copied(), input)
    }
}

impl<'a> Walker<'a> {
    pub(super) fn new(
        method: &'a dyn Method,
        walk: &'a Walk,
        units: Option<(&'a Units, usize)>,
        class: usize,
        aim: Aim<'a>,
        places: Vec<Place<'a>>,
        origin: Vec<f32>,
    ) -> Self {
        let (at, image) = (origin.clone(), origin.clone());
        Self {
            method,
            walk,
            units,
            class,
            aim,
            places,
            origin,
            at,
            image,
            steps: 0,
            back: None,
            boundaries: Vec::new(),
            passes: Passes::default(),
            best: None,
        }
    }

    /// The image to judge: whole numbers, 0–255.
    pub(super) fn image(&self) -> &[f32] {
        &self.image
    }

    /// The layers at which it wants to know what the network sees.
    pub(super) fn layers(&self, decision: &dyn Decision) -> impl Iterator<Item = LayerId> {
        let ends = [decision.layer(), self.aim.layer(decision)];
        ends.into_iter().chain(self.places.iter().map(|place| place.layer))
    }

    /// Takes what the network sees in the image, and says what to send back; nothing where the walk is at its end.
    pub(super) fn look<'s>(
        &mut self,
        decision: &dyn Decision,
        seen: impl Fn(LayerId) -> &'s [f32],
    ) -> Vec<Row> {
        self.passes.forward += 1;
        let rows = self.rows_at(decision, seen);
        self.passes.backward += rows.len() as u32;
        rows
    }

    fn rows_at<'s>(
        &mut self,
        decision: &dyn Decision,
        seen: impl Fn(LayerId) -> &'s [f32],
    ) -> Vec<Row> {
        let layer = self.aim.layer(decision);
        let representation = seen(layer);
        // Too close to call is not yet there.
        let has_arrived = self.aim.is_met(decision, representation)
            && self.aim.is_clear(decision, representation);
        if has_arrived && let Some(judged) = Judged::of(decision, seen(decision.layer())) {
            let square = square_of_difference(&self.image, &self.origin);
            let (ends, nearest) = (self.walk.arrival == Arrival::End, self.best.as_ref());
            if ends || nearest.is_none_or(|best| square < best.square) {
                let image = self.image.clone();
                self.best = Some(Best { image, square, judged, steps: self.steps });
            }
            let (end, left) = (&self.image, self.walk.back);
            let start = || Back { end: end.clone(), left, distance: 0.0, beyond: 0.0 };
            if !ends {
                self.back.get_or_insert_with(start);
            }
        }
        let Some(back) = &mut self.back else {
            let has_steps = self.steps < self.walk.steps;
            return if has_steps { self.ahead(decision, seen) } else { Vec::new() };
        };
        if back.left == 0 {
            return Vec::new();
        }
        back.left -= 1;
        back.distance = self.aim.distance(decision, representation);
        back.beyond =
            if has_arrived { 0.5 * back.beyond } else { back.beyond + back.distance.max(0.0) };
        let mut rows = if has_arrived { self.ahead(decision, seen) } else { Vec::new() };
        rows.push(Row { layer, cotangent: self.aim.slope(decision, representation) });
        rows
    }

    /// What to send back for a step ahead.
    fn ahead<'s>(
        &mut self,
        decision: &dyn Decision,
        seen: impl Fn(LayerId) -> &'s [f32],
    ) -> Vec<Row> {
        if self.walk.pace == Pace::Boundary {
            return self.boundary_rows(decision, seen(decision.layer()));
        }
        let row = |place: &mut Place<'_>| {
            let &mut Place { layer, target, .. } = place;
            let mut cotangent =
                cotangent(self.method, decision, seen(layer), target, self.class).ok()?;
            if self.steps == 0 && !self.walk.also.is_empty() {
                let square: f64 = cotangent.iter().map(|&c| f64::from(c).powi(2)).sum();
                if square > 0.0 {
                    place.weight = (f64::from(place.weight) / square) as f32;
                }
            }
            if let Some((units, count)) = self.units {
                units.keep(&mut cotangent, count);
            }
            Some(Row { layer, cotangent })
        };
        self.places.iter_mut().filter_map(row).collect()
    }

    /// What to send back to know the slope of every other class's score less that of the origin's class.
    fn boundary_rows(&mut self, decision: &dyn Decision, representation: &[f32]) -> Vec<Row> {
        let (scores, own) = (decision.scores(representation), self.class);
        let others = || (0..scores.len()).filter(|&class| class != own);
        self.boundaries = others().map(|class| scores[own] - scores[class]).collect();
        let row = |class| {
            let cotangent = deepfool::towards(class, own, scores.len());
            let cotangent = decision.scores_vjp(representation, cotangent);
            Row { layer: decision.layer(), cotangent }
        };
        others().map(row).collect()
    }

    /// Goes on to the next image, along what came back for the rows that were asked for; whether there is one.
    pub(super) fn go(&mut self, mut directions: Vec<Vec<f32>>) -> bool {
        if self.walk.pace == Pace::Boundary {
            return self.cross(directions);
        }
        if self.back.is_none() {
            let Some(direction) = self.direction(directions) else { return false };
            self.at = self.step(&self.at, &direction);
            self.image = rounded(&self.at);
            self.steps += 1;
            return true;
        }
        let Some(slope) = directions.pop() else { return false };
        let end = self.direction(directions).map(|ahead| self.step(&self.image, &ahead));
        let Some(back) = &mut self.back else { return false };
        if let Some(end) = end {
            back.end = rounded(&end);
        }
        self.image = back.next(&self.origin, &self.image, &slope);
        true
    }

    /// Goes to the nearest boundary, if there is a way to any.
    fn cross(&mut self, slopes: Vec<Vec<f32>>) -> bool {
        let square = |slope: &[f32]| slope.iter().map(|x| f64::from(x * x)).sum::<f64>();
        let ways = self.boundaries.iter().map(|&far| f64::from(far)).zip(slopes);
        let ways = ways.map(|(far, slope)| (far, square(&slope), slope));
        let ways =
            ways.filter(|(far, square, _)| far.is_finite() && square.is_finite() && *square > 0.0);
        let nearest =
            ways.min_by(|a, b| (a.0.abs() / a.1.sqrt()).total_cmp(&(b.0.abs() / b.1.sqrt())));
        let Some((far, square, slope)) = nearest else { return false };
        // Of the pixels that are not yet at their ends.
        let is_free = |&(x, d): &(&f32, &f32)| *d > 0.0 && *x < 255.0 || *d < 0.0 && *x > 0.0;
        let free = self.image.iter().zip(&slope).filter(is_free);
        let largest = free.fold(0.0_f32, |most, (_, d)| most.max(d.abs()));
        let way = (far.abs() / square).min(f32::MAX.into()) as f32;
        let mut way = way.max(LEAST / largest);
        if !way.is_finite() {
            return false;
        }
        let at = loop {
            // What clipping takes away is kept for the steps to come.
            let at: Vec<f32> = self.at.iter().zip(&slope).map(|(x, d)| x + way * d).collect();
            let size = self.walk.size;
            let beyond = at.iter().zip(&self.origin);
            let beyond = beyond.map(|(x, o)| (o + size * (x - o)).clamp(0.0, 255.0)).collect();
            let image = rounded(&self.keep_within(beyond));
            if image != self.image || way * largest > MOST {
                self.image = image;
                break at;
            }
            // Rounding takes all of it away.
            way *= 2.0;
        };
        self.at = at;
        self.steps += 1;
        true
    }

    /// What leads ahead: the directions of all places together, if that is any.
    fn direction(&self, directions: Vec<Vec<f32>>) -> Option<Vec<f32>> {
        let mut directions = directions.into_iter();
        let mut sum = directions.next()?;
        let weights: Vec<f32> = self.places.iter().map(|place| place.weight).collect();
        if weights.len() > 1 {
            sum.iter_mut().for_each(|x| *x *= weights[0]);
            for (weight, direction) in weights[1..].iter().zip(directions) {
                sum.iter_mut().zip(direction).for_each(|(sum, x)| *sum += weight * x);
            }
        }
        if !scale(&mut sum, self.method) {
            return None;
        }
        if self.walk.pace == Pace::L2 {
            let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
            sum.iter_mut().for_each(|x| *x /= length);
        }
        Some(sum)
    }

    /// Where a step leads to, fractions included; within 0–255 and the budget.
    fn step(&self, from: &[f32], direction: &[f32]) -> Vec<f32> {
        let size = self.walk.size;
        let moved = from.iter().zip(direction).map(|(x, d)| (x + size * d).clamp(0.0, 255.0));
        self.keep_within(moved.collect())
    }

    /// An image, moved back into the budget.
    fn keep_within(&self, image: Vec<f32>) -> Vec<f32> {
        match self.walk.budget {
            None => image,
            Some(Budget::Linf(most)) => {
                let most = f32::from(most);
                image.iter().zip(&self.origin).map(|(x, o)| x.clamp(o - most, o + most)).collect()
            }
            Some(Budget::L2(most)) => within(image, &self.origin, most.into()),
        }
    }
}

/// `image`, moved towards `origin` until it is no further from it than `most` once it is rounded.
fn within(mut image: Vec<f32>, origin: &[f32], most: f64) -> Vec<f32> {
    loop {
        let square = square_of_difference(&rounded(&image), origin);
        if square <= most * most {
            return image;
        }
        let share = (0.999 * most / square.sqrt()) as f32;
        for (x, o) in image.iter_mut().zip(origin) {
            *x = o + share * (*x - o);
        }
    }
}

/// Whole numbers, 0–255, of numbers in that range; ties to even.
fn rounded(image: &[f32]) -> Vec<f32> {
    image.iter().map(|x| x + ROUNDER - ROUNDER).collect()
}

impl Back {
    /// The image halfway from `image` to the [`nearest`](Self::nearest) one, in whole numbers.
    fn next(&self, origin: &[f32], image: &[f32], slope: &[f32]) -> Vec<f32> {
        let nearest = self.nearest(origin, image, slope);
        let halfway = |(x, nearest): (&f32, f32)| f32::midpoint(*x, nearest) + ROUNDER - ROUNDER;
        image.iter().zip(nearest).map(halfway).collect()
    }

    /// The image in the box that is the nearest to `origin` of those beyond the goal, if the distance to it changes from `image`
    /// on as `slope` says; the corner of the box where none is.
    fn nearest(&self, origin: &[f32], image: &[f32], slope: &[f32]) -> Vec<f32> {
        let pixels = || origin.iter().zip(&self.end).zip(slope);
        // What the way from the origin has to gain.
        let moved = pixels().zip(image).map(|(((o, _), g), x)| f64::from(g * (o - x)));
        let wanted = f64::from(self.distance + self.beyond) + moved.sum::<f64>();
        // Of the pixels that lead there, how much a grey level gains, and how many there are in the box.
        let gains = |((o, e), g): ((&f32, &f32), &f32)| {
            (g * (e - o) < 0.0).then(|| (f64::from(g.abs()), f64::from((e - o).abs())))
        };
        let gains: Vec<(f64, f64)> = pixels().filter_map(gains).collect();
        let most: f64 = gains.iter().map(|(gain, room)| gain * room).sum();
        if !(wanted > 0.0 && wanted < most) {
            return if wanted > 0.0 { self.end.clone() } else { origin.to_vec() };
        }
        // `origin − length · slope`, within the box, is the nearest image of its gain. The gain is concave in the length, so
        // that Newton's steps come to it from below; as soon as the same pixels are free, in one.
        let mut length = 0.0_f64;
        for _ in 0..NEWTON {
            let (mut sum, mut rate) = (0.0, 0.0);
            for &(gain, room) in &gains {
                let moved = length * gain;
                sum += gain * moved.min(room);
                rate += if moved < room { gain * gain } else { 0.0 };
            }
            if rate <= 0.0 || sum >= wanted {
                break;
            }
            length += (wanted - sum) / rate;
        }
        let length = length as f32;
        let within =
            |((o, e), g): ((&f32, &f32), &f32)| (o - length * g).clamp(o.min(*e), o.max(*e));
        pixels().map(within).collect()
    }
}

/// A step to a boundary is at least this long, in grey levels of the pixel that changes most; far less than rounding takes away.
const LEAST: f32 = 1.0 / 1024.0;
/// A step that changes no pixel is not made longer than this.
const MOST: f32 = 65_536.0;
/// Newton's steps at most; what is left then is below what rounding to 8 bits does.
const NEWTON: usize = 20;

/// The squared Euclidean distance.
pub(super) fn square_of_difference(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn back(end: &[f32], distance: f32) -> Back {
        Back { end: end.to_vec(), left: 1, distance, beyond: 0.0 }
    }

    #[test]
    fn the_nearest_by_hand() {
        // The box's corner, the distance at the image, the slope, what is nearest to the origin [10, 20, 30].
        type Case = ([f32; 3], f32, [f32; 3], [f32; 3]);
        let cases: [Case; 6] = [
            // 4 to gain by one pixel.
            ([50.0, 20.0, 30.0], 4.0, [-2.0, 0.0, 0.0], [12.0, 20.0, 30.0]),
            // By two, as their slopes are.
            ([50.0, 20.0, 0.0], 10.0, [-2.0, 0.0, 1.0], [14.0, 20.0, 28.0]),
            // The first has room for 2 only.
            ([12.0, 20.0, 0.0], 10.0, [-2.0, 0.0, 1.0], [12.0, 20.0, 24.0]),
            // The box leads the second pixel the wrong way.
            ([50.0, 10.0, 30.0], 8.0, [-2.0, -5.0, 0.0], [14.0, 20.0, 30.0]),
            // All there is does not do.
            ([12.0, 10.0, 30.0], 8.0, [-2.0, -5.0, 0.0], [12.0, 10.0, 30.0]),
            // The origin itself is beyond.
            ([12.0, 10.0, 30.0], -1.0, [-2.0, -5.0, 0.0], [10.0, 20.0, 30.0]),
        ];
        let origin = [10.0, 20.0, 30.0];
        for (end, distance, slope, wanted) in cases {
            let found = back(&end, distance).nearest(&origin, &origin, &slope);
            assert_eq!(found, wanted, "{end:?} {distance} {slope:?}");
        }
    }

    proptest! {
        /// Oracle: of the images with that gain the nearest is where a grey level more of any pixel that is free gains in
        /// proportion to how far it has moved; all others are at an end of their room. Pixels are known to a thousandth of a grey
        /// level, hence the proportion best by the pixel that gains most.
        #[test]
        fn the_nearest_has_the_gain_and_no_detour(
            pixels in prop::collection::vec((0_u8.., 0_u8.., -1.0_f32..1.0), 1..60),
            share in 0.01_f64..0.99,
        ) {
            let origin: Vec<f32> = pixels.iter().map(|p| p.0.into()).collect();
            let end: Vec<f32> = pixels.iter().map(|p| p.1.into()).collect();
            let slope: Vec<f32> = pixels.iter().map(|p| p.2).collect();
            let gain = |to: &[f32]| -> f64 {
                let gained = to.iter().zip(&origin).zip(&slope);
                gained.map(|((to, o), g)| f64::from(-g) * f64::from(to - o)).sum()
            };
            let helpful: Vec<f32> = origin.iter().zip(&end).zip(&slope)
                .map(|((o, e), g)| if g * (e - o) < 0.0 { *e } else { *o }).collect();
            let wanted = share * gain(&helpful);
            prop_assume!(wanted > 1.0);
            let found = back(&end, wanted as f32).nearest(&origin, &origin, &slope);
            prop_assert!((gain(&found) - wanted).abs() < 1e-4 * wanted + 1e-3, "{} for {wanted}", gain(&found));
            let is = |a: f32, b: f32| (a - b).abs() <= 0.0;
            let free = |i: &usize| !is(found[*i], origin[*i]) && !is(found[*i], end[*i]);
            let steepest = (0..origin.len()).filter(free).max_by(|a, b| slope[*a].abs().total_cmp(&slope[*b].abs()));
            if let Some(i) = steepest {
                let length = (found[i] - origin[i]) / -slope[i];
                for i in 0..origin.len() {
                    let (moved, far) = (found[i] - origin[i], -slope[i] * length);
                    if free(&i) {
                        prop_assert!((moved - far).abs() < 1e-3, "{moved} for {far}");
                    } else if !is(found[i], origin[i]) {
                        prop_assert!(moved.abs() < far.abs() + 1e-3, "{moved} for {far}");
                    }
                }
            }
        }

        #[test]
        fn within_a_budget_once_rounded(
            pixels in prop::collection::vec((0_u8.., 0.0_f32..255.0), 1..60),
            most in 0.1_f64..500.0,
        ) {
            let origin: Vec<f32> = pixels.iter().map(|p| p.0.into()).collect();
            let image: Vec<f32> = pixels.iter().map(|p| p.1).collect();
            let kept = within(image.clone(), &origin, most);
            let square = |image: &[f32]| square_of_difference(&rounded(image), &origin);
            prop_assert!(square(&kept) <= most * most);
            if square(&image) <= most * most {
                prop_assert_eq!(kept, image);
            }
        }
    }
}
