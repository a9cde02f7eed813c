//! How `iterative-lots`, `pgd` and `deepfool` walk, and how far `lbfgs` and `feature-adversary` go.

use std::str::FromStr;

use anyhow::{Result, bail};
use clap::{Args, value_parser};
use lots::attack::{
    Arrival, Budget, DeepFool, Distance, FeatureAdversary, Lbfgs, Method, Pgd, Walk,
};
use lots_nn::{Graph, LayerId};

use crate::arguments::one_layer;

/// Where the options stand in the help.
const HEADING: &str = "Step by step (iterative-lots; others take some of it)";

/// What belongs to methods that compute their direction anew at every image.
#[derive(Args)]
pub(crate) struct WalkArguments {
    /// At most so many steps, or iterations of each minimisation [default: 100; pgd 40, or 50 with --l2; deepfool 50]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    #[arg(help_heading = HEADING)]
    steps: Option<u32>,
    /// How far a step goes: grey levels of the pixel that changes most, or L2 of pgd with --l2 [default: 64; of pgd a
    /// thirtieth of --linf or a fortieth of --l2]
    #[arg(long, value_name = "GREY", help_heading = HEADING)]
    step_size: Option<f32>,
    /// Images that are tried on the way back to the origin, once the goal is reached; more find smaller perturbations [default: 16]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(..=1_000_000))]
    #[arg(help_heading = HEADING)]
    back: Option<u32>,
    /// Bounds the Euclidean norm of the perturbation, in grey levels
    #[arg(long, value_name = "GREY", conflicts_with = "linf", help_heading = HEADING)]
    l2: Option<f32>,
    /// Instead of a class, reach a representation within this distance of the target's, such as 0.5 (Euclidean) or cosine:0.1
    #[arg(long, value_name = "DISTANCE", conflicts_with = "goal", help_heading = HEADING)]
    within: Option<Within>,
    /// A further layer that leads the way, with a weight against --layer's 1, such as conv2 or conv2:0.5; repeat for more
    #[arg(long, value_name = "LAYER[:WEIGHT]", help_heading = HEADING)]
    also: Vec<String>,
}

/// A distance of representations.
#[derive(Clone, Copy)]
struct Within {
    distance: Distance,
    most: f32,
}

impl FromStr for Within {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (distance, number) = match text.split_once(':') {
            Some(("cosine", number)) => (Distance::Cosine, number),
            Some(("euclidean", number)) => (Distance::Euclidean, number),
            _ => (Distance::Euclidean, text),
        };
        let most = number.parse().ok().filter(|most: &f32| most.is_finite() && *most > 0.0);
        let most = most.ok_or("wanted a distance above 0, such as 0.5 or cosine:0.1")?;
        Ok(Self { distance, most })
    }
}

impl WalkArguments {
    /// The first of its options that is given and not among `allowed`.
    pub(crate) fn given_beside(&self, allowed: &[&str]) -> Option<&'static str> {
        let options = [
            ("--steps", self.steps.is_some()),
            ("--step-size", self.step_size.is_some()),
            ("--back", self.back.is_some()),
            ("--l2", self.l2.is_some()),
            ("--within", self.within.is_some()),
            ("--also", !self.also.is_empty()),
        ];
        let beside = |option: &str| !allowed.contains(&option);
        options.into_iter().find_map(|(option, given)| (given && beside(option)).then_some(option))
    }

    /// Whether a distance is what is to be reached.
    pub(crate) fn ends_near(&self) -> bool {
        self.within.is_some()
    }

    /// The walk that is asked for, with `linf` as its budget.
    pub(crate) fn walk(&self, linf: Option<u8>, network: &Graph) -> Result<Walk> {
        let default = Walk::default();
        let near = |Within { distance, most }| Arrival::Near { distance, within: most };
        Ok(Walk {
            steps: self.steps.unwrap_or(default.steps),
            size: self.step_size.unwrap_or(default.size),
            pace: default.pace,
            arrival: self.within.map_or(default.arrival, near),
            budget: self.l2.map(Budget::L2).or(linf.map(Budget::Linf)),
            back: self.back.unwrap_or(default.back),
            also: self.also.iter().map(|text| also(text, network)).collect::<Result<_>>()?,
        })
    }
}

impl WalkArguments {
    /// Projected gradient descent inside `linf`, or the budget in L2.
    pub(crate) fn pgd(&self, linf: Option<u8>) -> Result<Pgd> {
        let Some(budget) = self.l2.map(Budget::L2).or(linf.map(Budget::Linf)) else {
            bail!("pgd stays inside a budget, found none; give --linf or --l2");
        };
        let pgd = Pgd::new(budget);
        let default = pgd.walk().map_or((0, 0.0), |walk| (walk.steps, walk.size));
        Ok(pgd.with_steps(self.steps.unwrap_or(default.0), self.step_size.unwrap_or(default.1)))
    }

    pub(crate) fn deepfool(&self) -> DeepFool {
        self.steps.map_or_else(DeepFool::default, DeepFool::new)
    }

    pub(crate) fn lbfgs(&self) -> Lbfgs {
        self.steps.map_or_else(Lbfgs::default, |steps| Lbfgs::default().with_iterations(steps))
    }

    pub(crate) fn feature_adversary(&self, layer: LayerId, linf: Option<u8>) -> FeatureAdversary {
        let method = FeatureAdversary::new(layer, linf.unwrap_or(FeatureAdversary::LINF));
        match self.steps {
            Some(steps) => method.with_iterations(steps),
            None => method,
        }
    }
}

/// A layer and its weight. Names of layers may hold colons.
fn also(text: &str, network: &Graph) -> Result<(LayerId, f32)> {
    let Some((layer, weight)) =
        text.rsplit_once(':').filter(|_| network.find_layers(text).is_err())
    else {
        return Ok((one_layer(network, "--also", text)?, 1.0));
    };
    let layer = one_layer(network, "--also", layer)?;
    match weight.parse() {
        Ok(weight) => Ok((layer, weight)),
        Err(_) => bail!("--also {text}: wanted a number as weight, found {weight:?}"),
    }
}
