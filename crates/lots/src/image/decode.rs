//! PNG to pixels, exactly or not at all.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodeOptions, Decoder, Info, Limits};

use super::Image;
use crate::error::DataError;

/// The most pixels of a PNG: 2²⁶ (8192×8192). The output then takes at most 256 MiB, 4 bytes a pixel, and a file that is
/// small but claims to be huge cannot make decoding take 1 GiB.
const MAX_PIXELS: u64 = 1 << 26;
/// The most bytes of the decoder's own buffers, some rows.
const MAX_BUFFERS: usize = 1 << 29;
/// The most bytes of a PNG file.
pub(super) const MAX_FILE: u64 = 1 << 30;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

impl Image {
    /// The image of a PNG in memory, its stored values exactly; `name` stands for the file in messages.
    ///
    /// Grey of 1, 2 or 4 bits is spread over 0–255 (a factor of 255, 85 or 17), a palette becomes RGB, and transparency
    /// that hides nothing is dropped. Colour profiles and gamma are not applied. Bytes behind the PNG's end are not part of it.
    ///
    /// # Errors
    /// When it is not a PNG, truncated or damaged, animated, of 16 bits a channel, of more than 2²⁶ pixels, or has a
    /// pixel that is not opaque.
    pub fn from_png(bytes: &[u8], name: &str) -> Result<Self, DataError> {
        decode(bytes).map_err(|problem| DataError::content(name, problem))
    }
}

fn decode(bytes: &[u8]) -> Result<Image, String> {
    let chunks = chunks(bytes)?;
    if chunks.contains(b"acTL") {
        return Err("is an animated PNG, wanted one image; save a single frame of it".to_owned());
    }

    // The strictest reading: as it comes, the decoder would skip damaged chunks, tRNS among them.
    let mut options = DecodeOptions::default();
    options.set_ignore_adler32(false);
    options.set_skip_ancillary_crc_failures(false);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    let header = decoder.read_header_info().map_err(damaged)?;
    if header.bit_depth == BitDepth::Sixteen {
        return Err("has 16 bits a channel, wanted 8; convert it to 8 bits first".to_owned());
    }
    let (width, height) = (header.width, header.height);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "has {width}×{height} pixels, wanted at most {MAX_PIXELS} in all; scale it down first"
        ));
    }
    decoder.set_limits(Limits { bytes: MAX_BUFFERS });
    let mut reader = decoder.read_info().map_err(damaged)?;
    if chunks.contains(b"tRNS") && reader.info().trns.is_none() {
        return Err(damaged("its tRNS chunk does not fit"));
    }
    let size = reader.output_buffer_size().ok_or_else(|| damaged("its size overflows"))?;
    let mut packed = vec![0; size];
    reader.next_frame(&mut packed).map_err(damaged)?;
    // Up to the end, which compares the checksums.
    reader.finish().map_err(damaged)?;

    let info = reader.info();
    let (channels, pixels) = expand(info, unpack(info, packed))?;
    Image::new(info.width as usize, info.height as usize, channels, pixels).map_err(damaged)
}

/// The types of the chunks up to and including IEND.
fn chunks(bytes: &[u8]) -> Result<Vec<[u8; 4]>, String> {
    if bytes.is_empty() {
        return Err("is empty; wanted a PNG file".to_owned());
    }
    let Some(mut rest) = bytes.strip_prefix(&SIGNATURE) else {
        let found = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
        return Err(format!(
            "is not a PNG file: it starts with {found}, wanted 89 50 4e 47 0d 0a 1a 0a; convert it to PNG"
        ));
    };
    let mut types = Vec::new();
    while types.last() != Some(b"IEND") {
        let next = rest.split_first_chunk::<4>().and_then(|(length, behind)| {
            let (kind, behind) = behind.split_first_chunk::<4>()?;
            // Content and checksum.
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?.checked_add(4)?;
            Some((*kind, behind.get(length..)?))
        });
        let Some((kind, behind)) = next else {
            return Err("is truncated: it ends before its IEND chunk; copy it again".to_owned());
        };
        types.push(kind);
        rest = behind;
    }
    Ok(types)
}

fn damaged(reason: impl ToString) -> String {
    let reason = reason.to_string().replace('\n', " ");
    format!("is a damaged PNG ({reason}); save or copy it again")
}

/// One byte a sample, from rows of 1, 2 or 4 bits a sample that end on a whole byte; 8 bits stay.
fn unpack(info: &Info, packed: Vec<u8>) -> Vec<u8> {
    let depth = info.bit_depth as usize;
    if depth == 8 {
        return packed;
    }
    // Only grey and palettes have less than 8 bits: one sample a pixel.
    let width = info.width as usize;
    let mask = sample_mask(info);
    packed
        .chunks((width * depth).div_ceil(8))
        .flat_map(|row| {
            (0..width).map(move |x| {
                let bit = x * depth;
                row[bit / 8] >> (8 - depth - bit % 8) & mask
            })
        })
        .collect()
}

/// The largest sample that the depth allows.
fn sample_mask(info: &Info) -> u8 {
    (u16::MAX >> (16 - info.bit_depth as u16)) as u8
}

/// Channels (1 or 3) and pixels of samples that are one byte each, without transparency.
fn expand(info: &Info, mut samples: Vec<u8>) -> Result<(usize, Vec<u8>), String> {
    let trns = info.trns.as_deref();
    let transparent = match (info.color_type, trns) {
        (ColorType::Grayscale, Some(&[grey, ..])) => samples.contains(&(grey & sample_mask(info))),
        (ColorType::Rgb, Some(rgb)) => samples.chunks(3).any(|pixel| pixel == rgb),
        (ColorType::Indexed, Some(alphas)) => {
            samples.iter().any(|&i| alphas.get(usize::from(i)).is_some_and(|&alpha| alpha < 255))
        }
        (ColorType::GrayscaleAlpha, _) => samples.chunks(2).any(|pixel| pixel[1] < 255),
        (ColorType::Rgba, _) => samples.chunks(4).any(|pixel| pixel[3] < 255),
        _ => false,
    };
    if transparent {
        return Err("has transparent pixels; flatten it onto a background first".to_owned());
    }
    match info.color_type {
        ColorType::Grayscale => {
            let factor = 255 / sample_mask(info);
            samples.iter_mut().for_each(|sample| *sample *= factor);
            Ok((1, samples))
        }
        ColorType::Rgb => Ok((3, samples)),
        ColorType::GrayscaleAlpha => Ok((1, drop_last_of(2, samples))),
        ColorType::Rgba => Ok((3, drop_last_of(4, samples))),
        ColorType::Indexed => {
            let palette = info.palette.as_deref().ok_or_else(|| damaged("it has no palette"))?;
            let mut pixels = Vec::with_capacity(samples.len() * 3);
            for index in samples {
                let at = usize::from(index) * 3;
                let Some(colour) = palette.get(at..at + 3) else {
                    let entries = palette.len() / 3;
                    return Err(damaged(format!("colour {index} of a palette of {entries}")));
                };
                pixels.extend_from_slice(colour);
            }
            Ok((3, pixels))
        }
    }
}

/// Each group of `size` bytes without its last, in place.
fn drop_last_of(size: usize, mut samples: Vec<u8>) -> Vec<u8> {
    let count = samples.len() / size;
    for i in 0..count {
        samples.copy_within(i * size..i * size + size - 1, i * (size - 1));
    }
    samples.truncate(count * (size - 1));
    samples
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use flate2::{Compression, Crc, write::ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const GREY: u8 = 0;
    const RGB: u8 = 2;
    const PALETTE: u8 = 3;
    const GREY_ALPHA: u8 = 4;
    const RGBA: u8 = 6;

    fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(content);
        let length = (content.len() as u32).to_be_bytes();
        [&length[..], kind, content, &crc.sum().to_be_bytes()].concat()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn header(width: u32, height: u32, depth: u8, colour: u8, interlaced: bool) -> Vec<u8> {
        let mut content = [width.to_be_bytes(), height.to_be_bytes()].concat();
        content.extend([depth, colour, 0, 0, u8::from(interlaced)]);
        [&SIGNATURE[..], &chunk(b"IHDR", &content)].concat()
    }

    /// A PNG written by hand, so that it may be wrong; `rows` each begin with their filter byte.
    fn png(
        size: [u32; 2],
        depth: u8,
        colour: u8,
        extra: &[(&[u8; 4], &[u8])],
        rows: &[u8],
    ) -> Vec<u8> {
        let mut bytes = header(size[0], size[1], depth, colour, false);
        for (kind, content) in extra {
            bytes.extend(chunk(kind, content));
        }
        bytes.extend(chunk(b"IDAT", &zlib(rows)));
        bytes.extend(chunk(b"IEND", &[]));
        bytes
    }

    pub(crate) fn grey_png() -> Vec<u8> {
        png([2, 2], 8, GREY, &[], &[0, 1, 2, 0, 3, 4])
    }

    #[test]
    fn expands_exactly() {
        let colours: &[u8] = &[10, 11, 12, 20, 21, 22, 30, 31, 32];
        let plte: (&[u8; 4], &[u8]) = (b"PLTE", colours);
        let interlaced = {
            // Adam7, 2×2: pass 1 holds pixel 0, pass 6 pixel 1, pass 7 the second row.
            let mut bytes = header(2, 2, 8, GREY, true);
            bytes.extend(chunk(b"IDAT", &zlib(&[0, 1, 0, 2, 0, 3, 4])));
            bytes.extend(chunk(b"IEND", &[]));
            bytes
        };
        let cases: Vec<(&str, Vec<u8>, usize, Vec<u8>)> = vec![
            ("grey 8", grey_png(), 1, vec![1, 2, 3, 4]),
            ("interlaced", interlaced, 1, vec![1, 2, 3, 4]),
            ("bytes behind", [grey_png(), vec![7; 9]].concat(), 1, vec![1, 2, 3, 4]),
            ("rgb 8", png([1, 1], 8, RGB, &[], &[0, 7, 8, 9]), 3, vec![7, 8, 9]),
            // 9 pixels: the second byte of a row holds one pixel and padding.
            (
                "grey 1",
                png([9, 1], 1, GREY, &[], &[0, 0b1011_0001, 0xff]),
                1,
                vec![255, 0, 255, 255, 0, 0, 0, 255, 255],
            ),
            (
                "grey 2",
                png([5, 1], 2, GREY, &[], &[0, 0b0001_1011, 0b1000_0000]),
                1,
                vec![0, 85, 170, 255, 170],
            ),
            ("grey 4", png([3, 1], 4, GREY, &[], &[0, 0x1f, 0x80]), 1, vec![17, 255, 136]),
            (
                "two rows of grey 1",
                png([2, 2], 1, GREY, &[], &[0, 0b0111_1111, 0, 0b1000_0000]),
                1,
                vec![0, 255, 255, 0],
            ),
            (
                "palette 8",
                png([2, 1], 8, PALETTE, &[plte], &[0, 2, 0]),
                3,
                vec![30, 31, 32, 10, 11, 12],
            ),
            (
                "palette 2",
                png([3, 1], 2, PALETTE, &[plte], &[0, 0b0010_0100]),
                3,
                vec![10, 11, 12, 30, 31, 32, 20, 21, 22],
            ),
            (
                "palette, opaque tRNS",
                png([1, 1], 8, PALETTE, &[plte, (b"tRNS", &[0, 255])], &[0, 1]),
                3,
                vec![20, 21, 22],
            ),
            (
                "palette, short tRNS",
                png([1, 1], 8, PALETTE, &[plte, (b"tRNS", &[0])], &[0, 2]),
                3,
                vec![30, 31, 32],
            ),
            (
                "grey, unused tRNS",
                png([2, 1], 8, GREY, &[(b"tRNS", &[0, 9])], &[0, 7, 8]),
                1,
                vec![7, 8],
            ),
            (
                "rgb, unused tRNS",
                png([1, 1], 8, RGB, &[(b"tRNS", &[0, 7, 0, 8, 0, 8])], &[0, 7, 8, 9]),
                3,
                vec![7, 8, 9],
            ),
            (
                "opaque grey alpha",
                png([2, 1], 8, GREY_ALPHA, &[], &[0, 7, 255, 8, 255]),
                1,
                vec![7, 8],
            ),
            (
                "opaque rgba",
                png([2, 1], 8, RGBA, &[], &[0, 1, 2, 3, 255, 4, 5, 6, 255]),
                3,
                vec![1, 2, 3, 4, 5, 6],
            ),
            (
                "gamma is not applied",
                png([1, 1], 8, GREY, &[(b"gAMA", &[0, 1, 0, 0])], &[0, 100]),
                1,
                vec![100],
            ),
        ];
        let failures: Vec<String> = cases
            .into_iter()
            .filter_map(|(case, bytes, channels, pixels)| match Image::from_png(&bytes, "x") {
                Ok(found) if found.channels() == channels && found.pixels() == pixels => None,
                Ok(found) => Some(format!("{case}: wanted {pixels:?}, found {:?}", found.pixels())),
                Err(e) => Some(format!("{case}: {e}")),
            })
            .collect();
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn every_other_png_has_its_message() {
        let good = grey_png();
        let plte: (&[u8; 4], &[u8]) = (b"PLTE", &[1, 2, 3]);
        let animation: (&[u8; 4], &[u8]) = (b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0]);
        let parts = |middle: &[Vec<u8>], size: [u32; 2]| {
            let end = chunk(b"IEND", &[]);
            [header(size[0], size[1], 8, GREY, false), middle.concat(), end].concat()
        };
        let mut bad_adler = zlib(&[0, 1, 2, 0, 3, 4]);
        *bad_adler.last_mut().unwrap() ^= 1;
        let mut bad_crc = good.clone();
        let at = bad_crc.len() - 13;
        bad_crc[at] ^= 1;
        let mut bad_trns = chunk(b"tRNS", &[0, 9]);
        *bad_trns.last_mut().unwrap() ^= 1;
        let mut bad_gama = chunk(b"gAMA", &[0, 1, 0, 0]);
        *bad_gama.last_mut().unwrap() ^= 1;
        let idat = chunk(b"IDAT", &zlib(&[0, 1, 2, 0, 3, 4]));
        let transparent = "x has transparent pixels; flatten it onto a background first";
        let damaged = "x is a damaged PNG (";
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("empty", vec![], "x is empty; wanted a PNG file"),
            (
                "jpeg",
                vec![0xff, 0xd8, 0xff],
                "x is not a PNG file: it starts with ff d8 ff, wanted 89 50",
            ),
            (
                "signature only",
                SIGNATURE.to_vec(),
                "x is truncated: it ends before its IEND chunk; copy",
            ),
            (
                "half",
                good[..good.len() / 2].to_vec(),
                "x is truncated: it ends before its IEND chunk",
            ),
            (
                "one byte short",
                good[..good.len() - 1].to_vec(),
                "x is truncated: it ends before its IEND",
            ),
            (
                "16 bits",
                png([1, 1], 16, GREY, &[], &[0, 1, 2]),
                "x has 16 bits a channel, wanted 8; convert",
            ),
            (
                "16 bits rgba",
                png([1, 1], 16, RGBA, &[], &[0; 9]),
                "x has 16 bits a channel, wanted 8; convert",
            ),
            (
                "animated",
                png([1, 1], 8, GREY, &[animation], &[0, 1]),
                "x is an animated PNG, wanted one image; save",
            ),
            (
                "odd acTL",
                png([1, 1], 8, GREY, &[(b"acTL", &[0; 8])], &[0, 1]),
                "x is an animated PNG",
            ),
            ("half alpha", png([1, 1], 8, GREY_ALPHA, &[], &[0, 1, 254]), transparent),
            (
                "last pixel clear",
                png([2, 1], 8, RGBA, &[], &[0, 1, 2, 3, 255, 1, 2, 3, 0]),
                transparent,
            ),
            ("grey tRNS", png([2, 1], 8, GREY, &[(b"tRNS", &[0, 8])], &[0, 7, 8]), transparent),
            (
                "grey 2 tRNS",
                png([2, 1], 2, GREY, &[(b"tRNS", &[0, 3])], &[0, 0b0111_0000]),
                transparent,
            ),
            (
                "rgb tRNS",
                png([1, 1], 8, RGB, &[(b"tRNS", &[0, 7, 0, 8, 0, 9])], &[0, 7, 8, 9]),
                transparent,
            ),
            (
                "palette tRNS",
                png([1, 1], 8, PALETTE, &[plte, (b"tRNS", &[254])], &[0, 0]),
                transparent,
            ),
            ("short tRNS", png([2, 1], 8, GREY, &[(b"tRNS", &[8])], &[0, 7, 8]), damaged),
            (
                "tRNS with alpha",
                png([1, 1], 8, GREY_ALPHA, &[(b"tRNS", &[0, 1])], &[0, 1, 255]),
                damaged,
            ),
            ("tRNS CRC", parts(&[bad_trns, idat.clone()], [2, 2]), damaged),
            ("gAMA CRC", parts(&[bad_gama, idat.clone()], [2, 2]), damaged),
            ("late tRNS", parts(&[idat.clone(), chunk(b"tRNS", &[0, 9])], [2, 2]), damaged),
            ("no palette", png([1, 1], 8, PALETTE, &[], &[0, 0]), damaged),
            ("beyond the palette", png([1, 1], 8, PALETTE, &[plte], &[0, 1]), damaged),
            ("no data", parts(&[], [2, 2]), damaged),
            ("rows missing", parts(std::slice::from_ref(&idat), [2, 3]), damaged),
            ("zlib damaged", parts(&[chunk(b"IDAT", &[0x78, 0x9c, 0xff, 0xff])], [2, 2]), damaged),
            ("adler", parts(&[chunk(b"IDAT", &bad_adler)], [2, 2]), damaged),
            ("CRC", bad_crc, damaged),
            ("filter", png([1, 1], 8, GREY, &[], &[9, 1]), damaged),
            ("no width", parts(std::slice::from_ref(&idat), [0, 2]), damaged),
            ("bad depth", png([1, 1], 3, GREY, &[], &[0, 1]), damaged),
            (
                "bomb",
                parts(std::slice::from_ref(&idat), [1 << 13, (1 << 13) + 1]),
                "x has 8192×8193 pixels, wanted at most 67108864",
            ),
            (
                "wide bomb",
                parts(&[idat], [i32::MAX as u32, i32::MAX as u32]),
                "x has 2147483647×2147483647 pixels",
            ),
        ];
        let failures: Vec<String> = cases
            .into_iter()
            .filter_map(|(case, bytes, wanted)| {
                let found = Image::from_png(&bytes, "x").map_or_else(
                    |e| e.to_string(),
                    |image| format!("accepted {:?}", image.pixels()),
                );
                let good = found.starts_with(wanted) && !found.contains('\n');
                (!good).then(|| format!("{case}: wanted {wanted:?}, found {found:?}"))
            })
            .collect();
        assert!(failures.is_empty(), "{failures:#?}");
    }

    proptest! {
        #[test]
        fn mutated_files_never_panic(
            which in 0usize..3,
            cut in 0usize..200,
            changes in prop::collection::vec((0usize..120, any::<u8>()), 0..4),
        ) {
            let plte: (&[u8; 4], &[u8]) = (b"PLTE", &[1, 2, 3]);
            let mut bytes = match which {
                0 => grey_png(),
                1 => png([3, 2], 2, PALETTE, &[plte, (b"tRNS", &[255])], &[0, 0, 0, 0]),
                _ => png([2, 1], 8, RGBA, &[], &[0, 1, 2, 3, 255, 1, 2, 3, 255]),
            };
            bytes.truncate(bytes.len().saturating_sub(cut / 8));
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            let _ = Image::from_png(&bytes, "x");
        }

        /// Headers whose checksum is right reach further into the decoder.
        #[test]
        fn random_headers_never_panic(
            size in [0u32..20, 0u32..20],
            depth in prop::sample::select(vec![1u8, 2, 4, 8]),
            colour in prop::sample::select(vec![GREY, RGB, PALETTE, GREY_ALPHA, RGBA]),
            trns in prop::collection::vec(any::<u8>(), 0..8),
            rows in prop::collection::vec(0u8..5, 0..100),
        ) {
            let extra: [(&[u8; 4], &[u8]); 2] = [(b"PLTE", &[1, 2, 3, 4, 5, 6]), (b"tRNS", &trns)];
            let _ = Image::from_png(&png(size, depth, colour, &extra[..trns.len().min(2)], &rows), "x");
        }
    }
}
