//! A Python program of this folder, at the other end of a pipe: it answers each line with a line of JSON.

#![allow(dead_code, reason = "no benchmark uses all of it")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// OpenMP's threads look out for more work for some time before they sleep, and whoever comes next would share the processor
/// with them.
const REST: Duration = Duration::from_millis(400);

pub(crate) struct Peer {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `script` and waits until it is ready, and says which PyTorch or OpenCV it is; `None`, aloud, where no Python is named.
    pub(crate) fn start(script: &str, arguments: &[&str]) -> Option<Self> {
        let (peer, ready) = Self::open(script, arguments)?;
        for (key, name) in [("torch", "PyTorch"), ("opencv", "OpenCV")] {
            if let Some(version) = ready[key].as_str() {
                println!("{name} {version}, {} threads; Lots on as many", ready["threads"]);
            }
        }
        Some(peer)
    }

    /// What `script` has needed in a process of its own by the time it has answered `line`, in bytes above what it had before.
    pub(crate) fn memory(script: &str, arguments: &[&str], line: &str) -> Option<f64> {
        let (mut peer, _) = Self::open(script, arguments)?;
        peer.ask(line);
        let answer = peer.ask("memory");
        peer.quit();
        let [peak, before] = ["peak", "before"].map(|key| answer[key].as_f64().unwrap());
        Some(peak - before)
    }

    /// A script that is ready, and what it said then.
    fn open(script: &str, arguments: &[&str]) -> Option<(Self, serde_json::Value)> {
        // `cargo test --benches` only asks whether it starts.
        let Ok(python) = std::env::var("LOTS_PEERS_PYTHON") else {
            println!("{script}: skipped, LOTS_PEERS_PYTHON is not set; bench/peers/run.sh sets it");
            return None;
        };
        let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/peers/{}"), script);
        let mut child = Command::new(&python)
            .arg(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {python}: {e}; call bench/peers/run.sh"));
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { child, answers };
        let ready = peer.answer();
        Some((peer, ready))
    }

    fn answer(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: serde_json::Value =
            serde_json::from_str(&line).expect("a line of JSON from the peer");
        assert!(answer.get("error").is_none(), "{answer}");
        answer
    }

    /// What it answers to `line`; then it has come to rest.
    pub(crate) fn ask(&mut self, line: &str) -> serde_json::Value {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        let answer = self.answer();
        std::thread::sleep(REST);
        answer
    }

    /// Ends it.
    pub(crate) fn quit(mut self) {
        writeln!(self.child.stdin.as_mut().unwrap(), "quit").unwrap();
        self.child.wait().unwrap();
    }
}

pub(crate) fn median(mut x: Vec<f64>) -> f64 {
    x.sort_by(f64::total_cmp);
    x[x.len() / 2]
}

/// The most memory that this process has had so far, in bytes.
pub(crate) fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}
