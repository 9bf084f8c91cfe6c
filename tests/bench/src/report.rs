//! The table: medians, ratios, targets.

use crate::measure::{Measure, Sample, Target};

/// The median, or the lower of the two in the middle; 0 of nothing. Sorts what it is given.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

/// The quartiles' place: where the middle half of the values begins and ends.
fn middle_half(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(0.0);
    let quarter = values.len() / 4;
    (at(quarter), at(values.len().saturating_sub(1 + quarter)))
}

impl Target {
    /// What a pair says about the target.
    fn figure(self, bare: f64, wrapped: f64) -> f64 {
        match self {
            Self::AtLeast(_) | Self::AtMost(_) => wrapped / bare,
            Self::More(_) => wrapped - bare,
        }
    }

    fn reached(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) | Self::More(most) => figure <= most,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtLeast(0.0) | Self::AtMost(f64::INFINITY) => String::from("-"),
            Self::AtLeast(least) => format!(">= {least:.2}"),
            Self::AtMost(most) => format!("<= {most:.2}"),
            Self::More(most) => format!("<= {most:+.0}"),
        }
    }

    /// A figure as the table shows it: a ratio, or a difference.
    fn show(self, figure: f64) -> String {
        match self {
            Self::AtLeast(_) | Self::AtMost(_) => format!("{figure:.3}"),
            Self::More(_) => format!("{figure:+.0}"),
        }
    }
}

/// The head of the table.
pub fn head([first, other]: [&str; 2]) -> String {
    let line = format!(
        "{:<28} {:>9} {:>9} {:<6} {:>7} {:>13} {:>5}  {:>8}",
        "measure", first, other, "unit", "ratio", "middle half", "cpu", "target"
    );
    format!("{line}\n{}", "-".repeat(line.len() + 9))
}

/// The line of a measure, and whether its target is reached.
pub fn line(name: &str, measure: &Measure, bare: &[Sample], other: &[Sample]) -> (String, bool) {
    let of = |runs: &[Sample]| three_digits(median(&mut runs.iter().map(|run| run.value).collect::<Vec<_>>()));
    let target = measure.target;
    let mut figures = figures(measure, bare, other);
    let figure = median(&mut figures);
    let (from, to) = middle_half(&mut figures);
    let mut cpu: Vec<f64> = bare.iter().zip(other).filter_map(|(bare, other)| Some(other.cpu? / bare.cpu?)).collect();
    let cpu = if cpu.is_empty() { String::from("-") } else { format!("{:.2}", median(&mut cpu)) };
    let line = format!(
        "{:<28} {:>9} {:>9} {:<6} {:>7} {:>13} {:>5}  {:>8}",
        name,
        of(bare),
        of(other),
        measure.unit,
        target.show(figure),
        format!("{} - {}", target.show(from), target.show(to)),
        cpu,
        target.words(),
    );
    (line, target.reached(figure))
}

/// What stands behind a line.
pub fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}

/// What each turn says about the target.
fn figures(measure: &Measure, bare: &[Sample], other: &[Sample]) -> Vec<f64> {
    bare.iter().zip(other).map(|(bare, other)| measure.target.figure(bare.value, other.value)).collect()
}

/// How many times better than `theirs` `ours` is, in the middle of all turns.
pub fn times(measure: &Measure, ours: &[Sample], theirs: &[Sample]) -> f64 {
    let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| match measure.target {
        Target::AtLeast(_) => ours.value / theirs.value,
        Target::AtMost(_) | Target::More(_) => theirs.value / ours.value,
    });
    median(&mut ratios.collect::<Vec<_>>())
}

/// How ours stands beside the plain relay, if it was there.
pub fn beside_relay(times: Option<f64>) -> String {
    times.map_or(String::new(), |times| format!("  {times:.2} x the plain relay"))
}

/// How ours stands beside the best of the peers, and whether it is `factor` times better.
pub fn beside(peers: impl Iterator<Item = f64>, factor: f64) -> (String, bool) {
    let Some(least) = peers.reduce(f64::min) else { return (String::new(), true) };
    (format!("  {least:.2} x the best peer (>= {factor:.1})"), least >= factor)
}

fn three_digits(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quartiles() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.0);
        assert_eq!(median(&mut []), 0.0);
        assert_eq!(middle_half(&mut [5.0, 4.0, 3.0, 2.0, 1.0]), (2.0, 4.0));
    }

    #[test]
    fn targets_are_reached_on_their_own_side() {
        assert!(Target::AtLeast(0.93).reached(0.93) && !Target::AtLeast(0.93).reached(0.92));
        assert!(Target::AtMost(1.07).reached(1.07) && !Target::AtMost(1.07).reached(1.08));
        let memory = Target::More(1024.0);
        assert!(memory.reached(memory.figure(500.0, 1524.0)) && !memory.reached(memory.figure(0.0, 1025.0)));
    }
}
