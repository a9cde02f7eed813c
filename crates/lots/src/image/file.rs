//! PNG files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use png::{BitDepth, ColorType, Encoder};

use super::Image;
use super::decode::MAX_FILE;
use crate::error::{DataError, shown};
use crate::file::write_file;

impl Image {
    /// Reads the PNG file at `path`, as [`from_png`](Self::from_png) does.
    ///
    /// # Errors
    /// When the file cannot be read, is larger than 1 GiB, or for any reason of [`from_png`](Self::from_png).
    pub fn read_png(path: &Path) -> Result<Self, DataError> {
        let name = shown(path);
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
            .map_err(|e| DataError::read(&name, e))?;
        if bytes.len() as u64 > MAX_FILE {
            let problem =
                format!("is too long, wanted at most {MAX_FILE} bytes; scale it down first");
            return Err(DataError::content(name, problem));
        }
        Self::from_png(&bytes, &name)
    }

    /// Writes the image to `path` as PNG, grey or RGB of 8 bits. What lies there is replaced at once, when all is written:
    /// nobody ever sees half a file.
    ///
    /// # Errors
    /// When the folder does not exist or cannot be written to, `path` is a folder, or the disk is full.
    pub fn write_png(&self, path: &Path) -> Result<(), DataError> {
        let bytes = self.to_png().map_err(|e| DataError::write(shown(path), e))?;
        write_file(path, &bytes)
    }

    /// The bytes of the file that [`write_png`](Self::write_png) writes.
    pub(crate) fn to_png(&self) -> io::Result<Vec<u8>> {
        let side = |n: usize| {
            u32::try_from(n)
                .map_err(|_| io::Error::other(format!("{n} pixels on a side are too many for PNG")))
        };
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, side(self.width)?, side(self.height)?);
        encoder.set_color(if self.channels == 1 { ColorType::Grayscale } else { ColorType::Rgb });
        encoder.set_depth(BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::image::decode::tests::grey_png;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let stale = dir.path().join(".lots-0.tmp");
        fs::write(&stale, "of a process that was killed").unwrap();
        for channels in [1, 3] {
            let pixels = (0..7 * 5 * channels).map(|i| (i * 37) as u8).collect();
            let image = Image::new(7, 5, channels, pixels).unwrap();
            image.write_png(&path).unwrap();
            assert_eq!(Image::read_png(&path).unwrap().pixels(), image.pixels(), "{image:?}");
            assert_eq!(Image::read_png(&path).unwrap(), image);
        }
        fs::remove_file(stale).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "temporary files are left");
    }

    #[test]
    fn many_threads_may_write_to_one_folder() {
        let dir = tempfile::tempdir().unwrap();
        let image = |i: u8| Image::new(2, 1, 1, vec![i, i]).unwrap();
        std::thread::scope(|scope| {
            for i in 0..16 {
                let path = dir.path().join(format!("{i}.png"));
                scope.spawn(move || image(i).write_png(&path).unwrap());
            }
        });
        for i in 0..16 {
            assert_eq!(Image::read_png(&dir.path().join(format!("{i}.png"))).unwrap(), image(i));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 16);
    }

    #[test]
    fn errors_name_the_path_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let image = Image::new(1, 1, 1, vec![0]).unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        for path in [dir.path().join("none/a.png"), folder, PathBuf::from("/")] {
            let message = image.write_png(&path).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("cannot write {}: ", path.display())),
                "{message}"
            );
        }
        for path in [dir.path().join("a.png"), dir.path().to_owned()] {
            let message = Image::read_png(&path).unwrap_err().to_string();
            assert!(message.starts_with(&format!("cannot read {}: ", path.display())), "{message}");
        }
        let path = dir.path().join("cut.png");
        fs::write(&path, &grey_png()[..40]).unwrap();
        let message = Image::read_png(&path).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{} is truncated", path.display())), "{message}");
        // The folder and the cut file, no temporary one.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
