//! What a figure shows.

use askama::Template;

use super::layout::Layout;
use crate::data::NamedImage;
use crate::error::DataError;
use crate::image::{Image, perturbation};
use crate::report::Exhibit;
use crate::report::card::{class, missing, note, numbers, place};

/// Images in rows and columns, with captions: a figure for a paper or a slide, about 2200 pixels wide.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    /// A few words.
    pub title: String,
    /// What is to be seen, a paragraph below the title; may be empty.
    pub text: String,
    /// Stands beside the title.
    pub origin: Option<Cell>,
    /// Headings of the columns; none where empty.
    pub columns: Vec<String>,
    /// Cells from left to right, rows from top to bottom. Rows may be of different lengths.
    pub rows: Vec<Vec<Cell>>,
    /// What else is to be said, paragraphs at the foot.
    pub notes: Vec<String>,
}

/// Images side by side over one caption.
#[derive(Clone, Debug)]
pub struct Cell {
    pub(super) plates: Vec<Plate>,
    /// Why there is no image.
    pub(super) missing: Option<String>,
    /// Begins the caption.
    letter: Option<char>,
    /// The first line of the caption.
    place: String,
    /// The second one.
    pub(super) numbers: String,
    /// The third one; none where empty.
    pub(super) note: String,
}

/// One image of a cell.
#[derive(Clone, Debug)]
pub(super) struct Plate {
    pub(super) image: Image,
    /// What it shows.
    pub(super) alt: String,
    /// Of a perturbation, the change that black and white stand for, in grey levels.
    pub(super) reach: Option<u8>,
}

/// Colours of a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Dark on white, as papers are printed.
    #[default]
    Light,
    /// Light on black, for slides.
    Dark,
}

impl Cell {
    /// An image that an attack starts from: `role` is `Origin` or `Target`, `class` what its class is called.
    pub fn given(role: &str, class: &str, given: &NamedImage) -> Self {
        let alt = format!("{role}: {class}, {}", given.name);
        Self {
            plates: vec![Plate { image: given.image.clone(), alt, reach: None }],
            missing: None,
            letter: None,
            place: role.to_owned(),
            numbers: class.to_owned(),
            note: given.name.clone(),
        }
    }

    /// What an attack on `origin` left: the image, its perturbation around mid grey, and the paper's caption, layer (index):
    /// class, PASS | L2 | L∞, with a note of what was done. Where it left none, the reason.
    ///
    /// # Errors
    /// When the image is not of its origin's shape.
    pub fn result(origin: &Image, exhibit: &Exhibit) -> Result<Self, DataError> {
        let record = &exhibit.record;
        let shape = |image: &Image| [image.height(), image.width(), image.channels()];
        let place = match exhibit.image {
            Some(_) => format!("{}: {}", place(record), class(record)),
            None => place(record),
        };
        let mut plates = Vec::new();
        if let Some(image) = &exhibit.image {
            if shape(image) != shape(origin) {
                let name = record.image.as_deref().unwrap_or("a perturbed image");
                let problem = format!("is {image:?}, wanted the shape of its origin, {origin:?}");
                return Err(DataError::content(name, problem));
            }
            let (picture, scale) = perturbation(origin, image);
            let reach = (scale * 127.0).round() as u8;
            let perturbed = format!("The perturbed image, {place}");
            plates.push(Plate { image: image.clone(), alt: perturbed, reach: None });
            let alt = format!("The perturbation, {place}, at most {reach} grey levels");
            plates.push(Plate { image: picture, alt, reach: Some(reach) });
        }
        Ok(Self {
            missing: plates.is_empty().then(|| missing(record)),
            numbers: if plates.is_empty() { String::new() } else { numbers(record).join(" | ") },
            plates,
            letter: None,
            place,
            note: note(record).unwrap_or_default(),
        })
    }

    /// A picture that is no perturbed image, and the two lines of its caption; `alt` says what it shows.
    pub fn picture(image: Image, alt: String, place: String, numbers: String) -> Self {
        Self {
            plates: vec![Plate { image, alt, reach: None }],
            missing: None,
            letter: None,
            place,
            numbers,
            note: String::new(),
        }
    }

    /// Begins the caption with `(letter)`, as the paper's do.
    #[must_use]
    pub fn lettered(self, letter: char) -> Self {
        Self { letter: Some(letter), ..self }
    }

    /// Without the last lines of the caption, which say what was done, or what the image's file is called.
    #[must_use]
    pub fn without_note(self) -> Self {
        Self { note: String::new(), ..self }
    }

    /// The first line of the caption.
    pub(super) fn place(&self) -> String {
        match self.letter {
            Some(letter) => format!("({letter}) {}", self.place),
            None => self.place.clone(),
        }
    }
}

impl Grid {
    /// The figure as SVG, with its images inside. Small images are magnified by a whole factor, so that their pixels are
    /// squares; one unit of the SVG is one pixel of the largest ones.
    ///
    /// # Errors
    /// When an image has too many pixels for a PNG.
    pub fn svg(&self, theme: Theme) -> Result<String, DataError> {
        let view = Layout::new(self, theme)?;
        view.render().map_err(|e| DataError::write("the figure", e))
    }
}
