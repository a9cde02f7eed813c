use crate::{done, lots, not_the_error};

const COMMANDS: [&str; 20] = [
    "",
    "train",
    "train lenet",
    "evaluate",
    "attack",
    "generate",
    "compare",
    "report",
    "robustness",
    "represent",
    "measure",
    "layers",
    "convert",
    "visualize",
    "reproduce",
    "reproduce figure1",
    "reproduce figure2",
    "reproduce figure3",
    "reproduce figure4",
    "reproduce table1",
];

#[test]
fn every_help_has_an_example_and_fits_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let help = done(&dir, &format!("{command} --help"));
        let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{command}: {wide:#?}");
        assert!(help.contains("Example"), "{command}");
        assert!(help.contains("\n  lots "), "{command}");
    }
    assert_eq!(done(&dir, "--version"), concat!("lots ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_arguments_are_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("fly", "unrecognized subcommand 'fly'; --help tells more"),
        ("layers", "required arguments were not provided: <MODEL>; --help"),
        ("train lenet", "required arguments were not provided: --out <FILE>; --help"),
        (
            "evaluate x --jsn",
            "unexpected argument '--jsn' found tip: a similar argument exists: '--json'",
        ),
        ("evaluate x --limit 0", "invalid value '0' for '--limit <N>'"),
        ("evaluate x --threads 9999", "9999 is not in 0..=1024"),
        ("train lenet --out x --iterations -1", "unexpected argument '-1' found"),
        ("train lenet --out x --seed one", "invalid value 'one' for '--seed <N>'"),
    ];
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|(line, wanted)| {
            let failure = not_the_error(&lots(&dir, line), wanted)?;
            Some(format!("{line}: {failure}"))
        })
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
}
