//! A shard: samples as a Parquet file, written and read.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Encoding;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use serde_json::json;

use super::sample::{Counts, Facts, Sample};
use crate::data::parquet::{Columns, IMAGE};
use crate::error::{DataError, shown};
use crate::file::write_file_with;
use crate::image::Image;
use crate::parallel::map;

/// Keys of what a file says of itself: what Hugging Face's `datasets` reads, what the set was asked for, and the counts.
const HUGGING_FACE: &str = "huggingface";
const SETTINGS: &str = "lots.set";
const COUNTS: &str = "lots.counts";

const SCHEMA: &str = "
    message samples {
        optional group image { optional binary bytes; optional binary path (string); }
        optional int64 label;
        optional int64 adversarial_label;
        optional int64 origin;
        optional int64 target;
        optional int64 target_label;
        optional binary layer (string);
        optional binary method (string);
        optional double step;
        optional int64 percent;
        optional double l2;
        optional int64 linf;
        optional double pass;
        optional boolean zero_loss;
        optional int64 seed (integer(64,false));
        optional binary model (string);
    }";

/// What all rows of a set have in common.
#[derive(Clone, Debug)]
pub struct Common {
    /// What the classes are called.
    pub classes: Vec<String>,
    /// What random choices follow from.
    pub seed: u64,
    /// The MD5 of the network's file.
    pub model: String,
    /// What the set was asked for, as JSON.
    pub settings: String,
}

/// Writes `samples` to `path`, all or nothing.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write(
    path: &Path,
    samples: &[Sample],
    counts: &Counts,
    common: &Common,
) -> Result<(), DataError> {
    let name = shown(path);
    let fail = |reason: String| DataError::write(&name, reason);
    let pngs = map(samples.iter().collect(), |sample: &Sample| sample.image.to_png());
    let pngs = pngs.into_iter().collect::<Result<Vec<_>, _>>().map_err(|e| fail(e.to_string()))?;
    let pngs: Vec<Option<ByteArray>> = pngs.into_iter().map(|png| Some(png.into())).collect();
    let counts = serde_json::to_string(counts).map_err(|e| fail(e.to_string()))?;
    let properties = properties(counts, common);
    let mut bytes = Vec::new();
    encode(&mut bytes, samples, &pngs, common, properties).map_err(|e| fail(e.to_string()))?;
    write_file_with(path, |file| file.write_all(&bytes).map_err(|e| DataError::write(&name, e)))
}

fn properties(counts: String, common: &Common) -> WriterProperties {
    let integer = json!({ "dtype": "int64", "_type": "Value" });
    let number = json!({ "dtype": "float64", "_type": "Value" });
    let text = json!({ "dtype": "string", "_type": "Value" });
    let truth = json!({ "dtype": "bool", "_type": "Value" });
    let class = json!({ "names": common.classes, "_type": "ClassLabel" });
    let features = json!({
        "image": { "_type": "Image" },
        "label": class, "adversarial_label": class,
        "origin": integer, "target": integer, "target_label": class,
        "layer": text, "method": text,
        "step": number, "percent": integer, "l2": number, "linf": integer, "pass": number,
        "zero_loss": truth, "seed": { "dtype": "uint64", "_type": "Value" }, "model": text,
    });
    let about = json!({ "info": { "features": features } }).to_string();
    let entry = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let image = ColumnPath::from(IMAGE.split('.').map(str::to_owned).collect::<Vec<_>>());
    WriterProperties::builder()
        .set_created_by(concat!("lots ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![
            entry(HUGGING_FACE, about),
            entry(SETTINGS, common.settings.clone()),
            entry(COUNTS, counts),
        ]))
        // Images differ, and their order tells nothing.
        .set_column_dictionary_enabled(image.clone(), false)
        .set_column_encoding(image.clone(), Encoding::PLAIN)
        .set_column_statistics_enabled(image, EnabledStatistics::None)
        .build()
}

fn encode(
    out: &mut Vec<u8>,
    samples: &[Sample],
    pngs: &[Option<ByteArray>],
    common: &Common,
    properties: WriterProperties,
) -> Result<(), ParquetError> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
    let mut group = Group(writer.next_row_group()?);
    let integer = |n: usize| Some(i64::try_from(n).unwrap_or(i64::MAX));
    let text = |text: &str| Some(ByteArray::from(text));
    let all = |value: fn(&Sample) -> usize| samples.iter().map(|s| integer(value(s))).collect();
    let some = |value: fn(&Sample) -> Option<usize>| {
        samples.iter().map(|s| value(s).and_then(integer)).collect()
    };
    let number = |value: fn(&Sample) -> Option<f64>| samples.iter().map(value).collect();
    group.add::<ByteArrayType>(pngs.to_vec(), 1)?;
    group.add::<ByteArrayType>(vec![None; samples.len()], 1)?;
    group.add::<Int64Type>(all(|s| s.facts.label), 0)?;
    group.add::<Int64Type>(all(|s| s.facts.adversarial_label), 0)?;
    group.add::<Int64Type>(all(|s| s.facts.origin), 0)?;
    group.add::<Int64Type>(some(|s| s.facts.target), 0)?;
    group.add::<Int64Type>(some(|s| s.facts.target_label), 0)?;
    group.add::<ByteArrayType>(samples.iter().map(|s| text(&s.facts.layer)).collect(), 0)?;
    group.add::<ByteArrayType>(samples.iter().map(|s| text(&s.facts.method)).collect(), 0)?;
    group.add::<DoubleType>(number(|s| Some(s.facts.step)), 0)?;
    group.add::<Int64Type>(all(|s| s.facts.percent), 0)?;
    group.add::<DoubleType>(number(|s| Some(s.facts.l2)), 0)?;
    group.add::<Int64Type>(all(|s| s.facts.linf), 0)?;
    group.add::<DoubleType>(number(|s| s.facts.pass), 0)?;
    group.add::<BoolType>(samples.iter().map(|s| Some(s.facts.zero_loss)).collect(), 0)?;
    // The type says that these bits have no sign.
    group.add::<Int64Type>(vec![Some(common.seed.cast_signed()); samples.len()], 0)?;
    group.add::<ByteArrayType>(vec![text(&common.model); samples.len()], 0)?;
    group.close()?;
    writer.close()?;
    Ok(())
}

/// The counts of a shard.
///
/// # Errors
/// When the file cannot be read, or is not a shard.
pub(super) fn read_counts(path: &Path) -> Result<Counts, DataError> {
    let columns = Columns::open(path)?;
    let counts = columns.metadata(COUNTS).and_then(|text| serde_json::from_str(text).ok());
    counts.ok_or_else(|| {
        DataError::content(shown(path), "says no counts of attacks: it is no file of lots generate")
    })
}

/// All columns of a shard but the images, as [`Facts`].
///
/// # Errors
/// When the file cannot be read, or is not a shard.
pub(super) fn read_facts(path: &Path) -> Result<Vec<Facts>, DataError> {
    let columns = Columns::open(path)?;
    let index = |column: &str| -> Result<Vec<Option<usize>>, DataError> {
        let values = columns.integers(column)?;
        let position = |value: Option<i64>| {
            value.map(|value| {
                usize::try_from(value).map_err(|_| {
                    let problem = format!("has {value} in column {column}, wanted 0 or more");
                    DataError::content(shown(path), problem)
                })
            })
        };
        values.into_iter().map(|value| position(value).transpose()).collect()
    };
    let whole = |column: &str| columns.required(column, index(column)?);
    let number = |column: &str| columns.required(column, columns.numbers(column)?);
    let text = |column: &str| columns.required(column, columns.texts(column)?);
    let (labels, adversarial, origins) =
        (whole("label")?, whole("adversarial_label")?, whole("origin")?);
    let (targets, target_labels) = (index("target")?, index("target_label")?);
    let (layers, methods) = (text("layer")?, text("method")?);
    let (steps, l2, linf) = (number("step")?, number("l2")?, whole("linf")?);
    let (percents, passes) = (whole("percent")?, columns.numbers("pass")?);
    let zero_loss = columns.required("zero_loss", columns.truths("zero_loss")?)?;
    let row = |(row, (layer, method)): (usize, (String, String))| Facts {
        label: labels[row],
        adversarial_label: adversarial[row],
        origin: origins[row],
        target: targets[row],
        target_label: target_labels[row],
        layer,
        method,
        step: steps[row],
        percent: percents[row],
        l2: l2[row],
        linf: linf[row],
        pass: passes[row],
        zero_loss: zero_loss[row],
    };
    Ok(layers.into_iter().zip(methods).enumerate().map(row).collect())
}

/// The images of a shard, row by row.
///
/// # Errors
/// When the file cannot be read, or an image is none.
pub(super) fn read_images(path: &Path) -> Result<Vec<Image>, DataError> {
    let columns = Columns::open(path)?;
    let pngs = columns.required(IMAGE, columns.bytes(IMAGE)?)?;
    let name = shown(path);
    let read = map(pngs.into_iter().enumerate().collect(), |(row, png): (usize, ByteArray)| {
        Image::from_png(png.data(), &format!("{name} row {row}"))
    });
    read.into_iter().collect()
}

/// The rows of a file, column by column in the order of the schema.
struct Group<'a, W: Write + Send>(SerializedRowGroupWriter<'a, W>);

impl<W: Write + Send> Group<'_, W> {
    fn close(self) -> Result<(), ParquetError> {
        self.0.close().map(|_| ())
    }

    /// Adds a column whose values lie `depth` groups deep, of which all are there.
    fn add<T: DataType>(
        &mut self,
        values: Vec<Option<T::T>>,
        depth: i16,
    ) -> Result<(), ParquetError> {
        let mut column = self
            .0
            .next_column()?
            .ok_or_else(|| ParquetError::General("more columns than the schema has".to_owned()))?;
        let levels: Vec<i16> = values.iter().map(|v| depth + i16::from(v.is_some())).collect();
        let values: Vec<T::T> = values.into_iter().flatten().collect();
        column.typed::<T>().write_batch(&values, Some(&levels), None)?;
        column.close()
    }
}
