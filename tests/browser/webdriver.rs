//! A client for the W3C WebDriver protocol, as far as the tests need it: commands are JSON over HTTP/1.1, one
//! connection each, and every answer is an object whose `value` holds the result or `error` and `message`
//! (<https://www.w3.org/TR/webdriver2/>, section 6).

use super::DEADLINE;
use super::family::Family;
use super::output::read_until;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

/// One headless Chromium with one tab, and the `chromedriver` that steers it.
pub struct Browser {
    port: u16,
    session: String,
    driver: Child,
    // A program that prints once more must not find its output closed.
    _output: ChildStdout,
    _family: Family,
}

impl Browser {
    /// Starts `chromedriver` on a port of its choice and a browser with a fresh profile under `home`, its page area
    /// `width` by `height` pixels.
    pub fn start(home: &Path, width: u32, height: u32) -> Browser {
        let family = Family::of(home);
        let profile = home.join("profile");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home)
            .env("TMPDIR", home)
            .env_remove("DISPLAY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts (Debian: chromium-driver)");
        let mut output = driver.stdout.take().expect("the output is piped");
        let banner =
            read_until(&mut output, Instant::now() + DEADLINE, |text| port_in(text).is_some() && text.ends_with('\n'));
        let port = port_in(&banner).unwrap_or_else(|| panic!("chromedriver ended: {banner:?}"));
        let arguments = [
            "--headless=new".to_string(),
            // The sandbox refuses to run as root, and the only page it opens is ours.
            "--no-sandbox".to_string(),
            "--disable-dev-shm-usage".to_string(),
            "--disable-gpu".to_string(),
            "--disable-quic".to_string(),
            "--no-first-run".to_string(),
            "--disable-background-networking".to_string(),
            "--disable-component-update".to_string(),
            "--disable-sync".to_string(),
            "--hide-scrollbars".to_string(),
            format!("--user-data-dir={}", profile.display()),
        ];
        let mut browser = Browser { port, session: String::new(), driver, _output: output, _family: family };
        let answer = browser.command(
            "POST",
            "/session",
            &json!({"capabilities": {"alwaysMatch": {
                // Those that the proxy makes for itself.
                "acceptInsecureCerts": true,
                "goog:chromeOptions": {"args": arguments},
                "goog:loggingPrefs": {"browser": "ALL"},
                "timeouts": {"script": u64::try_from(DEADLINE.as_millis()).expect("minutes") * 2},
            }}}),
        );
        let session = answer["sessionId"].as_str().expect("a session has an id");
        browser.session = format!("/session/{session}");
        // The size of a window counts its frame, which even a headless one has; this is the page alone.
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let metrics = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": size});
        browser.in_session("POST", "/goog/cdp/execute", &metrics);
        browser
    }

    /// Loads a page and waits for its `load` event.
    pub fn open(&self, url: &str) {
        self.in_session("POST", "/url", &json!({ "url": url }));
    }

    /// Runs the body of a JavaScript function in the page; its last argument is the callback that takes the result.
    pub fn call(&self, script: &str, arguments: &[Value]) -> Value {
        let body = json!({"script": script, "args": arguments});
        self.in_session("POST", "/execute/async", &body)
    }

    /// Clicks at a point of the page, in pixels from its top left corner.
    pub fn click(&self, x: i64, y: i64) {
        let actions = json!({"actions": [{
            "type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"},
            "actions": [
                {"type": "pointerMove", "duration": 0, "origin": "viewport", "x": x, "y": y},
                {"type": "pointerDown", "button": 0},
                {"type": "pointerUp", "button": 0},
            ],
        }]});
        self.in_session("POST", "/actions", &actions);
    }

    /// Presses and releases the key of every character in turn, wherever the focus of the page is. `\n` is the Enter key.
    pub fn type_keys(&self, text: &str) {
        let strokes: Vec<Value> = text
            .chars()
            // U+E007 is Enter: WebDriver section 17.4.2, table of normalised key values.
            .map(|key| if key == '\n' { '\u{e007}' } else { key })
            .flat_map(|key| ["keyDown", "keyUp"].map(|stroke| json!({"type": stroke, "value": key})))
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.in_session("POST", "/actions", &actions);
    }

    /// The page as it is shown, a PNG file in base64.
    pub fn screenshot(&self) -> String {
        let picture = self.in_session("GET", "/screenshot", &Value::Null);
        picture.as_str().expect("a screenshot is a string").to_string()
    }

    /// What the page and the browser wrote to the console, for the message of a failed test.
    pub fn console(&self) -> String {
        self.in_session("POST", "/se/log", &json!({"type": "browser"})).to_string()
    }

    fn in_session(&self, method: &str, path: &str, body: &Value) -> Value {
        self.command(method, &format!("{}{path}", self.session), body)
    }

    /// One command; the answer is its `value`. An error answer fails the test with the driver's message.
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("chromedriver listens");
        // A script that waits in the page may take the whole deadline; its answer comes after that.
        stream.set_read_timeout(Some(DEADLINE * 2)).expect("a timeout can be set");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let port = self.port;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("the command is sent");
        let answer: Value = serde_json::from_str(&body_of(&mut BufReader::new(stream))).expect("an answer is JSON");
        let value = answer["value"].clone();
        assert!(value.get("error").is_none(), "{method} {path}: {value}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ended = self.driver.kill();
        let _reaped = self.driver.wait();
    }
}

/// The body of an HTTP answer with a `Content-Length`: the driver keeps the connection open, whatever it is asked.
fn body_of(answer: &mut impl BufRead) -> String {
    let mut length = 0;
    loop {
        let mut line = String::new();
        answer.read_line(&mut line).expect("an answer within the deadline");
        assert!(line.ends_with('\n'), "the driver closed the connection");
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().expect("a length is a number");
            }
            None if line == "\r\n" => break,
            Some(_) | None => {}
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body).expect("a whole answer within the deadline");
    String::from_utf8(body).expect("an answer is UTF-8")
}

/// The port in the line that `chromedriver` prints when it is ready.
fn port_in(banner: &str) -> Option<u16> {
    let (_, rest) = banner.split_once("started successfully on port ")?;
    let (digits, _) = rest.split_once('.')?;
    digits.parse().ok()
}
