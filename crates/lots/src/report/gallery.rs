//! Pictures of records, in rows: an origin, and what became of it.

use std::path::Path;

use super::card::{Card, Links, Picture, Seen, called};
use super::link::relative;
use super::method_title;
use super::run::Run;
use super::tally::distinct;
use crate::error::DataError;
use crate::image::{Image, unperturbed};
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
    /// Images that are named, but not to be had.
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
    /// As many of `runs` as a page in `folder` may hold, evenly spread where these are not all.
    pub(super) fn of(runs: &[Run], folder: &Path) -> Result<Self, DataError> {
        let plans: Vec<Plan<'_>> = runs.iter().flat_map(plans).collect();
        let with_image = |plans: &[Plan<'_>]| -> usize {
            let records = plans.iter().flat_map(|plan| &plan.records);
            records.filter(|record| record.image.is_some()).count()
        };
        let all = with_image(&plans);
        let (mut count, side) = size(&plans, folder)?;
        let (chosen, rows) = loop {
            let chosen = evenly(&plans, count);
            let rows = make(&chosen, side, folder)?;
            let bytes: usize = rows.iter().map(Row::bytes).sum();
            if bytes <= BYTES || count <= 1 {
                break (chosen, rows);
            }
            // The next guess is a little too small rather than too large again.
            count = (count * BYTES / bytes * 15 / 16).clamp(1, count - 1);
        };
        let records = || chosen.iter().flat_map(|plan| &plan.records);
        let layers = distinct(records(), |record| record.layer.clone());
        let shown = (with_image(&chosen), all);
        let lost = rows.iter().flat_map(|row| row.lost.clone()).collect();
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

/// The rows of a run that have an image, by method.
fn plans(run: &Run) -> Vec<Plan<'_>> {
    let mut plans = Vec::new();
    for method in distinct(&run.records, |record| &record.method) {
        let mut of_method: Vec<Plan<'_>> = Vec::new();
        let mut places = std::collections::BTreeMap::new();
        for record in run.records.iter().filter(|record| record.method == *method) {
            let key = (&record.origin, &record.target, &record.target_label);
            let place = *places.entry(key).or_insert(of_method.len());
            match of_method.get_mut(place) {
                Some(plan) => plan.records.push(record),
                None => of_method.push(Plan { run, records: vec![record] }),
            }
        }
        plans.extend(of_method);
    }
    plans.retain(|plan| plan.records.iter().any(|record| record.image.is_some()));
    plans
}

/// `count` of `plans`, or all, as far apart as they can be.
fn evenly<'a>(plans: &[Plan<'a>], count: usize) -> Vec<Plan<'a>> {
    let count = count.min(plans.len());
    (0..count).map(|i| plans[(2 * i + 1) * plans.len() / (2 * count)].clone()).collect()
}

/// How many rows a page may hold, about, and how large their pictures may be.
fn size(plans: &[Plan<'_>], folder: &Path) -> Result<(usize, usize), DataError> {
    let results: usize = plans.iter().map(|plan| plan.records.len()).sum();
    let most = if results > RESULTS { plans.len() * RESULTS / results } else { plans.len() };
    let mut found = (most, SIDES[0]);
    for side in SIDES {
        let probe = make(&evenly(plans, PROBE), side, folder)?;
        let bytes: usize = probe.iter().map(Row::bytes).sum();
        found = (most.min(BYTES * probe.len() / bytes.max(1)), side);
        if found.0 == most {
            break;
        }
    }
    Ok((found.0.max(1), found.1))
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

    /// The image that a record calls `name`, if it is to be had.
    fn read(&mut self, run: &Run, name: Option<&str>) -> Option<Image> {
        let name = name?;
        let Some(file) = run.file(name) else {
            self.lost.push(format!("{}: there is no {name:?}", run.name));
            return None;
        };
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
