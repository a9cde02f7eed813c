//! Tells the program which version of its source it is made of, for tables that say so.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=../../.git/logs/HEAD");
    // Any change makes it another version.
    println!("cargo:rerun-if-changed=..");
    let described = Command::new("git")
        .args(["describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"])
        .output();
    let commit = described
        .ok()
        .filter(|out| out.status.success())
        .and_then(|out| String::from_utf8(out.stdout).ok());
    // Without git, or out of a package, nobody knows.
    println!("cargo:rustc-env=LOTS_COMMIT={}", commit.as_deref().unwrap_or_default().trim());
}
