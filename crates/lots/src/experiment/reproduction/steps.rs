//! What is to be done, in which order, and about how long it takes.

use serde::{Deserialize, Serialize};

use super::models::{BASIC, Model, SetName, Source, Subject};

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// Iterations of training are divided by this.
    pub division: u64,
    /// Training digits that sets are made of, evenly spread.
    pub origins: usize,
    /// Deformed digits.
    pub deformed: usize,
    /// Test digits that are attacked, evenly spread.
    pub limit: usize,
}

impl Scale {
    /// The paper's.
    pub const FULL: Self =
        Self { division: 1, origins: 60_000, deformed: 2_000_000, limit: 10_000 };
    /// A small version: it shows how it goes, not what comes of it.
    pub const QUICK: Self = Self { division: 20, origins: 3_000, deformed: 100_000, limit: 200 };

    /// What is done, in words.
    pub fn words(&self) -> String {
        let Self { division, origins, deformed, limit } = self;
        let part = match division {
            1 => "all iterations".to_owned(),
            division => format!("a {division}th of the iterations"),
        };
        format!(
            "{part}, sets of {origins} training digits, {deformed} deformed digits, {limit} test digits attacked"
        )
    }

    /// Iterations of a network's training. Basic, from which all others come, is always trained to its end.
    pub fn iterations(&self, model: Model) -> u64 {
        match model {
            Model::Basic => model.iterations(),
            _ => (model.iterations() / self.division).max(1),
        }
    }
}

/// A piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A network is trained.
    Train(Subject),
    /// A set is made of the training digits, on Basic.
    Make(SetName),
    /// A network's errors are counted, and the test digits attacked.
    Measure(Subject),
    /// The samples of test digits on Basic are compared.
    Compare,
}

/// Test digits whose samples become targets of LOTS, evenly spread over those attacked.
pub(super) const COMPARED: usize = 1000;

impl Step {
    /// What it is, in words.
    pub fn title(&self) -> String {
        match self {
            Self::Train(subject) => format!("training {}", subject.key()),
            Self::Make(set) => format!("making the {} samples", set.key()),
            Self::Measure(subject) => format!("attacking {}", subject.key()),
            Self::Compare => "comparing samples".to_owned(),
        }
    }

    /// About how long it takes, in units in which an iteration of training is one.
    pub(super) fn cost(&self, scale: &Scale) -> f64 {
        // An attack takes a 30th of an iteration, and PASS twice as long as the attack.
        let attacks = |origins: usize, each: usize| (origins * each) as f64 / 30.0;
        match self {
            Self::Train(subject) => scale.iterations(subject.model) as f64,
            Self::Make(set) => attacks(scale.origins, set.attacks()),
            Self::Measure(subject) => {
                attacks(scale.limit, 47) * if subject.seed == 0 { 3.0 } else { 1.0 }
            }
            Self::Compare => attacks(scale.limit.min(COMPARED), 40) * 3.0,
        }
    }
}

impl SetName {
    /// Attacks on each origin.
    fn attacks(self) -> usize {
        match self {
            Self::Fgs | Self::Fgv => 1,
            Self::HotCold => 9,
            Self::ImprovedFgv => 4,
            Self::Lots | Self::ImprovedHotCold => 36,
        }
    }
}

/// Where things stand: what there is already.
pub(super) trait Stock {
    fn has_tally(&self, subject: Subject) -> bool;
    fn has_network(&self, subject: Subject) -> bool;
    fn has_set(&self, set: SetName) -> bool;
    fn has_comparison(&self) -> bool;
    /// Whether what was found in the attacks on it is there too.
    fn has_cells(&self, subject: Subject) -> bool;
}

/// The steps that are left to measure `models` with seeds below `seeds`: first all with seed 0, which make the table, then the
/// fine-tuned ones with the others. What is needed for a step stands before it, and nothing stands there that is needed by none.
pub(super) fn steps(models: &[Model], seeds: u64, stock: &impl Stock) -> Vec<Step> {
    let mut steps = Vec::new();
    for seed in 0..seeds {
        for &model in models.iter().filter(|model| seed == 0 || model.is_tuned()) {
            let subject = Subject { model, seed };
            if !stock.has_tally(subject) {
                add_network(subject, stock, &mut steps);
                steps.push(Step::Measure(subject));
            }
            if subject == BASIC && !stock.has_comparison() {
                add_network(subject, stock, &mut steps);
                if !stock.has_cells(subject) && !steps.contains(&Step::Measure(subject)) {
                    steps.push(Step::Measure(subject));
                }
                steps.push(Step::Compare);
            }
        }
    }
    steps
}

fn add_network(subject: Subject, stock: &impl Stock, steps: &mut Vec<Step>) {
    let step = Step::Train(subject);
    if stock.has_network(subject) || steps.contains(&step) {
        return;
    }
    if subject.model.is_tuned() {
        add_network(BASIC, stock, steps);
    }
    for source in subject.model.sources() {
        if let Source::Set(set) | Source::SetAt(set, _) = source {
            add_set(set, stock, steps);
        }
    }
    steps.push(step);
}

fn add_set(set: SetName, stock: &impl Stock, steps: &mut Vec<Step>) {
    let step = Step::Make(set);
    if stock.has_set(set) || steps.contains(&step) {
        return;
    }
    add_network(BASIC, stock, steps);
    if let Some(leaders) = set.leaders() {
        add_set(leaders, stock, steps);
    }
    steps.push(step);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct There {
        tallies: Vec<Subject>,
        networks: Vec<Subject>,
        sets: Vec<SetName>,
        cells: Vec<Subject>,
        compared: bool,
    }

    impl Stock for There {
        fn has_tally(&self, subject: Subject) -> bool {
            self.tallies.contains(&subject)
        }

        fn has_network(&self, subject: Subject) -> bool {
            self.networks.contains(&subject)
        }

        fn has_set(&self, set: SetName) -> bool {
            self.sets.contains(&set)
        }

        fn has_comparison(&self) -> bool {
            self.compared
        }

        fn has_cells(&self, subject: Subject) -> bool {
            self.cells.contains(&subject)
        }
    }

    fn titles(models: &[Model], seeds: u64, stock: &There) -> Vec<String> {
        steps(models, seeds, stock).iter().map(Step::title).collect()
    }

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let models = [Model::Fgs, Model::LotsAt(3), Model::Basic];
        let wanted = [
            "training basic",
            "making the fgs samples",
            "training fgs",
            "attacking fgs",
            "making the lots samples",
            "training lots-ip1",
            "attacking lots-ip1",
            "attacking basic",
            "comparing samples",
            "training fgs-seed1",
            "attacking fgs-seed1",
            "training lots-ip1-seed1",
            "attacking lots-ip1-seed1",
        ];
        assert_eq!(titles(&models, 2, &There::default()), wanted);
        let wanted = [
            "training basic",
            "making the fgv samples",
            "making the improved-fgv samples",
            "training improved-fgv",
            "attacking improved-fgv",
        ];
        assert_eq!(titles(&[Model::ImprovedFgv], 1, &There::default()), wanted);
    }

    #[test]
    fn what_is_there_is_not_made_again() {
        let of = |model| Subject { model, seed: 0 };
        let all = There { tallies: vec![of(Model::Fgs), of(Model::Lots)], ..There::default() };
        assert_eq!(titles(&[Model::Fgs, Model::Lots], 1, &all), [""; 0]);
        let some = There {
            networks: vec![of(Model::Basic), of(Model::Fgs)],
            sets: vec![SetName::Lots],
            ..There::default()
        };
        assert_eq!(
            titles(&[Model::Fgs, Model::Mixed], 1, &some),
            ["attacking fgs", "training mixed", "attacking mixed"]
        );
        // The samples of a run on another machine are not there: they are made again where they are needed.
        let mut elsewhere =
            There { tallies: vec![BASIC], networks: vec![BASIC], ..There::default() };
        let again = ["attacking basic", "comparing samples"];
        assert_eq!(titles(&[Model::Basic], 1, &elsewhere), again);
        elsewhere.cells.push(BASIC);
        assert_eq!(titles(&[Model::Basic], 1, &elsewhere), again[1..]);
        elsewhere.compared = true;
        assert_eq!(titles(&[Model::Basic], 3, &elsewhere), [""; 0]);
    }
}
