//! VGG_FACE.caffemodel: a NetParameter of Caffe (caffe.proto), in the layout of either of Caffe's versions.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::protobuf::{Field, Scanner, Span};
use super::vgg_face::{Parameter, Part};
use super::write::Take;
use super::{REMEDY, Source, cannot_read, check_shape, missing, unknown};
use crate::error::{Error, Result};

/// Numbers read at a time.
const PIECE: usize = 1 << 14;

/// Axes that a blob may have.
const MAX_AXES: usize = 32;

/// Field numbers of a layer, and of the network's list of them.
struct Version {
    layers: u64,
    name: u64,
    blobs: u64,
}

/// V1LayerParameter, and LayerParameter.
const VERSIONS: [Version; 2] =
    [Version { layers: 2, name: 4, blobs: 6 }, Version { layers: 100, name: 1, blobs: 7 }];

/// Whether a file begins as a network does: with its name, a layer, or its input.
pub(super) fn recognises(head: &[u8]) -> bool {
    matches!(head, [0x0a | 0x12 | 0x1a, ..] | [0xa2, 0x06, ..])
}

/// A file with the places of its parameters.
pub(super) struct Caffe {
    name: String,
    scanner: Scanner,
    data: Vec<Span>,
}

/// Why a file is refused: by the system, or for what it holds.
enum Fault {
    Io(io::Error),
    Content(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::Content(what)
    }
}

impl Fault {
    fn of(self, network: &str) -> Error {
        let what = match self {
            Self::Io(e)
                if !matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                return cannot_read(network, &e);
            }
            Self::Io(e) => format!("wanted a network of Caffe, but {e}: {REMEDY}"),
            Self::Content(what) => what,
        };
        Error::Model { network: network.to_owned(), what }
    }
}

impl Caffe {
    pub(super) fn open(path: &Path, name: &str, parameters: &[Parameter]) -> Result<Self> {
        let mut scanner = Scanner::open(path).map_err(|e| cannot_read(name, &e))?;
        let data = find(&mut scanner, parameters).map_err(|fault| fault.of(name))?;
        Ok(Self { name: name.to_owned(), scanner, data })
    }
}

impl Source for Caffe {
    fn read(&mut self, at: usize, take: Take<'_>) -> Result<()> {
        let mut rest = self.data[at];
        let mut bytes = vec![0; PIECE * size_of::<f32>()];
        while rest.bytes() > 0 {
            let length = rest.bytes().min(bytes.len() as u64);
            let piece = &mut bytes[..length as usize];
            let read = self.scanner.skip(&mut rest, length);
            let read = read.and_then(|span| self.scanner.read(span, piece));
            read.map_err(|e| Fault::Io(e).of(&self.name))?;
            let numbers: Vec<f32> =
                piece.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            take(&numbers)?;
        }
        Ok(())
    }
}

/// Where the numbers of each parameter lie.
fn find(scanner: &mut Scanner, parameters: &[Parameter]) -> Result<Vec<Span>, Fault> {
    let mut found = vec![None; parameters.len()];
    let mut network = scanner.whole();
    while let Some((number, field)) = scanner.next(&mut network)? {
        let version = VERSIONS.iter().find(|version| version.layers == number);
        if let (Some(version), Field::Span(layer)) = (version, field) {
            find_in_layer(scanner, version, layer, parameters, &mut found)?;
        }
    }
    let all = found.into_iter().zip(parameters);
    all.map(|(data, parameter)| data.ok_or_else(|| missing(parameter).into())).collect()
}

/// As [`find`], in one layer: its first blob are the weights, its second one the biases.
fn find_in_layer(
    scanner: &mut Scanner,
    version: &Version,
    mut layer: Span,
    parameters: &[Parameter],
    found: &mut [Option<Span>],
) -> Result<(), Fault> {
    let mut name = String::new();
    let mut blobs = [None; 2];
    let mut count = 0;
    while let Some((number, field)) = scanner.next(&mut layer)? {
        match field {
            Field::Span(span) if number == version.name => name = scanner.text(span)?,
            Field::Span(span) if number == version.blobs => {
                if let Some(blob) = blobs.get_mut(count) {
                    *blob = Some(span);
                }
                count += 1;
            }
            _ => {}
        }
    }
    if count == 0 {
        return Ok(());
    }
    let first = parameters.iter().position(|p| p.layer == name && p.part == Part::Weight);
    let first = first.ok_or_else(|| unknown(&format!("layer \"{name}\", which has weights,")))?;
    if count != blobs.len() {
        return Err(format!(
            "layer \"{name}\": wanted weights and biases, found {count} arrays; another network: {REMEDY}"
        )
        .into());
    }
    // The biases of a layer follow its weights.
    for ((parameter, found), blob) in parameters[first..].iter().zip(&mut found[first..]).zip(blobs)
    {
        let data = blob.map(|blob| numbers(scanner, blob, parameter)).transpose()?;
        if found.is_some() {
            return Err(format!("{parameter} is there twice; the file is damaged: {REMEDY}").into());
        }
        *found = data;
    }
    Ok(())
}

/// The numbers of a BlobProto, which has to be `parameter`.
fn numbers(scanner: &mut Scanner, mut blob: Span, parameter: &Parameter) -> Result<Span, Fault> {
    // num, channels, height, width: the shape in files that have no other.
    let mut legacy = [0; 4];
    let mut shape = None;
    let mut data = None;
    while let Some((number, field)) = scanner.next(&mut blob)? {
        match (number, field) {
            (1..=4, Field::Varint(size)) => legacy[number as usize - 1] = size,
            (5, Field::Span(span)) if data.is_none() => data = Some(span),
            (7, Field::Span(span)) => shape = Some(axes(scanner, span)?),
            // The gradient, which nobody needs.
            (6, _) => {}
            _ => {
                return Err(format!(
                    "{parameter}: wanted one array of float32, found numbers in another form; save it with the plain Caffe"
                )
                .into());
            }
        }
    }
    // Caffe puts axes of length 1 in front as it likes.
    let essential = |shape: &[usize]| {
        let ones = shape.iter().take_while(|&&d| d == 1).count();
        shape[ones..].to_vec()
    };
    let found: Vec<usize> = shape
        .unwrap_or_else(|| legacy.to_vec())
        .into_iter()
        .map(|d| usize::try_from(d).unwrap_or(usize::MAX))
        .collect();
    if essential(&found) != essential(&parameter.shape) {
        check_shape(parameter, &parameter.shape, &found)?;
    }
    let (data, wanted) = (data.ok_or_else(|| missing(parameter))?, parameter.elements());
    if data.bytes() != (wanted * size_of::<f32>()) as u64 {
        return Err(format!(
            "{parameter}: wanted {wanted} numbers, found {} bytes; the file is damaged: {REMEDY}",
            data.bytes()
        )
        .into());
    }
    Ok(data)
}

/// The sizes in a BlobShape.
fn axes(scanner: &mut Scanner, mut shape: Span) -> Result<Vec<u64>, Fault> {
    let mut sizes = Vec::new();
    while let Some((number, field)) = scanner.next(&mut shape)? {
        match field {
            Field::Varint(size) if number == 1 => sizes.push(size),
            Field::Span(mut packed) if number == 1 => {
                while packed.bytes() > 0 && sizes.len() <= MAX_AXES {
                    sizes.push(scanner.varint(&mut packed)?);
                }
            }
            _ => {}
        }
        if sizes.len() > MAX_AXES {
            return Err(format!(
                "an array has more than {MAX_AXES} axes; the file is damaged: {REMEDY}"
            )
            .into());
        }
    }
    Ok(sizes)
}
