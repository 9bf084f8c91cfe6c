//! The table: medians, ratios, targets.

use crate::measure::{Measure, Pair, Target};

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
pub fn line(name: &str, measure: &Measure, pairs: &[Pair]) -> (String, bool) {
    let of = |value: fn(&Pair) -> f64| median(&mut pairs.iter().map(value).collect::<Vec<_>>());
    let target = measure.target;
    let mut figures: Vec<f64> = pairs.iter().map(|pair| target.figure(pair.bare.value, pair.wrapped.value)).collect();
    let figure = median(&mut figures);
    let (from, to) = middle_half(&mut figures);
    let mut cpu: Vec<f64> = pairs.iter().filter_map(|pair| Some(pair.wrapped.cpu? / pair.bare.cpu?)).collect();
    let cpu = if cpu.is_empty() { String::from("-") } else { format!("{:.2}", median(&mut cpu)) };
    let reached = target.reached(figure);
    let line = format!(
        "{:<28} {:>9} {:>9} {:<6} {:>7} {:>13} {:>5}  {:>8}",
        name,
        three_digits(of(|pair| pair.bare.value)),
        three_digits(of(|pair| pair.wrapped.value)),
        measure.unit,
        target.show(figure),
        format!("{} - {}", target.show(from), target.show(to)),
        cpu,
        target.words(),
    );
    (line, reached)
}

/// What stands behind a line.
pub fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}

/// The figure that the target is about.
pub fn figure(measure: &Measure, pairs: &[Pair]) -> f64 {
    let target = measure.target;
    median(&mut pairs.iter().map(|pair| target.figure(pair.bare.value, pair.wrapped.value)).collect::<Vec<_>>())
}

/// How many times better than `theirs` `ours` is.
fn times(measure: &Measure, ours: f64, theirs: f64) -> f64 {
    match measure.target {
        Target::AtLeast(_) => ours / theirs,
        Target::AtMost(_) | Target::More(_) => theirs / ours,
    }
}

/// How `ours` stands beside the plain relay, where there is one.
pub fn beside_relay(measure: &Measure, ours: f64, relay: Option<f64>) -> String {
    relay.map_or(String::new(), |relay| format!("  {:.2} x the plain relay", times(measure, ours, relay)))
}

/// How `ours` stands beside the best of `peers`, and whether it is `factor` times better.
pub fn beside(measure: &Measure, ours: f64, peers: &[f64], factor: f64) -> (String, bool) {
    let least = peers.iter().map(|peer| times(measure, ours, *peer)).reduce(f64::min);
    let Some(least) = least else { return (String::new(), true) };
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
