//! The library exports its hooks, all of them documented, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use wstests::library;

/// The names in the first column of the tables of `docs/hooks.md`: each row begins with a name in backquotes.
fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hooks.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let names = text.lines().filter_map(|line| {
        let cell = line.strip_prefix("| `")?;
        let (name, _) = cell.split_once('`')?;
        Some(name.to_owned())
    });
    names.collect()
}

fn exported() -> BTreeSet<String> {
    let output =
        Command::new("nm").args(["-D", "--defined-only", "--format=just-symbols"]).arg(library()).output().unwrap();
    assert!(output.status.success(), "nm: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn the_library_exports_exactly_the_documented_hooks() {
    let (documented, exported) = (documented(), exported());
    assert!(!exported.is_empty(), "the library exports nothing");
    let undocumented: Vec<_> = exported.difference(&documented).collect();
    let missing: Vec<_> = documented.difference(&exported).collect();
    assert!(
        undocumented.is_empty() && missing.is_empty(),
        "exported but not in docs/hooks.md: {undocumented:?}; in docs/hooks.md but not exported: {missing:?}"
    );
}
