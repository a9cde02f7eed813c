//! Axes with round ticks.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// What one direction of a plot stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it measures.
    pub label: String,
    /// In which unit; empty for none.
    pub unit: String,
    /// How values become lengths.
    pub scale: Scale,
    /// The ends, where the values do not decide them.
    pub ends: Option<(f64, f64)>,
}

/// How values become lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal lengths are equal differences.
    #[default]
    Linear,
    /// Equal lengths are equal ratios. What is not above zero lies at the lower end.
    Log,
}

impl Axis {
    /// A linear axis whose ends the values decide.
    pub fn new(label: &str, unit: &str) -> Self {
        let (label, unit) = (label.to_owned(), unit.to_owned());
        Self { label, unit, scale: Scale::Linear, ends: None }
    }

    /// From `low` to `high`.
    #[must_use]
    pub fn between(self, low: f64, high: f64) -> Self {
        Self { ends: Some((low, high)), ..self }
    }

    /// Logarithmic.
    #[must_use]
    pub fn log(self) -> Self {
        Self { scale: Scale::Log, ..self }
    }

    /// As it is written beside the axis.
    pub(super) fn text(&self) -> String {
        let Self { label, unit, .. } = self;
        if unit.is_empty() { label.clone() } else { format!("{label} ({unit})") }
    }

    /// The axis laid out for `values`, which are finite; about `wanted` ticks.
    pub(super) fn ruler(&self, values: impl Iterator<Item = f64>, wanted: usize) -> Ruler {
        let usable = |x: &f64| self.scale == Scale::Linear || *x > 0.0;
        let (low, high) = values
            .filter(usable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let found = (low <= high).then_some((low, high));
        match self.scale {
            Scale::Linear => {
                // Sizes begin at zero.
                let found = found.map(|(low, high)| (low.min(0.0), high));
                linear(self.ends.or(found).unwrap_or((0.0, 1.0)), self.ends.is_some(), wanted)
            }
            Scale::Log => {
                let ends = self.ends.filter(|&(low, _)| low > 0.0);
                log(ends.or(found).unwrap_or((1.0, 10.0)), ends.is_some())
            }
        }
    }
}

/// An axis with its ends and ticks. Places on it are values, or their logarithms.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ruler {
    scale: Scale,
    /// Places of the ends.
    pub(super) low: f64,
    pub(super) high: f64,
    /// Places.
    pub(super) ticks: Vec<f64>,
    /// Digits behind the point that tell neighbouring ticks apart.
    digits: usize,
}

impl Ruler {
    /// Where `value` lies; at an end if it is beyond it.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => value,
            Scale::Log if value > 0.0 => value.log10(),
            Scale::Log => self.low,
        };
        place.clamp(self.low, self.high)
    }

    /// What is written at a tick.
    pub(super) fn text(&self, place: f64) -> String {
        let (value, digits) = match self.scale {
            Scale::Linear => (place, self.digits),
            Scale::Log => (10_f64.powf(place), (-place.floor()).clamp(0.0, 12.0) as usize),
        };
        let text = format!("{value:.digits$}");
        // No minus sign at zero.
        text.strip_prefix('-')
            .filter(|rest| rest.bytes().all(|b| b"0.".contains(&b)))
            .map_or(text.clone(), str::to_owned)
    }
}

/// plotters asks for pixels of places.
impl Ranged for Ruler {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, &place: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (place - self.low) / (self.high - self.low);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Ruler {
    fn format_ext(&self, &place: &f64) -> String {
        self.text(place)
    }
}

/// Ticks 1, 2 or 5 times a power of ten apart. Unless the ends are `given` they become ticks.
fn linear((low, high): (f64, f64), given: bool, wanted: usize) -> Ruler {
    let high = if high > low { high } else { low + low.abs().max(1.0) };
    let rough = (high - low) / wanted.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    // Not rounding alone decides.
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough * 0.999);
    let step = factor.unwrap_or(10.0) * power;
    let is_usable = (high - low).is_finite() && step.is_normal();
    let (first, last) = if given {
        ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor())
    } else {
        ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil())
    };
    if !(is_usable && (first * step).is_finite() && (last * step).is_finite()) {
        // Too wide or too narrow for numbers of this kind: what is drawn lies at the ends.
        return linear((0.0, 1.0), true, wanted);
    }
    let ticks: Vec<f64> =
        (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect();
    let (low, high) = if given { (low, high) } else { (first * step, last * step) };
    let digits = (-(step * 1.001).log10().floor()).clamp(0.0, 12.0) as usize;
    Ruler { scale: Scale::Linear, low, high, ticks, digits }
}

/// Ticks at 1, 2 and 5 times powers of ten, or at powers of ten where these are many. Unless the ends are `given` they
/// become ticks.
fn log((low, high): (f64, f64), given: bool) -> Ruler {
    let (from, to) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let factors: &[f64] = if to - from > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all = (from..=to)
        .flat_map(|power| factors.iter().map(move |factor| (factor * 10_f64.powi(power)).log10()));
    let all: Vec<f64> = all.collect();
    let (low, high) = (low.log10(), high.log10());
    let (low, high) = if given {
        (low, high)
    } else {
        let below = all.iter().copied().rfind(|&tick| tick <= low + 1e-9);
        let above = all.iter().copied().find(|&tick| tick >= high - 1e-9);
        (below.unwrap_or(low), above.unwrap_or(high))
    };
    let high = if high > low { high } else { low + 1.0 };
    let ticks = all.into_iter().filter(|tick| (low - 1e-9..=high + 1e-9).contains(tick)).collect();
    Ruler { scale: Scale::Log, low, high, ticks, digits: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis, values: &[f64]) -> Vec<String> {
        let ruler = axis.ruler(values.iter().copied(), 5);
        ruler.ticks.iter().map(|&tick| ruler.text(tick)).collect()
    }

    #[test]
    fn ticks_are_round() {
        let linear = Axis::new("", "");
        let cases: [(Axis, &[f64], &[&str]); 11] = [
            (linear.clone(), &[3.0, 93.0], &["0", "20", "40", "60", "80", "100"]),
            (linear.clone(), &[0.0, 1284.0], &["0", "500", "1000", "1500"]),
            (linear.clone(), &[0.9], &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (linear.clone(), &[-0.3, 0.2], &["-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2"]),
            (linear.clone(), &[], &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (linear.clone(), &[0.0], &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (linear.between(0.97, 1.0), &[5.0], &["0.97", "0.98", "0.99", "1.00"]),
            (Axis::new("", "").log(), &[3.0, 180.0], &["2", "5", "10", "20", "50", "100", "200"]),
            (Axis::new("", "").log(), &[0.0, 0.2, 2.0], &["0.2", "0.5", "1", "2"]),
            (
                Axis::new("", "").log(),
                &[1.0, 5e5],
                &["1", "10", "100", "1000", "10000", "100000", "1000000"],
            ),
            (Axis::new("", "").log(), &[-1.0], &["1", "2", "5", "10"]),
        ];
        for (axis, values, wanted) in cases {
            assert_eq!(texts(&axis, values), wanted, "{axis:?} {values:?}");
        }
    }

    #[test]
    fn places_stay_between_the_ends() {
        let linear = Axis::new("", "").between(0.0, 10.0).ruler([].into_iter(), 5);
        assert_eq!([-1.0, 0.0, 4.0, 11.0].map(|x| linear.place(x)).to_vec(), [0.0, 0.0, 4.0, 10.0]);
        let log = Axis::new("", "").log().between(1.0, 1000.0).ruler([].into_iter(), 5);
        assert_eq!(
            [-5.0, 0.0, 0.1, 1.0, 1e9].map(|x| log.place(x)).to_vec(),
            [0.0, 0.0, 0.0, 0.0, 3.0]
        );
    }

    #[test]
    fn numbers_beyond_reason_have_an_axis() {
        let unit = ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"];
        let linear = Axis::new("", "");
        let beyond: [&[f64]; 5] =
            [&[5e-324], &[-1e308, 1e308], &[1.7e308, -1.7e308], &[f64::MAX], &[f64::MIN]];
        for values in beyond {
            assert_eq!(texts(&linear, values), unit, "{values:?}");
            let ruler = linear.ruler(values.iter().copied(), 5);
            assert!(values.iter().all(|&x| (0.0..=1.0).contains(&ruler.place(x))), "{values:?}");
        }
        assert_eq!(texts(&linear, &[1e308]).len(), 6);
    }

    #[test]
    fn labels_have_units() {
        assert_eq!(Axis::new("L2", "grey levels").text(), "L2 (grey levels)");
        assert_eq!(Axis::new("PASS", "").text(), "PASS");
    }
}
