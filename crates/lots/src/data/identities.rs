//! Folders of identities: who is to be recognised, and by which images.

use std::path::{Path, PathBuf};

use super::reference::NamedImage;
use crate::error::{DataError, shown};
use crate::image::Image;

/// Somebody, or something, that is to be recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it is called.
    pub name: String,
    /// Images of it, without labels.
    pub images: Vec<NamedImage>,
}

/// Reads the identities in `folder`, in the order of their names: for each, a folder of PNG files, or one PNG file; its
/// name is the identity's. Names that begin with a dot are passed over.
///
/// # Errors
/// When there is no identity, one has no images, two have one name, or something else lies there than PNG files.
pub fn open_identities(folder: &Path) -> Result<Vec<Identity>, DataError> {
    let mut found: Vec<Identity> = Vec::new();
    for path in entries(folder)? {
        let (name, files) = if path.is_dir() {
            let files = entries(&path)?;
            if files.is_empty() {
                let problem =
                    "is an empty folder, wanted PNG files of one identity; add some, or remove it";
                return Err(DataError::content(shown(&path), problem));
            }
            (path.file_name(), files)
        } else {
            (path.file_stem(), vec![path.clone()])
        };
        let Some(name) = name.and_then(|name| name.to_str()) else {
            let problem = "has a name that is not UTF-8; rename it, as it names an identity";
            return Err(DataError::content(shown(&path), problem));
        };
        if found.iter().any(|other| other.name == name) {
            let problem = format!(
                "holds both a folder and a file called {name:?}; put the file into the folder"
            );
            return Err(DataError::content(shown(folder), problem));
        }
        let images = files.iter().map(|file| open(file)).collect::<Result<Vec<_>, _>>()?;
        found.push(Identity { name: name.replace(char::is_control, "?"), images });
    }
    if found.is_empty() {
        let problem =
            "holds no identities; wanted a folder of PNG files, or one PNG file, for each";
        return Err(DataError::content(shown(folder), problem));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// What lies in a folder, in the order of names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let refuse = |e: std::io::Error| DataError::read(shown(folder), e);
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn open(file: &Path) -> Result<NamedImage, DataError> {
    if !file.extension().is_some_and(|end| end.eq_ignore_ascii_case("png")) {
        let problem =
            "is no PNG file, wanted images of identities only; convert it, or move it away";
        return Err(DataError::content(shown(file), problem));
    }
    Ok(NamedImage { image: Image::read_png(file)?, name: shown(file), label: None })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(path: &Path, grey: u8) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        Image::new(1, 1, 1, vec![grey]).unwrap().write_png(path).unwrap();
    }

    #[test]
    fn folders_and_files_are_identities_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for (path, grey) in [("zoe/b.png", 2), ("zoe/a.PNG", 1), ("adam.png", 3), ("eve.2.png", 4)]
        {
            write(&dir.path().join(path), grey);
        }
        fs::write(dir.path().join(".DS_Store"), "x").unwrap();
        fs::write(dir.path().join("zoe/.hidden"), "x").unwrap();
        let found = open_identities(dir.path()).unwrap();
        let greys =
            |one: &Identity| one.images.iter().map(|i| i.image.pixels()[0]).collect::<Vec<_>>();
        let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), greys(one))).collect();
        assert_eq!(found, [("adam", vec![3]), ("eve.2", vec![4]), ("zoe", vec![1, 2])]);
    }

    #[test]
    fn what_is_no_identity_is_named() {
        type Make = fn(&Path);
        let cases: [(Make, &str); 7] = [
            (
                |_| (),
                " holds no identities; wanted a folder of PNG files, or one PNG file, for each",
            ),
            (
                |d| fs::create_dir(d.join("eve")).unwrap(),
                "/eve is an empty folder, wanted PNG files of",
            ),
            (
                |d| fs::write(d.join("eve.jpg"), "x").unwrap(),
                "/eve.jpg is no PNG file, wanted images",
            ),
            (
                |d| fs::create_dir_all(d.join("eve/deep")).unwrap(),
                "/eve/deep is no PNG file, wanted",
            ),
            (|d| fs::write(d.join("eve.png"), "x").unwrap(), "/eve.png is not a PNG"),
            (
                |d| {
                    write(&d.join("eve.png"), 0);
                    write(&d.join("eve/1.png"), 0);
                },
                " holds both a folder and a file called \"eve\"; put the file into the folder",
            ),
            (|d| fs::remove_dir(d).unwrap(), "cannot read "),
        ];
        for (make, wanted) in cases {
            let dir = tempfile::tempdir().unwrap();
            make(dir.path());
            let found = open_identities(dir.path()).unwrap_err().to_string();
            assert!(
                found.contains(wanted) && found.contains(&dir.path().display().to_string()),
                "{found}"
            );
        }
    }
}
