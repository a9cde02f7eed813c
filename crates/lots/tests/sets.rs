//! Sets of perturbed images: what lies in their files, and that it is the same however they come about.

#![cfg(feature = "sets")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]
#![allow(clippy::float_cmp, reason = "what is compared has to be the same number")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lots::attack::{
    Argmax, Attack, Decision, Extent, Fgv, Goal, HotCold, Lots, Method, Outcome, Target, attack,
};
use lots::set::{
    Choice, Common, Counts, Facts, Leader, Origins, Plan, Sample, SetFolder, is_set,
    leaders_of_set, read_set_facts, read_set_images,
};
use lots::{Error, NamedImage, Split, images_batch, l2, linf, open_dataset, pass};
use lots_nn::{Graph, Network, lenet};

/// A LeNet without training, which tells digits apart somehow, and what sets are made of.
struct Workplace {
    network: Graph,
    decision: Argmax,
    origins: Vec<NamedImage>,
    positions: Vec<usize>,
    free: Vec<Box<dyn Method>>,
    led: Vec<Box<dyn Method>>,
    leaders: Vec<Leader>,
}

impl Workplace {
    fn new(count: usize) -> Self {
        let network = lenet(3);
        let decision = Argmax::of(&network).unwrap();
        let test = open_dataset("mnist:test", Split::Test).unwrap();
        let classified = |i: usize| {
            let image = test.named(i);
            let pixels = images_batch(network.input(), std::slice::from_ref(&image.image)).unwrap();
            let seen = network.represent(pixels.view(), decision.layer()).unwrap();
            let class = decision.decide(&seen.into_iter().collect::<Vec<_>>());
            NamedImage { label: class, ..image }
        };
        let positions: Vec<usize> = (0..count).map(|i| 7 * i).collect();
        let origins: Vec<NamedImage> = positions.iter().map(|&i| classified(i)).collect();
        let leader = |i: usize| Leader { image: test.named(i), index: i };
        let leaders = (100..140).map(leader).collect();
        let layers = network.find_layers("all").unwrap();
        let led = layers[1..3].iter().map(|&layer| Box::new(Lots(layer)) as _).collect();
        let free: Vec<Box<dyn Method>> =
            (0..10).map(|hot| Box::new(HotCold { hot }) as _).collect();
        let free = std::iter::once(Box::new(Fgv) as Box<dyn Method>).chain(free).collect();
        Self { network, decision, origins, positions, free, led, leaders }
    }

    fn first(&self, count: usize) -> Choice {
        Choice::First { classes: Choice::classes(&self.leaders), count }
    }
}

impl Origins for Workplace {
    fn count(&self) -> usize {
        self.origins.len()
    }

    fn label(&self, i: usize) -> Option<usize> {
        self.origins[i].label
    }

    fn position(&self, i: usize) -> usize {
        self.positions[i]
    }

    fn image(&self, i: usize) -> Result<NamedImage, Error> {
        Ok(self.origins[i].clone())
    }
}

impl Workplace {
    fn plan<'a>(&'a self, choice: &'a Choice, percents: &'a [u16]) -> Plan<'a> {
        Plan {
            network: &self.network,
            decision: &self.decision,
            origins: self,
            free: &self.free,
            led: &self.led,
            leaders: &self.leaders,
            choice,
            percents,
            seed: 5,
            measures_pass: true,
        }
    }
}

fn common(settings: &str) -> Common {
    let classes = (0..10).map(|class| class.to_string()).collect();
    Common { classes, seed: u64::MAX, model: "abc".to_owned(), settings: settings.to_owned() }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn read(folder: &Path) -> Vec<Sample> {
    let facts = read_set_facts(folder).unwrap().flat_map(|shard| shard.unwrap());
    let images = read_set_images(folder).unwrap().flat_map(|shard| shard.unwrap());
    images.zip(facts).map(|(image, facts)| Sample { image, facts }).collect()
}

/// Oracles: the attack, the measures and the network, each asked about one row alone.
#[test]
fn every_row_is_what_it_says() {
    let place = Workplace::new(6);
    let choice = place.first(2);
    let plan = place.plan(&choice, &[100, 150]);
    let (samples, counts) = plan.make(0).unwrap();
    assert_eq!((plan.shards(), counts.origins, counts.misclassified), (1, 6, 0));
    assert_eq!((counts.attempts, counts.found), (plan.attempts(), samples.len()));
    assert!(samples.len() > 100, "{}", samples.len());
    let (mut scaled, mut led) = (0, 0);
    for Sample { image, facts } in &samples {
        let place_of = place.positions.iter().position(|&p| p == facts.origin).unwrap();
        let origin = &place.origins[place_of];
        let leader = facts.target.map(|index| {
            place.leaders.iter().find(|leader| leader.index == index).unwrap().image.clone()
        });
        let method = place.free.iter().chain(&place.led).find(|method| {
            let layer = method.layer().unwrap_or(place.decision.layer());
            let info = place.network.layers().iter().find(|info| info.id == layer).unwrap();
            let is_hot = method.hot().is_none() || method.hot() == facts.target_label;
            method.name() == facts.method && info.name == facts.layer && is_hot
        });
        let images: Vec<NamedImage> =
            [Some(origin.clone()), leader].into_iter().flatten().collect();
        let percent = u16::try_from(facts.percent).unwrap();
        let alone = Attack {
            origin: 0,
            target: facts.target.map(|_| Target::Image(1)),
            method: &**method.unwrap(),
            goal: Goal::Any,
            extent: if percent == 100 { Extent::Smallest } else { Extent::Beyond(percent) },
            units: None,
        };
        let ended = attack(&place.network, &place.decision, &images, &[alone]).next().unwrap();
        let Outcome::Adversarial(found) = ended.unwrap().outcome else { panic!("{facts:?}") };
        let wanted = Facts {
            label: origin.label.unwrap(),
            adversarial_label: found.class,
            origin: place.positions[place_of],
            step: found.step.into(),
            l2: l2(&origin.image, image).unwrap().0,
            linf: linf(&origin.image, image).unwrap().0.into(),
            pass: Some(pass(&origin.image, image).unwrap().score),
            ..facts.clone()
        };
        assert_eq!((image, facts), (&found.image, &wanted));
        assert_ne!(facts.target_label, Some(facts.label));
        scaled += usize::from(percent > 100);
        led += usize::from(facts.target.is_some());
    }
    assert!(scaled > 40 && led > 40, "{scaled} {led}");
}

#[test]
fn a_step_beyond_is_the_multiple_of_the_smallest() {
    let place = Workplace::new(3);
    let choice = place.first(1);
    let (samples, _) = place.plan(&choice, &[100, 125]).make(0).unwrap();
    let mut pairs = 0;
    for pair in samples.windows(2) {
        let [smallest, beyond] = [&pair[0].facts, &pair[1].facts];
        if (smallest.percent, beyond.percent) == (100, 125) && smallest.target == beyond.target {
            assert_eq!(smallest.step as f32 * 125.0 / 100.0, beyond.step as f32);
            assert!(beyond.l2 >= smallest.l2);
            pairs += 1;
        }
    }
    assert!(pairs > 20, "{pairs}");
    let one =
        |percent| Attack { extent: Extent::Beyond(percent), ..Attack::smallest(0, None, &Fgv) };
    for percent in [0, 100] {
        let attacks = [one(percent)];
        let refused = attack(&place.network, &place.decision, &place.origins, &attacks).next();
        let message = refused.unwrap().unwrap_err().to_string();
        assert!(message.contains("do not lead beyond it; give more than 100"), "{message}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let place = Workplace::new(4);
    let choice = place.first(1);
    let plan = place.plan(&choice, &[100]);
    let folder = SetFolder::open(dir.path(), common("{}"), 1, false, false).unwrap();
    assert!(is_set(dir.path()));
    assert_eq!(folder.counts(0).unwrap(), None);
    let counts = folder.make(&plan, 0).unwrap();
    assert_eq!(folder.counts(0).unwrap(), Some(counts));
    let (samples, _) = plan.make(0).unwrap();
    assert_eq!(read(dir.path()), samples);
    assert_eq!(folder.bytes().unwrap(), fs::metadata(folder.path(0)).unwrap().len());

    // As a data set it has the origins' labels.
    let data = open_dataset(dir.path().to_str().unwrap(), Split::Train).unwrap();
    assert_eq!(data.len(), samples.len());
    for (i, sample) in samples.iter().enumerate() {
        assert_eq!(
            (data.image(i), data.label(i)),
            (sample.image.clone(), Some(sample.facts.label))
        );
    }
}

#[test]
fn shards_made_apart_and_in_any_order_are_the_same() {
    let place = Workplace::new(23);
    let choice = Choice::Random { classes: Choice::classes(&place.leaders), count: 40 };
    // By these numbers an origin has up to 2,190 attacks, so that a shard holds few.
    let percents: Vec<u16> = (100..103).collect();
    let plan = place.plan(&choice, &percents);
    let shards = plan.shards();
    assert!(shards > 2, "{shards}");
    let ranges: Vec<usize> = (0..shards).flat_map(|shard| plan.origins_of(shard)).collect();
    assert_eq!(ranges, (0..23).collect::<Vec<_>>());
    let [whole, apart] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let open = |dir: &tempfile::TempDir, resume| {
        SetFolder::open(dir.path(), common("{\"a\": 1}"), shards, resume, false).unwrap()
    };
    let first = open(&whole, false);
    let mut sum = Counts::default();
    for shard in 0..shards {
        sum.add(&first.make(&plan, shard).unwrap());
    }
    assert_eq!((sum.origins, sum.attempts), (23, plan.attempts()));
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for shard in (0..shards).rev() {
        let made = one_thread.install(|| open(&apart, shard + 1 < shards).make(&plan, shard));
        made.unwrap();
    }
    assert!(files(whole.path()) == files(apart.path()), "bytes differ");
}

#[test]
fn leaders_are_as_chosen() {
    let place = Workplace::new(5);
    let classes = Choice::classes(&place.leaders);
    let led = |choice: &Choice, seed| {
        let mut plan = place.plan(choice, &[100]);
        plan.seed = seed;
        let (samples, _) = plan.make(0).unwrap();
        let mut targets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for Sample { facts, .. } in samples {
            if let Some(target) = facts.target {
                targets.entry(facts.origin).or_default().push(target);
            }
        }
        targets
    };
    let first = led(&Choice::First { classes: classes.clone(), count: 1 }, 0);
    for (origin, targets) in &first {
        let place_of = place.positions.iter().position(|p| p == origin).unwrap();
        for target in targets {
            let leader = |index: usize| &place.leaders[index - 100];
            let label = leader(*target).image.label;
            assert_ne!(label, place.origins[place_of].label);
            assert!((100..*target).all(|earlier| leader(earlier).image.label != label));
        }
    }
    let random = Choice::Random { classes, count: 2 };
    assert_eq!(led(&random, 1), led(&random, 1));
    assert_ne!(led(&random, 1), led(&random, 2));
    let own = Choice::Own(BTreeMap::from([(0, vec![3, 4]), (14, vec![9])]));
    let found = led(&own, 0);
    assert!(found.keys().all(|origin| [0, 14].contains(origin)), "{found:?}");
    assert!(found[&0].iter().all(|target| [103, 104].contains(target)), "{found:?}");
}

#[test]
fn images_of_a_set_lead_their_origins() {
    let dir = tempfile::tempdir().unwrap();
    let place = Workplace::new(3);
    let choice = place.first(1);
    let folder = SetFolder::open(dir.path(), common("{}"), 1, false, false).unwrap();
    folder.make(&place.plan(&choice, &[100]), 0).unwrap();
    let samples = read(dir.path());
    let (leaders, choice) = leaders_of_set(dir.path(), &place).unwrap();
    let Choice::Own(own) = &choice else { panic!("{choice:?}") };
    let mut others = Workplace::new(3);
    others.origins[0].label = others.origins[0].label.map(|label| (label + 1) % 10);
    let message = leaders_of_set(dir.path(), &others).unwrap_err().to_string();
    assert!(message.contains("it was made from other images; give the data"), "{message}");
    assert_eq!(leaders.len(), samples.len());
    for (i, (leader, sample)) in leaders.iter().zip(&samples).enumerate() {
        assert_eq!((leader.index, &leader.image.image), (i, &sample.image));
        assert_eq!(leader.image.label, Some(sample.facts.adversarial_label));
        assert!(own[&sample.facts.origin].contains(&i));
    }
}

#[test]
fn other_folders_and_files_are_refused() {
    let place = Workplace::new(2);
    let choice = place.first(1);
    let plan = place.plan(&choice, &[100]);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let open = |name: &str, settings: &str, resume, replace| {
        SetFolder::open(&path(name), common(settings), 1, resume, replace)
    };
    let first = open("set", r#"{"version": 1, "a_md5": "x", "seed": 0}"#, false, false).unwrap();
    first.make(&plan, 0).unwrap();
    fs::create_dir(path("full")).unwrap();
    fs::write(path("full/notes.txt"), "mine").unwrap();
    fs::write(path("file"), "").unwrap();
    fs::create_dir(path("broken")).unwrap();
    fs::write(path("broken/_set.json"), "{").unwrap();
    let other = r#"{"version": 1, "a_md5": "y", "seed": 1}"#;
    let same = r#"{"version": 1, "a_md5": "x", "seed": 0}"#;
    let cases = [
        (
            open("set", other, true, false),
            "set holds a set with seed 0, found seed 1; give the same, ",
        ),
        (open("set", same, false, false), "set holds a part of this set; go on with --resume, or "),
        (open("full", same, true, false), "full is not empty and holds no set; give another --out"),
        (
            open("file", same, true, false),
            "file is a file, wanted a folder for the set; give another",
        ),
        (
            open("broken", same, true, false),
            "broken holds a _set.json that is of no set; give another",
        ),
    ];
    for (found, wanted) in cases {
        let message = found.unwrap_err().to_string();
        assert!(message.contains(wanted), "wanted {wanted}, found {message}");
    }
    assert!(open("set", same, true, false).unwrap().counts(0).unwrap().is_some());
    assert!(open("set", other, false, true).unwrap().counts(0).unwrap().is_none(), "replaced");

    // Files cut off or of other things.
    let whole = {
        let set = open("cut", "{}", false, false).unwrap();
        set.make(&plan, 0).unwrap();
        fs::read(set.path(0)).unwrap()
    };
    let set = open("cut", "{}", true, false).unwrap();
    let data = |name: &str| open_dataset(path(name).to_str().unwrap(), Split::Train);
    let mut damaged = whole.clone();
    damaged[400..600].fill(0xa5);
    for (bytes, wanted) in [
        (&whole[..whole.len() / 2], "is no Parquet file that can be read"),
        (&[][..], "is no Parquet file that can be read"),
        (&damaged[..], ""),
    ] {
        fs::write(set.path(0), bytes).unwrap();
        let message = data("cut").unwrap_err().to_string();
        assert!(message.contains(wanted) && !message.contains('\n'), "{message}");
    }
    fs::write(set.path(0), &whole).unwrap();
    fs::create_dir(path("empty")).unwrap();
    let missing = leaders_of_set(&path("empty"), &place).unwrap_err().to_string();
    assert!(missing.contains("holds no set of perturbed images; make one with"), "{missing}");
    let split = open_dataset(&format!("{}:test", path("cut").display()), Split::Train);
    let split = split.unwrap_err().to_string();
    assert!(split.contains("holds Parquet files without splits, found :test"), "{split}");
}
