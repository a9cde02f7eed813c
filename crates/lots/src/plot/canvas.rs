//! What all plots share: size, letters, colours, and the frame of the SVG.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::PlotError;

/// Colour of text and axes, `#444444`.
pub const INK: &str = "#444444";
/// Colour of the lines of the grid, `#DDDDDD`.
pub const GRID: &str = "#DDDDDD";
pub(super) const INK_COLOR: RGBColor = RGBColor(0x44, 0x44, 0x44);
pub(super) const GRID_COLOR: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);

/// Colours that colour-blind people tell apart, by Okabe and Ito, without its yellow, which is too pale for lines. They
/// stand out from white and from black.
const COLORS: [&str; 7] =
    ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080"];
/// Lengths of strokes and gaps. There are as many as are told apart, and no common factor with the colours: all pairs occur.
const DASHES: [&str; 5] = ["none", "7 3", "2 3", "10 3 2 3", "14 4"];

/// Sizes of letters, in pixels.
pub(super) const SMALL: i32 = 12;
pub(super) const MIDDLE: i32 = 14;
pub(super) const LARGE: i32 = 16;

/// Where the pieces of a plot are drawn.
pub(super) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A colour that stands for the colour and dash of the series `number`: plotters' strokes have no dashes, so these come
/// in when all is drawn.
pub(super) fn mark(number: usize) -> RGBColor {
    RGBColor(1, 2, (number % (COLORS.len() * DASHES.len())) as u8)
}

/// Letters of a size at the left of a place, in the middle of their height.
pub(super) fn letters<'a>(size: i32) -> TextStyle<'a> {
    // plotters takes the height of a line for the size.
    let font = ("sans-serif", f64::from(size) * 1.24).into_font();
    TextStyle::from(font).color(&INK_COLOR).pos(Pos::new(HPos::Left, VPos::Center))
}

/// The pixels that a text takes, roughly: there is no font to ask.
pub(super) fn width(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * 0.56).ceil() as i32
}

/// The same, bold.
pub(super) fn bold<'a>(size: i32) -> TextStyle<'a> {
    let plain = letters(size);
    TextStyle { font: plain.font.clone().style(FontStyle::Bold), ..plain }
}

/// Text, in the middle of its height at `at`.
pub(super) fn write(
    canvas: &Canvas<'_>,
    text: &str,
    style: TextStyle<'_>,
    at: (i32, i32),
) -> Result<(), String> {
    canvas.draw(&Text::new(text.to_owned(), at, style)).map_err(said)
}

/// What plotters says against drawing.
pub(super) fn said(error: impl Display) -> String {
    error.to_string()
}

/// The SVG of `size` that `draw` draws.
pub(super) fn svg(
    title: &str,
    size: (i32, i32),
    draw: impl FnOnce(&Canvas<'_>) -> Result<(), String>,
) -> Result<String, PlotError> {
    let mut drawn = String::new();
    let (wide, high) = size;
    let canvas =
        SVGBackend::with_string(&mut drawn, (wide as u32, high as u32)).into_drawing_area();
    let present = |()| canvas.present().map_err(said);
    draw(&canvas)
        .and_then(present)
        .map_err(|problem| PlotError { plot: title.to_owned(), problem })?;
    drop(canvas);
    // Behind the opening tag, which is made here.
    let content = drawn.split_once('\n').map_or("", |(_, content)| content);
    let content = (0..COLORS.len() * DASHES.len()).fold(content.to_owned(), |content, number| {
        let RGBColor(r, g, b) = mark(number);
        let mark = format!("#{r:02X}{g:02X}{b:02X}");
        let (color, dash) = (COLORS[number % COLORS.len()], DASHES[number % DASHES.len()]);
        let stroke = match dash {
            "none" => format!("stroke=\"{color}\""),
            dash => format!("stroke=\"{color}\" stroke-dasharray=\"{dash}\""),
        };
        content.replace(&format!("stroke=\"{mark}\""), &stroke).replace(&mark, color)
    });
    let title = title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Ok(format!(
        "<svg class=\"plot\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" \
         viewBox=\"0 0 {wide} {high}\">\n<title>{title}</title>\n{content}"
    ))
}

/// Refuses numbers that lie nowhere.
pub(super) fn check(title: &str, mut values: impl Iterator<Item = f64>) -> Result<(), PlotError> {
    match values.find(|value| !value.is_finite()) {
        None => Ok(()),
        Some(value) => {
            let problem = format!("found the value {value}, wanted finite ones");
            Err(PlotError { plot: title.to_owned(), problem })
        }
    }
}
