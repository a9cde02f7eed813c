//! Ranges side by side.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{
    GRID_COLOR, INK_COLOR, LARGE, SMALL, bold, check, letters, mark, said, svg, width, write,
};
use super::{Axis, PlotError};

/// Horizontal bars one above the other, each from a low to a high value with a middle: quartiles and median, for example.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    /// What is to be seen; said by screen readers, too.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// From the top.
    pub ranges: Vec<Range>,
}

/// A bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// What it is called, at its left.
    pub name: String,
    /// Where it begins, its middle, and where it ends; `None` leaves its line empty.
    pub values: Option<[f64; 3]>,
    /// What is said of it, at its right.
    pub note: String,
}

const FIELD: i32 = 440;
const LINE: i32 = 26;
const BAR: i32 = 12;
const HEAD: i32 = 40;
const BELOW: i32 = 46;
const GAP: i32 = 12;
/// Of the mark in a bar's middle.
const DOT: i32 = 5;

impl Ranges {
    /// Draws them.
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn svg(&self) -> Result<String, PlotError> {
        let values = || self.ranges.iter().filter_map(|range| range.values).flatten();
        check(&self.title, values())?;
        let x = self.x.ruler(values(), 6);
        let longest = |text: fn(&Range) -> &str| {
            self.ranges.iter().map(|range| width(text(range), SMALL)).max().unwrap_or(0)
        };
        let left = longest(|range| &range.name) + 2 * GAP;
        let right = longest(|range| &range.note) + 2 * GAP;
        let lines = self.ranges.len().max(1) as i32 * LINE;
        let size =
            ((left + FIELD + right).max(width(&self.title, LARGE) + 2 * GAP), HEAD + lines + BELOW);
        svg(&self.title, size, |canvas| {
            write(canvas, &self.title, bold(LARGE), (8, HEAD / 2))?;
            let scale = f64::from(FIELD) / (x.high - x.low);
            let pixel = |place: f64| left + ((place - x.low) * scale).round() as i32;
            let centred = letters(SMALL).pos(Pos::new(HPos::Center, VPos::Center));
            let bottom = HEAD + lines;
            for &tick in &x.ticks {
                let line = vec![(pixel(tick), HEAD), (pixel(tick), bottom)];
                canvas.draw(&PathElement::new(line, GRID_COLOR)).map_err(said)?;
                write(canvas, &x.text(tick), centred.clone(), (pixel(tick), bottom + 12))?;
            }
            let line = vec![(left, bottom), (left + FIELD, bottom)];
            canvas.draw(&PathElement::new(line, INK_COLOR)).map_err(said)?;
            let middle = left + FIELD / 2;
            write(canvas, &self.x.text(), centred, (middle, bottom + BELOW - 14))?;
            for (i, range) in self.ranges.iter().enumerate() {
                let middle = HEAD + i as i32 * LINE + LINE / 2;
                let flush = letters(SMALL).pos(Pos::new(HPos::Right, VPos::Center));
                write(canvas, &range.name, flush, (left - GAP, middle))?;
                write(canvas, &range.note, letters(SMALL), (left + FIELD + GAP, middle))?;
                let Some(values) = range.values else { continue };
                let [low, dot, high] = values.map(|value| pixel(x.place(value)));
                let corners = [(low, middle - BAR / 2), (high.max(low + 1), middle + BAR / 2)];
                canvas.draw(&Rectangle::new(corners, mark(0).filled())).map_err(said)?;
                canvas.draw(&Circle::new((dot, middle), DOT, WHITE.filled())).map_err(said)?;
                let edge = INK_COLOR.stroke_width(2);
                canvas.draw(&Circle::new((dot, middle), DOT, edge)).map_err(said)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(values: &[Option<[f64; 3]>]) -> Ranges {
        let range = |(i, &values): (usize, _)| Range {
            name: format!("layer <{i}>"),
            values,
            note: format!("note {i}"),
        };
        Ranges {
            title: "Which layer".to_owned(),
            x: Axis::new("L2", "grey levels").between(0.0, 440.0),
            ranges: values.iter().enumerate().map(range).collect(),
        }
    }

    #[test]
    fn bars_lie_where_the_axis_says() {
        let svg = ranges(&[Some([100.0, 250.0, 300.0]), None]).svg().unwrap();
        let left = width("layer <0>", SMALL) + 2 * GAP;
        let bars: Vec<&str> = svg.lines().filter(|line| line.starts_with("<rect")).collect();
        let [bar] = bars[..] else { panic!("{svg}") };
        assert!(bar.contains(&format!("x=\"{}\"", left + 100)), "{bar}");
        assert!(bar.contains("width=\"200\""), "{bar}");
        let dots = svg.lines().filter(|line| line.contains(&format!("cx=\"{}\"", left + 250)));
        assert_eq!(dots.count(), 2);
        for text in ["layer &lt;0&gt;", "note 0", "layer &lt;1&gt;", "note 1", "L2 (grey levels)"] {
            assert!(svg.contains(&format!(">\n{text}\n</text>")), "{text} in {svg}");
        }
    }

    #[test]
    fn nothing_is_a_plot_too_and_no_number_is_none() {
        for values in [&[][..], &[None]] {
            assert!(ranges(values).svg().unwrap().ends_with("</svg>\n"));
        }
        let refused = ranges(&[Some([0.0, f64::NAN, 1.0])]).svg().unwrap_err();
        assert!(refused.to_string().contains("NaN"), "{refused}");
    }
}
