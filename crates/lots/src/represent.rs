//! Representations of images, and files of them: NumPy's `.npy`, one row an image.

use std::fs;
use std::path::Path;

use lots_nn::{LayerId, Network};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyExt, WriteNpyExt};

use crate::batch::batch_of;
use crate::data::NamedImage;
use crate::error::{DataError, Error, shown};

/// Pixel values that go through the network at a time.
const BATCH_VALUES: usize = 1 << 20;

/// What a layer sees in an image, without the image.
#[derive(Clone, Debug, PartialEq)]
pub struct Representation {
    /// Where it comes from: `stolen.npy#0`.
    pub name: String,
    /// The values, in the order of the layer's elements; finite.
    pub values: Vec<f32>,
}

/// What `network` sees of `images` at `layer`, [images, elements].
///
/// Paper: the representation of a face, section 5.2.
///
/// # Errors
/// When images do not fit the network, the layer is not one of its own, or a value is not finite.
pub fn represent(
    network: &dyn Network,
    images: &[NamedImage],
    layer: LayerId,
) -> Result<Array2<f32>, Error> {
    let input = network.input();
    let size = (BATCH_VALUES / (input.channels * input.height * input.width)).max(1);
    let mut all = Array2::zeros([0, 0]);
    for some in images.chunks(size) {
        let rows =
            network.represent(batch_of(input, &some.iter().collect::<Vec<_>>())?.view(), layer)?;
        let infinite = rows.outer_iter().position(|row| !row.iter().all(|x| x.is_finite()));
        if let Some(NamedImage { name, .. }) = infinite.and_then(|row| some.get(row)) {
            let problem = format!("the network's representation of {name} is not finite");
            return Err(Error::Attack(problem));
        }
        if all.is_empty() {
            all = Array2::zeros([0, rows.ncols()]);
        }
        all.append(Axis(0), rows.view()).map_err(|e| Error::Attack(e.to_string()))?;
    }
    Ok(all)
}

/// The bytes of an `.npy` file of `rows`.
///
/// # Errors
/// Never, for what fits into memory twice.
pub fn npy(rows: ArrayView2<'_, f32>) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    rows.write_npy(&mut bytes).map_err(|e| DataError::write("representations", e))?;
    Ok(bytes)
}

/// Reads the representations in the `.npy` file at `path`: float32 of shape `[elements]`, or
/// `[N, elements]` for N of them.
///
/// # Errors
/// When the file cannot be read, is no such array, or a value is not finite.
pub fn read_representations(path: &Path) -> Result<Vec<Representation>, DataError> {
    let name = shown(path);
    let bytes = fs::read(path).map_err(|e| DataError::read(&name, e))?;
    let refuse = |problem: String| DataError::content(&name, problem);
    let rows = rows(&bytes).map_err(&refuse)?;
    if rows.is_empty() {
        return Err(refuse("holds no representation; wanted at least one row".to_owned()));
    }
    let named = |(i, row): (usize, ndarray::ArrayView1<'_, f32>)| {
        if let Some(at) = row.iter().position(|x| !x.is_finite()) {
            let found = row[at];
            return Err(refuse(format!("holds {found} at {at} of row {i}; wanted finite numbers")));
        }
        Ok(Representation { name: format!("{name}#{i}"), values: row.to_vec() })
    };
    rows.outer_iter().enumerate().map(named).collect()
}

/// The rows of an `.npy` file; or the end of a sentence that begins with its name.
fn rows(bytes: &[u8]) -> Result<Array2<f32>, String> {
    let foreign = || "is no .npy file; write it with numpy.save or lots represent".to_owned();
    // Version 2.0 is for headers that are longer than any of an array of numbers.
    if bytes.get(..7) != Some(b"\x93NUMPY\x01") {
        return Err(foreign());
    }
    let mut data = bytes;
    // What the crate says of a bad header can be as long as the header.
    let header = Header::from_reader(&mut data).map_err(|_| foreign())?;
    let (kind, shape) = (header.type_descriptor.to_string(), &header.shape);
    if !matches!(kind.as_str(), "'<f4'" | "'>f4'") {
        return Err(format!(
            "holds numbers of type {kind}, wanted float32; convert with .astype('float32')"
        ));
    }
    // Before anything of that size is asked for.
    let wanted = shape.iter().try_fold(4_usize, |size, &n| size.checked_mul(n));
    if wanted != Some(data.len()) {
        let found = data.len();
        return Err(format!(
            "is cut short or has an end of its own: shape {shape:?} of float32 behind its header, found \
             {found} bytes; write it again"
        ));
    }
    let read = match shape.len() {
        1 => Array1::read_npy(bytes).map(|row| row.insert_axis(Axis(0))),
        2 => Array2::read_npy(bytes),
        _ => {
            return Err(format!(
                "has shape {shape:?}, wanted [elements] or [N, elements]; convert with .reshape(N, -1)"
            ));
        }
    };
    read.map_err(|e| format!("cannot be read: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// Oracle: the bytes that NumPy 2 writes, `numpy.save` of [[1, 2.5, -3]] as float32.
    #[test]
    fn files_are_numpys() {
        let dict = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }";
        let mut numpys = [b"\x93NUMPY\x01\x00\x76\x00", &dict[..]].concat();
        numpys.resize(127, b' ');
        numpys.push(b'\n');
        numpys.extend([1.0_f32, 2.5, -3.0].iter().flat_map(|x| x.to_le_bytes()));
        assert_eq!(rows(&numpys).unwrap(), array![[1.0, 2.5, -3.0]]);
        // Ours lacks a comma.
        let ours = npy(array![[1.0, 2.5, -3.0]].view()).unwrap();
        assert_eq!((&ours[..66], &ours[128..]), (&numpys[..66], &numpys[128..]));
    }

    /// An `.npy` file of four bytes an element.
    fn file(descr: &str, order: &str, shape: &str, values: &[f32]) -> Vec<u8> {
        let dict = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((dict.len() as u16).to_le_bytes());
        bytes.extend(dict.bytes());
        bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        bytes
    }

    #[test]
    fn rows_in_any_order() {
        let cases = [
            (file("'<f4'", "False", "(3,)", &[1.0, 2.0, 3.0]), array![[1.0, 2.0, 3.0]]),
            (file("'<f4'", "False", "(2, 1)", &[1.0, 2.0]), array![[1.0], [2.0]]),
            (
                file("'<f4'", "True", "(2, 2)", &[1.0, 2.0, 3.0, 4.0]),
                array![[1.0, 3.0], [2.0, 4.0]],
            ),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(rows(&bytes).unwrap(), wanted);
        }
    }

    #[test]
    fn bad_files_are_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.npy");
        let good = file("'<f4'", "False", "(1, 2)", &[1.0, 2.0]);
        let deep = format!("{}{}", "(".repeat(30_000), ")".repeat(30_000));
        let cases = [
            (Vec::new(), "is no .npy file; write it with numpy.save"),
            (b"PK\x03\x04 an archive".to_vec(), "is no .npy file; "),
            (good[..20].to_vec(), "is no .npy file; "),
            (
                good[..good.len() - 1].to_vec(),
                "is cut short or has an end of its own: shape [1, 2]",
            ),
            ([&good[..], b"x"].concat(), "is cut short or has an end of its own: shape [1, 2]"),
            (
                file("'<f8'", "False", "(1,)", &[0.0; 2]),
                "holds numbers of type '<f8', wanted float32",
            ),
            (
                file("'<f4'", "False", "(1, 1, 2)", &[0.0; 2]),
                "has shape [1, 1, 2], wanted [elements]",
            ),
            (
                file("'<f4'", "False", "()", &[0.0]),
                "has shape [], wanted [elements] or [N, elements]",
            ),
            (file("'<f4'", "False", "(0, 5)", &[]), "holds no representation; wanted at least one"),
            (file("'<f4'", "False", "(99999999999, 99999999999)", &[]), "is cut short"),
            (file("'<f4'", "False", "(-1,)", &[]), "is no .npy file; "),
            (file("'<f4'", "False", &deep, &[]), "is no .npy file; "),
            (
                file("'<f4'", "False", "(2, 2)", &[1.0, 2.0, 3.0, f32::NAN]),
                "holds NaN at 1 of row 1; wanted finite numbers",
            ),
        ];
        for (bytes, wanted) in cases {
            std::fs::write(&path, bytes).unwrap();
            let found = read_representations(&path).unwrap_err().to_string();
            assert!(found.starts_with(&format!("{} {wanted}", path.display())), "{found}");
            assert_eq!(found.lines().count(), 1, "{found}");
        }
        let missing = read_representations(&dir.path().join("none.npy")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read "), "{missing}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.npy");
        std::fs::write(&path, npy(array![[1.0, f32::MIN_POSITIVE], [-0.0, 3.0]].view()).unwrap())
            .unwrap();
        let found = read_representations(&path).unwrap();
        assert_eq!(
            found[1],
            Representation { name: format!("{}#1", path.display()), values: vec![-0.0, 3.0] }
        );
        assert_eq!(found[0].values, [1.0, f32::MIN_POSITIVE]);
    }
}
