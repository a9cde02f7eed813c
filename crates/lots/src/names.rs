//! What classes and methods are called.

use std::fs;
use std::path::Path;

use crate::error::{DataError, shown};

/// Reads the names of classes from a text file: one a line, that of class 0 first.
///
/// # Errors
/// When the file cannot be read, is not UTF-8, or a line before its end is empty.
pub fn read_class_names(path: &Path) -> Result<Vec<String>, DataError> {
    let text = fs::read_to_string(path).map_err(|e| DataError::read(shown(path), e))?;
    class_names(&text, &shown(path))
}

/// The names of classes in `text`, one a line; `name` stands for the text in messages. Control characters, which could
/// speak to a terminal, become question marks.
///
/// # Errors
/// When a line before the end is empty, or all of them are.
pub fn class_names(text: &str, name: &str) -> Result<Vec<String>, DataError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end();
    let names: Vec<String> =
        text.lines().map(|line| line.trim().replace(char::is_control, "?")).collect();
    match names.iter().position(String::is_empty) {
        None if !names.is_empty() => Ok(names),
        None => Err(DataError::content(name, "is empty; wanted names of classes, one a line")),
        Some(at) => {
            let problem =
                format!("has no name in line {}; wanted names of classes, one a line", at + 1);
            Err(DataError::content(name, problem))
        }
    }
}

/// The class that a user means by `text`: one of `names`, or a number, from 0; a name comes first.
///
/// # Errors
/// When there is no such name and it is no number, or several classes are called so. Whether there is a class of the number
/// is left open.
pub fn find_class(names: &[String], text: &str) -> Result<usize, String> {
    let mut called =
        names.iter().enumerate().filter(|(_, name)| *name == text).map(|(class, _)| class);
    match (called.next(), called.next()) {
        (Some(class), None) => Ok(class),
        (Some(first), Some(second)) => Err(format!(
            "\"{text}\" is the name of class {first} and of class {second}; give the number"
        )),
        (None, _) => text.parse().map_err(|_| {
            let last = names.len().saturating_sub(1);
            format!("no class \"{text}\"; classes are {} to {} (0–{last})", names[0], names[last])
        }),
    }
}

/// What a method, as users call it, is called in a text.
pub fn method_title(method: &str) -> &str {
    match method {
        "deepfool" => "DeepFool",
        "feature-adversary" => "feature adversary",
        "fgs" => "FGS",
        "fgv" => "FGV",
        "hot-cold" => "hot/cold",
        "iterative-lots" => "iterative LOTS",
        "lbfgs" => "L-BFGS",
        "lots" => "LOTS",
        "pgd" => "PGD",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lines() {
        let cases: [(&str, &[&str]); 4] = [
            ("cat\ndog", &["cat", "dog"]),
            (
                "\u{feff}tench, Tinca tinca\r\n goldfish \r\n\r\n",
                &["tench, Tinca tinca", "goldfish"],
            ),
            ("0\n1\n", &["0", "1"]),
            ("Ärger", &["Ärger"]),
        ];
        for (text, wanted) in cases {
            assert_eq!(class_names(text, "names.txt").unwrap(), wanted, "{text:?}");
        }
        let refused = |text| class_names(text, "names.txt").unwrap_err().to_string();
        assert_eq!(refused("\n\n"), "names.txt is empty; wanted names of classes, one a line");
        assert!(refused("a\n\nb").starts_with("names.txt has no name in line 2; wanted"));
    }

    #[test]
    fn classes_are_found_by_name_and_then_by_number() {
        let names = ["crane", "9", "crane", "dog"].map(str::to_owned);
        assert_eq!(find_class(&names, "dog"), Ok(3));
        assert_eq!(find_class(&names, "9"), Ok(1));
        assert_eq!(find_class(&names, "2"), Ok(2));
        assert_eq!(find_class(&names, "17"), Ok(17));
        let twice = "\"crane\" is the name of class 0 and of class 2; give the number";
        assert_eq!(find_class(&names, "crane"), Err(twice.to_owned()));
        let none = "no class \"cat\"; classes are crane to dog (0–3)";
        assert_eq!(find_class(&names, "cat"), Err(none.to_owned()));
    }
}
