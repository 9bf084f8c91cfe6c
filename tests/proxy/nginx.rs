//! nginx, as a target and as a front.

use std::path::Path;
use std::process::Command;

use wstests::{Mode, Server};

/// nginx with one server, `server` being its directives; `PORT` in them is the port that it listens on. Its files are
/// in `directory` and begin with `name`.
#[track_caller]
pub fn nginx(directory: &Path, name: &str, server: &str) -> Server {
    let here = directory.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {here}/{name}-{kind};"))
        .concat();
    let text = format!(
        "daemon off; master_process off; pid {here}/{name}.pid; error_log stderr; events {{ }} \
         http {{ error_log stderr; access_log off; {temporary} server {{ {server} }} }}"
    );
    let file = directory.join(format!("{name}.conf"));
    Server::start_configured(Mode::Bare, |port| {
        std::fs::write(&file, text.replace("PORT", &port.to_string())).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file);
        command
    })
}
