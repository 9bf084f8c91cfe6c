//! TigerVNC behind the library, as a user types it: `wswrap 5901 vncserver -geometry 640x480 :1`.
//!
//! `vncserver` is a Perl script that runs several helpers, starts `Xtigervnc` in the background and returns; the port
//! belongs to `Xtigervnc` alone. Here noVNC in Chromium shows its desktop and types on it, and plain clients read the
//! greeting of the RFB protocol (RFC 6143, section 7.1) in every dialect.

mod browser;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use browser::desktop::{Desktop, PASSWORD};
use browser::novnc::{Colour, PAGE, Viewer, WebServer};
use browser::scratch::Scratch;
use browser::webdriver::Browser;
use std::path::Path;
use std::process::Command;
use wstests::{Client, Server, Wire, launcher, proxy};

/// What an RFB server says first: RFC 6143, section 7.1.1.
const GREETING: &[u8] = b"RFB 003.008\n";

const RED: Colour = [0xc0, 0x20, 0x40];
const YELLOW: Colour = [0xe0, 0xc0, 0x20];
const BLUE: Colour = [0x20, 0x40, 0xa0];
const GREEN: Colour = [0x20, 0xa0, 0x60];

/// Two plain squares at the right, and at the left a blue terminal. It hands the line typed in it to the test, scrolls
/// through many more, so that pictures queue up faster than a browser draws them, and turns green (the control sequence
/// OSC 11 of xterm sets the background).
const PATTERN: &str = r##"
xlogo -geometry 100x100+520+20 -bg '#c02040' -fg '#c02040' &
xlogo -geometry 100x100+520+360 -bg '#e0c020' -fg '#e0c020' &
exec xterm -geometry 60x20+20+20 -bg '#2040a0' -fg '#f0f0f0' -e sh -c '
    read line
    echo "$line" >"$HOME/line"
    seq 20000
    printf "\033]11;#20a060\007"
    exec cat'
"##;

/// The middle of each square.
const RED_SQUARE: (u32, u32, Colour) = (570, 70, RED);
const YELLOW_SQUARE: (u32, u32, Colour) = (570, 410, YELLOW);
/// A place of the terminal that no text reaches.
const TERMINAL: (u32, u32) = (300, 200);

/// A desktop for the picture in the README. The first terminal is the background; what stands before it starts when it is
/// on the screen.
const SHOWCASE: &str = r##"
export PS1='$ '
exec xterm -xrm '*waitForMap: true' -geometry 120x50+0+0 -b 0 -bg '#28506e' -fg '#28506e' -cr '#28506e' -e sh -c '
    xclock -geometry 110x110+510+20 -bg "#f4f1e8" &
    xeyes -geometry 110x70+510+390 &
    exec xterm -geometry 60x20+20+60 -fa "DejaVu Sans Mono" -fs 10 -bg "#10181c" -fg "#d8e0d0" -e sh -c "
        echo \"# This desktop runs behind wswrap. Typed in a browser:\"
        echo ready >\"\$HOME/line\"
        exec sh -i"'
"##;

/// What is typed for the picture, and the corner of the window that it opens.
const SHOWCASE_KEYS: &str = "xlogo -bg gold -geometry 110x110+510+220 &\n";
const SHOWCASE_WINDOW: (u32, u32, Colour) = (514, 326, [255, 215, 0]);

#[test]
fn novnc_in_chromium_shows_the_desktop_and_types_on_it() {
    let mut desktop = Desktop::start(Some(&launcher()), PATTERN);
    let home = Scratch::new("browser");
    let web = WebServer::start(home.path());
    let browser = Browser::start(home.path(), 800, 600);
    let viewer = Viewer::open(&browser, &web.site(), desktop.port(), PASSWORD);

    let (x, y) = TERMINAL;
    let canvas = viewer.wait_for(&[RED_SQUARE, YELLOW_SQUARE, (x, y, BLUE)]);
    assert_eq!((canvas.width, canvas.height), (640, 480));

    // Without a window manager the keys go to the window under the pointer.
    browser.click(canvas.left + i64::from(x), canvas.top + i64::from(y));
    browser.type_keys("typed in the browser 6455\n");
    assert_eq!(desktop.line(), "typed in the browser 6455\n");
    viewer.wait_for(&[RED_SQUARE, YELLOW_SQUARE, (x, y, GREEN)]);

    desktop.stop();
}

#[test]
fn the_server_greets_in_every_dialect_and_vncserver_kill_ends_the_connection() {
    let desktop = Desktop::start(Some(&launcher()), PATTERN);
    let mut clients = Wire::WEBSOCKET.map(|wire| {
        let mut client = Client::connect(("127.0.0.1", desktop.port()), wire).expect("the opening handshake");
        assert_eq!(client.read_exact(GREETING.len()), GREETING, "{wire:?}");
        // The version is answered by the list of security types, here the one of a desktop with a password:
        // RFC 6143, sections 7.1.2 and 7.2.2.
        client.send(GREETING);
        assert_eq!(client.read_exact(2), [1, 2], "{wire:?}");
        client
    });
    desktop.stop();
    for client in &mut clients {
        assert_eq!(client.read_to_end(), b"");
    }
}

/// What the applications of a desktop see of the library: how many variables, and how often it is in their memory.
const LOOK: &str = r##"
exec xterm -e sh -c '
    echo "$(env | grep -cE "^WSWRAP_|libwswrapper") $(grep -c libwswrapper /proc/$PPID/maps /proc/$$/maps | tr "\n" " ")" |
        sed "s|/proc/[0-9]*/maps||g; s|:[1-9][0-9]*|:some|g" >"$HOME/line"
    exec cat'
"##;

/// `vncserver` starts the server, and then the session, whose shell is loaded when the port is open.
#[test]
fn with_no_inherit_the_server_is_wrapped_and_the_applications_have_no_library() {
    for (options, seen) in [(&["--no-inherit"][..], "0 :0 :0 \n"), (&[], "3 :some :some \n")] {
        let mut desktop = Desktop::start_with(Some(&launcher()), options, LOOK);
        assert_eq!(desktop.line(), seen, "{options:?}");
        let mut client = Client::connect(("127.0.0.1", desktop.port()), Wire::Rfc6455).expect("the port is wrapped");
        assert_eq!(client.read_exact(GREETING.len()), GREETING);
        desktop.stop();
    }
}

/// One port of the proxy serves the page and carries the desktop, both over TLS.
#[test]
fn novnc_from_the_proxy_shows_the_desktop_over_wss_and_types_on_it() {
    let mut desktop = Desktop::start(None, PATTERN);
    let target = format!("127.0.0.1:{}", desktop.port());
    let options = ["--ssl-only", "--self-signed", "--web", PAGE, "127.0.0.1:{port}", &target];
    let proxy = Server::bare(Command::new(proxy()).args(options));
    let home = Scratch::new("browser");
    let browser = Browser::start(home.path(), 800, 600);
    let site = format!("https://{}", proxy.addr());
    let viewer = Viewer::open(&browser, &site, proxy.port(), PASSWORD);

    let (x, y) = TERMINAL;
    let canvas = viewer.wait_for(&[RED_SQUARE, YELLOW_SQUARE, (x, y, BLUE)]);
    browser.click(canvas.left + i64::from(x), canvas.top + i64::from(y));
    browser.type_keys("typed over wss\n");
    assert_eq!(desktop.line(), "typed over wss\n");
    viewer.wait_for(&[RED_SQUARE, YELLOW_SQUARE, (x, y, GREEN)]);
    desktop.stop();
}

#[test]
#[ignore = "writes docs/novnc.png, the picture in the README"]
fn screenshot() {
    let mut desktop = Desktop::start(Some(&launcher()), SHOWCASE);
    let home = Scratch::new("browser");
    let web = WebServer::start(home.path());
    let browser = Browser::start(home.path(), 800, 600);
    let viewer = Viewer::open(&browser, &web.site(), desktop.port(), PASSWORD);
    let (x, y) = TERMINAL;
    let canvas = viewer.wait_for(&[(x, y, [0x10, 0x18, 0x1c])]);
    browser.click(canvas.left + i64::from(x), canvas.top + i64::from(y));
    assert_eq!(desktop.line(), "ready\n");
    browser.type_keys(SHOWCASE_KEYS);
    viewer.wait_for(&[SHOWCASE_WINDOW]);
    viewer.wait_for_rest();
    let picture = STANDARD.decode(browser.screenshot()).expect("a picture in base64");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/novnc.png");
    std::fs::write(&file, picture).expect("docs/ is writable");
}
