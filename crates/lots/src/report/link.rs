//! URLs from a page to files beside it.

use std::fmt::Write;
use std::path::{Component, Path};

/// The URL of `file` as seen from a page in `folder`, relative, so that both can move together. Both paths are whole. `None`
/// where there is no way, as between drives.
pub(super) fn relative(folder: &Path, file: &Path) -> Option<String> {
    let parts = |path: &Path| -> Option<Vec<String>> {
        let text = |part: Component<'_>| part.as_os_str().to_str().map(str::to_owned);
        path.components().map(text).collect()
    };
    let (from, to) = (parts(folder)?, parts(file)?);
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    if common == 0 {
        return None;
    }
    // What begins with a dot is no scheme.
    let mut url = ".".to_owned();
    from[common..].iter().for_each(|_| url += "/..");
    for part in &to[common..] {
        url.push('/');
        for byte in part.bytes() {
            // A string takes what is written to it.
            let _ = match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    write!(url, "{}", char::from(byte))
                }
                byte => write!(url, "%{byte:02X}"),
            };
        }
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_from_page_to_file() {
        let cases = [
            ("/a/b", "/a/b/c.png", "./c.png"),
            ("/a", "/a/b/c.png", "./b/c.png"),
            ("/a/b", "/a/d/c.png", "./../d/c.png"),
            ("/x/y", "/a/c.png", "./../../a/c.png"),
            ("/a", "/a/b:c/50 %?#<\"&'>.png", "./b%3Ac/50%20%25%3F%23%3C%22%26%27%3E.png"),
            ("/a", "/a/ü.png", "./%C3%BC.png"),
        ];
        for (folder, file, wanted) in cases {
            let found = relative(Path::new(folder), Path::new(file));
            assert_eq!(found.as_deref(), Some(wanted), "{file} from {folder}");
        }
        assert_eq!(relative(Path::new("a"), Path::new("b/c.png")), None);
    }
}
