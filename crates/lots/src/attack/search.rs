//! The line search of one ray, as a conversation: it names a step, is told what the network makes of it, and goes on.
//!
//! What is wanted is the result of doubling and bisection: steps of 1, 2, 4 … grey levels until one reaches the goal,
//! then halves of the last interval. Only a few of these steps are tried. The search first goes to where the distance to the
//! goal seems to pass zero. Near that place it asks for the distance's slope, which foretells the distances around it, with
//! all that rounding to 8 bits does to them. Then it walks the path of doubling and bisection on what is foretold, and tries
//! the two ends that come out.

use super::ray::Ray;

/// Steps are counted in 64ths of a grey level: no result is finer.
const GRID: u32 = 64;
/// The largest step tried: 4096 grey levels.
const CAP: u32 = 4096 * GRID;
/// The first step tried: 128 grey levels. Where it misses, doubling goes on from there.
const FIRST: u32 = 128 * GRID;
/// A slope foretells distances up to this share of its step away.
const NEAR: f64 = 0.1;
/// The share of a step by which a slope's place lies before where the distance seems to pass zero.
const SHORT: f64 = 0.01;
/// After so many tries that do not halve the interval, one is a plain bisection.
const PATIENCE: u32 = 3;
/// How far beyond the place where the distance seems to pass zero a step is tried before the next doubling.
const OVERSHOOT: f64 = 1.1;

/// What is asked of the network: to judge the image at a step, in grey levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ask {
    pub(super) step: f32,
    /// Whether the slope of the distance at this image is wanted too.
    pub(super) slope: bool,
}

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

/// How the distance changes with each pixel, at the image of one step.
#[derive(Debug)]
struct Slope {
    step: u32,
    slope: Vec<f32>,
    /// The pixels' sum weighted by the slope, for steps that were asked for.
    sums: Vec<(u32, f64)>,
}

impl Slope {
    fn sum(&mut self, ray: &Ray, step: u32) -> f64 {
        if let Some(&(_, sum)) = self.sums.iter().find(|(known, _)| *known == step) {
            return sum;
        }
        let sum = f64::from(ray.weighted(grey_levels(step), &self.slope));
        self.sums.push((step, sum));
        sum
    }

    /// The distance at `step`, between two that are known. What the slope leaves out grows with the square of how far it is
    /// from the slope's place; that share is taken from the two.
    fn foretell(&mut self, ray: &Ray, [low, high]: [Tried; 2], step: u32) -> f64 {
        let place = f64::from(self.step);
        let mut at = |step| ((f64::from(step) - place).powi(2), self.sum(ray, step));
        let ((bend, sum), (low_bend, low_sum), (high_bend, high_sum)) =
            (at(step), at(low.step), at(high.step));
        let [low, high] = [low, high].map(|tried| f64::from(tried.distance));
        let left_out = (high - low) - (high_sum - low_sum);
        low + (sum - low_sum) + left_out * (bend - low_bend) / (high_bend - low_bend)
    }
}

/// The search along one ray.
///
/// Paper: the smallest magnitude that changes the class, sections 3 to 5.
#[derive(Debug)]
pub(super) struct Search {
    /// The largest step below `hit` that misses.
    miss: Tried,
    /// The smallest step that hits.
    hit: Option<Tried>,
    /// What `miss` or `hit` was before.
    past: Option<Tried>,
    /// The last slope that was told.
    slope: Option<Slope>,
    /// The step asked for.
    asked: u32,
    /// Where doubling starts.
    first: u32,
    /// A miss that doubling, begun again below it, has not come to.
    above: Option<Tried>,
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
            slope: None,
            asked: 0,
            first: FIRST,
            above: None,
            width: u32::MAX,
            stalled: 0,
        }
    }

    /// What to ask next, or the end. An image that was tried already is not tried again.
    pub(super) fn next(&mut self, ray: &Ray) -> Result<Ask, Found> {
        let same = |a, b| ray.is_same(grey_levels(a), grey_levels(b));
        let mut still = 0;
        loop {
            let proposed = match self.hit {
                // Once all pixels are saturated or at rest, doubling does not change the image.
                None if same(self.miss.step, CAP) => None,
                None => self.double().map(|step| (step, false)),
                Some(hit) => self.narrow(ray, hit, still),
            };
            let Some((step, slope)) = proposed else { return Err(self.found()) };
            if same(self.miss.step, step) {
                self.miss.step = step;
                still += 1;
                continue;
            }
            if let Some(hit) = &mut self.hit
                && same(hit.step, step)
            {
                hit.step = step;
                still += 1;
                continue;
            }
            if let Some(above) = self.above.take_if(|above| same(step, above.step)) {
                self.past = Some(std::mem::replace(&mut self.miss, Tried { step, ..above }));
                continue;
            }
            self.asked = step;
            return Ok(Ask { step: grey_levels(step), slope });
        }
    }

    /// Takes the answer to the step that was asked for, and the slope of the distance if it was wanted.
    pub(super) fn tell(&mut self, answer: Answer, distance: f32, slope: Option<Vec<f32>>) {
        let tried = Tried { step: self.asked, distance };
        if let Some(slope) = slope {
            self.slope = Some(Slope { step: self.asked, slope, sums: Vec::new() });
        }
        match answer {
            Answer::Hit => self.past = self.hit.replace(tried),
            // Too far, it seems: the goal may lie below. Doubling starts again from the smallest step.
            Answer::Other if self.hit.is_none() && self.first == FIRST && self.asked == FIRST => {
                self.first = GRID;
                self.above = Some(tried);
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

    /// The next power of two; before it, if the last two distances point to a place well below, a step a little behind
    /// that place. A hit there is one that doubling finds as well, or one that it steps over.
    fn double(&self) -> Option<u32> {
        let miss = self.miss.step;
        if miss == 0 {
            return Some(self.first);
        }
        if miss >= CAP {
            return None;
        }
        let next = (miss + 1).next_power_of_two();
        let Some(past) = self.past.filter(|_| miss.is_power_of_two()) else { return Some(next) };
        let [past, last] = [past, self.miss].map(|t| (f64::from(t.step), f64::from(t.distance)));
        let crossing = last.0 + (last.0 - past.0) * last.1 / (past.1 - last.1);
        let ahead = OVERSHOOT * crossing;
        let is_ahead = last.1 > 0.0 && crossing > last.0 && ahead < 0.9 * f64::from(next);
        Some(if is_ahead { ahead as u32 } else { next })
    }

    /// A step between miss and hit to try, and whether its slope is wanted; none when they lie side by side. Of the steps
    /// before, `still` led to an image that is known.
    fn narrow(&mut self, ray: &Ray, hit: Tried, still: u32) -> Option<(u32, bool)> {
        let miss = self.miss;
        if hit.step - miss.step <= 1 {
            return None;
        }
        let is_stalled = self.stalled > 0 && self.stalled.is_multiple_of(PATIENCE);
        if is_stalled || still > PATIENCE {
            return Some((miss.step.midpoint(hit.step), false));
        }
        let guess = (self.crossing(hit) as u32).clamp(miss.step + 1, hit.step - 1);
        let is_near = |step: u32| f64::from(guess.abs_diff(step)) < NEAR * f64::from(guess);
        let Some(slope) = self.slope.as_mut().filter(|slope| is_near(slope.step)) else {
            let wants_slope = is_near(miss.step) || is_near(hit.step);
            // Where hits and misses take turns, a miss would hide the hits below it: better a little before.
            let ahead = if wants_slope { (SHORT * f64::from(guess)) as u32 } else { 0 };
            return Some(((guess - ahead).max(miss.step + 1), wants_slope));
        };
        let [low, high] = doubled_and_bisected(hit.step, |step| {
            let is_between = miss.step < step && step < hit.step;
            let foretold = is_between.then(|| slope.foretell(ray, [miss, hit], step) < 0.0);
            foretold.unwrap_or(step >= hit.step)
        });
        Some((if high < hit.step { high } else { low }, false))
    }

    /// Where the distance seems to pass zero.
    fn crossing(&self, hit: Tried) -> f64 {
        let [miss, hit] = [self.miss, hit].map(|t| (f64::from(t.step), f64::from(t.distance)));
        let inside = |x: f64| x > miss.0 && x < hit.0;
        let three = self.past.map(|past| {
            let past = (f64::from(past.step), f64::from(past.distance));
            at_zero([miss, hit, past])
        });
        let two = miss.0 + (hit.0 - miss.0) * miss.1 / (miss.1 - hit.1);
        let middle = f64::midpoint(miss.0, hit.0);
        three.into_iter().chain([two]).find(|&x| inside(x)).unwrap_or(middle)
    }
}

/// The last miss and the first hit of doubling from one grey level, and of bisection between the last two steps, if
/// `hits` holds at `hit`.
fn doubled_and_bisected(hit: u32, mut hits: impl FnMut(u32) -> bool) -> [u32; 2] {
    let (mut low, mut high) = (0, hit.next_power_of_two().max(GRID));
    while high > GRID {
        if !hits(high / 2) {
            low = high / 2;
            break;
        }
        high /= 2;
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        if hits(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    [low, high]
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    /// A ray on which every 64th of a grey level up to the largest step is another image. Pixels are no whole numbers, so that
    /// they pass from one grey level to the next in turns.
    fn fine_ray() -> Ray {
        let pixel = |i: u32| 0.5 - (255 * (i / GRID)) as f32 - ((i % GRID) as f32 + 0.5) / 64.0;
        let origin: Vec<f32> = (0..17 * GRID).map(pixel).collect();
        let direction = vec![1.0; origin.len()];
        Ray { origin, direction }
    }

    /// What a search came to, and the steps that it tried.
    #[derive(Debug)]
    struct Run {
        found: Found,
        tried: Vec<u32>,
    }

    impl Run {
        /// Hit and miss, in 64ths of a grey level.
        fn ends(&self) -> Option<(u32, u32)> {
            match self.found {
                Found::Step { hit, miss } => Some((on_grid(hit), on_grid(miss))),
                Found::Nothing => None,
            }
        }
    }

    fn on_grid(step: f32) -> u32 {
        let counted = (step * 64.0) as u32;
        assert!(grey_levels(counted).to_bits() == step.to_bits(), "{step} is between two steps");
        counted
    }

    /// Where slopes are numbers that mean nothing.
    fn run(ray: &Ray, answer: impl FnMut(u32) -> (Answer, f32), at_origin: f32) -> Run {
        let number = |i: usize| 1e-3 * Distance::Noise(i as u64).at(7, 0.0);
        let slope: Vec<f32> = (0..ray.origin.len()).map(number).collect();
        run_with(ray, &slope, answer, at_origin)
    }

    fn run_with(
        ray: &Ray,
        slope: &[f32],
        mut answer: impl FnMut(u32) -> (Answer, f32),
        at_origin: f32,
    ) -> Run {
        let mut search = Search::new(at_origin);
        let mut tried = Vec::new();
        loop {
            match search.next(ray) {
                Err(found) => return Run { found, tried },
                Ok(Ask { step, slope: is_wanted }) => {
                    let step = on_grid(step);
                    tried.push(step);
                    assert!(tried.len() < 1000, "no end: {tried:?}");
                    let (answer, distance) = answer(step);
                    search.tell(answer, distance, is_wanted.then(|| slope.to_vec()));
                }
            }
        }
    }

    /// Doubling from 1 grey level to 4096 and bisection to 1/64, as the paper's protocol has it.
    fn plain(hits: impl Fn(u32) -> bool) -> Option<u32> {
        let mut high = 64;
        while !hits(high) {
            if high >= 4096 * 64 {
                return None;
            }
            high *= 2;
        }
        let mut low = if high == 64 { 0 } else { high / 2 };
        while high - low > 1 {
            let middle = (low + high) / 2;
            if hits(middle) { high = middle } else { low = middle }
        }
        Some(high)
    }

    /// Distances that a network may give at a step, when the goal is reached from `crossing` on.
    #[derive(Clone, Copy, Debug)]
    enum Distance {
        Linear(f32),
        /// Steeper beyond the place at this share of the way.
        Kinked(f32, f32),
        Power(f32),
        /// The same all the way before the crossing, and −1 beyond: it seems to lie at one end, again and again.
        Sides(f32),
        Steep,
        Tiny,
        Infinite,
        NotANumber,
        /// Of the wrong sign, or without any relation to the goal.
        Wrong,
        Noise(u64),
    }

    fn hash(seed: u64, step: u32) -> u64 {
        let mut x = seed ^ (u64::from(step) << 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for _ in 0..3 {
            x ^= x >> 31;
            x = x.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        }
        x ^ (x >> 32)
    }

    impl Distance {
        fn at(self, step: u32, crossing: f64) -> f32 {
            let far = crossing - f64::from(step);
            match self {
                Self::Linear(slope) => slope * far as f32,
                Self::Kinked(slope, share) => {
                    let kink = f64::from(share) * crossing;
                    let beyond = (f64::from(step) - kink).max(0.0) - (crossing - kink).max(0.0);
                    (far - f64::from(slope) * beyond) as f32
                }
                Self::Power(power) => (far.abs().powf(power.into()) * far.signum()) as f32,
                Self::Sides(before) => {
                    if far > 0.0 {
                        before
                    } else {
                        -1.0
                    }
                }
                Self::Steep => (far.signum() * (far.abs() / 500.0).exp()) as f32,
                Self::Tiny => (far * 1e-44) as f32,
                Self::Infinite => (far * f64::INFINITY) as f32,
                Self::NotANumber => f32::NAN,
                Self::Wrong => -far as f32,
                Self::Noise(seed) => (hash(seed, step) % 2001) as f32 - 1000.0,
            }
        }
    }

    fn distances() -> impl Strategy<Value = Distance> {
        prop_oneof![
            (1e-6f32..1e6).prop_map(Distance::Linear),
            (-0.99f32..50.0, 0.0f32..2.0).prop_map(|(slope, share)| Distance::Kinked(slope, share)),
            (0.05f32..8.0).prop_map(Distance::Power),
            (-4.0f32..4.0).prop_map(|power| Distance::Sides(10f32.powf(power))),
            Just(Distance::Steep),
            Just(Distance::Tiny),
            Just(Distance::Infinite),
            Just(Distance::NotANumber),
            Just(Distance::Wrong),
            any::<u64>().prop_map(Distance::Noise),
        ]
    }

    /// Where the goal lies: near the ends as well as anywhere, and beyond the last step.
    fn crossings() -> impl Strategy<Value = u32> {
        let scales = (0u32..=18, 0.0f64..1.0);
        prop_oneof![
            scales.prop_map(|(power, share)| (2f64.powi(power as i32) * (1.0 + share)) as u32),
            prop::sample::select(vec![
                1,
                2,
                63,
                64,
                65,
                FIRST - 1,
                FIRST,
                FIRST + 1,
                2 * FIRST,
                CAP - 1,
                CAP,
                CAP + 1
            ]),
            (0u32..13, -3i32..4)
                .prop_map(|(power, off)| (GRID << power).saturating_add_signed(off)),
        ]
    }

    /// The answer to a step where the goal is reached from `crossing` on; which kind of miss it is changes nothing.
    fn beyond(crossing: u32, seed: u64) -> impl Fn(u32) -> Answer {
        move |step| match hash(seed, step) % 2 {
            _ if step >= crossing => Answer::Hit,
            0 => Answer::Origin,
            _ => Answer::Other,
        }
    }

    /// A step more than once would be a waste. At worst there are 13 tries until the first hit, and four for each of the 18
    /// halvings from 4096 grey levels to 1/64: three that gain little, and a bisection.
    fn check_tried(tried: &[u32]) -> Result<(), TestCaseError> {
        let mut sorted = tried.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(sorted.len(), tried.len(), "a step was tried twice: {:?}", tried);
        prop_assert!(tried.len() <= 13 + 4 * 18, "{} tries: {:?}", tried.len(), tried);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Oracle: plain loops, and the crossing itself.
        #[test]
        fn whatever_the_distances_one_crossing_is_found_exactly(
            distance in distances(), crossing in crossings(), seed in any::<u64>(),
        ) {
            let ray = fine_ray();
            let answer = beyond(crossing, seed);
            let at = |step| distance.at(step, crossing.into());
            let found = run(&ray, |step| (answer(step), at(step)), at(0));
            let wanted = (crossing <= CAP).then_some((crossing, crossing - 1));
            prop_assert_eq!(found.ends(), wanted, "{:?}", found);
            prop_assert_eq!(plain(|step| step >= crossing), wanted.map(|(hit, _)| hit));
            check_tried(&found.tried)?;
        }

        /// Where hits and misses take turns no promise can be kept but these: the ends are what they say, side by side, and
        /// found soon.
        #[test]
        fn whatever_the_answers_a_hit_is_a_hit_and_a_miss_a_miss(
            distance in distances(), seed in any::<u64>(), hits in 1_u64..64, size in 0_u32..18,
        ) {
            let ray = fine_ray();
            // Stretches of hits and misses, 1/64 to 4096 grey levels long.
            let answer = |step: u32| match hash(seed, step >> size) % 64 {
                x if x < hits => Answer::Hit,
                x if x % 2 == 0 => Answer::Origin,
                _ => Answer::Other,
            };
            let found = run(&ray, |step| (answer(step), distance.at(step, 5000.0)), 1.0);
            match found.ends() {
                Some((hit, miss)) => {
                    prop_assert_eq!(hit, miss + 1);
                    prop_assert!(found.tried.contains(&hit) && answer(hit) == Answer::Hit);
                    let is_miss = found.tried.contains(&miss) && answer(miss) != Answer::Hit;
                    prop_assert!(miss == 0 || is_miss, "{:?}", found);
                }
                None => prop_assert!(
                    found.tried.contains(&CAP)
                        && found.tried.iter().all(|&step| answer(step) != Answer::Hit),
                    "{:?}", found
                ),
            }
            check_tried(&found.tried)?;
        }

        /// Images of few pixels stand still over many steps, and at last for ever. Oracle: plain loops over images.
        #[test]
        fn on_images_that_stand_still_the_first_step_of_the_image_is_found(
            pixels in prop::collection::vec((any::<u8>(), -1.0_f32..=1.0), 1..6),
            fine in any::<bool>(), goal in 1_u32..600, distance in distances(), seed in any::<u64>(),
        ) {
            let scale = if fine { 64.0 } else { 1.0 };
            let mut ray = Ray {
                origin: pixels.iter().map(|&(x, _)| x.into()).collect(),
                direction: pixels.iter().map(|&(_, d)| d / scale).collect(),
            };
            ray.direction[0] = 1.0;
            let image = |step: u32| -> Vec<u8> {
                let moved = ray.origin.iter().zip(&ray.direction);
                moved.map(|(x, d)| (x + grey_levels(step) * d).round_ties_even() as u8).collect()
            };
            let origin = image(0);
            let moved = |step: u32| -> u32 {
                image(step).iter().zip(&origin).map(|(x, o)| u32::from(x.abs_diff(*o))).sum()
            };
            let hits = |step| moved(step) >= goal;
            let miss = |step| if hash(seed, moved(step)).is_multiple_of(2) { Answer::Origin } else { Answer::Other };
            let answer = |step| if hits(step) { Answer::Hit } else { miss(step) };
            let at = |step| distance.at(moved(step), f64::from(goal) - 0.5);
            let found = run(&ray, |step| (answer(step), at(step)), at(0));
            let wanted = plain(hits);
            prop_assert_eq!(found.ends(), wanted.map(|step| (step, step - 1)), "{:?}", found);
            check_tried(&found.tried)?;
            let mut images: Vec<_> = found.tried.iter().map(|&step| image(step)).collect();
            images.push(origin.clone());
            let count = images.len();
            images.sort_unstable();
            images.dedup();
            prop_assert_eq!(images.len(), count, "an image was tried twice: {:?}", found);
        }
    }

    /// Rounding makes such distances go up and down. Oracle: plain loops over the images.
    #[test]
    fn linear_distances_with_their_slope_end_where_doubling_and_bisection_end() {
        let number = |seed: u64, i: u32| (hash(seed, i) % 2001) as f32 / 1000.0 - 1.0;
        let (mut wrong, mut tries, mut reversals) = (Vec::new(), 0, 0);
        for seed in 0..200 {
            let origin = (0..150).map(|i| (hash(seed, i) % 256) as f32).collect();
            let mut direction: Vec<f32> = (0..150).map(|i| number(seed + 1000, i)).collect();
            direction[0] = 1.0;
            let ray = Ray { origin, direction };
            let slope: Vec<f32> =
                (0..150).map(|i| -ray.direction[i as usize] + number(seed + 2000, i)).collect();
            let sum = |step| ray.weighted(grey_levels(step), &slope);
            let goal = f32::midpoint(sum(6000), sum(6001)) + 1e-3;
            let distance = |step| sum(step) - goal;
            let hits = |step: u32| distance(step) < 0.0;
            reversals += u32::from((5900..6100).filter(|&s| hits(s) != hits(s + 1)).count() > 1);
            let answer = |step| if hits(step) { Answer::Hit } else { Answer::Origin };
            let found = run_with(&ray, &slope, |step| (answer(step), distance(step)), distance(0));
            tries += found.tried.len();
            let step = plain(hits).unwrap();
            let hit = found.ends().unwrap().0;
            if hit != step && !ray.is_same(grey_levels(hit), grey_levels(step)) {
                wrong.push((seed, step, found));
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(reversals > 20 && tries < 200 * 6, "{reversals} {tries}");
    }

    /// Oracle: plain loops need 27 tries on average here.
    #[test]
    fn steady_distances_spare_most_of_the_tries() {
        let ray = fine_ray();
        // With each step one pixel grows by one.
        let slope = vec![-0.01; ray.origin.len()];
        let (mut ours, mut plainly) = (0, 0);
        for crossing in (1..2000_u32).map(|i| i * 97 + 13) {
            let answer = |step| if step >= crossing { Answer::Hit } else { Answer::Origin };
            let at = |step| Distance::Linear(0.01).at(step, f64::from(crossing) - 0.5);
            ours += run_with(&ray, &slope, |step| (answer(step), at(step)), at(0)).tried.len();
            let counted = Cell::new(0);
            plain(|step| {
                counted.set(counted.get() + 1);
                step >= crossing
            });
            plainly += counted.get();
        }
        assert!(3 * ours < plainly, "{ours} tries, plainly {plainly}");
    }

    #[test]
    fn a_goal_between_the_origin_and_a_third_class_is_found() {
        let ray = fine_ray();
        let wrong: Vec<String> = [(50, 130), (300, 4000), (4000, 4200), (20_000, 33_000)]
            .into_iter()
            .filter_map(|(from, to)| {
                let answer = |step: u32| match step {
                    _ if step < from => Answer::Origin,
                    _ if step < to => Answer::Hit,
                    _ => Answer::Other,
                };
                let distance = |step: u32| from as f32 - step.min(from + to - step.min(to)) as f32;
                let found = run(&ray, |step| (answer(step), distance(step)), distance(0));
                let wanted = plain(|step| answer(step) == Answer::Hit);
                let is_right = wanted == Some(from) && found.ends() == Some((from, from - 1));
                (!is_right).then(|| format!("{from}..{to}: wanted {wanted:?}, {found:?}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
