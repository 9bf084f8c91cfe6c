//! Real servers with real clients: unmodified programs from Debian, which between them accept, wait, read, write, fork and
//! start programs in every way that is in use. Each has one description ([`program::Program`]); its run is the test, and
//! makes its row of `docs/compatibility.md`.

mod compatibility;
mod descriptors;
mod observe;
mod program;
mod talks;

/// Names the functions that describe the programs of a module; makes a test of each, and `PROGRAMS`.
macro_rules! servers {
    ($($name:ident),+ $(,)?) => {
        pub(crate) const PROGRAMS: &[fn() -> $crate::program::Program] = &[$($name),+];

        mod serves {
            $(
                #[test]
                fn $name() {
                    $crate::program::run(&super::$name());
                }
            )+
        }
    };
}

mod daemons;
mod databases;
mod desktops;
mod exec;
mod languages;
mod masters;
mod netcats;
mod web;

/// All descriptions, in the order of the table.
fn programs() -> impl Iterator<Item = program::Program> {
    [
        netcats::PROGRAMS,
        web::PROGRAMS,
        databases::PROGRAMS,
        daemons::PROGRAMS,
        languages::PROGRAMS,
        desktops::PROGRAMS,
        exec::PROGRAMS,
        masters::PROGRAMS,
    ]
    .into_iter()
    .flatten()
    .map(|describe| describe())
}

#[test]
fn the_table_names_the_programs_that_are_tested() {
    compatibility::check_names();
}
