//! From SVG to pixels.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{ImageHrefResolver, Options, Tree};

use crate::error::DataError;
use crate::image::Image;

/// What the font is called, within an SVG.
pub(super) const FAMILY: &str = "DejaVu Sans";

/// DejaVu Sans 2.37: Latin, Greek and mathematical signs.
const FONT: &[u8] = include_bytes!("font/DejaVuSans-subset.ttf");

static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    fonts.load_font_data(FONT.to_vec());
    fonts.set_sans_serif_family(FAMILY);
    Arc::new(fonts)
});

/// Draws an SVG, `scale` pixels for each of its units, on white; the bytes of a PNG of 8-bit RGB. Text has the one font of
/// this library, DejaVu Sans; images have to lie inside the SVG.
///
/// # Errors
/// When `svg` is none, or `scale` makes too many pixels of it, or none.
pub fn rasterize(svg: &str, scale: f32) -> Result<Vec<u8>, DataError> {
    let refuse = |problem: String| DataError::content("the figure", problem);
    let tree = Tree::from_str(svg, &options()).map_err(|e| refuse(format!("is no SVG: {e}")))?;
    let size = tree.size();
    let pixels = size.to_int_size().scale_by(scale);
    let pixmap = pixels.and_then(|size| Pixmap::new(size.width(), size.height()));
    let mut pixmap = pixmap.ok_or_else(|| {
        let (width, height) = (size.width(), size.height());
        refuse(format!("of {width}×{height} cannot be drawn at the scale {scale}; take another"))
    })?;
    pixmap.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
    // Opaque by now, so that nothing is premultiplied.
    let rgb = pixmap.data().chunks_exact(4).flat_map(|rgba| [rgba[0], rgba[1], rgba[2]]).collect();
    let shape = [pixmap.height() as usize, pixmap.width() as usize, 3];
    Image::of_checked(shape, rgb).to_png().map_err(|e| DataError::write("the figure", e))
}

/// How wide a line of text is at the size 1, as it will be drawn.
pub(super) fn width(text: &str) -> f32 {
    /// Large enough that rounding does not matter.
    const SIZE: f32 = 100.0;
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><text font-family="{FAMILY}" font-size="{SIZE}" xml:space="preserve">{text}</text></svg>"#
    );
    Tree::from_str(&svg, &options()).map_or(0.0, |tree| tree.root().bounding_box().width() / SIZE)
}

fn options() -> Options<'static> {
    Options {
        fontdb: Arc::clone(&FONTS),
        font_family: FAMILY.to_owned(),
        // Nothing is read from the disk, whatever the SVG asks for.
        image_href_resolver: ImageHrefResolver {
            resolve_string: Box::new(|_, _| None),
            ..ImageHrefResolver::default()
        },
        ..Options::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_stands_where_it_should() {
        let svg = r##"<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"><rect x="1" width="1" height="2" fill="#0a141e"/></svg>"##;
        for scale in [1, 2] {
            let png = rasterize(svg, scale as f32).unwrap();
            let image = Image::from_png(&png, "drawn").unwrap();
            assert_eq!(
                (image.width(), image.height(), image.channels()),
                (3 * scale, 2 * scale, 3)
            );
            for (i, pixel) in image.pixels().chunks(3).enumerate() {
                let is_inside = i / scale % 3 == 1;
                assert_eq!(pixel, if is_inside { [10, 20, 30] } else { [255; 3] }, "{scale} {i}");
            }
        }
    }

    #[test]
    fn what_is_no_figure_is_refused() {
        let svg = r#"<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"/>"#;
        let cases = [
            ("no svg", 1.0, "the figure is no SVG: "),
            (svg, 0.0, "the figure of 30×20 cannot be drawn at the scale 0"),
            (svg, -1.0, "cannot be drawn at the scale -1"),
            (svg, 1e9, "cannot be drawn at the scale 1000000000"),
            (svg, f32::NAN, "cannot be drawn at the scale NaN"),
        ];
        for (svg, scale, wanted) in cases {
            let e = rasterize(svg, scale).unwrap_err().to_string();
            assert!(e.contains(wanted), "{e}");
        }
    }

    #[test]
    fn nothing_is_read_from_the_disk() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/demo.png");
        assert!(std::path::Path::new(file).exists());
        let svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="{file}" width="9" height="9"/></svg>"#
        );
        let image = Image::from_png(&rasterize(&svg, 1.0).unwrap(), "drawn").unwrap();
        assert!(image.pixels().iter().all(|&x| x == 255));
    }

    /// Oracle: the advance widths of DejaVu Sans, in 2048ths: 0 has 1303, the point 651, the bar 690, the space 651, ∞ 1706.
    #[test]
    fn widths_are_the_fonts() {
        let cases = [("0.95", 3.0 * 1303.0 + 651.0), ("0 | 0", 2.0 * 1303.0 + 2.0 * 651.0 + 690.0)];
        for (text, wanted) in cases {
            let found = width(text) * 2048.0;
            assert!((found - wanted).abs() < 1.0, "{text}: {found}, wanted {wanted}");
        }
        // Escaped, and what the font lacks, cannot stop it.
        assert!(width("a<b&c") > width("a b c") && width("字") >= 0.0 && width("") == 0.0);
        for sign in "∞−×±→…≤üŁλ₂".chars() {
            assert!(width(&sign.to_string()) > 0.1, "{sign} is missing");
        }
    }
}
