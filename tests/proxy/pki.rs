//! Certificates, made by OpenSSL, and TLS clients, which are OpenSSL as well.

use std::path::Path;
use std::process::{Command, Output};

use wstests::{Scratch, Server};

use crate::tools::finish;

/// A directory of keys and certificates, all of one authority (`ca.pem`) unless said otherwise.
pub struct Pki {
    directory: Scratch,
}

impl Pki {
    /// The authority alone.
    pub fn new() -> Self {
        let pki = Pki { directory: Scratch::new() };
        pki.authority("ca");
        pki
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    /// Runs OpenSSL here.
    #[track_caller]
    pub fn openssl(&self, arguments: &[&str]) {
        let output = finish(Command::new("openssl").current_dir(self.path()).args(arguments));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments:?}: {said}");
    }

    /// An authority: `NAME.pem`, `NAME.key`.
    #[track_caller]
    pub fn authority(&self, name: &str) {
        let (key, file) = (format!("{name}.key"), format!("{name}.pem"));
        let (subject, usage) = (format!("/CN={name}"), ["-addext", "keyUsage=critical,keyCertSign"]);
        self.openssl(
            &[&["req", "-x509", "-days", "2", "-subj", &subject, "-out", &file], &usage[..], &new_key(&key)].concat(),
        );
    }

    /// A certificate of the authority `issuer`: `NAME.pem`, `NAME.key`. `names` as OpenSSL has them: `DNS:a,IP:127.0.0.1`.
    #[track_caller]
    pub fn issue(&self, issuer: &str, name: &str, subject: &str, names: &str) {
        let (key, file) = (format!("{name}.key"), format!("{name}.pem"));
        let (ca, ca_key) = (format!("{issuer}.pem"), format!("{issuer}.key"));
        let names = format!("subjectAltName={names}");
        let signed = ["req", "-x509", "-days", "2", "-CA", &ca, "-CAkey", &ca_key, "-subj", subject, "-out", &file];
        let plain = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", &names];
        self.openssl(&[&signed[..], &plain, &new_key(&key)].concat());
    }

    /// `NAME.pem` for this machine, its key in the same file; the file.
    #[track_caller]
    pub fn local(&self, name: &str) -> String {
        self.issue("ca", name, &format!("/CN={name}"), "DNS:localhost,IP:127.0.0.1");
        self.join(name)
    }

    /// Puts `NAME.key` behind `NAME.pem`; the file.
    pub fn join(&self, name: &str) -> String {
        let file = self.file(&format!("{name}.pem"));
        let both = [&file, &self.file(&format!("{name}.key"))].map(|part| std::fs::read_to_string(part).unwrap());
        std::fs::write(&file, both.concat()).unwrap();
        file
    }
}

/// What makes a key that is quick to make and to use.
fn new_key(file: &str) -> [&str; 7] {
    ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file]
}

/// A TLS session with `server` that says nothing: what OpenSSL tells of it.
#[track_caller]
pub fn s_client(server: &Server, options: &[&str]) -> (bool, String) {
    let port = server.port().to_string();
    let address = format!("127.0.0.1:{port}");
    let Output { status, stdout, stderr } =
        finish(Command::new("openssl").args(["s_client", "-connect", &address]).args(options));
    let told = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (status.success(), told)
}

/// Leads TCP clients to `server` by TLS. `options` are those of socat's address `OPENSSL`.
#[track_caller]
pub fn tunnel(server: &Server, options: &str) -> Server {
    let to = format!("OPENSSL:127.0.0.1:{},{options}", server.port());
    Server::bare(Command::new("socat").args([
        "-t",
        "20",
        "TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=64",
        &to,
    ]))
}

/// The subject of the certificate that a client gets which asks for `name`.
#[track_caller]
pub fn subject(server: &Server, name: Option<&str>) -> String {
    let asked: Vec<&str> = name.map_or(vec!["-noservername"], |name| vec!["-servername", name]);
    let (_, told) = s_client(server, &asked);
    let line = told.lines().find_map(|line| line.trim().strip_prefix("subject=")).unwrap_or_else(|| panic!("{told}"));
    line.replace(' ', "")
}
