//! `docs/compatibility.md`: its table is made of the descriptions and of what the runs show, and compared with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::observe::Observed;
use crate::program::{Program, Way};

/// The lines around the table.
const BEGIN: &str = "<!-- made by tests/servers, see docs/testing.md -->\n";
const END: &str = "<!-- end -->\n";
const HEAD: &str = "| program | version | client | starts | on the listener | waits with | reads with | writes with | carried |\n\
    |---|---|---|---|---|---|---|---|---|\n";
const HINT: &str = "renew the table: WSTESTS_RENEW=1 cargo test -p wstests --test servers, and look at the difference";

/// How many cells a row has, and which of them hold what was observed.
const CELLS: usize = 9;
const VERSION: usize = 1;
const OBSERVED: std::ops::Range<usize> = 3..8;

type Row = [String; CELLS];

/// Compares a program's row with what its run has shown, or renews it.
///
/// Which calls are seen depends a little on the machine: a write that finds its socket full is followed by a wait. So
/// the table holds all that was ever seen, a call that it does not name is an error, and so is a cell of which nothing was
/// seen. The version is told, not compared.
///
/// # Panics
/// If the row is missing or another.
pub(crate) fn check(program: &Program, observed: &Observed) {
    let mut row = row(program, observed);
    if renewing() {
        renew(Some(&mut row));
        return;
    }
    let rows = parse(&std::fs::read_to_string(path()).unwrap());
    let told = rows.get(program.name).unwrap_or_else(|| panic!("no row for {:?}; {HINT}", program.name));
    for cell in (0..CELLS).filter(|&cell| cell != VERSION) {
        let same = if OBSERVED.contains(&cell) {
            let (seen, told) = (names(&row[cell]), names(&told[cell]));
            seen.is_subset(&told) && seen.is_empty() == told.is_empty()
        } else {
            row[cell] == told[cell]
        };
        assert!(same, "{}: {:?} was seen, the table says {:?}; {HINT}", program.name, row[cell], told[cell]);
    }
}

/// Compares the names of the rows with the descriptions.
///
/// # Panics
/// If they differ.
pub(crate) fn check_names() {
    if renewing() {
        renew(None);
        return;
    }
    let text = std::fs::read_to_string(path()).unwrap();
    let told: Vec<&str> = table(&text).lines().skip(2).map(|line| cells(line)[0]).collect();
    let described: Vec<&str> = crate::programs().map(|program| program.name).collect();
    assert_eq!(told, described, "the rows of the table (left), the descriptions (right); {HINT}");
    let packages = |file: &str| std::fs::read_to_string(root().join("scripts").join(file)).unwrap();
    let packages = packages("packages") + &packages("packages.unpacked");
    for program in crate::programs() {
        assert!(
            packages.lines().any(|line| line == program.package),
            "{}: scripts/packages does not name {}",
            program.name,
            program.package
        );
    }
}

fn renewing() -> bool {
    std::env::var_os("WSTESTS_RENEW").is_some()
}

/// Writes the table again, with `row` in its place. The tests of one process take turns.
fn renew(row: Option<&mut Row>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let text = std::fs::read_to_string(path()).unwrap();
    let mut rows = parse(&text);
    if let Some(row) = row {
        if let Some(told) = rows.get(&row[0]) {
            for cell in OBSERVED {
                row[cell] = join(names(&row[cell]).union(&names(&told[cell])).copied());
            }
        }
        rows.insert(row[0].clone(), row.clone());
    }
    let lines: String = crate::programs()
        .filter_map(|program| rows.get(program.name))
        .map(|row| format!("| {} |\n", row.join(" | ").replace("  ", " ")))
        .collect();
    let (before, _, after) = parts(&text);
    let renewed = format!("{before}{BEGIN}{HEAD}{lines}{END}{after}");
    std::fs::write(path(), renewed).unwrap();
}

fn row(program: &Program, observed: &Observed) -> Row {
    let sets = [&observed.starts, &observed.listener, &observed.waits, &observed.reads, &observed.writes];
    let [starts, listener, waits, reads, writes] = sets.map(|set| join(set.iter().map(String::as_str)));
    let carried = match program.way {
        Way::InPlace => "in place",
        Way::Bridged => "by the companion",
    };
    let (name, client) = (program.name.to_owned(), program.client.to_owned());
    [name, version(program.package), client, starts, listener, waits, reads, writes, carried.to_owned()]
}

/// The upstream part of a package's version: neither Debian's epoch nor its revision.
fn version(package: &str) -> String {
    let unpacked = std::fs::read_to_string(root().join("scripts/packages.unpacked")).unwrap();
    let output = if unpacked.lines().any(|line| line == package) {
        Command::new("dpkg-deb")
            .args(["--show", "--showformat=${Version}"])
            .arg(wstests::unpacked(package).with_extension("deb"))
            .output()
    } else {
        Command::new("dpkg-query").args(["-W", "-f=${Version}", package]).output()
    };
    let output = output.unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !version.is_empty(), "the package {package} is not there");
    let upstream = version.split_once(':').map_or(version.as_str(), |(_, rest)| rest);
    upstream.rsplit_once('-').map_or(upstream, |(upstream, _)| upstream).to_owned()
}

fn parse(text: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for line in table(text).lines().skip(2) {
        let row: Row = std::array::from_fn(|cell| cells(line).get(cell).copied().unwrap_or_default().to_owned());
        rows.insert(row[0].clone(), row);
    }
    rows
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_start_matches('|').split('|').map(str::trim).collect()
}

fn table(text: &str) -> &str {
    parts(text).1
}

/// What stands before the table, the table, what stands after it.
fn parts(text: &str) -> (&str, &str, &str) {
    let (before, rest) =
        text.split_once(BEGIN).unwrap_or_else(|| panic!("docs/compatibility.md has no line {BEGIN:?}"));
    let (table, after) = rest.split_once(END).unwrap_or_else(|| panic!("docs/compatibility.md has no line {END:?}"));
    (before, table, after)
}

fn names(cell: &str) -> BTreeSet<&str> {
    cell.split(", ").filter(|name| !name.is_empty()).collect()
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn path() -> PathBuf {
    root().join("docs/compatibility.md")
}
