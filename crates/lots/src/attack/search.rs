//! The line search of one ray, as a conversation: it names a step, is told what the network makes of it, and goes on.
//!
//! What is wanted is the result of doubling and bisection: steps of 1, 2, 4 … grey levels until one reaches the goal,
//! then halves of the last interval. The search walks the same path, but most answers along it can be foretold: a step far
//! below the place where the distance to the goal seems to pass zero misses, one far above it hits. Only steps near that
//! place are tried, and the two ends that come out.

use super::ray::Ray;

/// Steps are counted in 64ths of a grey level: no result is finer.
const GRID: u32 = 64;
/// The largest step tried: 4096 grey levels.
const CAP: u32 = 4096 * GRID;
/// The first step tried: 128 grey levels. Where it misses, doubling goes on from there.
const FIRST: u32 = 128 * GRID;
/// How far the place where the distance passes zero may lie from where it seems to: a share of the interval that is known
/// to hold it, and at least as much as rounding to 8 bits shifts it.
const DOUBT: f64 = 0.03;
const LEAST_DOUBT: f64 = 8.0;
/// After so many tries that do not halve the interval, one is a plain bisection.
const PATIENCE: u32 = 3;

/// What the network made of an image on the ray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The goal.
    Hit,
    /// Still the origin's class.
    Origin,
    /// A class that is neither.
    Other,
}

/// A step and how far from the goal its image is (see `Decision::distance`).
#[derive(Clone, Copy, Debug)]
struct Tried {
    step: u32,
    distance: f32,
}

/// The search along one ray.
#[derive(Debug)]
pub(super) struct Search {
    /// The largest step below `hit` that misses.
    miss: Tried,
    /// The smallest step that hits.
    hit: Option<Tried>,
    /// What `miss` or `hit` was before.
    past: Option<Tried>,
    /// The step asked for.
    asked: u32,
    /// Where doubling starts.
    first: u32,
    /// The interval's width when it was last halved, and the tries since then.
    width: u32,
    stalled: u32,
}

/// How a search ended, in grey levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found {
    /// The smallest step that is known to reach the goal, and the largest one below that is known to miss.
    Step { hit: f32, miss: f32 },
    /// Nothing up to the largest step.
    Nothing,
}

impl Search {
    /// A search from an origin that is `distance` away from the goal.
    pub(super) fn new(distance: f32) -> Self {
        Self {
            miss: Tried { step: 0, distance },
            hit: None,
            past: None,
            asked: 0,
            first: FIRST,
            width: u32::MAX,
            stalled: 0,
        }
    }

    /// The next step to try, in grey levels, or the end. An image that was tried already is not tried again.
    pub(super) fn next(&mut self, ray: &Ray) -> Result<f32, Found> {
        let same = |a, b| ray.is_same(grey_levels(a), grey_levels(b));
        loop {
            let proposed = match self.hit {
                // Once all pixels are saturated or at rest, doubling does not change the image.
                None if same(self.miss.step, CAP) => None,
                None => self.double(),
                Some(hit) => self.narrow(hit),
            };
            let Some(step) = proposed else { return Err(self.found()) };
            if same(self.miss.step, step) {
                self.miss.step = step;
                continue;
            }
            if let Some(hit) = &mut self.hit
                && same(hit.step, step)
            {
                hit.step = step;
                continue;
            }
            self.asked = step;
            return Ok(grey_levels(step));
        }
    }

    /// Takes the answer to the step that was asked for.
    pub(super) fn tell(&mut self, answer: Answer, distance: f32) {
        let tried = Tried { step: self.asked, distance };
        match answer {
            Answer::Hit => self.past = self.hit.replace(tried),
            // Too far, it seems: the goal may lie below. Doubling starts again from the smallest step.
            Answer::Other if self.hit.is_none() && self.first == FIRST && self.asked == FIRST => {
                self.first = GRID;
            }
            Answer::Origin | Answer::Other => {
                self.past = Some(std::mem::replace(&mut self.miss, tried));
            }
        }
        let Some(hit) = self.hit else { return };
        let width = hit.step - self.miss.step;
        if width <= self.width / 2 {
            (self.width, self.stalled) = (width, 0);
        } else {
            self.stalled += 1;
        }
    }

    fn found(&self) -> Found {
        match self.hit {
            Some(hit) => {
                Found::Step { hit: grey_levels(hit.step), miss: grey_levels(self.miss.step) }
            }
            None => Found::Nothing,
        }
    }

    fn double(&self) -> Option<u32> {
        match self.miss.step {
            0 => Some(self.first),
            CAP.. => None,
            miss => Some(2 * miss),
        }
    }

    /// The first step between miss and hit on the path of doubling and bisection whose answer is in doubt; if there is
    /// none, an end of the path that was not tried.
    fn narrow(&self, hit: Tried) -> Option<u32> {
        let bisect = self.stalled > 0 && self.stalled.is_multiple_of(PATIENCE);
        let (guess, doubt) = if bisect { (0.0, f64::INFINITY) } else { self.crossing(hit) };
        let (miss, hit) = (self.miss.step, hit.step);
        let foretold = |step: u32| {
            if step <= miss {
                Some(Answer::Origin)
            } else if step >= hit {
                Some(Answer::Hit)
            } else if f64::from(step) < guess - doubt {
                Some(Answer::Origin)
            } else if f64::from(step) > guess + doubt {
                Some(Answer::Hit)
            } else {
                None
            }
        };
        let (mut low, mut high) = (0, hit.next_power_of_two().max(GRID));
        while high > GRID {
            match foretold(high / 2) {
                None => return Some(high / 2),
                Some(Answer::Hit) => high /= 2,
                Some(_) => {
                    low = high / 2;
                    break;
                }
            }
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match foretold(middle) {
                None => return Some(middle),
                Some(Answer::Hit) => high = middle,
                Some(_) => low = middle,
            }
        }
        [low, high].into_iter().find(|&end| miss < end && end < hit)
    }

    /// Where the distance seems to pass zero, and how far off that may be.
    fn crossing(&self, hit: Tried) -> (f64, f64) {
        let [miss, hit] = [self.miss, hit].map(|t| (f64::from(t.step), f64::from(t.distance)));
        let inside = |x: f64| x > miss.0 && x < hit.0;
        let three = self.past.map(|past| {
            let past = (f64::from(past.step), f64::from(past.distance));
            at_zero([miss, hit, past])
        });
        let two = miss.0 + (hit.0 - miss.0) * miss.1 / (miss.1 - hit.1);
        let middle = f64::midpoint(miss.0, hit.0);
        let guess = three.into_iter().chain([two]).find(|&x| inside(x)).unwrap_or(middle);
        (guess, (DOUBT * (hit.0 - miss.0)).max(LEAST_DOUBT))
    }
}

fn grey_levels(step: u32) -> f32 {
    step as f32 / GRID as f32
}

/// The x at y = 0 of the parabola x(y) through three points (x, y); not finite if two of them have the same y.
fn at_zero(points: [(f64, f64); 3]) -> f64 {
    let [(x0, y0), (x1, y1), (x2, y2)] = points;
    x0 * y1 * y2 / ((y0 - y1) * (y0 - y2))
        + x1 * y0 * y2 / ((y1 - y0) * (y1 - y2))
        + x2 * y0 * y1 / ((y2 - y0) * (y2 - y1))
}
