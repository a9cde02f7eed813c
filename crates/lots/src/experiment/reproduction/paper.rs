//! What the paper's Table 1 says.

use super::models::Model;
use crate::experiment::{Published, Spread};

/// A row of the table as published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishedRow {
    /// Which network.
    pub model: Model,
    /// On the 10,000 test digits, 0–1.
    pub error_rate: f64,
    /// FGS, FGV, hot/cold, LOTS.
    pub methods: [Published; 4],
}

/// Error rate in percent; for each method the success rate in percent, and mean and deviation of PASS, L2 and L∞.
type Numbers = (Model, f64, [[f64; 7]; 4]);

/// Paper: Table 1.
#[rustfmt::skip]
const NUMBERS: [Numbers; Model::ROWS] = [
    (Model::Basic, 0.91, [
        [85.37, 0.4303, 0.1098, 718.8, 281.2, 34.6, 13.2], [85.37, 0.7753, 0.1050, 435.3, 187.9, 94.4, 38.7],
        [99.92, 0.7269, 0.1102, 596.0, 275.5, 117.5, 47.2], [99.56, 0.6561, 0.1245, 1004.0, 456.8, 170.0, 52.4]]),
    (Model::InfiMnist, 0.53, [
        [92.89, 0.4553, 0.1069, 729.6, 260.6, 35.2, 12.5], [92.88, 0.7819, 0.0921, 450.5, 181.7, 94.6, 36.2],
        [99.71, 0.7417, 0.0944, 566.0, 224.9, 107.6, 40.4], [99.07, 0.6667, 0.1236, 986.8, 473.7, 163.6, 54.1]]),
    (Model::Fgs, 0.77, [
        [80.69, 0.4835, 0.1019, 650.9, 255.8, 33.6, 13.8], [80.69, 0.7576, 0.0997, 427.7, 186.2, 91.0, 39.7],
        [100.0, 0.7200, 0.0912, 594.3, 249.0, 116.8, 49.8], [91.05, 0.6457, 0.1138, 1032.0, 393.4, 179.6, 51.5]]),
    (Model::Fgv, 0.82, [
        [60.52, 0.4240, 0.1161, 701.3, 256.0, 35.2, 13.2], [60.52, 0.7722, 0.1083, 434.5, 189.8, 96.1, 39.1],
        [99.95, 0.7140, 0.1079, 684.8, 311.2, 135.9, 52.4], [99.69, 0.6361, 0.1242, 1094.3, 431.3, 188.8, 50.8]]),
    (Model::HotCold, 0.78, [
        [71.92, 0.4527, 0.1116, 683.3, 263.8, 34.5, 13.7], [71.92, 0.7669, 0.1105, 449.8, 231.7, 95.0, 42.7],
        [99.99, 0.7140, 0.1064, 653.1, 320.5, 126.6, 53.2], [99.89, 0.6401, 0.1213, 1074.0, 414.0, 183.8, 51.9]]),
    (Model::Lots, 0.65, [
        [30.89, 0.4506, 0.1250, 597.5, 220.1, 29.4, 10.9], [30.88, 0.8208, 0.1044, 341.1, 132.9, 83.6, 32.7],
        [97.26, 0.7004, 0.1127, 686.1, 271.8, 143.1, 50.3], [97.61, 0.6285, 0.1239, 1119.6, 422.9, 194.0, 48.2]]),
    (Model::LotsAt(1), 1.02, [
        [47.58, 0.4783, 0.1316, 486.7, 185.4, 23.9, 9.1], [47.58, 0.8144, 0.1030, 295.3, 117.5, 66.2, 26.7],
        [100.0, 0.7374, 0.1025, 538.5, 231.5, 106.4, 41.7], [90.03, 0.6471, 0.1357, 1036.8, 538.8, 171.6, 55.0]]),
    (Model::LotsAt(2), 0.90, [
        [54.86, 0.4679, 0.1263, 533.6, 192.5, 26.4, 9.5], [54.85, 0.8169, 0.1047, 317.6, 120.1, 73.3, 28.4],
        [99.92, 0.7468, 0.1046, 535.9, 216.1, 110.2, 41.6], [98.26, 0.6518, 0.1328, 1044.2, 500.6, 177.9, 53.5]]),
    (Model::LotsAt(3), 0.74, [
        [46.16, 0.4456, 0.1257, 659.1, 238.9, 32.5, 11.9], [46.16, 0.8049, 0.1131, 386.5, 159.5, 90.9, 36.2],
        [99.33, 0.7137, 0.1204, 662.2, 256.8, 136.2, 50.0], [98.72, 0.6319, 0.1261, 1099.4, 416.2, 189.7, 48.9]]),
    (Model::LotsAt(4), 0.78, [
        [46.43, 0.4263, 0.1275, 717.8, 266.8, 35.6, 13.6], [46.42, 0.7724, 0.1209, 427.5, 172.1, 96.3, 37.5],
        [99.39, 0.6869, 0.1155, 727.8, 292.7, 144.7, 53.5], [99.17, 0.6239, 0.1215, 1110.7, 387.2, 191.8, 48.9]]),
];

/// The published row of `model`, if the table has it.
pub fn published(model: Model) -> Option<PublishedRow> {
    const NAMES: [&str; 4] = ["fgs", "fgv", "hot-cold", "lots"];
    let (_, error, methods) = NUMBERS.iter().find(|(one, ..)| *one == model)?;
    let method = |i: usize| {
        let [success, pass, pass_std, l2, l2_std, linf, linf_std] = methods[i];
        Published {
            method: NAMES[i],
            success: success / 100.0,
            pass: Spread { mean: pass, std: pass_std },
            l2: Spread { mean: l2, std: l2_std },
            linf: Spread { mean: linf, std: linf_std },
        }
    };
    let methods = [0, 1, 2, 3].map(method);
    Some(PublishedRow { model, error_rate: error / 100.0, methods })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::PAPER_BASIC;

    /// Oracle: the first row, typed in apart from this one.
    #[test]
    fn the_first_row_is_that_of_the_demo() {
        let row = published(Model::Basic).unwrap();
        for (here, there) in row.methods.iter().zip(PAPER_BASIC) {
            assert!((here.success - there.success).abs() < 1e-12);
            assert_eq!((here.pass, here.l2, here.linf), (there.pass, there.l2, there.linf));
        }
        let rows: Vec<Model> = Model::ALL.into_iter().filter(|m| published(*m).is_some()).collect();
        assert_eq!(rows, Model::ALL[..Model::ROWS]);
    }
}
