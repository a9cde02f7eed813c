//! A headless Chromium, driven through the pipe that `--remote-debugging-pipe` opens: JSON messages of its DevTools protocol,
//! each ended by a zero byte. So little of it is needed that a crate would be more to carry than to gain.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use serde_json::{Value, json};
use tempfile::TempDir;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Longer than any answer takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Chromium with one tab.
pub(crate) struct Browser {
    process: Child,
    pipe: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    calls: u64,
    /// Events that came while answers were waited for.
    events: Vec<Value>,
    _profile: TempDir,
}

/// Where Chromium lies: what `LOTS_CHROMIUM` says, or one of its names on the path.
fn chromium() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let named = NAMES.iter().flat_map(|name| {
        env::split_paths(&path).map(move |folder| folder.join(name)).collect::<Vec<_>>()
    });
    env::var_os("LOTS_CHROMIUM")
        .map(PathBuf::from)
        .or_else(|| named.into_iter().find(|p| p.is_file()))
}

impl Browser {
    /// `None`, and a word about it, where there is no Chromium. CI has to have one.
    pub(crate) fn start() -> Option<Self> {
        let Some(chromium) = chromium() else {
            assert!(env::var_os("CI").is_none(), "no Chromium; .ci/run installs it");
            // Not through the harness, which keeps what a test prints that passes.
            let said = "skipped: no Chromium on the path; install it, or let LOTS_CHROMIUM name it";
            let _ = writeln!(std::io::stderr(), "{said}");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // The protocol wants the file descriptors 3 and 4; a shell makes them out of 0 and 1.
        let mut process = Command::new("sh")
            .arg("-c")
            .arg("exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null")
            .arg("sh")
            .arg(chromium)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-sync",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-quic",
            ])
            // A mouse, which a machine without a screen need not have.
            .arg("--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4")
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            while answers.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
                bytes.pop();
                if sender.send(serde_json::from_slice(&bytes).unwrap()).is_err() {
                    break;
                }
                bytes.clear();
            }
        });
        let (session, events) = (None, Vec::new());
        let mut browser =
            Self { process, pipe, messages, session, calls: 0, events, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", target);
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Opens a file, in a window of `width`, and waits until all of it is there.
    pub(crate) fn open(&mut self, page: &Path, width: u32) {
        self.resize(width);
        self.events.clear();
        self.call("Page.navigate", json!({ "url": format!("file://{}", page.display()) }));
        let start = Instant::now();
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            assert!(start.elapsed() < PATIENCE, "the page does not load");
            if let Ok(message) = self.messages.recv_timeout(Duration::from_millis(100)) {
                self.events.push(message);
            }
        }
    }

    pub(crate) fn resize(&mut self, width: u32) {
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Makes the system's colours `light` or `dark`.
    pub(crate) fn prefer(&mut self, colors: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": colors }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// What `script`, an expression, comes to in the page; of a promise, what it keeps.
    pub(crate) fn eval(&mut self, script: &str) -> Value {
        let call = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", call);
        assert!(answer["exceptionDetails"].is_null(), "{script}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until `script` comes to `wanted`: what the mouse does is seen with the next frame.
    pub(crate) fn expect(&mut self, script: &str, wanted: impl Into<Value>) {
        let wanted = wanted.into();
        let start = Instant::now();
        let mut found = self.eval(script);
        while found != wanted && start.elapsed() < Duration::from_secs(5) {
            self.eval("new Promise((done) => setTimeout(done, 50))");
            found = self.eval(script);
        }
        assert_eq!(found, wanted, "{script}");
    }

    /// Moves the mouse to the middle of the first element of a selector.
    pub(crate) fn point(&mut self, selector: &str) -> (f64, f64) {
        let script = format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{ block: 'center' }}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        let at = self.eval(&script);
        let (x, y) = (at[0].as_f64().unwrap(), at[1].as_f64().unwrap());
        self.mouse("mouseMoved", x, y);
        (x, y)
    }

    pub(crate) fn click(&mut self, selector: &str) {
        let (x, y) = self.point(selector);
        self.mouse("mousePressed", x, y);
        self.mouse("mouseReleased", x, y);
    }

    fn mouse(&mut self, kind: &str, x: f64, y: f64) {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Presses a key where the focus is; `text` is what it types.
    pub(crate) fn press(&mut self, key: &str, code: &str, text: &str, number: u32) {
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({ "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// What went wrong since the page was opened: errors and warnings of the console, exceptions, violations of the page's
    /// policy, and requests to anything but the page itself and what lies inside it.
    pub(crate) fn problems(&mut self) -> Vec<String> {
        // Whatever is on its way comes before this answer.
        self.eval("new Promise((done) => setTimeout(done, 300))");
        let page = self.eval("location.href.split('#')[0]");
        let problem = |event: &Value| {
            let said = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(said["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled" => Some(said.to_string()),
                "Log.entryAdded" => Some(said["entry"].to_string()),
                "Network.requestWillBeSent" => {
                    let url = said["request"]["url"].as_str()?;
                    let inside = url.starts_with("data:") || page == url;
                    (!inside).then(|| format!("a request to {url}"))
                }
                _ => None,
            }
        };
        self.events.iter().filter_map(problem).collect()
    }

    /// Calls the protocol and waits for its answer.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.pipe.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let message = self.messages.recv_timeout(PATIENCE).expect("Chromium answers");
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
