//! Pictures of records, in rows: an origin, and what became of it.

use std::path::Path;

use super::card::{Card, Links, Picture, Seen, called};
use super::link::relative;
use super::run::Run;
use super::tally::distinct;
use crate::error::DataError;
use crate::image::{Image, unperturbed};
use crate::names::method_title;
use crate::parallel;
use crate::record::Record;

/// The most bytes of pictures in a page.
const BYTES: usize = 3_300_000;
/// The most results with pictures in a page.
const RESULTS: usize = 1000;
/// Sides of pictures, the largest first; the smallest stays readable.
const SIDES: [usize; 3] = [196, 128, 96];
/// So many rows are made to see how large pictures are.
const PROBE: usize = 16;
/// The most results in a row: what is tried first, and where the page gets too large all the same.
const LONGEST: [usize; 3] = [24, 6, 1];

/// The rows of one method of one run.
pub(super) struct Gallery {
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
}

/// An origin, and the results of one method that share its target.
pub(super) struct Row {
    /// `None` where no image tells.
    pub(super) picture: Option<Picture>,
    /// What the origin's class is called.
    pub(super) class: String,
    /// The origin's reference.
    pub(super) origin: String,
    pub(super) target: Option<String>,
    /// What was done, where that is the same for all.
    pub(super) note: Option<String>,
    pub(super) cards: Vec<Card>,
    /// Images that are there, but not to be used.
    lost: Vec<String>,
}

/// All galleries of a page.
pub(super) struct Pictures {
    pub(super) galleries: Vec<Gallery>,
    /// Of those that are shown.
    pub(super) layers: Vec<String>,
    /// How many results are shown, of how many that have an image.
    pub(super) shown: (usize, usize),
    /// Why images are not shown, one each.
    pub(super) lost: Vec<String>,
}

/// A row that is still to be made.
#[derive(Clone)]
struct Plan<'a> {
    run: &'a Run,
    records: Vec<&'a Record>,
}

impl Pictures {
    /// As many of `runs` as a page in `folder` may hold, evenly spread where these are not all; something of each method of
    /// each run.
    pub(super) fn of(runs: &[Run], folder: &Path) -> Result<Self, DataError> {
        let (mut chosen, mut rows) = (Vec::new(), Vec::new());
        for longest in LONGEST {
            let groups: Vec<Vec<Plan<'_>>> =
                runs.iter().flat_map(|run| plans(run, longest)).collect();
            (chosen, rows) = fill(&groups, folder)?;
            if bytes(&rows) <= BYTES {
                break;
            }
        }
        let records = || chosen.iter().flat_map(|plan| &plan.records);
        let layers = distinct(records(), |record| record.layer.clone());
        let with_image = records().filter(|record| record.image.is_some()).count();
        let all = runs.iter().flat_map(|run| &run.records);
        let shown = (with_image, all.filter(|record| record.image.is_some()).count());
        let absent = runs.iter().flat_map(|run| run.records.iter().filter_map(|r| absent(run, r)));
        let lost = absent.chain(rows.iter().flat_map(|row| row.lost.clone())).collect();
        let mut galleries: Vec<Gallery> = Vec::new();
        for (plan, row) in chosen.iter().zip(rows) {
            let method = plan.records.first().map_or("", |record| method_title(&record.method));
            let title = match runs.len() {
                1 => method.to_owned(),
                _ => format!("{}: {method}", plan.run.name),
            };
            match galleries.last_mut().filter(|last| last.title == title) {
                Some(last) => last.rows.push(row),
                None => galleries.push(Gallery { title, rows: vec![row] }),
            }
        }
        Ok(Self { galleries, layers, shown, lost })
    }
}

/// What is named, but not there: a result's image, or else its perturbation.
fn absent(run: &Run, record: &Record) -> Option<String> {
    let names = [Some(record.image.as_ref()?), record.perturbation.as_ref()];
    let name = names.into_iter().flatten().find(|name| run.file(name).is_none())?;
    Some(format!("{}: there is no {name:?}", run.name))
}

/// The rows of a run that have an image, for each method; of at most `longest` results.
fn plans(run: &Run, longest: usize) -> Vec<Vec<Plan<'_>>> {
    let mut groups = Vec::new();
    for method in distinct(&run.records, |record| &record.method) {
        let mut of_method: Vec<Plan<'_>> = Vec::new();
        let mut places = std::collections::BTreeMap::new();
        for record in run.records.iter().filter(|record| record.method == *method) {
            let key = (&record.model, &record.origin, &record.target, &record.target_label);
            let place = *places.entry(key).or_insert(of_method.len());
            match of_method.get_mut(place) {
                Some(plan) => plan.records.push(record),
                None => of_method.push(Plan { run, records: vec![record] }),
            }
        }
        let parts = of_method.iter().flat_map(|plan| plan.records.chunks(longest));
        let mut short: Vec<Plan<'_>> =
            parts.map(|records| Plan { run, records: records.to_vec() }).collect();
        short.retain(|plan| plan.records.iter().any(|record| record.image.is_some()));
        groups.extend((!short.is_empty()).then_some(short));
    }
    groups
}

/// As many rows of `groups` as a page may hold, but at least one of each.
fn fill<'a>(
    groups: &[Vec<Plan<'a>>],
    folder: &Path,
) -> Result<(Vec<Plan<'a>>, Vec<Row>), DataError> {
    let (mut count, side) = size(groups, folder)?;
    loop {
        let chosen = evenly(groups, count);
        let rows = make(&chosen, side, folder)?;
        let bytes = bytes(&rows);
        if bytes <= BYTES || chosen.len() <= groups.len() {
            return Ok((chosen, rows));
        }
        // The next guess is a little too small rather than too large again.
        count = (count * BYTES / bytes * 15 / 16).min(count - 1);
    }
}

/// About `count` rows, or all, as far apart as they can be; of each group its share, and one at least.
fn evenly<'a>(groups: &[Vec<Plan<'a>>], count: usize) -> Vec<Plan<'a>> {
    let all: usize = groups.iter().map(Vec::len).sum();
    let some = |plans: &Vec<Plan<'a>>| -> Vec<Plan<'a>> {
        let n = plans.len();
        let share = (count.min(all) * n / all).max(1);
        (0..share).map(|i| plans[(2 * i + 1) * n / (2 * share)].clone()).collect()
    };
    groups.iter().flat_map(some).collect()
}

/// How many rows a page may hold, about, and how large their pictures may be.
fn size(groups: &[Vec<Plan<'_>>], folder: &Path) -> Result<(usize, usize), DataError> {
    let all: usize = groups.iter().map(Vec::len).sum();
    let results: usize = groups.iter().flatten().map(|plan| plan.records.len()).sum();
    let most = if results > RESULTS { all * RESULTS / results } else { all };
    let mut found = (most, SIDES[0]);
    for side in SIDES {
        let probe = make(&evenly(groups, PROBE), side, folder)?;
        found = (most.min(BYTES * probe.len() / bytes(&probe).max(1)), side);
        if found.0 == most {
            break;
        }
    }
    Ok(found)
}

/// What the pictures of `rows` take in the page.
fn bytes(rows: &[Row]) -> usize {
    rows.iter().map(Row::bytes).sum()
}

fn make(plans: &[Plan<'_>], side: usize, folder: &Path) -> Result<Vec<Row>, DataError> {
    let rows = parallel::map(plans.iter().collect(), |plan| Row::new(plan, side, folder));
    rows.into_iter().collect()
}

impl Row {
    fn new(plan: &Plan<'_>, side: usize, folder: &Path) -> Result<Self, DataError> {
        let mut row = Self {
            picture: None,
            class: String::new(),
            origin: String::new(),
            target: None,
            note: None,
            cards: Vec::new(),
            lost: Vec::new(),
        };
        if let Some(first) = plan.records.first() {
            row.class.clone_from(&first.origin_name);
            row.origin.clone_from(&first.origin);
            row.target = target(first);
        }
        for record in &plan.records {
            let card = row.card(plan.run, record, side, folder)?;
            row.cards.push(card);
        }
        let notes = distinct(&row.cards, |card| card.note.clone());
        if let ([note], true) = (&notes[..], row.cards.len() > 1) {
            row.note.clone_from(note);
            row.cards.iter_mut().for_each(|card| card.note = None);
        }
        Ok(row)
    }

    /// The card of a record. The first one with an image and its perturbation tells the origin, too.
    fn card(
        &mut self,
        run: &Run,
        record: &Record,
        side: usize,
        folder: &Path,
    ) -> Result<Card, DataError> {
        let Some(image) = self.read(run, record.image.as_deref()) else {
            return Card::new(record, None);
        };
        let picture = self.read(run, record.perturbation.as_deref());
        let change = picture.as_ref().zip(record.perturbation_scale);
        let origin = change.and_then(|(picture, scale)| unperturbed(&image, picture, scale));
        if origin.is_none() && change.is_some() {
            self.lost.push(format!(
                "{}: the perturbation of record {:?} is of another size than its image",
                run.name,
                record.perturbation.as_deref().unwrap_or_default()
            ));
        }
        let seen = Seen { image: &image, change: change.filter(|_| origin.is_some()), side };
        let mut card = Card::new(record, Some(&seen))?;
        if let (None, Some(origin)) = (&self.picture, origin) {
            let alt = format!("Origin: {}, {}", record.origin_name, record.origin);
            self.picture = Some(Picture::within(side, &origin, alt)?);
        }
        let url = |name: &Option<String>| url(run, name.as_deref()?, folder);
        card.links = url(&record.image)
            .map(|image| Links { image, perturbation: url(&record.perturbation) });
        Ok(card)
    }

    /// The image that a record calls `name`, if it is there and can be read.
    fn read(&mut self, run: &Run, name: Option<&str>) -> Option<Image> {
        let file = run.file(name?)?;
        Image::read_png(&file).map_err(|e| self.lost.push(e.to_string())).ok()
    }

    /// What its pictures take in the page.
    fn bytes(&self) -> usize {
        let shown = self.cards.iter().filter_map(|card| card.shown.as_ref());
        let pictures = shown.flat_map(|shown| {
            [Some(&shown.perturbed), shown.change.as_ref().map(|change| &change.picture)]
        });
        pictures.chain([self.picture.as_ref()]).flatten().map(|picture| picture.uri.len()).sum()
    }
}

/// The URL of a file of a run, from a page in `folder`.
pub(super) fn url(run: &Run, name: &str, folder: &Path) -> Option<String> {
    relative(folder, &run.file(name)?.canonicalize().ok()?)
}

/// What leads the way: what it shows, and its reference.
fn target(record: &Record) -> Option<String> {
    let target = record.target.as_ref()?;
    Some(match record.target_label {
        Some(label) => format!("{}, {target}", called(&record.target_name, label)),
        None => target.clone(),
    })
}
