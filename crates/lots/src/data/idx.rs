//! IDX files, the format of MNIST: raw or gzipped arrays of unsigned bytes.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use crate::error::{DataError, shown};

/// The most bytes of content that an IDX file may declare: 4 GiB.
pub const MAX_IDX_BYTES: u64 = 1 << 32;

/// Memory set aside before anything is read: a header is a claim, not a fact.
const FIRST_ALLOCATION: usize = 1 << 20;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const AGAIN: &str = "download or copy the file again";

/// The content of one IDX file of unsigned bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// The file, for messages.
    pub name: String,
    /// `[N]` for labels, `[N, height, width]` for grey and `[N, height, width, 3]` for RGB images; no dimension is 0.
    pub shape: Vec<usize>,
    /// As many bytes as the product of `shape`, the last dimension running fastest.
    pub bytes: Vec<u8>,
}

/// Reads the IDX file at `path`, raw or gzipped (told by its first bytes, not by its name).
///
/// # Errors
/// When the file cannot be read, or for any reason of [`parse_idx`].
pub fn read_idx(path: &Path) -> Result<Idx, DataError> {
    let name = shown(path);
    let file = File::open(path).map_err(|e| DataError::read(&name, e))?;
    parse(&mut BufReader::new(file), &name)
}

/// Reads IDX from memory, raw or gzipped; `name` stands for the file in messages.
///
/// Memory grows with the bytes that are there, not with those that a header declares.
///
/// # Errors
/// When `bytes` is anything but one whole IDX array of unsigned bytes of rank 1, 3, or 4 with 3 channels, declares more
/// than [`MAX_IDX_BYTES`], is truncated or damaged, or has bytes behind its end.
pub fn parse_idx(bytes: &[u8], name: &str) -> Result<Idx, DataError> {
    parse(&mut &*bytes, name)
}

fn parse(reader: &mut dyn BufRead, name: &str) -> Result<Idx, DataError> {
    let mut magic = Vec::with_capacity(2);
    reader.take(2).read_to_end(&mut magic).map_err(|e| DataError::read(name, e))?;
    if magic.is_empty() {
        return Err(DataError::content(name, "is empty; wanted an IDX file"));
    }
    let gzipped = magic == GZIP_MAGIC;
    let mut whole = magic.as_slice().chain(reader);
    if !gzipped {
        return parse_raw(&mut whole, name);
    }
    let mut unpacked = GzDecoder::new(&mut whole);
    let idx = parse_raw(&mut unpacked, name)?;
    // The end was reached, so the checksum was compared; nothing may follow the gzip member.
    if whole.fill_buf().map_err(|e| DataError::read(name, e))?.is_empty() {
        Ok(idx)
    } else {
        Err(DataError::content(name, format!("has bytes behind the end of its gzip data; {AGAIN}")))
    }
}

fn parse_raw(reader: &mut dyn Read, name: &str) -> Result<Idx, DataError> {
    let magic = read_up_to(reader, 4, name)?;
    let &[0, 0, data_type, rank] = magic.as_slice() else {
        let problem = if magic.starts_with(&[0, 0]) || magic.is_empty() {
            format!("ends within its IDX header; {AGAIN}")
        } else {
            let found = magic.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
            format!(
                "is not an IDX file: it starts with {found}, wanted 00 00 08 and the number of dimensions"
            )
        };
        return Err(DataError::content(name, problem));
    };
    if data_type != 0x08 {
        let found = match data_type {
            0x09 => "signed bytes".to_owned(),
            0x0b => "16-bit integers".to_owned(),
            0x0c => "32-bit integers".to_owned(),
            0x0d => "32-bit floats".to_owned(),
            0x0e => "64-bit floats".to_owned(),
            other => format!("data of the unknown type {other:#04x}"),
        };
        let problem = format!("holds {found}, wanted unsigned bytes; convert it to 0–255");
        return Err(DataError::content(name, problem));
    }
    if !matches!(rank, 1 | 3 | 4) {
        let problem = format!(
            "has {rank} dimension(s), wanted 1 (labels), 3 (grey images) or 4 (RGB images)"
        );
        return Err(DataError::content(name, problem));
    }
    let header = read_up_to(reader, 4 * u64::from(rank), name)?;
    let (words, _) = header.as_chunks::<4>();
    if words.len() != usize::from(rank) {
        return Err(DataError::content(name, format!("ends within its IDX header; {AGAIN}")));
    }
    let sizes: Vec<u32> = words.iter().map(|&w| u32::from_be_bytes(w)).collect();
    let (shape, total) =
        check_shape(&sizes).map_err(|problem| DataError::content(name, problem))?;

    let bytes = read_up_to(reader, total, name)?;
    if (bytes.len() as u64) < total {
        let problem = format!(
            "is truncated: its header declares {total} bytes, found {}; {AGAIN}",
            bytes.len()
        );
        return Err(DataError::content(name, problem));
    }
    // Also brings a gzip reader to its end, where it compares the checksum.
    if !read_up_to(reader, 1, name)?.is_empty() {
        let problem =
            format!("is too long: bytes follow the {total} that its header declares; {AGAIN}");
        return Err(DataError::content(name, problem));
    }
    Ok(Idx { name: name.to_owned(), shape, bytes })
}

/// The dimensions and their product, if an array of this size is acceptable.
fn check_shape(sizes: &[u32]) -> Result<(Vec<usize>, u64), String> {
    let text = sizes.iter().map(u32::to_string).collect::<Vec<_>>().join("×");
    if sizes.contains(&0) {
        return Err(format!(
            "has no content: its header declares {text}; wanted at least 1 of each"
        ));
    }
    if let &[_, _, _, channels] = sizes
        && channels != 3
    {
        return Err(format!("has {channels} channel(s) as its fourth dimension, wanted 3 (RGB)"));
    }
    // Four factors below 2³² stay below 2¹²⁸.
    let total: u128 = sizes.iter().map(|&s| u128::from(s)).product();
    // What a vector can hold is less than 4 GiB where addresses have 32 bits.
    let limit = MAX_IDX_BYTES.min(isize::MAX as u64);
    match u64::try_from(total) {
        Ok(total) if total <= limit => Ok((sizes.iter().map(|&s| s as usize).collect(), total)),
        _ => Err(format!(
            "declares {text} = {total} bytes, wanted at most {limit}; split it into smaller files"
        )),
    }
}

/// The next `count` bytes, fewer only where the data ends.
fn read_up_to(reader: &mut dyn Read, count: u64, name: &str) -> Result<Vec<u8>, DataError> {
    let first = usize::try_from(count).unwrap_or(usize::MAX).min(FIRST_ALLOCATION);
    let mut bytes = Vec::with_capacity(first);
    match reader.take(count).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(e) => Err(match e.kind() {
            ErrorKind::UnexpectedEof => {
                DataError::content(name, format!("ends within its gzip data; {AGAIN}"))
            }
            ErrorKind::InvalidInput | ErrorKind::InvalidData => {
                DataError::content(name, format!("has damaged gzip data ({e}); {AGAIN}"))
            }
            _ => DataError::read(name, e),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    /// The bytes of an IDX file.
    pub(crate) fn idx(data_type: u8, sizes: &[u32], content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, data_type, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|s| s.to_be_bytes()));
        bytes.extend(content);
        bytes
    }

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn changed(mut bytes: Vec<u8>, from_end: usize) -> Vec<u8> {
        let at = bytes.len() - from_end;
        bytes[at] ^= 0x55;
        bytes
    }

    #[test]
    fn reads_labels_and_images_raw_and_gzipped() {
        let content: Vec<u8> = (0..24).collect();
        for sizes in [&[24][..], &[2, 3, 4], &[2, 2, 2, 3], &[24, 1, 1]] {
            let raw = idx(8, sizes, &content);
            let shape: Vec<usize> = sizes.iter().map(|&s| s as usize).collect();
            let wanted = Idx { name: "x".to_owned(), shape, bytes: content.clone() };
            assert_eq!(parse_idx(&raw, "x").as_ref(), Ok(&wanted), "{sizes:?} raw");
            assert_eq!(parse_idx(&gzip(&raw), "x").as_ref(), Ok(&wanted), "{sizes:?} gzipped");
        }
    }

    #[test]
    fn every_malformed_file_has_its_message() {
        let good = idx(8, &[4], &[1, 2, 3, 4]);
        let packed = gzip(&good);
        let bomb = gzip(&idx(8, &[4], &vec![0; 50_000_000]));
        let joined = |a: &[u8], b: &[u8]| [a, b].concat();
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("empty", vec![], "x is empty; wanted an IDX file"),
            ("one byte", vec![0], "is not an IDX file: it starts with 00, wanted"),
            ("half a magic", vec![0, 0, 8], "x ends within its IDX header; download"),
            ("empty gzip", gzip(&[]), "x ends within its IDX header; download"),
            ("png", b"\x89PNG\r\n".to_vec(), "x is not an IDX file: it starts with 89 50 4e 47,"),
            ("gzip twice", gzip(&packed), "x is not an IDX file: it starts with 1f 8b 08 00,"),
            ("i8", idx(9, &[1], &[1]), "x holds signed bytes, wanted unsigned bytes; convert"),
            ("i16", idx(0xb, &[1], &[1, 1]), "x holds 16-bit integers, wanted unsigned bytes"),
            ("i32", idx(0xc, &[1], &[1; 4]), "x holds 32-bit integers, wanted"),
            ("f32", idx(0xd, &[1], &[1; 4]), "x holds 32-bit floats, wanted"),
            ("f64", idx(0xe, &[1], &[1; 8]), "x holds 64-bit floats, wanted"),
            ("no type", idx(0x77, &[1], &[1]), "x holds data of the unknown type 0x77, wanted"),
            ("rank 0", idx(8, &[], &[]), "x has 0 dimension(s), wanted 1 (labels), 3 (grey"),
            ("rank 2", idx(8, &[1, 1], &[1]), "x has 2 dimension(s), wanted"),
            ("rank 5", idx(8, &[1; 5], &[1]), "x has 5 dimension(s), wanted"),
            ("rank 255", vec![0, 0, 8, 255], "x has 255 dimension(s), wanted"),
            ("2 channels", idx(8, &[1, 1, 1, 2], &[1; 2]), "x has 2 channel(s) as its fourth"),
            ("header cut", idx(8, &[1, 2, 3], &[])[..14].to_vec(), "x ends within its IDX header"),
            (
                "no images",
                idx(8, &[0, 28, 28], &[]),
                "its header declares 0×28×28; wanted at least 1",
            ),
            ("no width", idx(8, &[3, 28, 0], &[]), "its header declares 3×28×0; wanted at least 1"),
            (
                "4 GiB + 1 row",
                idx(8, &[65537, 65536, 1], &[]),
                "= 4295032832 bytes, wanted at most 4294967296",
            ),
            (
                "overflow",
                idx(8, &[u32::MAX; 3], &[]),
                "x declares 4294967295×4294967295×4294967295 =",
            ),
            ("overflow 4", idx(8, &[u32::MAX, u32::MAX, u32::MAX, 3], &[]), "wanted at most"),
            (
                "truncated",
                idx(8, &[5], &[1, 2, 3]),
                "x is truncated: its header declares 5 bytes, found 3; d",
            ),
            (
                "4 GiB claimed",
                idx(8, &[65536, 65536, 1], &[7]),
                "declares 4294967296 bytes, found 1;",
            ),
            (
                "oversized",
                idx(8, &[2], &[1, 2, 3]),
                "x is too long: bytes follow the 2 that its header",
            ),
            ("truncated in gzip", gzip(&idx(8, &[5], &[1])), "declares 5 bytes, found 1;"),
            ("gzip bomb", bomb, "x is too long: bytes follow the 4 that its header"),
            ("gzip magic only", vec![0x1f, 0x8b], "x ends within its gzip data; download"),
            ("gzip header cut", packed[..7].to_vec(), "x ends within its gzip data"),
            ("gzip data cut", packed[..14].to_vec(), "x ends within its gzip data"),
            (
                "gzip trailer cut",
                packed[..packed.len() - 3].to_vec(),
                "x ends within its gzip data",
            ),
            ("gzip method", joined(&[0x1f, 0x8b, 9], &packed[3..]), "x has damaged gzip data ("),
            ("gzip CRC", changed(packed.clone(), 7), "x has damaged gzip data ("),
            ("gzip length", changed(packed.clone(), 2), "x has damaged gzip data ("),
            ("gzip block", joined(&packed[..10], &[0xff; 20]), "x has damaged gzip data ("),
            ("behind gzip", joined(&packed, &[0]), "x has bytes behind the end of its gzip data"),
            (
                "second member",
                joined(&packed, &packed),
                "x has bytes behind the end of its gzip data",
            ),
        ];
        let failures: Vec<String> = cases
            .into_iter()
            .filter_map(|(case, bytes, wanted)| {
                let found = match parse_idx(&bytes, "x") {
                    Ok(idx) => format!("accepted as {:?}", idx.shape),
                    Err(e) => e.to_string(),
                };
                let good = found.contains(wanted) && !found.contains('\n');
                (!good).then(|| format!("{case}: wanted {wanted:?}, found {found:?}"))
            })
            .collect();
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn a_missing_file_and_a_folder_are_named() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().join("none-labels-idx1-ubyte"), dir.path().to_owned()] {
            let message = read_idx(&path).unwrap_err().to_string();
            let start = format!("cannot read {}: ", path.display());
            assert!(message.starts_with(&start), "{message}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_idx(&bytes, "x");
            let _ = parse_idx(&gzip(&bytes), "x");
        }

        #[test]
        fn a_random_header_never_panics(
            data_type in 7u8..10,
            sizes in prop::collection::vec(prop_oneof![0u32..5, any::<u32>()], 0..6),
            content in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let bytes = idx(data_type, &sizes, &content);
            for bytes in [gzip(&bytes), bytes] {
                if let Ok(idx) = parse_idx(&bytes, "x") {
                    prop_assert_eq!(idx.shape.iter().product::<usize>(), idx.bytes.len());
                    prop_assert_eq!(&idx.bytes, &content);
                }
            }
        }

        #[test]
        fn mutated_files_never_panic_and_gzip_never_lies(
            content in prop::collection::vec(any::<u8>(), 12..13),
            cut in 0usize..80,
            changes in prop::collection::vec((0usize..80, any::<u8>()), 0..4),
        ) {
            let raw = idx(8, &[2, 2, 3], &content);
            for (mut bytes, packed) in [(raw.clone(), false), (gzip(&raw), true)] {
                bytes.truncate(bytes.len().saturating_sub(cut / 4));
                for &(at, value) in &changes {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = value;
                    }
                }
                if let Ok(idx) = parse_idx(&bytes, "x")
                    && packed
                {
                    // The checksum guards the content of a gzipped file.
                    prop_assert_eq!(idx.bytes, content.clone());
                }
            }
        }
    }
}
