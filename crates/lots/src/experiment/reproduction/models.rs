//! The networks of Table 1, and what each of them learns from.

use crate::error::DataError;

/// A network of the table, or one beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Model {
    /// Caffe's recipe on the training digits.
    Basic,
    /// The same on 2 million deformed digits.
    InfiMnist,
    /// Basic, fine-tuned on samples by FGS.
    Fgs,
    /// By FGV.
    Fgv,
    /// By hot/cold.
    HotCold,
    /// By LOTS at every layer.
    Lots,
    /// By LOTS at the layer with this index.
    LotsAt(usize),
    /// Beside the table: Basic, fine-tuned as long as LOTS on the training digits themselves.
    Clean,
    /// Beside the table: on training digits and LOTS samples, half of each.
    Mixed,
    /// Beside the table: on LOTS samples whose targets are FGV samples.
    ImprovedFgv,
    /// Beside the table: on LOTS samples whose targets are hot/cold samples.
    ImprovedHotCold,
}

/// What a network is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The training digits.
    Digits,
    /// Deformed digits.
    Deformed,
    /// A set of perturbed training digits.
    Set(SetName),
    /// Of such a set, the samples of the layer with this index.
    SetAt(SetName, usize),
}

/// A set of perturbed training digits, made on Basic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetName {
    /// By FGS.
    Fgs,
    /// By FGV.
    Fgv,
    /// By hot/cold, towards every other class.
    HotCold,
    /// By LOTS, at every layer and towards an image of every other class.
    Lots,
    /// By LOTS at every layer, towards the FGV sample of the same digit.
    ImprovedFgv,
    /// Likewise, towards its hot/cold samples.
    ImprovedHotCold,
}

impl SetName {
    /// The name of its folder.
    pub fn key(self) -> &'static str {
        match self {
            Self::Fgs => "fgs",
            Self::Fgv => "fgv",
            Self::HotCold => "hot-cold",
            Self::Lots => "lots",
            Self::ImprovedFgv => "improved-fgv",
            Self::ImprovedHotCold => "improved-hot-cold",
        }
    }

    /// The set whose samples are its targets.
    pub fn leaders(self) -> Option<Self> {
        match self {
            Self::ImprovedFgv => Some(Self::Fgv),
            Self::ImprovedHotCold => Some(Self::HotCold),
            _ => None,
        }
    }
}

impl Model {
    /// The rows of the table, in its order, and then those beside it.
    pub const ALL: [Self; 14] = [
        Self::Basic,
        Self::InfiMnist,
        Self::Fgs,
        Self::Fgv,
        Self::HotCold,
        Self::Lots,
        Self::LotsAt(1),
        Self::LotsAt(2),
        Self::LotsAt(3),
        Self::LotsAt(4),
        Self::Clean,
        Self::Mixed,
        Self::ImprovedFgv,
        Self::ImprovedHotCold,
    ];

    /// How many of [`ALL`](Self::ALL) are the paper's.
    pub const ROWS: usize = 10;

    /// What users call it, and its files.
    pub fn key(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::InfiMnist => "infimnist",
            Self::Fgs => "fgs",
            Self::Fgv => "fgv",
            Self::HotCold => "hot-cold",
            Self::Lots => "lots",
            Self::LotsAt(1) => "lots-conv1",
            Self::LotsAt(2) => "lots-conv2",
            Self::LotsAt(3) => "lots-ip1",
            Self::LotsAt(_) => "lots-ip2",
            Self::Clean => "clean",
            Self::Mixed => "mixed",
            Self::ImprovedFgv => "improved-fgv",
            Self::ImprovedHotCold => "improved-hot-cold",
        }
    }

    /// What it is called in the table.
    ///
    /// Paper: Table 1.
    pub fn title(self) -> &'static str {
        match self {
            Self::Basic => "Basic LeNet",
            Self::InfiMnist => "InfiMNIST",
            Self::Fgs => "FGS",
            Self::Fgv => "FGV",
            Self::HotCold => "HC",
            Self::Lots => "LOTS",
            Self::LotsAt(1) => "LOTS CONV1",
            Self::LotsAt(2) => "LOTS CONV2",
            Self::LotsAt(3) => "LOTS IP1",
            Self::LotsAt(_) => "LOTS IP2",
            Self::Clean => "clean (control)",
            Self::Mixed => "clean + LOTS",
            Self::ImprovedFgv => "LOTS to FGV",
            Self::ImprovedHotCold => "LOTS to HC",
        }
    }

    /// The network called `key`.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(key: &str) -> Result<Self, DataError> {
        Self::ALL.into_iter().find(|model| model.key() == key).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|model| model.key()).collect();
            DataError::Reference {
                wanted: "model of Table 1",
                spec: key.to_owned(),
                remedy: format!("models: {}", known.join(", ")),
            }
        })
    }

    /// Whether it starts from Basic's weights; else from fresh ones.
    pub fn is_tuned(self) -> bool {
        !matches!(self, Self::Basic | Self::InfiMnist)
    }

    /// Whether perturbed images, and they alone, are what it is fine-tuned on.
    pub fn is_adversarial(self) -> bool {
        self.is_tuned() && !matches!(self, Self::Clean | Self::Mixed)
    }

    /// Iterations of training. The paper does not say how many its models of one layer had; they have a quarter of LOTS's samples,
    /// as many as hot/cold, and its 50,000. "LOTS to FGV" has as many as LOTS at one layer for its 4 images a digit rather than 9.
    ///
    /// Paper: section 5.1.
    pub fn iterations(self) -> u64 {
        match self {
            Self::Basic => 10_000,
            Self::Fgs | Self::Fgv => 20_000,
            Self::HotCold | Self::LotsAt(_) | Self::ImprovedFgv => 50_000,
            Self::InfiMnist | Self::Lots | Self::Clean | Self::Mixed | Self::ImprovedHotCold => {
                100_000
            }
        }
    }

    /// What its batches are mixed of, in equal parts.
    pub fn sources(self) -> Vec<Source> {
        match self {
            Self::Basic | Self::Clean => vec![Source::Digits],
            Self::InfiMnist => vec![Source::Deformed],
            Self::Fgs => vec![Source::Set(SetName::Fgs)],
            Self::Fgv => vec![Source::Set(SetName::Fgv)],
            Self::HotCold => vec![Source::Set(SetName::HotCold)],
            Self::Lots => vec![Source::Set(SetName::Lots)],
            Self::LotsAt(index) => vec![Source::SetAt(SetName::Lots, index)],
            Self::Mixed => vec![Source::Digits, Source::Set(SetName::Lots)],
            Self::ImprovedFgv => vec![Source::Set(SetName::ImprovedFgv)],
            Self::ImprovedHotCold => vec![Source::Set(SetName::ImprovedHotCold)],
        }
    }
}

/// A network of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Which network.
    pub model: Model,
    /// What its batches are ordered by; Basic's also makes its first weights.
    pub seed: u64,
}

/// What all others are fine-tuned from, and sets are made on.
pub(super) const BASIC: Subject = Subject { model: Model::Basic, seed: 0 };

impl Subject {
    /// The beginning of its files' names.
    pub fn key(self) -> String {
        match self.seed {
            0 => self.model.key().to_owned(),
            seed => format!("{}-seed{seed}", self.model.key()),
        }
    }
}
