//! Every option of the table, whatever it is, has a bad value that is told and a test that uses it.

use std::fs;
use std::path::Path;

use crate::common::{refuses, run};
use crate::pki::Pki;
use crate::tools::refused;

/// For each option that takes a value: one that does not do, the status, and options that it needs beside it.
const BAD: &[(&str, &str, i32, &[&str])] = &[
    ("--unix-listen", "/no/such/dir/socket", 1, &[]),
    ("--unix-listen-mode", "0888", 2, &[]),
    ("--unix-target", "", 2, &[]),
    ("--source-addr", "localhost", 2, &[]),
    ("--proxy-protocol", "v3", 2, &[]),
    ("--connect-timeout", "0", 2, &[]),
    ("--trust-proxy", "10.0.0.0/33", 2, &[]),
    ("--handshake-timeout", "soon", 2, &[]),
    ("--heartbeat", "-1", 2, &[]),
    ("--max-connections", "0", 2, &[]),
    ("--max-per-ip", "1.5", 2, &[]),
    ("--cert", "no.pem", 1, &[]),
    ("--key", "b.key", 1, &["--cert", "a.pem"]),
    ("--key-password-file", "no.txt", 1, &["--cert", "a.pem", "--key", "a.key"]),
    ("--ssl-version", "tlsv1_1", 2, &[]),
    ("--ssl-ciphers", "NULL-MD5", 2, &["--self-signed"]),
    ("--cafile", "no.pem", 1, &["--self-signed", "--verify-client"]),
    ("--ssl-target-ca", "no.pem", 1, &["--ssl-target"]),
    ("--web", "no-dir", 1, &[]),
    ("--header", "no colon", 2, &["--web", "."]),
    ("--pid-file", "/no/such/dir/pid", 1, &[]),
    ("--user", "no-such-user", 2, &[]),
    ("--group", "no-such-group", 2, &[]),
    ("--chroot", "/no/such/dir", 2, &[]),
    ("--timeout", "0", 2, &[]),
    ("--idle-timeout", "0", 2, &[]),
    ("--drain", "-1", 2, &[]),
    ("--metrics", "nowhere", 2, &[]),
    ("--log-file", "/no/such/dir/log", 1, &[]),
    ("--syslog", "nowhere", 2, &[]),
    ("--log-format", "xml", 2, &[]),
    ("--token-plugin", "NoSuch", 2, &["--token-source=x"]),
    ("--token-source", "no-file", 1, &["--token-plugin=TokenFile"]),
    ("--token-source-file", "no-file", 1, &["--token-plugin=TokenFile"]),
    ("--target-config", "no-file", 1, &[]),
    ("--origin", "two origins", 2, &[]),
    ("--basic-auth-file", "no-file", 1, &[]),
    ("--auth-plugin", "NoSuch", 2, &["--auth-source=x"]),
    ("--auth-source", " ", 2, &["--auth-plugin=ExpectOrigin"]),
    ("--auth-source-file", "no-file", 1, &["--auth-plugin=BasicHTTPAuth"]),
    ("--record", "/no/such/dir/x", 1, &[]),
    ("--record-format", "xml", 2, &["--record=x"]),
    ("--wrap-mode", "x", 2, &[]),
];

/// The options in the text of `--help`, and whether they take a value.
fn table() -> Vec<(String, bool)> {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let options = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let long = line.strip_prefix("--").or_else(|| line.get(..4)?.ends_with(", ").then(|| line.get(6..))?)?;
        let name: String = long.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let takes_value = long[name.len()..].starts_with(" <");
        line.starts_with('-').then(|| (format!("--{name}"), takes_value))
    });
    let options: Vec<_> = options.collect();
    assert!(options.len() > 40, "{help}");
    options
}

#[test]
fn every_option_that_takes_a_value_tells_of_a_bad_one_before_it_is_in_the_background() {
    let pki = Pki::new();
    for name in ["a", "b"] {
        pki.issue("ca", name, &format!("/CN={name}"), "DNS:localhost");
    }
    for (option, value, status, beside) in BAD {
        let given = format!("{option}={value}");
        for daemon in [&[][..], &["-D"]] {
            let line = refused(pki.path(), &[daemon, beside, &[&given]].concat(), *status, &[option, value]);
            assert!(line.starts_with("wsproxy: ") && line.lines().count() == 1, "{given}: {line:?}");
        }
    }
    let with_case: Vec<&str> = BAD.iter().map(|(option, ..)| *option).collect();
    let with_value: Vec<String> =
        table().into_iter().filter_map(|(option, takes_value)| takes_value.then_some(option)).collect();
    for option in &with_value {
        assert!(with_case.contains(&&option[..]), "{option} takes a value, and no bad one is in the list");
        refuses(&[option], 2, &[option]);
    }
    for option in with_case {
        assert!(with_value.iter().any(|is| is == option), "{option} is not in --help");
    }
}

#[test]
fn every_option_that_takes_no_value_tells_of_one() {
    for (option, takes_value) in table() {
        if !takes_value {
            refused(Path::new("/"), &[&format!("{option}=surplus")], 2, &[&option, "surplus"]);
        }
    }
}

#[test]
fn every_option_is_used_by_a_test_of_its_effect() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = fs::read_to_string(root.join("vnc.rs")).unwrap();
    for file in fs::read_dir(root.join("proxy")).unwrap() {
        let path = file.unwrap().path();
        if !path.ends_with("options.rs") && path.is_file() {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    for (option, _) in table().into_iter().filter(|(option, _)| !["--help", "--version"].contains(&&option[..])) {
        assert!(text.contains(&format!("\"{option}\"")), "no test uses {option}");
    }
}

#[test]
fn help_and_version_are_told_on_standard_output() {
    for (word, begins) in [("--help", "Turns WebSockets"), ("-h", "Turns WebSockets"), ("--version", "wsproxy ")] {
        // Whatever stands beside it.
        let output = run(&[word, "x"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{word}");
        assert!(text.starts_with(begins) && text.ends_with('\n'), "{word}: {text}");
    }
    let version = run(&["-V"]).stdout;
    assert_eq!(String::from_utf8(version).unwrap(), format!("wsproxy {}\n", env!("CARGO_PKG_VERSION")));
}
