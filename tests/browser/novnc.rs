//! The noVNC page of Debian's `novnc` package: served by Python's `http.server`, opened in a [`Browser`], and asked what
//! its canvas shows.

use super::DEADLINE;
use super::family::Family;
use super::output::read_until;
use super::webdriver::Browser;
use serde_json::json;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

/// Where Debian's package puts the page.
pub const PAGE: &str = "/usr/share/novnc";

/// Looks at the canvas before each frame that the browser draws until every point has its colour or the page shows an
/// error. `arguments`: the points as `[x, y, [red, green, blue]]`, the milliseconds to wait, the callback. The result
/// holds the size and place of the canvas, and what was seen last.
const WATCH: &str = r"
    const [points, patience, done] = arguments;
    const end = performance.now() + patience;
    // A picture may come as JPEG, which shifts a colour a little.
    const tolerance = 16;
    const look = () => {
        const canvas = document.querySelector('#noVNC_container canvas');
        const connected = document.documentElement.classList.contains('noVNC_connected');
        const seen = canvas ? points.map(([x, y]) =>
            Array.from(canvas.getContext('2d').getImageData(x, y, 1, 1).data.slice(0, 3))) : [];
        const found = connected && canvas && points.every(([, , colour], point) =>
            colour.every((value, band) => Math.abs(value - seen[point][band]) <= tolerance));
        const failed = document.querySelector('.noVNC_status_error');
        if (!found && !failed && performance.now() < end) {
            requestAnimationFrame(look);
            return;
        }
        const box = canvas ? canvas.getBoundingClientRect() : {left: 0, top: 0};
        const status = document.getElementById('noVNC_status').textContent;
        done({found, connected, seen, status, left: Math.round(box.left), top: Math.round(box.top),
              width: canvas ? canvas.width : 0, height: canvas ? canvas.height : 0});
    };
    look();
";

/// Waits until the messages and the control bar of the page have gone aside. `arguments`: the callback.
const REST: &str = r"
    const [done] = arguments;
    const look = () => {
        const open = document.querySelector('#noVNC_status.noVNC_open, #noVNC_control_bar.noVNC_open');
        if (open || document.getAnimations().length > 0) {
            requestAnimationFrame(look);
        } else {
            done(null);
        }
    };
    look();
";

/// A red, a green and a blue value.
pub type Colour = [u8; 3];

/// A web server with the noVNC page.
pub struct WebServer {
    port: u16,
    server: Child,
    // A program that prints once more must not find its output closed.
    _output: ChildStdout,
    _family: Family,
}

impl WebServer {
    /// Starts `python3 -m http.server` on a port of the kernel's choice. `home` marks the process as the test's.
    pub fn start(home: &Path) -> WebServer {
        let family = Family::of(home);
        let mut server = Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", PAGE, "0"])
            .env("HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 starts");
        let mut output = server.stdout.take().expect("the output is piped");
        let banner =
            read_until(&mut output, Instant::now() + DEADLINE, |text| port_in(text).is_some() && text.ends_with('\n'));
        let port = port_in(&banner).unwrap_or_else(|| panic!("http.server ended: {banner:?}"));
        WebServer { port, server, _output: output, _family: family }
    }

    /// Where it is.
    pub fn site(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        let _ended = self.server.kill();
        let _reaped = self.server.wait();
    }
}

/// The port in the line that `http.server` prints when it is ready.
fn port_in(banner: &str) -> Option<u16> {
    let (_, rest) = banner.split_once(" port ")?;
    rest.split_once(' ')?.0.parse().ok()
}

/// A noVNC page connected, or connecting, to a VNC server.
pub struct Viewer<'a> {
    browser: &'a Browser,
}

/// Where the desktop stands in the page, and its size, in pixels.
pub struct Canvas {
    /// Distance from the left edge of the page.
    pub left: i64,
    /// Distance from the top edge of the page.
    pub top: i64,
    /// Width of the desktop.
    pub width: i64,
    /// Height of the desktop.
    pub height: i64,
}

impl<'a> Viewer<'a> {
    /// Opens the page that a server at `site` has (`http://127.0.0.1:8000`) and lets it connect to the WebSocket port `vnc` of this
    /// machine, by `wss` if it comes by `https` itself.
    pub fn open(browser: &'a Browser, site: &str, vnc: u16, password: &str) -> Viewer<'a> {
        let encrypt = site.starts_with("https:");
        browser.open(&format!(
            "{site}/vnc.html?autoconnect=true&host=127.0.0.1&port={vnc}&encrypt={encrypt}&password={password}"
        ));
        Viewer { browser }
    }

    /// Waits until the page is connected and each point of the canvas (x, y from the desktop's top left corner) has its
    /// colour. Fails with what was there instead, and with the console of the browser.
    pub fn wait_for(&self, points: &[(u32, u32, Colour)]) -> Canvas {
        let wanted = json!(points);
        let patience = u64::try_from(DEADLINE.as_millis()).expect("minutes");
        let state = self.browser.call(WATCH, &[wanted.clone(), json!(patience)]);
        assert!(state["found"] == json!(true), "wanted {wanted}, got {state}; console: {}", self.browser.console());
        let number = |name: &str| state[name].as_i64().expect("a number of pixels");
        Canvas { left: number("left"), top: number("top"), width: number("width"), height: number("height") }
    }

    /// Waits until the page shows the desktop alone: noVNC hides its messages and its control bar after a while.
    pub fn wait_for_rest(&self) {
        self.browser.call(REST, &[]);
    }
}
