//! The options are one table: what `--help` says is what README.md says.

use std::collections::BTreeMap;
use std::fs;

use super::common::{clean, told};
use wstests::launcher;

/// An option by its long name: how it is written, and what it does.
type Table = BTreeMap<String, (String, String)>;

/// Adds an option as clap and the README write it: `-v, --verbose`, `--log <FILE>`.
fn add(table: &mut Table, written: &str, meaning: &str) {
    let written = written.replace(['<', '>', '`', '[', ']'], "").split_whitespace().collect::<Vec<_>>().join(" ");
    let long = written.split(' ').find(|word| word.starts_with("--")).expect("every option has a long name").to_owned();
    // A sentence there, a cell of a table here.
    let meaning = meaning.replace('`', "").trim().to_lowercase();
    assert!(table.insert(long.clone(), (written, meaning)).is_none(), "{long} stands twice");
}

fn help() -> Table {
    let text = told(clean(launcher()).arg("--help"));
    let mut table = Table::new();
    for line in text.lines().map(str::trim_start).filter(|line| line.starts_with('-')) {
        let (written, meaning) = line.split_once("  ").unwrap_or_else(|| panic!("no meaning in {line:?}"));
        add(&mut table, written, meaning);
    }
    table
}

/// The rows of the first table of README.md that are options, their variable put behind their meaning as `--help` does.
fn readme() -> Table {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("README.md");
    let mut table = Table::new();
    for row in text.lines().filter(|line| line.starts_with("| `-")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let &[written, meaning, variable] = cells.as_slice() else { panic!("not three cells: {row}") };
        let variable = if variable.is_empty() { String::new() } else { format!(" ({variable})") };
        add(&mut table, written, &format!("{meaning}{variable}"));
    }
    table
}

#[test]
fn help_and_readme_have_the_same_options() {
    let (help, readme) = (help(), readme());
    assert!(help.len() > 5, "{help:?}");
    assert_eq!(help, readme);
}
