//! Where everything of a figure stands.

use askama::Template;

use super::grid::{Cell, Grid, Plate, Theme};
use super::raster::{FAMILY, width};
use crate::error::DataError;
use crate::image::Image;
use crate::report::card::Picture;

/// The width that a figure should have, in pixels: 400 an inch, where a paper's text is 5.5 inches wide.
const PAGE: usize = 2200;
/// Images are magnified to at most so many pixels.
const LARGEST: usize = 340;
/// Around everything.
const MARGIN: usize = 48;
/// Between the images of a cell.
const GAP: usize = 8;
/// Between cells.
const GUTTER: usize = 40;
/// Captions, in pixels: 6 points where a figure is printed 5.5 inches wide, and 7 at 6.5 inches.
const CAPTION: f32 = 34.0;
/// No caption is smaller.
const SMALLEST: f32 = 20.0;
/// From one line to the next, in sizes of the text.
const LEADING: f32 = 1.3;
/// Of notes and scales, beside captions.
const SMALL: f32 = 0.72;

/// A figure in units of its SVG, as the template writes it down.
#[derive(Template)]
#[template(path = "figure.svg")]
pub(super) struct Layout<'a> {
    title: String,
    width: usize,
    height: usize,
    family: &'static str,
    colours: &'a Colours,
    plates: Vec<Placed>,
    /// Behind images, which would lose their edge otherwise.
    frames: Vec<Area>,
    /// In place of images.
    blanks: Vec<Area>,
    /// Scales of perturbations.
    ramps: Vec<Area>,
    lines: Vec<Line>,
}

struct Colours {
    paper: &'static str,
    ink: &'static str,
    soft: &'static str,
    rule: &'static str,
}

const LIGHT: Colours =
    Colours { paper: "#ffffff", ink: "#1a1a1a", soft: "#5a5a5a", rule: "#c8c8c8" };
const DARK: Colours =
    Colours { paper: "#15171a", ink: "#f0eee9", soft: "#b3b0aa", rule: "#4a4d52" };

#[derive(Clone, Copy)]
struct Area {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

struct Placed {
    at: Area,
    picture: Picture,
}

struct Line {
    x: f32,
    y: f32,
    size: f32,
    anchor: &'static str,
    soft: bool,
    text: String,
}

/// A paragraph still to be set.
#[derive(Clone, Copy)]
struct Style {
    size: f32,
    soft: bool,
    anchor: &'static str,
}

impl<'a> Layout<'a> {
    pub(super) fn new(grid: &Grid, theme: Theme) -> Result<Self, DataError> {
        let sizes = Sizes::of(grid);
        let colours = match theme {
            Theme::Light => &LIGHT,
            Theme::Dark => &DARK,
        };
        let mut layout = Self {
            title: plain(&grid.title),
            width: sizes.width,
            height: MARGIN,
            family: FAMILY,
            colours,
            plates: Vec::new(),
            frames: Vec::new(),
            blanks: Vec::new(),
            ramps: Vec::new(),
            lines: Vec::new(),
        };
        layout.head(grid, &sizes)?;
        layout.headings(grid, &sizes);
        for row in &grid.rows {
            layout.row(row, &sizes)?;
        }
        layout.foot(grid, &sizes);
        layout.height += MARGIN;
        Ok(layout)
    }

    /// Title and text, beside the origin.
    fn head(&mut self, grid: &Grid, sizes: &Sizes) -> Result<(), DataError> {
        let top = self.height;
        let mut x = MARGIN;
        let mut bottom = top;
        if let Some(origin) = &grid.origin {
            bottom = self.cell(
                origin,
                [x, top],
                sizes.tile[1],
                &Sizes { scales: GAP as f32, ..sizes.clone() },
            )?;
            x += sizes.tile[1] + GUTTER;
        }
        let room = (sizes.width - MARGIN - x) as f32;
        let title = Style { size: sizes.caption * 1.4, soft: false, anchor: "start" };
        let text = Style { size: sizes.caption * 0.88, soft: true, anchor: "start" };
        let mut y = self.paragraph(&grid.title, title, [x as f32, top as f32], room);
        y = self.paragraph(&grid.text, text, [x as f32, y + sizes.caption * 0.3], room);
        self.height = bottom.max(y.ceil() as usize) + GUTTER;
        Ok(())
    }

    fn headings(&mut self, grid: &Grid, sizes: &Sizes) {
        let style = Style { size: sizes.caption, soft: false, anchor: "middle" };
        let top = self.height as f32;
        let mut bottom = top;
        for (heading, (x, room)) in grid.columns.iter().zip(&sizes.columns) {
            let at = [(x + room / 2) as f32, top];
            bottom = bottom.max(self.paragraph(heading, style, at, *room as f32));
        }
        self.height = bottom.ceil() as usize + if grid.columns.is_empty() { 0 } else { 2 * GAP };
    }

    fn row(&mut self, row: &[Cell], sizes: &Sizes) -> Result<(), DataError> {
        let top = self.height;
        for (cell, &(x, room)) in row.iter().zip(&sizes.columns) {
            let bottom = self.cell(cell, [x, top], room, sizes)?;
            self.height = self.height.max(bottom);
        }
        self.height += GUTTER;
        Ok(())
    }

    fn foot(&mut self, grid: &Grid, sizes: &Sizes) {
        let style = Style { size: sizes.caption * SMALL, soft: true, anchor: "start" };
        let mut y = self.height as f32;
        for note in &grid.notes {
            let room = (sizes.width - 2 * MARGIN) as f32;
            y = self.paragraph(note, style, [MARGIN as f32, y], room) + style.size * 0.35;
        }
        self.height = y.ceil() as usize;
    }

    /// Images in the middle of a column `room` wide, and their caption; gives where it ends.
    fn cell(
        &mut self,
        cell: &Cell,
        [x, y]: [usize; 2],
        room: usize,
        sizes: &Sizes,
    ) -> Result<usize, DataError> {
        let [height, width] = sizes.tile;
        let small = sizes.caption * SMALL;
        if let Some(missing) = &cell.missing {
            let blank = Area { x: x + 1, y: y + 1, width: room - 2, height: height - 2 };
            self.blanks.push(blank);
            let style = Style { size: small, soft: true, anchor: "middle" };
            let inside = room as f32 - 2.0 * small;
            let lines = wrap(missing, style.size, inside).len() as f32;
            let top = y as f32 + (height as f32 - lines * small * LEADING) / 2.0;
            self.paragraph(missing, style, [(x + room / 2) as f32, top], inside);
        }
        let mut left = x + (room - sizes.width_of(cell).min(room)) / 2;
        for plate in &cell.plates {
            self.plate(plate, [left, y], sizes)?;
            left += width + GAP;
        }
        let middle = (x + room / 2) as f32;
        let mut bottom = (y + height) as f32 + sizes.scales;
        let parts =
            [(cell.place(), false), (cell.numbers.clone(), false), (cell.note.clone(), true)];
        for (text, soft) in parts {
            let size = if soft { small } else { sizes.caption };
            let style = Style { size, soft, anchor: "middle" };
            // What stands below a single image may be wider than that.
            let room = (room + GUTTER - 2 * GAP) as f32;
            bottom = self.paragraph(&text, style, [middle, bottom], room);
        }
        Ok(bottom.ceil() as usize)
    }

    fn plate(&mut self, plate: &Plate, [x, y]: [usize; 2], sizes: &Sizes) -> Result<(), DataError> {
        let [height, width] = sizes.tile;
        let image = magnified(&plate.image, sizes.factor);
        let (left, top) = (
            x + width.saturating_sub(image.width()) / 2,
            y + height.saturating_sub(image.height()) / 2,
        );
        let at = Area { x: left, y: top, width: image.width(), height: image.height() };
        let (x, y) = (at.x - 2, at.y - 2);
        self.frames.push(Area { x, y, width: at.width + 4, height: at.height + 4 });
        self.plates.push(Placed { at, picture: Picture::new(&image, plain(&plate.alt))? });
        let Some(reach) = plate.reach else { return Ok(()) };
        // Its scale: what black and white stand for.
        let size = sizes.caption * SMALL * 0.9;
        let baseline = (at.y + at.height) as f32 + GAP as f32 + size;
        let ends =
            [(format!("−{reach}"), at.x, "start"), (format!("+{reach}"), at.x + at.width, "end")];
        let taken = width_at(&ends[0].0, size).max(width_at(&ends[1].0, size)).ceil() as usize + 10;
        for (text, x, anchor) in ends {
            self.lines.push(Line { x: x as f32, y: baseline, size, anchor, soft: true, text });
        }
        if at.width > 2 * taken {
            self.ramps.push(Area {
                x: at.x + taken,
                y: (baseline - size * 0.62) as usize,
                width: at.width - 2 * taken,
                height: (size * 0.5) as usize,
            });
        }
        Ok(())
    }

    /// Sets `text` in lines below `y`, at most `room` wide; gives where it ends.
    fn paragraph(&mut self, text: &str, style: Style, [x, y]: [f32; 2], room: f32) -> f32 {
        let Style { size, soft, anchor } = style;
        let mut bottom = y;
        let lines =
            if anchor == "middle" { balanced(text, size, room) } else { wrap(text, size, room) };
        for text in lines {
            bottom += size * LEADING;
            let y = bottom - size * (LEADING - 1.0);
            self.lines.push(Line { x, y, size, anchor, soft, text });
        }
        bottom
    }
}

/// What all parts of a figure have in common.
#[derive(Clone)]
struct Sizes {
    /// Of the figure.
    width: usize,
    /// Pixels of the figure for one of an image, on each side.
    factor: usize,
    /// Height and width that an image gets.
    tile: [usize; 2],
    /// Where each column begins, and its width.
    columns: Vec<(usize, usize)>,
    /// Size of captions.
    caption: f32,
    /// Height of the scales below perturbations.
    scales: f32,
}

impl Sizes {
    fn of(grid: &Grid) -> Self {
        let cells = || grid.rows.iter().flatten();
        let images = || cells().chain(&grid.origin).flat_map(|cell| &cell.plates);
        let largest =
            |side: fn(&Image) -> usize| images().map(|p| side(&p.image)).max().unwrap_or(1);
        let [height, width] = [largest(Image::height), largest(Image::width)];
        let mut counts: Vec<usize> = Vec::new();
        for row in &grid.rows {
            counts.resize(counts.len().max(row.len()), 1);
            for (count, cell) in counts.iter_mut().zip(row) {
                *count = (*count).max(images_of(cell));
            }
        }
        let page = |factor: usize| -> usize {
            let images: usize = counts.iter().map(|n| n * (width * factor + GAP) - GAP).sum();
            images + GUTTER * counts.len().saturating_sub(1) + 2 * MARGIN
        };
        // The factor that comes nearest to the page, as a ratio.
        let fits = |factor: &usize| {
            let ratio = page(*factor) as f64 / PAGE as f64;
            ratio.max(1.0 / ratio)
        };
        let most = (LARGEST / width.max(height)).max(1);
        let factor = (1..=most).min_by(|a, b| fits(a).total_cmp(&fits(b))).unwrap_or(1);
        let tile = [height * factor, width * factor];
        let mut x = MARGIN;
        let mut columns = Vec::new();
        for &count in &counts {
            let room = count * (tile[1] + GAP) - GAP;
            columns.push((x, room));
            x += room + GUTTER;
        }
        // Numbers stand on one line.
        let room = |cell: &Cell, room: usize| {
            (room + GUTTER - 2 * GAP) as f32 / width_at(&cell.numbers, 1.0).max(0.1)
        };
        let fit = grid
            .rows
            .iter()
            .flat_map(|row| row.iter().zip(&columns))
            .filter(|(cell, _)| images_of(cell) > 1);
        let caption =
            fit.map(|(cell, &(_, width))| room(cell, width)).fold(CAPTION, f32::min).max(SMALLEST);
        let has_scales = images().any(|plate| plate.reach.is_some());
        let scales = if has_scales { GAP as f32 + caption * SMALL * LEADING } else { 0.0 };
        // Titles and notes want some room, however few the images.
        let width = page(factor).max((PAGE as f32 * 0.4) as usize);
        Self { width, factor, tile, columns, caption, scales }
    }

    /// How wide the images of `cell` are together.
    fn width_of(&self, cell: &Cell) -> usize {
        images_of(cell) * (self.tile[1] + GAP) - GAP
    }
}

/// How many images `cell` has room for.
fn images_of(cell: &Cell) -> usize {
    if cell.missing.is_some() { 2 } else { cell.plates.len().max(1) }
}

/// Each pixel as a square of `factor` × `factor` pixels.
fn magnified(image: &Image, factor: usize) -> Image {
    let (width, channels) = (image.width(), image.channels());
    let mut pixels = Vec::with_capacity(image.pixels().len() * factor * factor);
    for row in image.pixels().chunks_exact(width * channels) {
        let wide: Vec<u8> =
            row.chunks_exact(channels).flat_map(|pixel| pixel.repeat(factor)).collect();
        pixels.extend(wide.repeat(factor));
    }
    Image::of_checked([image.height() * factor, width * factor, channels], pixels)
}

fn width_at(text: &str, size: f32) -> f32 {
    width(text) * size
}

/// `text` in lines at most `room` wide, broken between words; a word that is too long is cut.
fn wrap(text: &str, size: f32, room: f32) -> Vec<String> {
    lines(&words(text, size, room), size, room)
}

/// As [`wrap`], with lines that are about as long as each other.
fn balanced(text: &str, size: f32, room: f32) -> Vec<String> {
    let words = words(text, size, room);
    let count = lines(&words, size, room).len();
    let mut rooms = (10..=20_u8).map(|twentieths| room * f32::from(twentieths) / 20.0);
    let narrowest = rooms.find(|&room| lines(&words, size, room).len() == count);
    lines(&words, size, narrowest.unwrap_or(room))
}

/// The words of `text` with their widths, cut where they are wider than `room`.
fn words(text: &str, size: f32, room: f32) -> Vec<(String, f32)> {
    let fitting = |word: &str| {
        let mut kept: Vec<char> = plain(word).chars().collect();
        let mut word: String = kept.iter().collect();
        let mut wide = width_at(&word, size);
        while wide > room && kept.len() > 1 {
            // As many characters as would fit if all were as wide as their mean, but fewer than before.
            let share = (kept.len() as f32 * room / wide) as usize;
            kept.truncate(share.clamp(1, kept.len() - 1));
            word = kept.iter().chain(&['…']).collect();
            wide = width_at(&word, size);
        }
        (word, wide)
    };
    text.split_whitespace().map(fitting).collect()
}

/// Words in lines at most `room` wide, or of one word.
fn lines(words: &[(String, f32)], size: f32, room: f32) -> Vec<String> {
    let space = width_at("a b", size) - width_at("ab", size);
    let mut lines: Vec<(String, f32)> = Vec::new();
    for (word, wide) in words {
        match lines.last_mut() {
            Some((line, length)) if *length + space + wide <= room => {
                line.push(' ');
                line.push_str(word);
                *length += space + wide;
            }
            _ => lines.push((word.clone(), *wide)),
        }
    }
    lines.into_iter().map(|(line, _)| line).collect()
}

/// Text that an SVG may hold.
fn plain(text: &str) -> String {
    text.replace(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'), "?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::NamedImage;

    fn grid(sides: [usize; 2], rows: &[usize], name: &str) -> Grid {
        let pixels = vec![90; sides[0] * sides[1]];
        let image = Image::new(sides[0], sides[1], 1, pixels).unwrap();
        let given = NamedImage { image, name: name.to_owned(), label: None };
        let cell = || Cell::given(name, name, &given).lettered('a');
        Grid {
            title: name.to_owned(),
            text: name.to_owned(),
            origin: Some(cell()),
            columns: vec![name.to_owned(); rows[0]],
            rows: rows.iter().map(|&count| vec![cell(); count]).collect(),
            notes: vec![name.to_owned()],
        }
    }

    /// Whatever the images, nothing hangs over the edge, no two images touch, and no two lines of text of one column.
    #[test]
    fn everything_has_its_place() {
        let long = "a few words and one-that-does-not-fit-on-any-line-of-any-figure-of-any-size-whatever-it-shows-at-all-really ".repeat(3);
        for name in ["4", &long] {
            for (sides, rows) in [
                ([28, 28], &[9, 4][..]),
                ([28, 28], &[1]),
                ([1, 1], &[2, 3]),
                ([150, 150], &[3, 3, 3]),
                ([600, 20], &[5]),
                ([20, 600], &[2]),
            ] {
                let layout = Layout::new(&grid(sides, rows, name), Theme::Light).unwrap();
                let case = format!("{sides:?} {rows:?} {name:.9}");
                let (width, height) = (layout.width as f32, layout.height as f32);
                for line in &layout.lines {
                    let long = width_at(&line.text, line.size);
                    let left = if line.anchor == "start" { line.x } else { line.x - long / 2.0 };
                    assert!(left >= 0.0 && left + long <= width, "{case}: {}", line.text);
                    assert!(
                        line.y - line.size >= 0.0 && line.y + line.size * 0.3 <= height,
                        "{case}"
                    );
                }
                for (i, a) in layout.lines.iter().enumerate() {
                    for b in layout.lines[..i].iter().filter(|b| (b.x - a.x).abs() < 1.0) {
                        let apart = (a.y - b.y).abs();
                        assert!(apart >= a.size.min(b.size), "{case}: {} {}", a.text, b.text);
                    }
                }
                for (i, a) in layout.frames.iter().enumerate() {
                    assert!(a.x + a.width <= layout.width && a.y + a.height <= layout.height);
                    for b in &layout.frames[..i] {
                        let apart = |x: usize, wide: usize, y: usize, tall: usize| {
                            x + wide <= y || y + tall <= x
                        };
                        let (beside, above) = (
                            apart(a.x, a.width, b.x, b.width),
                            apart(a.y, a.height, b.y, b.height),
                        );
                        assert!(beside || above, "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn pixels_become_squares() {
        let image = Image::new(2, 1, 3, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let wanted = [[1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6]].concat().repeat(2);
        let found = magnified(&image, 2);
        assert_eq!((found.width(), found.height(), found.pixels()), (4, 2, &wanted[..]));
        assert_eq!(magnified(&image, 1), image);
    }

    #[test]
    fn pages_are_as_wide_as_they_can_be_with_whole_pixels() {
        let sizes = |sides, rows: &[usize]| {
            let sizes = Sizes::of(&grid(sides, rows, "4"));
            (sizes.factor, sizes.width)
        };
        // Nine digits in a row, as in figure 1; a face; what is larger than the page; nothing is magnified beyond measure.
        assert_eq!(sizes([28, 28], &[9]).0, 7);
        assert_eq!(sizes([150, 150], &[6]).0, 2);
        assert_eq!(sizes([3000, 10], &[2]), (1, 2 * 3000 + GUTTER + 2 * MARGIN));
        assert_eq!(sizes([28, 28], &[1]), (12, 880));
    }

    #[test]
    fn lines_break_between_words() {
        let room = width_at("aaa bbb", 10.0) + 0.1;
        let lines = wrap("aaa bbb ccc  d\neeeeeeeeeeeee", 10.0, room);
        assert_eq!(lines[..3], ["aaa bbb", "ccc d", lines[2].as_str()]);
        assert!(lines.len() == 3 && lines[2].starts_with("eee") && lines[2].ends_with('…'));
        assert!(width_at(&lines[2], 10.0) <= room);
        assert!(wrap(" ", 10.0, room).is_empty());
    }
}
