//! Parquet files: columns of one, and folders of them as data sets.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::basic::Type;
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::dataset::Dataset;
use crate::error::{DataError, shown};
use crate::image::Image;
use crate::parallel::map;

/// Where the pixels of an image column lie, as Hugging Face's `datasets` has it.
pub(crate) const IMAGE: &str = "image.bytes";
pub(crate) const LABEL: &str = "label";
pub(crate) const LAYER: &str = "layer";

/// An open file, which gives whole columns. A column of values inside another, as the bytes of an image, is called by both
/// names with a dot between.
pub(crate) struct Columns {
    name: String,
    reader: SerializedFileReader<File>,
}

impl Columns {
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let name = shown(path);
        let file = File::open(path).map_err(|e| DataError::read(&name, e))?;
        let reader = SerializedFileReader::new(file).map_err(|e| unreadable(&name, &e))?;
        Ok(Self { name, reader })
    }

    /// What the file says of itself under `key`.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        let entries = self.reader.metadata().file_metadata().key_value_metadata()?;
        entries.iter().find(|entry| entry.key == key)?.value.as_deref()
    }

    pub(crate) fn has(&self, column: &str) -> bool {
        self.find(column).is_some()
    }

    pub(crate) fn bytes(&self, column: &str) -> Result<Vec<Option<ByteArray>>, DataError> {
        match self.kind(column)? {
            Type::BYTE_ARRAY => self.values::<ByteArrayType>(column),
            found => Err(self.wrong_kind(column, "bytes", found)),
        }
    }

    pub(crate) fn texts(&self, column: &str) -> Result<Vec<Option<String>>, DataError> {
        let text = |bytes: ByteArray| String::from_utf8_lossy(bytes.data()).into_owned();
        Ok(self.bytes(column)?.into_iter().map(|bytes| bytes.map(text)).collect())
    }

    pub(crate) fn integers(&self, column: &str) -> Result<Vec<Option<i64>>, DataError> {
        match self.kind(column)? {
            Type::INT64 => self.values::<Int64Type>(column),
            Type::INT32 => Ok(widened(self.values::<Int32Type>(column)?)),
            found => Err(self.wrong_kind(column, "integers", found)),
        }
    }

    pub(crate) fn numbers(&self, column: &str) -> Result<Vec<Option<f64>>, DataError> {
        match self.kind(column)? {
            Type::DOUBLE => self.values::<DoubleType>(column),
            Type::FLOAT => Ok(widened(self.values::<FloatType>(column)?)),
            found => Err(self.wrong_kind(column, "numbers", found)),
        }
    }

    pub(crate) fn truths(&self, column: &str) -> Result<Vec<Option<bool>>, DataError> {
        match self.kind(column)? {
            Type::BOOLEAN => self.values::<BoolType>(column),
            found => Err(self.wrong_kind(column, "true or false", found)),
        }
    }

    /// `values` where none may be missing.
    pub(crate) fn required<T>(
        &self,
        column: &str,
        values: Vec<Option<T>>,
    ) -> Result<Vec<T>, DataError> {
        let missing = values.iter().position(Option::is_none);
        missing.map_or(Ok(()), |row| {
            let problem = format!("has no value in row {row} of column {column}, wanted one");
            Err(DataError::content(&self.name, problem))
        })?;
        Ok(values.into_iter().flatten().collect())
    }

    fn find(&self, column: &str) -> Option<usize> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        schema.columns().iter().position(|one| one.path().string() == column)
    }

    fn index(&self, column: &str) -> Result<usize, DataError> {
        self.find(column).ok_or_else(|| {
            let schema = self.reader.metadata().file_metadata().schema_descr();
            let known: Vec<String> =
                schema.columns().iter().map(|one| one.path().string()).collect();
            let problem = format!("has no column {column}; columns: {}", known.join(", "));
            DataError::content(&self.name, problem)
        })
    }

    fn kind(&self, column: &str) -> Result<Type, DataError> {
        let index = self.index(column)?;
        Ok(self.reader.metadata().file_metadata().schema_descr().column(index).physical_type())
    }

    fn wrong_kind(&self, column: &str, wanted: &str, found: Type) -> DataError {
        let problem = format!("has column {column} of type {found}, wanted {wanted}");
        DataError::content(&self.name, problem)
    }

    /// A column whose type is known to be `T`; `None` where a row has no value.
    fn values<T: DataType>(&self, column: &str) -> Result<Vec<Option<T::T>>, DataError> {
        let index = self.index(column)?;
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let descriptor = schema.column(index);
        if descriptor.max_rep_level() > 0 {
            let problem = format!("has lists in column {column}, wanted one value a row");
            return Err(DataError::content(&self.name, problem));
        }
        let fail = |e: ParquetError| unreadable(&self.name, &e);
        let mut all = Vec::new();
        for group in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(group).map_err(fail)?;
            let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            let reader = group.get_column_reader(index).map_err(fail)?;
            let values = rest(get_typed_column_reader::<T>(reader), rows).map_err(fail)?;
            if values.len() != rows {
                let problem = format!(
                    "is damaged: {} of {rows} rows in column {column}; get it again",
                    values.len()
                );
                return Err(DataError::content(&self.name, problem));
            }
            all.extend(values);
        }
        Ok(all)
    }
}

/// All that a reader has, at most `rows`.
fn rest<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let (mut values, mut levels, mut read) = (Vec::new(), Vec::new(), 0);
    while read < rows {
        let (records, ..) =
            reader.read_records(rows - read, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            break;
        }
        read += records;
    }
    // A column without empty places has no levels.
    if levels.is_empty() {
        return Ok(values.into_iter().map(Some).collect());
    }
    let present = levels.iter().copied().max().unwrap_or(0);
    let mut values = values.into_iter();
    Ok(levels
        .into_iter()
        .map(|level| if level == present { values.next() } else { None })
        .collect())
}

fn widened<A, B: From<A>>(values: Vec<Option<A>>) -> Vec<Option<B>> {
    values.into_iter().map(|value| value.map(B::from)).collect()
}

fn unreadable(name: &str, error: &ParquetError) -> DataError {
    if let ParquetError::General(text) = error
        && text.contains("Disabled feature")
    {
        let problem = "is compressed in a way that is not read here, wanted snappy or none; write it again so";
        return DataError::content(name, problem);
    }
    DataError::content(name, format!("is no Parquet file that can be read: {error}"))
}

/// The Parquet files of a folder, by name.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let refuse = |e| DataError::read(shown(folder), e);
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        let is_parquet = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet"));
        // As other readers do.
        let is_hidden =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
        if is_parquet && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The images of all Parquet files in `folder` as a data set called `name`, in the order of the files' names. Images are the column
/// `image` as Hugging Face's `datasets` writes it, PNG files inside; labels are the column `label`, if there is one. With `layer`,
/// only rows that have it in the column of that name.
///
/// Memory holds the pixels, and one file.
///
/// # Errors
/// When a file cannot be read, images differ in shape or are no PNG, labels are not classes of `classes`, or nothing is left.
pub(crate) fn open_parquet(
    folder: &Path,
    name: &str,
    classes: usize,
    layer: Option<&str>,
) -> Result<Dataset, DataError> {
    let (mut pixels, mut labels) = (Vec::new(), Some(Vec::new()));
    let mut first: Option<([usize; 3], String)> = None;
    for path in parquet_files(folder)? {
        let columns = Columns::open(&path)?;
        let images = columns.required(IMAGE, columns.bytes(IMAGE)?)?;
        let keep: Vec<bool> = match layer {
            None => vec![true; images.len()],
            Some(layer) => {
                let layers = columns.texts(LAYER)?;
                layers.iter().map(|found| found.as_deref() == Some(layer)).collect()
            }
        };
        let kept = images.into_iter().enumerate().filter(|(row, _)| keep[*row]).collect();
        let read = map(kept, |(row, bytes): (usize, ByteArray)| {
            Image::from_png(bytes.data(), &format!("{} row {row}", columns.name))
                .map(|image| (row, image))
        });
        for read in read {
            let (row, image) = read?;
            let shape = [image.height(), image.width(), image.channels()];
            let (wanted, of) =
                first.get_or_insert_with(|| (shape, format!("{} row {row}", columns.name)));
            if shape != *wanted {
                let [[h, w, c], [h0, w0, c0]] = [shape, *wanted];
                let problem = format!(
                    "row {row} is {h}×{w}×{c}, but {of} is {h0}×{w0}×{c0}; wanted one shape"
                );
                return Err(DataError::content(&columns.name, problem));
            }
            pixels.extend_from_slice(image.pixels());
        }
        if !columns.has(LABEL) {
            labels = None;
        }
        if let Some(labels) = &mut labels {
            let found = columns.required(LABEL, columns.integers(LABEL)?)?;
            for (row, label) in found.into_iter().enumerate().filter(|(row, _)| keep[*row]) {
                let label = u8::try_from(label).map_err(|_| {
                    let problem = format!("has label {label} in row {row}, wanted 0–255");
                    DataError::content(&columns.name, problem)
                })?;
                labels.push(label);
            }
        }
    }
    let Some((shape, _)) = first else {
        let of = layer.map_or_else(String::new, |layer| format!(" of layer {layer}"));
        return Err(DataError::content(name, format!("holds no images{of}, wanted some")));
    };
    Dataset::new(name, shape, pixels, labels, classes)
}
