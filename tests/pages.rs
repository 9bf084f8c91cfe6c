//! The pages of the example servers in Chromium: `wsecho.html`, and `wstest.html`, which checks what it gets and is checked itself.

#[path = "browser"]
#[allow(dead_code, reason = "the tests of the desktop use the rest")]
mod browser {
    pub mod family;
    pub mod output;
    pub mod scratch;
    pub mod webdriver;

    pub const DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);
}

use std::process::Command;

use browser::DEADLINE;
use browser::scratch::Scratch;
use browser::webdriver::Browser;
use serde_json::{Value, json};
use wstests::{Client, End, Mode, Rng, Server, Wire, example};

/// Starts an example on a port of its own; the address of its page.
fn start(name: &str) -> (Server, String) {
    let server = Server::spawn(Mode::Bare, Command::new(example(name)).arg("127.0.0.1:{port}"));
    let page = server.stdout_line();
    assert_eq!(page, format!("http://{}/{name}.html", server.addr()));
    (server, page)
}

/// Looks before each frame that the browser draws until the count `name` is at least `least`, then stops the page and waits until its
/// connection has closed. Gives what the page shows then.
const WATCH: &str = r"
    const [name, least, patience, done] = arguments;
    const end = performance.now() + patience;
    const text = id => document.getElementById(id)?.textContent ?? '';
    let stopped = false;
    const look = () => {
        if (!stopped && Number(text(name)) >= least) {
            document.getElementById('toggle').click();
            stopped = true;
        }
        const closed = stopped && text('state').startsWith('closed');
        if (!closed && performance.now() < end) {
            requestAnimationFrame(look);
            return;
        }
        done({closed, state: text('state'), sent: Number(text('sent')), errors: Number(text('errors')),
              echoed: Number(text('echoed')), received: Number(text('received')), log: text('log').slice(0, 1000)});
    };
    look();
";

fn watch(browser: &Browser, name: &str, least: u64) -> Value {
    let patience = u64::try_from(DEADLINE.as_millis()).expect("minutes");
    let seen = browser.call(WATCH, &[json!(name), json!(least), json!(patience)]);
    assert!(seen["closed"] == true, "{seen} {}", browser.console());
    seen
}

#[test]
fn the_page_of_wsecho_hears_what_it_says() {
    let (server, page) = start("wsecho");
    let home = Scratch::new("wsecho");
    let browser = Browser::start(home.path(), 800, 600);
    browser.open(&page);
    let seen = watch(&browser, "echoed", 3);
    assert_eq!((&seen["errors"], &seen["state"]), (&json!(0), &json!("closed, 1000 ")), "{seen}");
    assert!(seen["echoed"].as_u64() >= Some(3), "{seen}");
    assert!(server.stdout_line().contains("Ok("), "the connection ended well");
}

#[test]
fn the_page_of_wstest_and_its_server_find_no_error_in_each_other() {
    let (server, page) = start("wstest");
    let home = Scratch::new("wstest");
    let browser = Browser::start(home.path(), 800, 600);
    browser.open(&format!("{page}?delay=0"));
    // The server is the faster of the two.
    let seen = watch(&browser, "sent", 20);
    assert_eq!((&seen["errors"], &seen["state"]), (&json!(0), &json!("closed, 1000 ")), "{seen}");
    assert!(seen["received"].as_u64() >= Some(20), "{seen}");
    let end = end(&server);
    assert!(end.contains("errors 0"), "{end}");
    let received: u64 =
        end.split("received ").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok()).expect(&end);
    // All that was sent before its Close has come.
    assert_eq!(seen["sent"].as_u64(), Some(received), "{end}");
}

/// The last line of a connection of wstest.
fn end(server: &Server) -> String {
    loop {
        let line = server.stdout_line();
        assert!(!line.contains("error:"), "{line}");
        if line.contains("end: ") {
            return line;
        }
    }
}

#[test]
fn wstest_counts_errors_and_shows_them() {
    let (server, _) = start("wstest");
    for wire in Wire::WEBSOCKET {
        let mut client = Client::builder(wire).path("/?delay=0").connect(server.addr()).unwrap();
        let first = client.read_exact(5);
        assert!(first.starts_with(b"^0:"), "{wire:?}");
        client.send(b"^0:10:45:0123456789$^1:10:46:0123456789$^5:10:45:0123456789$");
        let mut lines = String::new();
        while !lines.contains("wrong count") {
            lines += &server.stdout_line();
        }
        assert!(lines.contains("wrong checksum"), "{lines}");
        drop(client);
        let mut line = server.stdout_line();
        while !line.contains("end: ") {
            line = server.stdout_line();
        }
        assert!(line.contains("received 3, errors 2"), "{wire:?}: {line}");
    }
}

#[test]
fn wsecho_echoes_in_every_dialect() {
    let (server, _) = start("wsecho");
    for wire in Wire::WEBSOCKET {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        let mut rng = Rng::new(1);
        let bytes = rng.bytes(1 << 20);
        assert!(client.exchange(&bytes, &mut rng, bytes.len()) == bytes, "{wire:?}");
        client.close(1000);
        assert_eq!(client.read_to_end(), b"");
        assert_ne!(client.end(), Some(&End::Reset), "{wire:?}");
    }
}
