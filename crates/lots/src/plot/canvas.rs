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

/// Colours that colour-blind people tell apart, after Okabe and Ito: without their yellow, and with a darker orange, light blue
/// and purple, as lines have to stand out from white and from black (WCAG 2.2, 1.4.11: a contrast of 3).
const COLORS: [&str; 7] =
    ["#0072B2", "#D55E00", "#009E73", "#C876A3", "#BC7F00", "#3A98D0", "#808080"];
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
        content
            .replace(&format!("stroke=\"{mark}\""), &stroke)
            .replace(&format!("fill=\"{mark}\""), &format!("fill=\"{color}\""))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The contrast of two colours, by WCAG 2.2.
    fn contrast(a: &str, b: &str) -> f64 {
        let light = |color: &str| -> f64 {
            let part = |at: usize| {
                let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
        };
        let (a, b) = (light(a), light(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn lines_stand_out() {
        assert!((contrast("#FFFFFF", "#000000") - 21.0).abs() < 1e-9);
        for color in COLORS {
            // White, and the page's grounds.
            for ground in ["#FFFFFF", "#FDFDFB", "#151618"] {
                let found = contrast(color, ground);
                assert!(found >= 3.0, "{color} on {ground}: {found}");
            }
        }
    }

    #[test]
    fn text_stays_as_it_is() {
        let drawn = svg("x", (99, 99), |canvas| {
            write(canvas, "#010200 #010201", letters(SMALL), (9, 9))?;
            let corners = [(1, 1), (9, 9)];
            canvas.draw(&Rectangle::new(corners, mark(0).filled())).map_err(said)?;
            canvas.draw(&PathElement::new(corners, mark(1))).map_err(said)
        });
        let drawn = drawn.unwrap();
        assert!(drawn.contains("\n#010200 #010201\n"), "{drawn}");
        assert!(
            drawn.contains("fill=\"#0072B2\"") && drawn.contains("stroke=\"#D55E00\""),
            "{drawn}"
        );
    }
}
