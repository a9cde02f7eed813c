//! The page of `lots demo`.

use std::path::Path;

use askama::Template;

use super::card::{Card, Picture};
use super::table1::{Line, count, lines, percent};
use crate::data::NamedImage;
use crate::error::DataError;
use crate::experiment::{PAPER_BASIC, Row};
use crate::image::Image;
use crate::record::Record;
use crate::results::read_records;

/// A record with the image that it names.
#[derive(Clone, Debug)]
pub struct Exhibit {
    /// What is known of the attack.
    pub record: Record,
    /// What it left; `None` where it left none.
    pub image: Option<Image>,
}

/// Reads the records of a folder of results, and their images.
///
/// # Errors
/// When the records or an image cannot be read.
pub fn read_exhibits(folder: &Path) -> Result<Vec<Exhibit>, DataError> {
    let exhibit = |record: Record| {
        let image = record.image.as_ref().map(|name| Image::read_png(&folder.join(name)));
        Ok(Exhibit { image: image.transpose()?, record })
    };
    read_records(folder)?.into_iter().map(exhibit).collect()
}

/// Attacks on one origin, side by side under a title.
#[derive(Clone, Debug)]
pub struct Figure<'a> {
    /// A few words.
    pub title: String,
    /// What is to be seen, a paragraph.
    pub text: String,
    /// The image that all results perturb.
    pub origin: &'a NamedImage,
    /// The image that leads the way, if there is one.
    pub target: Option<&'a NamedImage>,
    /// What came of it, in the order in which it is shown.
    pub results: &'a [Exhibit],
}

impl<'a> Figure<'a> {
    /// What layers see in an origin, magnified or reduced: the paper's figure 1.
    pub fn representations(origin: &'a NamedImage, results: &'a [Exhibit]) -> Self {
        let by = |method: &'static str| {
            results.iter().map(|result| &result.record).filter(move |r| r.method == method)
        };
        let layers = |method| join(&by(method).map(|r| r.layer.as_str()).collect::<Vec<_>>());
        let mut text = "No second image is needed here: a layer’s own description of the origin is made stronger or weaker."
            .to_owned();
        if let Some(layers) = layers("magnify") {
            text += &format!(" At {layers} it is magnified");
            if let Some(linf) = by("magnify").find_map(|r| r.fixed_linf) {
                text += &format!(
                    ", with the largest change set to {linf} grey levels, less what does not fit between black and white"
                );
            }
            text += ". This brings out what the layer responds to, and seldom changes the class.";
        }
        if let Some(layers) = layers("reduce") {
            text += &format!(
                " At {layers} it is reduced, just far enough that the network reads something else."
            );
        }
        text += " Compare figure 1 of the paper.";
        let title = format!("What the layers see in {}", named(origin));
        Self { title, text, origin, target: None, results }
    }

    /// An origin on its way to a target, layer by layer: the paper's figure 3.
    pub fn towards(origin: &'a NamedImage, target: &'a NamedImage, results: &'a [Exhibit]) -> Self {
        let text = "A target leads the way. At one layer after the other, the description of the origin moves towards \
             that of the target, by the smallest step found that is enough. In figure 3 of the paper, the perturbation \
             from the first layer traces what tells the two digits apart, and those from higher layers scatter.";
        let title = format!("From {} towards {}", named(origin), named(target));
        Self { title, text: text.to_owned(), origin, target: Some(target), results }
    }

    /// Methods that start from the network’s output.
    pub fn methods(origin: &'a NamedImage, results: &'a [Exhibit]) -> Self {
        let text = "Other methods ask the network’s output alone. FGV and FGS climb the loss: FGV changes each pixel as much as \
             the gradient says, FGS all of them by the same amount. Hot/cold raises the output of one class, and lowers \
             that of the origin’s own.";
        let title = format!("Other ways to perturb {}", named(origin));
        Self { title, text: text.to_owned(), origin, target: None, results }
    }

    /// A face on its way to be taken for somebody else: the paper's figure 4.
    pub fn faces(origin: &'a NamedImage, target: &'a NamedImage, results: &'a [Exhibit]) -> Self {
        let record = results.first().map(|result| &result.record);
        let own = record.map_or("somebody", |record| record.origin_name.as_str());
        let other = record.and_then(|record| record.target_name.as_deref());
        let other = other.unwrap_or("somebody else");
        let title = format!("Taken for {other}");
        let text = format!(
            "This network has no classes: it describes a face in numbers. A face belongs to whoever’s descriptions are \
             nearest, if they are near enough, and to nobody otherwise. Here the portrait of {own}, itself in the gallery, \
             moves towards one portrait of {other} until it is taken for {other}. Who has stolen that portrait’s \
             description needs no portrait for it. Compare figure 4 of the paper."
        );
        Self { title, text, origin, target: Some(target), results }
    }
}

/// What an image shows, with its article, within a sentence.
fn named(image: &NamedImage) -> String {
    match image.label {
        Some(8) => "an 8".to_owned(),
        Some(label) => format!("a {label}"),
        None => image.name.clone(),
    }
}

/// `a, b and c`; `None` of none.
fn join(words: &[&str]) -> Option<String> {
    match words {
        [] => None,
        [word] => Some((*word).to_owned()),
        [some @ .., last] => Some(format!("{} and {last}", some.join(", "))),
    }
}

/// Everything that the page of `lots demo` shows.
#[derive(Clone, Copy, Debug)]
pub struct DemoPage<'a> {
    /// What the network is called.
    pub model: &'a str,
    /// How it came about, a few words: `5000 iterations in this run`.
    pub training: &'a str,
    /// Of the test digits, 0–1.
    pub error_rate: Option<f64>,
    /// In the order in which they are shown.
    pub figures: &'a [Figure<'a>],
    /// The network's row of Table 1.
    pub table: Option<&'a Row>,
}

impl DemoPage<'_> {
    /// The page, an HTML file that needs no other.
    ///
    /// # Errors
    /// When an image is not of its origin's shape.
    pub fn html(&self) -> Result<String, DataError> {
        let figures = self.figures.iter().map(FigureView::new);
        let view = DemoView {
            page: self,
            error_rate: self.error_rate.map(percent),
            figures: figures.collect::<Result<_, _>>()?,
            table: self.table.map(TableView::new),
            version: env!("CARGO_PKG_VERSION"),
        };
        view.render().map_err(|e| DataError::write("the page", e))
    }
}

#[derive(Template)]
#[template(path = "demo.html")]
struct DemoView<'a> {
    page: &'a DemoPage<'a>,
    error_rate: Option<String>,
    figures: Vec<FigureView<'a>>,
    table: Option<TableView<'a>>,
    version: &'static str,
}

struct FigureView<'a> {
    figure: &'a Figure<'a>,
    /// Origin, then target.
    given: Vec<Given<'a>>,
    cards: Vec<Card>,
}

impl FigureView<'_> {
    /// Its origin, as a URI.
    fn origin(&self) -> &str {
        self.given.first().map_or("", |origin| &origin.picture.uri)
    }
}

/// An image that an attack starts from.
struct Given<'a> {
    role: &'static str,
    class: String,
    name: &'a str,
    picture: Picture,
}

impl<'a> FigureView<'a> {
    fn new(figure: &'a Figure<'a>) -> Result<Self, DataError> {
        let record = figure.results.first().map(|result| &result.record);
        let name = record.map(|record| record.origin_name.clone());
        let mut given = vec![given("Origin", figure.origin, name)?];
        if let Some(target) = figure.target {
            let name = record.and_then(|record| record.target_name.clone());
            given.push(self::given("Target", target, name)?);
        }
        let cards = figure.results.iter().map(|result| Card::of(figure.origin, result));
        Ok(Self { figure, given, cards: cards.collect::<Result<_, _>>()? })
    }
}

/// `name` is what the class of `image` is called, where records tell.
fn given<'a>(
    role: &'static str,
    image: &'a NamedImage,
    name: Option<String>,
) -> Result<Given<'a>, DataError> {
    let label = image.label.map(|label| label.to_string());
    let class = name.or(label).unwrap_or_else(|| "unlabelled".to_owned());
    let alt = format!("{role}: {class}, {}", image.name);
    Ok(Given { role, class, name: &image.name, picture: Picture::new(&image.image, alt)? })
}

struct TableView<'a> {
    row: &'a Row,
    images: String,
    misclassified: String,
    attacked: String,
    zero_loss: String,
    lines: Vec<Line>,
}

impl<'a> TableView<'a> {
    fn new(row: &'a Row) -> Self {
        Self {
            row,
            images: count(row.images),
            misclassified: count(row.misclassified),
            attacked: count(row.images.saturating_sub(row.misclassified)),
            zero_loss: count(row.zero_loss),
            lines: lines(row, &PAPER_BASIC),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::*;
    use crate::results::Results;

    /// A record; what `changes` names is different.
    fn record(changes: &Value) -> Record {
        let mut all = json!({
            "model": "lenet.onnx", "origin": "mnist:test:4", "origin_label": 4, "origin_name": "4",
            "origin_class": 4, "method": "lots", "layer": "conv1", "layer_index": 1, "units": null,
            "target": "mnist:test:9", "target_label": 9, "hot": null, "goal": "any", "fixed_linf": null,
            "outcome": "adversarial", "label": 9, "label_name": "9", "step": 59.0, "missed": 58.99,
            "l2": 283.4, "linf": 59, "pass": 0.951_44, "alignment": null, "image": null,
            "perturbation": null, "perturbation_scale": null,
        });
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    fn image(seed: u8) -> Image {
        Image::new(3, 2, 1, (0..6).map(|i: u8| i.wrapping_mul(40).wrapping_add(seed)).collect())
            .unwrap()
    }

    fn named(label: Option<usize>) -> NamedImage {
        NamedImage { image: image(0), name: "mnist:test:4".to_owned(), label }
    }

    fn adversarial(changes: &Value) -> Exhibit {
        Exhibit { record: record(changes), image: Some(image(9)) }
    }

    fn page(figures: &[Figure<'_>]) -> String {
        let page = DemoPage {
            model: "lenet.onnx",
            training: "was there already",
            error_rate: Some(0.0095),
            figures,
            table: Some(&crate::report::table1::tests::row()),
        };
        page.html().unwrap()
    }

    /// A page with all figures, some results without an image.
    fn full_page() -> String {
        let missing = json!({ "outcome": "not_found", "label": null, "label_name": null });
        let results = [
            adversarial(&json!({ "method": "magnify", "fixed_linf": 128 })),
            adversarial(&json!({ "method": "reduce", "layer": "ip1" })),
            Exhibit { record: record(&missing), image: None },
        ];
        let (origin, target) = (named(Some(4)), named(Some(9)));
        page(&[
            Figure::representations(&origin, &results),
            Figure::towards(&origin, &target, &results),
            Figure::methods(&origin, &results),
        ])
    }

    /// The opening tags called `name`.
    fn tags<'p>(page: &'p str, name: &str) -> Vec<&'p str> {
        let tag = |rest: &'p str| rest.split('>').next().unwrap_or_default();
        let is_whole = |tag: &&str| tag.is_empty() || tag.starts_with(char::is_whitespace);
        page.split(&format!("<{name}")).skip(1).map(tag).filter(is_whole).collect()
    }

    #[test]
    fn asks_for_nothing_outside() {
        let page = full_page();
        for word in ["http:", "https:", "<link", "<script", "<iframe", "href=", "@import", "srcset"]
        {
            assert!(!page.contains(word), "{word}");
        }
        let urls = page.split("url(").skip(1);
        let is_inside =
            |url: &str| url.starts_with("data:image/png;base64,") || url.starts_with('#');
        assert!(urls.clone().all(is_inside) && urls.count() == 3 + 1);
        let sources: Vec<&str> = page.split(" src=").skip(1).collect();
        // Origins and target, and two pictures of each of the results that have one.
        assert_eq!(sources.len(), 4 + 3 * 2 * 2);
        assert!(sources.iter().all(|source| source.starts_with("\"data:image/png;base64,")));
    }

    #[test]
    fn every_image_has_its_text() {
        let page = full_page();
        let images = tags(&page, "img");
        assert_eq!(images.len(), 16);
        for image in images {
            let alt = image.split("alt=\"").nth(1).and_then(|rest| rest.split('"').next());
            assert!(alt.is_some_and(|alt| alt.len() > 5), "{image}");
        }
    }

    #[test]
    fn every_tag_is_closed() {
        let page = full_page();
        let names = [
            "html",
            "head",
            "style",
            "title",
            "body",
            "header",
            "main",
            "footer",
            "section",
            "div",
            "figure",
            "figcaption",
            "fieldset",
            "legend",
            "label",
            "span",
            "p",
            "dl",
            "dt",
            "dd",
            "h1",
            "h2",
            "h3",
            "table",
            "caption",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "small",
            "sub",
            "abbr",
            "i",
            "b",
            "cite",
        ];
        for name in names {
            let (opened, closed) =
                (tags(&page, name).len(), page.matches(&format!("</{name}>")).count());
            assert_eq!(opened, closed, "{name}");
            assert!(opened > 0, "{name}");
        }
        assert_eq!(tags(&page, "h1").len(), 1);
        let headers = tags(&page, "th");
        assert!(headers.iter().all(|header| header.contains("scope=")), "{headers:?}");
    }

    #[test]
    fn what_records_say_is_text() {
        let evil = "<script>alert('x')</script>\"";
        let result = adversarial(
            &json!({ "layer": evil, "label_name": evil, "origin_name": evil, "units": evil }),
        );
        let mut origin = named(None);
        origin.name = evil.to_owned();
        let results = [result];
        let figure = Figure::representations(&origin, &results);
        let row = Row { data: evil.to_owned(), ..crate::report::table1::tests::row() };
        let page = DemoPage {
            model: evil,
            training: evil,
            error_rate: None,
            figures: &[figure],
            table: Some(&row),
        };
        let page = page.html().unwrap();
        assert!(!page.contains("<script"), "a script got in");
        assert!(!page.contains("</script>\""), "an attribute got cut short");
        assert!(page.matches("&#60;script&#62;").count() > 5, "{page}");
    }

    #[test]
    fn every_outcome_has_its_words() {
        let none = |ending: &str, more: Value| {
            let mut changes = json!({ "outcome": ending, "label": null, "label_name": null });
            for (name, value) in more.as_object().unwrap() {
                changes[name] = value.clone();
            }
            Exhibit { record: record(&changes), image: None }
        };
        let cases = [
            (
                adversarial(&json!({})),
                vec![
                    "conv1 (1): 9<",
                    "0.9514 <i>|",
                    "283 <i>|",
                    "59</p>",
                    "Towards the target, until the class changes.",
                ],
            ),
            (adversarial(&json!({ "goal": "target" })), vec!["until read as 9."]),
            (adversarial(&json!({ "goal": "3" })), vec!["until read as 3."]),
            (
                adversarial(&json!({ "method": "reduce", "layer_index": null, "units": "0,2" })),
                vec!["conv1: 9<", "Reduced, units 0,2 only, until"],
            ),
            (
                adversarial(&json!({
                    "method": "magnify", "fixed_linf": 128, "outcome": "not_found", "label": 4, "label_name": "4",
                })),
                vec!["conv1 (1): 4<", "Magnified, L∞ fixed at 128, class unchanged."],
            ),
            (
                adversarial(&json!({ "method": "fgs" })),
                vec!["FGS: 9<", ">Until the class changes."],
            ),
            (
                adversarial(&json!({ "method": "hot-cold", "hot": 0 })),
                vec!["hot/cold: 9<", "Towards 0, until the class changes."],
            ),
            (
                none("not_found", json!({})),
                vec![
                    "conv1 (1): –<",
                    "No step in this direction changes the class.",
                    ">no image<",
                    ">Towards the target.",
                ],
            ),
            (
                none("not_found", json!({ "goal": "target" })),
                vec!["No step in this direction is read as 9."],
            ),
            (
                none("no_direction", json!({ "method": "fgv" })),
                vec!["FGV: –<", "no direction to go"],
            ),
            (
                none("origin_misclassified", json!({ "origin_class": 7 })),
                vec!["The network reads the origin as 7, not as 4: nothing to change."],
            ),
        ];
        let origin = named(Some(4));
        for (result, wanted) in cases {
            let images = if result.image.is_some() { 3 } else { 1 };
            let results = [result];
            let page = page(&[Figure::methods(&origin, &results)]);
            assert_eq!(tags(&page, "img").len(), images, "{wanted:?}");
            for words in wanted {
                assert!(page.contains(words), "{words}: {page}");
            }
        }
    }

    #[test]
    fn pictures_are_the_images() {
        let results = [adversarial(&json!({}))];
        let page = page(&[Figure::methods(&named(Some(4)), &results)]);
        let pictures: Vec<Image> = page
            .split("base64,")
            .skip(1)
            .map(|rest| STANDARD.decode(rest.split(['"', ')']).next().unwrap()).unwrap())
            .map(|png| Image::from_png(&png, "x").unwrap())
            .collect();
        let grey = Image::new(3, 2, 1, vec![255; 6]).unwrap();
        // The origin: to come in place of a result, and on its own.
        assert_eq!(pictures, [image(0), image(0), image(9), grey]);
        assert!(page.contains("<span>−9</span>") && page.contains("<span>+9</span>"));
    }

    #[test]
    fn an_image_of_another_shape_is_an_error() {
        let other = Image::new(2, 3, 1, vec![0; 6]).unwrap();
        let results =
            [Exhibit { record: record(&json!({ "image": "0001.png" })), image: Some(other) }];
        let origin = named(Some(4));
        let figures = [Figure::methods(&origin, &results)];
        let page =
            DemoPage { model: "", training: "", error_rate: None, figures: &figures, table: None };
        let message = page.html().unwrap_err().to_string();
        assert_eq!(message, "0001.png is Image 2×3×1, wanted the shape of its origin, Image 3×2×1");
    }

    #[test]
    fn records_are_read_with_their_images() {
        let folder = tempfile::tempdir().unwrap();
        let mut results = Results::create(folder.path(), false).unwrap();
        let mut records = [record(&json!({})), record(&json!({ "outcome": "no_direction" }))];
        results.add(&mut records[0], &image(0), Some(&image(9))).unwrap();
        results.add(&mut records[1], &image(0), None).unwrap();
        let exhibits = read_exhibits(folder.path()).unwrap();
        let images: Vec<Option<Image>> = exhibits.iter().map(|e| e.image.clone()).collect();
        assert_eq!(images, [Some(image(9)), None]);
        assert!(exhibits.into_iter().map(|e| e.record).eq(records.clone()));
        std::fs::remove_file(folder.path().join(records[0].image.as_ref().unwrap())).unwrap();
        let message = read_exhibits(folder.path()).unwrap_err().to_string();
        assert!(
            message.starts_with("cannot read ") && message.contains("0001-lots-conv1.png"),
            "{message}"
        );
    }

    #[test]
    fn layers_are_listed() {
        let cases =
            [(vec![], None), (vec!["a"], Some("a")), (vec!["a", "b", "c"], Some("a, b and c"))];
        for (words, wanted) in cases {
            assert_eq!(join(&words).as_deref(), wanted);
        }
    }
}
