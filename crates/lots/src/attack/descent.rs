//! One attack that minimises: from its origin to a minimum, rounded to 8 bits, and judged.

use std::cell::{Cell, RefCell};

use basin::{BoxBounds, ConstraintDescription, ConstraintSet, ConstraintSolveError};
use basin::{Constraints, CostFunction, Executor, FirstOrderState, Gradient, Lbfgsb};
use lots_nn::InputSpec;

use super::Passes;
use super::decision::{Decision, Wanted};
use super::minimise::{Cost, Minimise, Objective};
use super::pursuit::Judged;
use super::ray::{ROUNDER, image_of};
use super::walk::square_of_difference;
use crate::error::Error;
use crate::image::Image;

/// Grey levels of the optimiser's unit. As in the sources, pixels are 0–1: its first step is as long as the slope, at most 1.
const UNIT: f64 = 255.0;
/// How much smaller an iteration has to make the objective, or it is the last. Below that, objectives computed in single precision
/// are made of rounding.
const REDUCTION: f64 = 1e-6;
/// By how much the weight of the size changes as long as all succeed, or none.
const FACTOR: f64 = 10.0;

/// An attack that minimises.
pub(super) struct Descent<'a> {
    pub(super) minimise: &'a Minimise,
    pub(super) wanted: Wanted,
    pub(super) cost: Cost<'a>,
    /// As the network takes images: [channels, height, width], whole numbers.
    pub(super) origin: Vec<f32>,
    pub(super) passes: Passes,
    /// What it has come to, if anything.
    pub(super) found: Option<Minimum>,
}

/// An image of 8 bits, and what the network says of it.
pub(super) struct Minimum {
    image: Vec<f32>,
    pub(super) judged: Judged,
    /// Whether it reaches the goal.
    pub(super) is_met: bool,
    /// How often the optimiser had looked.
    pub(super) looks: u32,
}

impl Minimum {
    pub(super) fn image(&self, input: &InputSpec) -> Image {
        image_of(self.image.iter().copied(), input)
    }
}

/// An image for the network to look at.
pub(super) struct Look<'a> {
    /// 0–255.
    pub(super) image: Vec<f32>,
    /// Whose slope is asked for besides.
    pub(super) cost: Option<Cost<'a>>,
}

/// What it sees.
pub(super) struct Sight {
    /// The representation that decides, or that the cost depends on.
    pub(super) representation: Vec<f32>,
    /// The slope of the cost at the image; nothing where none was asked for.
    pub(super) slope: Vec<f32>,
}

/// How to let the network look.
pub(super) type Eye<'e, 'a> = dyn Fn(Look<'a>) -> Result<Sight, Error> + 'e;

impl<'a> Descent<'a> {
    /// Goes to the end.
    pub(super) fn run(&mut self, decision: &dyn Decision, eye: &Eye<'_, 'a>) -> Result<(), Error> {
        match self.minimise.objective {
            Objective::Distance { linf } => {
                let problem = Problem::new(self, decision, eye, 0.0, linf);
                if let Some(image) = self.minimum(&problem)? {
                    self.found = self.judge(decision, eye, image)?;
                }
                Ok(())
            }
            Objective::LossAndSize { searches } => self.search(decision, eye, searches),
        }
    }

    /// Looks for the largest weight of the size that reaches the goal.
    fn search(
        &mut self,
        decision: &dyn Decision,
        eye: &Eye<'_, 'a>,
        searches: u32,
    ) -> Result<(), Error> {
        let (mut weight, mut met, mut missed) = (1.0_f64, None, None);
        for _ in 0..searches {
            let problem = Problem::new(self, decision, eye, weight, u8::MAX);
            let mut is_met = false;
            if let Some(image) = self.minimum(&problem)? {
                let found = self.judge(decision, eye, image)?.filter(|found| found.is_met);
                is_met = found.is_some();
                let size = |one: &Minimum| square_of_difference(&one.image, &self.origin);
                if let Some(found) = found
                    && self.found.as_ref().is_none_or(|best| size(&found) < size(best))
                {
                    self.found = Some(found);
                }
            }
            if is_met {
                met = Some(weight);
            } else {
                missed = Some(weight);
            }
            weight = match (met, missed) {
                (Some(met), Some(missed)) => f64::sqrt(met * missed),
                (Some(met), None) => met * FACTOR,
                (None, _) => weight / FACTOR,
            };
        }
        Ok(())
    }

    /// Where the optimiser comes to, in whole numbers; `None` where the network's output is not finite from the start.
    fn minimum(&mut self, problem: &Problem<'_, '_, 'a>) -> Result<Option<Vec<f32>>, Error> {
        let start = problem.origin.clone();
        let optimiser = Lbfgsb::new().with_relative_cost_reduction_tolerance(REDUCTION);
        let run = Executor::new(problem, optimiser, FirstOrderState::new(start))
            .max_iter(self.minimise.iterations.into())
            .run();
        let looks = problem.looks.get();
        self.passes.forward += looks;
        self.passes.backward += looks;
        match run {
            Ok(_) | Err(ConstraintSolveError::Evaluation(Halt::NotFinite)) => {
                let least = problem.least.take().map(|(_, image)| image);
                let whole = |x: f64| (UNIT * x) as f32 + ROUNDER - ROUNDER;
                Ok(least.map(|image| image.into_iter().map(whole).collect()))
            }
            Err(ConstraintSolveError::Evaluation(Halt::Failed(error))) => Err(error),
            Err(_) => Err(Error::Attack("L-BFGS-B refuses the box around the origin".to_owned())),
        }
    }

    /// What the network says of an image; `None` if it gives no class.
    fn judge(
        &mut self,
        decision: &dyn Decision,
        eye: &Eye<'_, 'a>,
        image: Vec<f32>,
    ) -> Result<Option<Minimum>, Error> {
        self.passes.forward += 1;
        let Sight { representation, .. } = eye(Look { image: image.clone(), cost: None })?;
        let Some(judged) = Judged::of(decision, &representation) else { return Ok(None) };
        // Too close to call is not yet there.
        let is_met = self.wanted.is_met(Some(judged.class)) && decision.is_clear(&representation);
        Ok(Some(Minimum { image, judged, is_met, looks: self.passes.backward - 1 }))
    }
}

/// What the optimiser sees of an attack.
struct Problem<'p, 'e, 'a> {
    decision: &'p dyn Decision,
    eye: &'p Eye<'e, 'a>,
    cost: Cost<'a>,
    /// In the optimiser's units, as all that follows.
    origin: Vec<f64>,
    /// How much the square of the perturbation counts.
    weight: f64,
    lower: Vec<f64>,
    upper: Vec<f64>,
    /// How often the network has looked, with a slope.
    looks: Cell<u32>,
    /// The smallest value so far, and the image that has it.
    least: RefCell<Option<(f64, Vec<f64>)>>,
}

/// Why a minimisation ends before its minimum.
enum Halt {
    /// What it has come to so far counts.
    NotFinite,
    Failed(Error),
}

impl<'p, 'e, 'a> Problem<'p, 'e, 'a> {
    fn new(
        descent: &Descent<'a>,
        decision: &'p dyn Decision,
        eye: &'p Eye<'e, 'a>,
        weight: f64,
        linf: u8,
    ) -> Self {
        let at = |by: f64| {
            let moved = descent.origin.iter().map(move |&x| f64::from(x) + by);
            moved.map(|x| x.clamp(0.0, UNIT) / UNIT).collect()
        };
        let (origin, lower, upper) = (at(0.0), at(-f64::from(linf)), at(linf.into()));
        let cost = descent.cost;
        let (looks, least) = (Cell::new(0), RefCell::new(None));
        Self { decision, eye, cost, origin, weight, lower, upper, looks, least }
    }
}

impl CostFunction for &Problem<'_, '_, '_> {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = Halt;

    fn cost(&self, image: &Vec<f64>) -> Result<f64, Halt> {
        Ok(self.cost_and_gradient(image)?.0)
    }
}

impl Gradient for &Problem<'_, '_, '_> {
    type Gradient = Vec<f64>;

    fn gradient(&self, image: &Vec<f64>) -> Result<Vec<f64>, Halt> {
        Ok(self.cost_and_gradient(image)?.1)
    }

    fn cost_and_gradient(&self, image: &Vec<f64>) -> Result<(f64, Vec<f64>), Halt> {
        self.looks.set(self.looks.get() + 1);
        let pixels = image.iter().map(|x| (UNIT * x) as f32).collect();
        let look = Look { image: pixels, cost: Some(self.cost) };
        let Sight { representation, slope } = (self.eye)(look).map_err(Halt::Failed)?;
        let mut cost = self.cost.value(self.decision, &representation);
        let mut gradient: Vec<f64> = slope.iter().map(|&x| UNIT * f64::from(x)).collect();
        for ((slope, x), o) in gradient.iter_mut().zip(image).zip(&self.origin) {
            cost += self.weight * (x - o).powi(2);
            *slope += 2.0 * self.weight * (x - o);
        }
        if !cost.is_finite() || gradient.iter().any(|x| !x.is_finite()) {
            return Err(Halt::NotFinite);
        }
        let mut least = self.least.borrow_mut();
        if least.as_ref().is_none_or(|(least, _)| cost < *least) {
            *least = Some((cost, image.clone()));
        }
        Ok((cost, gradient))
    }
}

impl Constraints for &Problem<'_, '_, '_> {
    type Set = ConstraintSet<BoxBounds<Vec<f64>>>;

    fn constraints(&self) -> <Self::Set as ConstraintDescription>::Borrowed<'_> {
        let bounds = BoxBounds::new(Some(&self.lower), Some(&self.upper));
        ConstraintSet::new().with_bounds(bounds)
    }
}
