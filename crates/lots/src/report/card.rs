//! What a page shows of one record: pictures, the paper's caption, and a few words.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::page::Exhibit;
use crate::data::NamedImage;
use crate::error::DataError;
use crate::image::{Fit, Image, perturbation};
use crate::names::method_title;
use crate::record::{Ending, NEAR, Record};

/// Sides below this are shown as squares, larger ones smoothly.
const COARSE: usize = 100;
/// In place of a value.
const NONE: &str = "–";

/// An image inside the page.
pub(crate) struct Picture {
    /// The PNG as a `data:` URI.
    pub(crate) uri: String,
    pub(crate) alt: String,
    pub(super) width: usize,
    pub(super) height: usize,
    /// Whether its pixels are to be seen.
    pub(super) coarse: bool,
}

impl Picture {
    pub(crate) fn new(image: &Image, alt: String) -> Result<Self, DataError> {
        Self::within(usize::MAX, image, alt)
    }

    /// A smaller picture of an image with a side above `side`.
    pub(super) fn within(side: usize, image: &Image, alt: String) -> Result<Self, DataError> {
        let longer = image.width().max(image.height());
        let (coarse, small);
        let mut image = image;
        coarse = longer < COARSE;
        if longer > side {
            let scaled = |n: usize| (n * side / longer).max(1);
            let fit = Fit { resize: true, center_crop: false };
            small = fit.apply(image, scaled(image.height()), scaled(image.width()));
            image = &small;
        }
        let png = image.to_png().map_err(|e| DataError::write("the page", e))?;
        let uri = format!("data:image/png;base64,{}", STANDARD.encode(png));
        Ok(Self { uri, alt, width: image.width(), height: image.height(), coarse })
    }
}

/// A result with its caption.
pub(super) struct Card {
    /// Of its cotangent, as networks call it.
    pub(super) layer: String,
    /// Where the attack set in: `conv1 (1)`, or its method.
    pub(super) place: String,
    /// What the network says of the image; a dash where there is none.
    pub(super) class: String,
    /// What was done, a sentence; `None` where there is nothing to say.
    pub(super) note: Option<String>,
    /// `None` where the attack left no image.
    pub(super) shown: Option<Shown>,
    /// Why there is none.
    pub(super) missing: String,
    /// Its files beside the page, where they are to be had.
    pub(super) links: Option<Links>,
}

/// The image that an attack left.
pub(super) struct Shown {
    pub(super) perturbed: Picture,
    /// `None` where it is not known.
    pub(super) change: Option<Change>,
    /// Rounded as in the paper's captions, as are the others.
    pub(super) pass: String,
    pub(super) l2: String,
    pub(super) linf: String,
}

/// A perturbation.
pub(super) struct Change {
    pub(super) picture: Picture,
    /// The change that black and white stand for, in grey levels.
    pub(super) reach: String,
}

/// Where the files of a result lie, as URLs relative to the page.
pub(super) struct Links {
    pub(super) image: String,
    pub(super) perturbation: Option<String>,
}

/// What is to be seen of a result: its image; and the picture of its perturbation, with the grey levels that one of it stands
/// for.
pub(super) struct Seen<'a> {
    pub(super) image: &'a Image,
    pub(super) change: Option<(&'a Image, f64)>,
    /// Larger ones are made smaller.
    pub(super) side: usize,
}

impl Card {
    /// # Errors
    /// When the image is not of its origin's shape.
    pub(super) fn of(origin: &NamedImage, exhibit: &Exhibit) -> Result<Self, DataError> {
        let Exhibit { record, image } = exhibit;
        let Some(image) = image else { return Self::new(record, None) };
        let shape = |image: &Image| [image.height(), image.width(), image.channels()];
        if shape(&origin.image) != shape(image) {
            let name = record.image.as_deref().unwrap_or("a perturbed image");
            let problem =
                format!("is {image:?}, wanted the shape of its origin, {:?}", origin.image);
            return Err(DataError::content(name, problem));
        }
        let (picture, scale) = perturbation(&origin.image, image);
        let change = Some((&picture, scale));
        Self::new(record, Some(&Seen { image, change, side: usize::MAX }))
    }

    /// # Errors
    /// When an image cannot be written as PNG.
    pub(super) fn new(record: &Record, seen: Option<&Seen<'_>>) -> Result<Self, DataError> {
        let place = place(record);
        let shown = seen.map(|seen| shown(record, seen, &place)).transpose()?;
        Ok(Self {
            layer: record.layer.clone(),
            class: class(record),
            note: note(record),
            missing: missing(record),
            shown,
            place,
            links: None,
        })
    }
}

fn shown(record: &Record, seen: &Seen<'_>, place: &str) -> Result<Shown, DataError> {
    let &Seen { image, change, side } = seen;
    let class = record.label_name.as_deref().unwrap_or("?");
    let was = &record.origin_name;
    let alt = format!("A perturbed {was} that the network reads as {class}; {place}");
    let change = change.map(|(picture, scale)| {
        let reach = format!("{:.0}", scale * 127.0);
        let alt = format!("The perturbation at {place}, at most {reach} grey levels");
        Ok(Change { picture: Picture::within(side, picture, alt)?, reach })
    });
    let [pass, l2, linf] = numbers(record);
    Ok(Shown {
        perturbed: Picture::within(side, image, alt)?,
        change: change.transpose()?,
        pass,
        l2,
        linf,
    })
}

/// PASS, L2 and L∞ as the paper's captions have them; dashes where there is no image.
pub(crate) fn numbers(record: &Record) -> [String; 3] {
    [
        rounded(record.pass, 4),
        rounded(record.l2.map(|l2| l2.0), 0),
        rounded(record.linf.map(|linf| f64::from(linf.0)), 0),
    ]
}

/// What the network says of the image; a dash where there is none.
pub(crate) fn class(record: &Record) -> String {
    record.label_name.clone().unwrap_or_else(|| NONE.to_owned())
}

/// A number as pages show it; a dash where there is none.
pub(super) fn rounded(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{value:.decimals$}"))
}

/// The first words of the caption: the layer and its index as in the paper, and for methods that have no layer to
/// choose, the method.
pub(crate) fn place(record: &Record) -> String {
    match record.method.as_str() {
        "lots" | "iterative-lots" | "feature-adversary" | "magnify" | "reduce" => layer(record),
        method => method_title(method).to_owned(),
    }
}

/// The method, and its budget if it has one: what one budget comes to says nothing of another.
pub(super) fn method(record: &Record) -> String {
    let title = method_title(&record.method);
    let is_budget = |part: &&str| part.starts_with("L∞ at most") || part.starts_with("L2 at most");
    let budget = record.walk.as_ref().and_then(|walk| walk.split(", ").find(is_budget));
    budget.map_or_else(|| title.to_owned(), |budget| format!("{title}, {budget}"))
}

/// A layer with its index, as in the paper: `conv1 (1)`.
pub(super) fn layer(record: &Record) -> String {
    match record.layer_index {
        Some(index) => format!("{} ({index})", record.layer),
        None => record.layer.clone(),
    }
}

/// What was done, and, if it left an image, how far it went.
pub(crate) fn note(record: &Record) -> Option<String> {
    let way = match (record.method.as_str(), record.hot) {
        ("lots", _) => Some("towards the target".to_owned()),
        ("iterative-lots", _) => Some("towards the target, step by step".to_owned()),
        ("feature-adversary", _) => Some("as near to the target as a box allows".to_owned()),
        ("magnify", _) => Some("magnified".to_owned()),
        ("reduce", _) => Some("reduced".to_owned()),
        (_, Some(hot)) => Some(format!("towards {}", called(&record.hot_name, hot))),
        _ => None,
    };
    let units = record.units.as_ref().map(|units| format!("units {units} only"));
    let extent = record.label.and_then(|_| match record.fixed_linf {
        // It goes on, whatever the class.
        _ if record.method == "feature-adversary" => None,
        Some(linf) => Some(format!("L∞ fixed at {linf}")),
        None => Some(format!("until {}", wish(record))),
    });
    let far = record.other.as_ref().and_then(|other| {
        Some(format!("distance to {} {:.2} → {:.2}", other.identity, other.before, other.after?))
    });
    let stayed = record.label == Some(record.origin_class);
    let stayed = stayed.then(|| "class unchanged".to_owned());
    let words: Vec<String> = [way, units, extent, far, stayed].into_iter().flatten().collect();
    let mut note = words.join(", ") + ".";
    // All of these begin with a plain letter.
    note.get_mut(..1)?.make_ascii_uppercase();
    (!words.is_empty()).then_some(note)
}

/// What counts as a success, as the end of a sentence.
fn wish(record: &Record) -> String {
    match (record.goal.as_str(), record.target_label) {
        ("any", _) => "the class changes".to_owned(),
        (NEAR, _) if record.walk.is_some() => "near the target".to_owned(),
        ("target", Some(label)) => format!("read as {}", called(&record.target_name, label)),
        ("target", None) => "read as the target".to_owned(),
        (class, _) => format!("read as {class}"),
    }
}

/// What a class is called; records of older versions have its number only.
pub(super) fn called(name: &Option<String>, class: usize) -> String {
    name.clone().unwrap_or_else(|| class.to_string())
}

/// Why there is no image.
pub(crate) fn missing(record: &Record) -> String {
    match record.outcome {
        _ if record.image.is_some() => "Its image is not there.".to_owned(),
        Ending::OriginMisclassified => format!(
            "The network reads the origin as {}, not as {}: nothing to change.",
            called(&record.origin_class_name, record.origin_class),
            record.origin_name
        ),
        Ending::NoDirection => "Nothing comes back at the pixels: no direction to go.".to_owned(),
        Ending::NotFound if record.walk.is_some() => {
            let is = if record.goal == "any" { "" } else { "it is " };
            format!("It does not come to where {is}{}.", wish(record))
        }
        Ending::NotFound if record.goal == "any" => {
            "No step in this direction changes the class.".to_owned()
        }
        Ending::NotFound => format!("No step in this direction is {}.", wish(record)),
        Ending::Adversarial => "Its image is not there.".to_owned(),
    }
}
