//! `lots visualize --with`: what other methods show of the same layers.

use std::fs::File;
use std::io::Write as _;
use std::mem;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use lots::attack::{Decision, Units};
use lots::figure::{Cell, Grid};
use lots::report::Exhibit;
use lots::visual::{Driven, Inversion, Maximisation, Unit, deconvolution, guided, saliency};
use lots::{Image, NamedImage, file_stem};
use lots_nn::{Graph, LayerId};
use serde::Serialize;

use crate::arguments::Seed;
use crate::attack::{layer, plain};
use crate::figure::{CLIPPED, LEGEND, file_name};
use crate::output::{narrow, print_json, reader_left, table};
use crate::progress::steps;
use crate::signal::stop_on_signal;

/// Images that climb or descend together.
const TOGETHER: usize = 16;
/// The list of all that was shown, in the results' folder.
const VIEWS: &str = "views.jsonl";

/// `--with`, `--seed`
#[derive(Args)]
pub(crate) struct ViewArguments {
    /// Show LOTS beside other methods, in DIR/comparison.png and .svg; repeat, or separate by commas
    #[arg(long, value_enum, value_name = "METHOD", value_delimiter = ',')]
    with: Vec<With>,
    #[command(flatten)]
    seed: Seed,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum With {
    /// Gradient of the layer's unit that the image drives most (Simonyan et al. 2014)
    Saliency,
    /// The same unit sent back, where ReLUs pass what is above zero (Zeiler and Fergus 2014); ReLU networks only
    Deconvolution,
    /// Guided back-propagation: ReLUs pass what both of these pass (Springenberg et al. 2015); ReLU networks only
    Guided,
    /// The image, out of noise, to which the unit responds most (Erhan et al. 2009, Yosinski et al. 2015)
    Maximise,
    /// The image, out of noise, in which the layer sees the same (Mahendran and Vedaldi 2015)
    Invert,
}

impl With {
    fn name(self) -> &'static str {
        match self {
            Self::Saliency => "saliency",
            Self::Deconvolution => "deconvolution",
            Self::Guided => "guided",
            Self::Maximise => "maximise",
            Self::Invert => "invert",
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Saliency => "gradient saliency",
            Self::Deconvolution => "deconvolution",
            Self::Guided => "guided backprop",
            Self::Maximise => "activation maximised",
            Self::Invert => "representation inverted",
        }
    }

    /// What is to be seen, a sentence at the foot of the figure.
    fn note(self) -> &'static str {
        match self {
            Self::Saliency => {
                "Saliency: the slope's magnitude, black where the unit does not depend on the pixel."
            }
            Self::Deconvolution => {
                "Deconvolution: what arrives where ReLUs pass on what is above zero, around mid grey."
            }
            Self::Guided => "Guided: likewise, of what the image itself lets through.",
            Self::Maximise => {
                "Maximised: out of noise, the unit's mean response to the origin → to the image shown."
            }
            Self::Invert => {
                "Inverted: out of noise, with how far the layer's representation is from that of the origin, in its lengths."
            }
        }
    }
}

/// What one method shows of one layer; a line of `views.jsonl`.
#[derive(Serialize)]
pub(crate) struct View {
    model: String,
    origin: String,
    with: &'static str,
    layer: String,
    layer_index: Option<usize>,
    /// The only units that count; `null` for all.
    units: Option<String>,
    /// The unit that is looked at; `null` for methods that look at all.
    unit: Option<usize>,
    /// Its mean response to the origin.
    response: Option<f32>,
    /// Its mean response to the image that was made for it.
    response_after: Option<f32>,
    /// How far the representation of the image that was made is from the origin's, in lengths of that.
    distance: Option<f32>,
    /// The image, a PNG; its path is relative to the file that holds the line.
    image: String,
    #[serde(skip)]
    shown: Shown,
}

/// Of what a view is.
struct Shown {
    origin: usize,
    layer: LayerId,
    with: With,
    picture: Image,
}

/// What the methods work on.
pub(crate) struct Subject<'a> {
    pub(crate) network: &'a Graph,
    pub(crate) images: &'a [NamedImage],
    pub(crate) layers: &'a [LayerId],
    pub(crate) units: Option<&'a Units>,
}

impl ViewArguments {
    /// The methods that are asked for, and what those that need no climb show. What cannot be done is told here.
    pub(crate) fn look<'a>(&self, subject: &'a Subject<'a>) -> Result<Looks<'a>> {
        let mut methods = self.with.clone();
        methods.sort_unstable();
        methods.dedup();
        let Subject { network, images, layers, units } = *subject;
        let (mut all, mut pictures) = (Vec::new(), Vec::new());
        let origins = if methods.is_empty() { &images[..0] } else { images };
        for (origin, image) in origins.iter().enumerate() {
            let driven = Driven::new(network, image, layers, units)?;
            for &with in &methods {
                let found = match with {
                    With::Saliency => saliency(&driven)?,
                    With::Deconvolution => deconvolution(&driven)?,
                    With::Guided => guided(&driven)?,
                    With::Maximise | With::Invert => continue,
                };
                let found = driven.units().iter().zip(found);
                pictures.extend(found.map(|(&unit, picture)| {
                    (unit, Shown { origin, layer: unit.layer, with, picture })
                }));
            }
            all.push(driven.units().to_vec());
        }
        Ok(Looks { subject, methods, seed: self.seed.value, units: all, pictures })
    }
}

/// What is to be shown, as far as it is known before the climbs.
pub(crate) struct Looks<'a> {
    subject: &'a Subject<'a>,
    /// Each once, in their order.
    methods: Vec<With>,
    seed: u64,
    /// By origin and layer.
    units: Vec<Vec<Unit>>,
    pictures: Vec<(Unit, Shown)>,
}

impl Looks<'_> {
    /// Carries out what is left, and keeps each picture in `folder` as soon as it is there; `None` where the user stopped it.
    pub(crate) fn carry_out(self, folder: &Path, prints_json: bool) -> Result<Option<Vec<View>>> {
        if self.methods.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let Subject { images, layers, .. } = *self.subject;
        let climbs = layers.len() * images.len().div_ceil(TOGETHER);
        let steps_of =
            [(With::Maximise, Maximisation::steps()), (With::Invert, Inversion::steps())];
        let asked = steps_of.iter().filter(|(with, _)| self.methods.contains(with));
        let bar = steps(asked.map(|(_, steps)| climbs * steps).sum());
        let file = File::create(folder.join(VIEWS)).with_context(|| cannot_write(folder))?;
        let (subject, shown) = (self.subject, bar.clone());
        let mut keeper =
            Keeper { subject, folder, file, bar: shown, prints_json, views: Vec::new() };
        let done = keeper.all(self);
        bar.finish_and_clear();
        Ok(done?.then_some(keeper.views))
    }
}

fn cannot_write(folder: &Path) -> String {
    format!("cannot write {}", folder.join(VIEWS).display())
}

/// Keeps what is shown.
struct Keeper<'a> {
    subject: &'a Subject<'a>,
    folder: &'a Path,
    file: File,
    bar: ProgressBar,
    prints_json: bool,
    views: Vec<View>,
}

impl Keeper<'_> {
    /// Keeps what is there, and climbs; whether it came to its end.
    fn all(&mut self, looks: Looks<'_>) -> Result<bool> {
        for (unit, shown) in looks.pictures {
            self.keep(shown, Some(unit), None, None)?;
        }
        let Subject { network, images, layers, units: among } = *self.subject;
        let origins: Vec<usize> = (0..images.len()).collect();
        for (l, &layer) in layers.iter().enumerate() {
            for some in origins.chunks(TOGETHER) {
                let around: Vec<&NamedImage> = some.iter().map(|&origin| &images[origin]).collect();
                if looks.methods.contains(&With::Maximise) {
                    let chosen: Vec<Unit> =
                        some.iter().map(|&origin| looks.units[origin][l]).collect();
                    let mut climb = Maximisation::start(network, &chosen, &around, looks.seed)?;
                    if !self.climbs(Maximisation::steps(), || climb.step())? {
                        return Ok(false);
                    }
                    for ((&origin, unit), found) in some.iter().zip(chosen).zip(climb.finished()?) {
                        let picture = found.image;
                        let shown = Shown { origin, layer, with: With::Maximise, picture };
                        self.keep(shown, Some(unit), Some(found.response), None)?;
                    }
                }
                if looks.methods.contains(&With::Invert) {
                    let mut descent = Inversion::start(network, layer, &around, among, looks.seed)?;
                    if !self.climbs(Inversion::steps(), || descent.step())? {
                        return Ok(false);
                    }
                    for (&origin, found) in some.iter().zip(descent.finished()?) {
                        let picture = found.image;
                        let shown = Shown { origin, layer, with: With::Invert, picture };
                        self.keep(shown, None, None, Some(found.distance))?;
                    }
                }
            }
        }
        Ok(true)
    }

    /// Takes so many steps, unless the user stops it.
    fn climbs(
        &self,
        steps: usize,
        mut step: impl FnMut() -> Result<(), lots::Error>,
    ) -> Result<bool> {
        let stop = stop_on_signal()?;
        for _ in 0..steps {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            step()?;
            self.bar.inc(1);
        }
        Ok(true)
    }

    /// Writes a picture, and then its line.
    fn keep(
        &mut self,
        shown: Shown,
        unit: Option<Unit>,
        response_after: Option<f32>,
        distance: Option<f32>,
    ) -> Result<()> {
        let Subject { network, images, units, .. } = *self.subject;
        let (info, with) = (layer(network, shown.layer)?, shown.with.name());
        let number = self.views.len() + 1;
        let image = format!("view-{number:04}-{}.png", file_stem(&format!("{with}-{}", info.name)));
        shown.picture.write_png(&self.folder.join(&image))?;
        let mut view = View {
            model: network.name().to_owned(),
            origin: images[shown.origin].name.clone(),
            with,
            layer: info.name.clone(),
            layer_index: info.index,
            units: units.map(Units::to_string),
            unit: unit.map(|unit| unit.number),
            response: unit.map(|unit| unit.response),
            response_after,
            distance,
            image,
            shown,
        };
        let line = serde_json::to_string(&view)? + "\n";
        self.file.write_all(line.as_bytes()).with_context(|| cannot_write(self.folder))?;
        if self.prints_json {
            // With its path as seen from here.
            let seen = self.folder.join(&view.image).display().to_string();
            let image = mem::replace(&mut view.image, seen);
            self.prints_json = !reader_left(self.bar.suspend(|| print_json(&view)))?;
            view.image = image;
        }
        self.views.push(view);
        Ok(())
    }
}

impl View {
    /// Whether it shows the origin at this position.
    pub(crate) fn is_of(&self, origin: usize) -> bool {
        self.shown.origin == origin
    }

    /// Its picture with a caption; `names` are those of the units, where they are a decision's classes.
    fn cell(&self, names: &[String]) -> Cell {
        let alt = format!("{}, {}, of {}", self.shown.with.heading(), self.layer, self.origin);
        let unit = self.unit.map(|unit| match names.get(unit) {
            Some(name) if *name != unit.to_string() => format!("unit {unit} ({name})"),
            _ => format!("unit {unit}"),
        });
        let numbers = match (self.response, self.response_after, self.distance) {
            (Some(before), Some(after), _) => format!("{} → {}", number(before), number(after)),
            (_, _, Some(distance)) => format!("distance {}", number(distance)),
            _ => String::new(),
        };
        Cell::picture(self.shown.picture.clone(), alt, unit.unwrap_or_default(), numbers)
    }
}

fn number(x: f32) -> String {
    format!("{x:.2}")
}

/// One origin, and what LOTS and the other methods show of it: layers from top to bottom. `lots` has a result for each layer,
/// `views` are those of the origin.
pub(crate) fn comparison(
    origin: &NamedImage,
    lots: &[&Exhibit],
    views: &[&View],
    decision: &dyn Decision,
) -> Result<Grid> {
    let mut methods: Vec<With> = views.iter().map(|view| view.shown.with).collect();
    methods.sort_unstable();
    methods.dedup();
    let record = lots.first().map(|exhibit| &exhibit.record);
    let (model, class) = record.map_or(("", ""), |r| (file_name(&r.model), r.origin_name.as_str()));
    let linf = record.and_then(|record| record.fixed_linf).unwrap_or_default();
    let mut layers: Vec<LayerId> = views.iter().map(|view| view.shown.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let mut rows = Vec::new();
    for (layer, exhibit) in layers.into_iter().zip(lots) {
        let decides = layer == decision.layer() && decision.measured().is_none();
        let names = if decides { decision.names() } else { &[] };
        let mut row = vec![Cell::result(&origin.image, exhibit)?.without_note()];
        let own = views.iter().filter(|view| view.shown.layer == layer);
        let mut own: Vec<&&View> = own.collect();
        own.sort_by_key(|view| view.shown.with);
        row.extend(own.into_iter().map(|view| view.cell(names)));
        rows.push(row);
    }
    let headings = methods.iter().map(|method| method.heading().to_owned());
    let mut notes = vec![format!("{LEGEND} {CLIPPED}")];
    notes.push(methods.iter().map(|method| method.note()).collect::<Vec<_>>().join(" "));
    Ok(Grid {
        title: format!("LOTS beside other methods: {model} and {}", file_name(&origin.name)),
        text: "Row by row, a layer. LOTS sends back all that the layer has captured of the image, magnified; on the left \
               the perturbed image, on the right the perturbation. Methods that look at one unit take the one that the image \
               drives most."
            .to_owned(),
        origin: Some(Cell::given("Origin", class, origin).without_note()),
        columns: [format!("LOTS, magnified to L∞ = {linf}")].into_iter().chain(headings).collect(),
        rows,
        notes,
    })
}

/// A table with a line for each layer of one origin.
pub(crate) fn text(views: &[&View]) -> String {
    let of = |view: &View| (view.shown.origin, view.shown.layer);
    let mut sorted = views.to_vec();
    sorted.sort_by_key(|view| (of(view), view.shown.with));
    let mut rows =
        vec![["layer", "unit", "response", "maximised", "inverted"].map(str::to_owned).to_vec()];
    for some in sorted.chunk_by(|a, b| of(a) == of(b)) {
        let find = |value: fn(&View) -> Option<String>| {
            some.iter().find_map(|view| value(view)).unwrap_or_else(|| "-".to_owned())
        };
        rows.push(vec![
            plain(&some[0].layer),
            find(|view| view.unit.map(|unit| unit.to_string())),
            find(|view| view.response.map(number)),
            find(|view| view.response_after.map(number)),
            find(|view| view.distance.map(number)),
        ]);
    }
    narrow(&mut rows, &[0]);
    table(&rows, &[false, true, true, true, true])
}
