//! Curves.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Ruler;
use super::canvas::{
    Canvas, GRID_COLOR, INK_COLOR, LARGE, MIDDLE, SMALL, bold, check, letters, mark, said, svg,
    width, write,
};
use super::{Axis, PlotError};

/// Panels of curves over common axes, with one legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// What is to be seen; said by screen readers, too.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Side by side, three in a row.
    pub panels: Vec<Panel>,
}

/// A field of curves.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What tells it from its neighbours; empty for a single panel.
    pub title: String,
    /// Those of equal names look alike in all panels.
    pub series: Vec<Series>,
}

/// A curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// How points are joined.
    pub shape: Shape,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// How points are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// By straight lines.
    #[default]
    Line,
    /// A value holds until the next point, the last one to the end of the axis.
    Step,
}

const COLUMNS: usize = 3;
/// Size of a panel's field: alone, and beside others.
const ALONE: (i32, i32) = (520, 320);
const BESIDE: (i32, i32) = (230, 230);
/// Room left of a field, for ticks; above it, for its title and the y axis' label; below it, for ticks and label.
const LEFT: i32 = 52;
const ABOVE: i32 = 44;
const BELOW: i32 = 46;
/// Between a panel and what is right of it.
const GAP: i32 = 18;
/// Room for the title.
const HEAD: i32 = 34;
const LEGEND_LINE: i32 = 20;
const LEGEND_STROKE: i32 = 34;
/// Of curves.
const STROKE: u32 = 2;

impl Curves {
    /// Draws them.
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn svg(&self) -> Result<String, PlotError> {
        let points = || self.panels.iter().flat_map(|panel| &panel.series).flat_map(|s| &s.points);
        check(&self.title, points().flat_map(|&(x, y)| [x, y]))?;
        let columns = self.panels.len().clamp(1, COLUMNS);
        let rows = self.panels.len().div_ceil(columns).max(1);
        let field = if self.panels.len() > 1 { BESIDE } else { ALONE };
        let x = self.x.ruler(points().map(|&(x, _)| x), if columns > 1 { 4 } else { 6 });
        let y = self.y.ruler(points().map(|&(_, y)| y), 5);
        let names = self.names();
        let longest = names.iter().map(|name| width(name, SMALL)).max();
        let legend = longest.map_or(0, |longest| LEGEND_STROKE + longest + 8);
        let (wide, high) = (LEFT + field.0 + GAP, ABOVE + field.1 + BELOW);
        let left = columns as i32 * wide;
        let size = (
            (left + legend).max(width(&self.title, LARGE) + 2 * GAP),
            HEAD + (rows as i32 * high).max(ABOVE + names.len() as i32 * LEGEND_LINE),
        );
        svg(&self.title, size, |canvas| {
            write(canvas, &self.title, bold(LARGE), (8, HEAD / 2))?;
            for (i, panel) in self.panels.iter().enumerate() {
                let at = ((i % columns) as i32 * wide, HEAD + (i / columns) as i32 * high);
                let area = canvas.clone().shrink((at.0, at.1), (wide, high));
                self.panel(&area, panel, &names, &x, &y)?;
            }
            for (i, name) in names.iter().enumerate() {
                let middle = HEAD + ABOVE + i as i32 * LEGEND_LINE;
                let ends = vec![(left, middle), (left + LEGEND_STROKE - 8, middle)];
                let stroke = mark(i).stroke_width(STROKE);
                canvas.draw(&PathElement::new(ends, stroke)).map_err(said)?;
                write(canvas, name, letters(SMALL), (left + LEGEND_STROKE, middle))?;
            }
            Ok(())
        })
    }

    /// Of all series, each once, as they come.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for series in self.panels.iter().flat_map(|panel| &panel.series) {
            if !names.contains(&series.name.as_str()) {
                names.push(&series.name);
            }
        }
        names
    }

    fn panel(
        &self,
        area: &Canvas<'_>,
        panel: &Panel,
        names: &[&str],
        x: &Ruler,
        y: &Ruler,
    ) -> Result<(), String> {
        write(area, &panel.title, bold(MIDDLE), (LEFT, ABOVE / 2 - 12))?;
        write(area, &self.y.text(), letters(SMALL), (8, ABOVE / 2 + 6))?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(ABOVE)
            .margin_right(GAP)
            .x_label_area_size(BELOW)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(x.clone(), y.clone())
            .map_err(said)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID_COLOR)
            .light_line_style(TRANSPARENT)
            .axis_style(INK_COLOR)
            .label_style(letters(SMALL))
            .draw()
            .map_err(said)?;
        let (wide, high) = area.dim_in_pixel();
        let middle = (LEFT + wide as i32 - GAP) / 2;
        let centred = letters(SMALL).pos(Pos::new(HPos::Center, VPos::Center));
        write(area, &self.x.text(), centred, (middle, high as i32 - 12))?;
        for series in &panel.series {
            let number = names.iter().position(|&name| name == series.name).unwrap_or_default();
            let place = |(x_value, y_value)| (x.place(x_value), y.place(y_value));
            let mut path: Vec<(f64, f64)> = series.path().into_iter().map(place).collect();
            let last =
                path.last().copied().filter(|last| series.shape == Shape::Step && last.0 < x.high);
            path.extend(last.map(|last| (x.high, last.1)));
            let path = PathElement::new(path, mark(number).stroke_width(STROKE));
            chart.draw_series([path]).map_err(said)?;
        }
        Ok(())
    }
}

impl Series {
    /// The corners of the curve.
    fn path(&self) -> Vec<(f64, f64)> {
        let points = &self.points;
        match self.shape {
            Shape::Line => points.clone(),
            Shape::Step => {
                let corners = points.windows(2).flat_map(|two| [(two[1].0, two[0].1), two[1]]);
                points.first().copied().into_iter().chain(corners).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series { name: name.to_owned(), shape: Shape::Step, points: points.to_vec() }
    }

    fn curves(panels: Vec<Vec<Series>>) -> Curves {
        let panels = panels.into_iter().enumerate();
        Curves {
            title: "Success & size <0>".to_owned(),
            x: Axis::new("L2", "grey levels").between(0.0, 100.0),
            y: Axis::new("share", "%").between(0.0, 100.0),
            panels: panels
                .map(|(i, series)| Panel { title: format!("panel {i}"), series })
                .collect(),
        }
    }

    /// The attributes of the strokes of curves, in the order in which they are drawn.
    fn strokes(svg: &str) -> Vec<&str> {
        let lines = svg.lines().filter(|line| line.contains("stroke-width=\"2\""));
        lines
            .map(|line| &line[line.find("stroke=").unwrap()..line.find(" stroke-width").unwrap()])
            .collect()
    }

    #[test]
    fn steps_hold_until_the_next_point() {
        let path = series("", &[(0.0, 1.0), (2.0, 5.0), (3.0, 6.0)]).path();
        assert_eq!(path, [(0.0, 1.0), (2.0, 1.0), (2.0, 5.0), (3.0, 5.0), (3.0, 6.0)]);
        assert_eq!(series("", &[]).path(), []);
    }

    #[test]
    fn points_lie_where_the_axes_say() {
        // The last value holds to the right end.
        let svg = curves(vec![vec![series("a", &[(0.0, 0.0), (50.0, 100.0), (80.0, 25.0)])]]);
        let svg = svg.svg().unwrap();
        let (left, top) = (LEFT, HEAD + ABOVE);
        let (wide, high) = ALONE;
        let at = |x: i32, y: i32| (left + wide * x / 100, top + high - high * y / 100);
        let wanted = [at(0, 0), at(50, 0), at(50, 100), at(80, 100), at(80, 25), at(100, 25)];
        let line = svg.lines().find(|line| line.contains("stroke-width=\"2\"")).unwrap();
        let points = line.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let found: Vec<(i32, i32)> = points
            .split_whitespace()
            .map(|pair| {
                let (x, y) = pair.split_once(',').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            })
            .collect();
        assert_eq!(found.len(), wanted.len());
        // plotters keeps a pixel for the end of an axis.
        let is_near =
            |a: &(i32, i32), b: &(i32, i32)| a.0.abs_diff(b.0) < 2 && a.1.abs_diff(b.1) < 2;
        assert!(found.iter().zip(&wanted).all(|(a, b)| is_near(a, b)), "{found:?} {wanted:?}");
    }

    #[test]
    fn names_look_alike_in_all_panels_and_differ_from_others() {
        let two = |a, b| vec![series(a, &[(1.0, 1.0)]), series(b, &[(1.0, 1.0)])];
        let svg = curves(vec![two("a", "b"), two("b", "c")]).svg().unwrap();
        let [a, b, again, c, legend @ ..] = &strokes(&svg)[..] else { panic!("{svg}") };
        assert_eq!((b, &[*a, *b, *c][..]), (again, legend));
        for text in ["a", "b", "c", "panel 0", "panel 1", "L2 (grey levels)", "share (%)"] {
            assert!(svg.contains(&format!(">\n{text}\n</text>")), "{text} in {svg}");
        }
        let many = (0..35).map(|i| series(&i.to_string(), &[(1.0, 1.0)])).collect();
        let svg = curves(vec![many]).svg().unwrap();
        let mut strokes = strokes(&svg);
        strokes.sort_unstable();
        strokes.dedup();
        assert_eq!(strokes.len(), 35);
    }

    #[test]
    fn a_plot_scales_and_says_what_it_is() {
        for panels in [vec![], vec![vec![]], vec![vec![series("a", &[])]; 7]] {
            let svg = curves(panels).svg().unwrap();
            let first: Vec<&str> = svg.lines().take(2).collect();
            assert!(first[0].starts_with("<svg class=\"plot\" role=\"img\""), "{svg}");
            assert!(first[0].contains(" viewBox=\"0 0 "), "{svg}");
            assert_eq!(first[1], "<title>Success &amp; size &lt;0&gt;</title>");
            assert!(svg.ends_with("</svg>\n"), "{svg}");
        }
    }

    #[test]
    fn numbers_that_lie_nowhere_are_refused() {
        for bad in [f64::NAN, f64::INFINITY] {
            let refused = curves(vec![vec![series("a", &[(bad, 0.0)])]]).svg().unwrap_err();
            assert!(refused.to_string().ends_with("wanted finite ones"), "{refused}");
        }
    }
}
