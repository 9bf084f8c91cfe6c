//! What the dynamic loader says about a program: `ld.so --list`, which maps the libraries and runs none of their code.
//!
//! No other answer can be as true: search paths, the cache and `$ORIGIN` are the loader's affair.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Its answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The libraries that it would load, preloaded ones among them.
    pub loaded: Vec<PathBuf>,
    /// What it says on standard error, if anything.
    pub complaint: Option<String>,
}

/// Asks `loader`, which is what `program` names in `PT_INTERP`, with `preload` as the value of `LD_PRELOAD`.
///
/// # Errors
/// The loader cannot be run.
pub fn list(loader: &Path, program: &Path, preload: &OsStr) -> io::Result<Listing> {
    let output = Command::new(loader)
        .arg("--list")
        .arg(program)
        .env("LD_PRELOAD", preload)
        .env("WSWRAP_PORT", "none")
        .stdin(Stdio::null())
        .output()?;
    let mut listing = parse(&String::from_utf8_lossy(&output.stdout));
    listing.complaint = String::from_utf8_lossy(&output.stderr).lines().next().map(str::to_owned);
    Ok(listing)
}

/// Lines such as `libc.so.6 => /lib/libc.so.6 (0x7f..)`, `/lib/ld.so (0x7f..)`, `linux-vdso.so.1 (0x7f..)`.
fn parse(text: &str) -> Listing {
    let path = |line: &str| {
        let line = line.trim();
        let (path, _) = line.split_once(" => ").map_or(line, |(_, place)| place).rsplit_once(" (0x")?;
        path.contains('/').then(|| path.into())
    };
    Listing { loaded: text.lines().filter_map(path).collect(), complaint: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_understood() {
        let listing = parse(
            "\tlinux-vdso.so.1 (0x00007ffd)\n\t/a b/libwswrapper.so (0x00007f1)\n\tlibx.so => not found\n\
             \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f3)\n",
        );
        let paths = ["/a b/libwswrapper.so", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(listing.loaded, paths.map(PathBuf::from));
    }
}
