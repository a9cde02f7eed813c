//! What a robustness means, in words.

use super::tally::{Rank, Robustness, Strength};

/// A layer as people call it: its name, and its index if it has one.
pub(super) fn title(name: &str, index: Option<usize>) -> String {
    index.map_or_else(|| name.to_owned(), |index| format!("{name} ({index})"))
}

impl Robustness {
    /// A few sentences, each of them made of the numbers.
    pub fn words(&self) -> Vec<String> {
        let Self { images, misclassified, ranking, .. } = self;
        if *images == 0 {
            return vec![match misclassified {
                0 => "No image was attacked.".to_owned(),
                _ => format!(
                    "The network misclassifies all {misclassified} images, so there was nothing to attack."
                ),
            }];
        }
        let mut words = Vec::new();
        let half = |rank: &Rank| rank.l2[1];
        match ranking.iter().find_map(|rank| Some((rank, half(rank)?))) {
            None => words.push(format!(
                "No layer gives way: at none of them do half of the {images} images change class, however far it goes."
            )),
            Some((first, l2)) => {
                let least = if ranking.len() > 1 {
                    let share = percent(first.first, *images);
                    format!(" For {share} of the images no other layer needs less.")
                } else {
                    String::new()
                };
                words.push(format!(
                    "{} gives way first: half of the {images} images change class within L2 {l2:.0}.{least}",
                    title(&first.layer, first.index)
                ));
            }
        }
        if let [first, .., last] = &ranking[..] {
            let last_title = title(&last.layer, last.index);
            words.extend(match (half(first), half(last)) {
                (Some(least), Some(most)) => Some(format!(
                    "{last_title} holds longest: it takes L2 {most:.0} there, {:.1} times as much.",
                    most / least
                )),
                (Some(_), None) => Some(format!(
                    "{last_title} holds longest: {} of the images change class there, however far it goes.",
                    percent(last.reached, *images)
                )),
                _ => None,
            });
        }
        words.extend(self.methods().into_iter().filter_map(|method| self.of_method(method)));
        words
    }

    /// Of all methods, each once, as they come.
    pub(super) fn methods(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for strength in self.layers.iter().flat_map(|layer| &layer.methods) {
            if !names.contains(&strength.method.as_str()) {
                names.push(&strength.method);
            }
        }
        names
    }

    /// How often a method succeeds, where least and where most.
    fn of_method(&self, method: &str) -> Option<String> {
        let at = self.layers.iter().flat_map(|layer| {
            let strengths = layer.methods.iter().filter(|strength| strength.method == method);
            strengths.map(move |strength| (layer, strength))
        });
        let share = |(_, strength): &(_, &Strength)| strength.all.success();
        // Of equal ones, the first.
        let least = at.clone().min_by(|a, b| share(a).total_cmp(&share(b)))?;
        let most = at.clone().rev().max_by(|a, b| share(a).total_cmp(&share(b)))?;
        let of = |(_, strength): (_, &Strength)| percent(strength.all.found, strength.all.attempts);
        let called = |(layer, _): (&super::Layer, _)| title(&layer.name, layer.index);
        let attempts = least.1.all.attempts;
        Some(if least.1.all.found == most.1.all.found {
            let layers = if at.count() > 1 { "every layer" } else { "this layer" };
            format!("{method} succeeds in {} of {attempts} attempts at {layers}.", of(least))
        } else {
            format!(
                "{method} succeeds in {} of {attempts} attempts at {}, in {} at {}.",
                of(least),
                called(least),
                of(most),
                called(most)
            )
        })
    }
}

/// `part` of `all` in percent, as text. All and none are what they say: 99.96 % is not shown as 100 %.
pub fn percent(part: usize, all: usize) -> String {
    let share = 100.0 * part as f64 / all.max(1) as f64;
    let text = format!("{share:.1} %");
    match text.as_str() {
        "100.0 %" if part < all => "99.9 %".to_owned(),
        "0.0 %" if part > 0 => "0.1 %".to_owned(),
        "100.0 %" => "100 %".to_owned(),
        "0.0 %" => "0 %".to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_is_all() {
        let cases = [(0, 9), (1, 5000), (1, 3), (4999, 5000), (7, 7), (0, 0)];
        let texts = cases.map(|(part, all)| percent(part, all));
        assert_eq!(texts, ["0 %", "0.1 %", "33.3 %", "99.9 %", "100 %", "0 %"]);
    }
}
