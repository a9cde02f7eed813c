//! A robustness as CSV.

use super::tally::{Robustness, Sizes};
use crate::error::DataError;

/// Columns of five quantiles each, in the order of [`measures`].
const MEASURES: [&str; 5] = ["l2", "linf", "pass", "focus", "breadth"];
const QUANTILES: [&str; 5] = ["05", "25", "50", "75", "95"];

impl Robustness {
    /// A table for other programs: a row for each layer, method and class, and before the classes one for all of them, whose
    /// `class` is empty. Quantiles are empty where nothing was found.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn csv(&self) -> Result<Vec<u8>, DataError> {
        let refuse = |reason: String| DataError::write("the table of robustness", reason);
        let mut table = csv::Writer::from_writer(Vec::new());
        let head = ["layer", "layer_index", "method", "class", "class_name"];
        let counts = ["attempts", "found", "success"];
        let measures = MEASURES.iter().flat_map(|measure| {
            QUANTILES.iter().map(move |quantile| format!("{measure}_{quantile}"))
        });
        let header = head.into_iter().chain(counts).map(str::to_owned).chain(measures);
        table.write_record(header).map_err(|e| refuse(e.to_string()))?;
        for layer in &self.layers {
            for method in &layer.methods {
                let all = (String::new(), String::new(), &method.all);
                let classes = method.classes.iter();
                let classes = classes
                    .map(|class| (class.class.to_string(), class.name.clone(), &class.sizes));
                for (class, name, sizes) in std::iter::once(all).chain(classes) {
                    let index = layer.index.map(|index| index.to_string()).unwrap_or_default();
                    let key = [layer.name.clone(), index, method.method.clone(), class, name];
                    let row = key.into_iter().chain(numbers(sizes));
                    table.write_record(row).map_err(|e| refuse(e.to_string()))?;
                }
            }
        }
        table.into_inner().map_err(|e| refuse(e.to_string()))
    }
}

fn numbers(sizes: &Sizes) -> impl Iterator<Item = String> {
    let Sizes { attempts, found, l2, linf, pass, focus, breadth } = sizes;
    let counts = [attempts.to_string(), found.to_string(), sizes.success().to_string()];
    let quantiles = [l2, linf, pass, focus, breadth].into_iter().flat_map(|quantiles| {
        let all = quantiles.map(|quantiles| quantiles.all());
        (0..QUANTILES.len()).map(move |i| all.map(|all| all[i].to_string()).unwrap_or_default())
    });
    counts.into_iter().chain(quantiles)
}
