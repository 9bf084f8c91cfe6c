//! Conditional and range requests: RFC 9110 sections 13 and 14.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, header};

/// What tells two states of a file apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    /// The entity tag, quoted: a strong one.
    pub tag: String,
    /// The time of the last change, in the form of the Last-Modified field.
    pub modified: String,
    seconds: SystemTime,
}

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The file.
    Whole,
    /// These bytes of it: the first, and how many.
    Part(u64, u64),
    /// The client has it: 304.
    NotModified,
    /// It is not what the client takes it for: 412.
    Failed,
    /// It does not go that far: 416.
    Unsatisfiable,
}

impl Validators {
    pub(super) fn new(modified: SystemTime, size: u64) -> Self {
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        // The Last-Modified field has whole seconds, and so have the dates that are compared with it.
        let seconds = UNIX_EPOCH + Duration::from_secs(since.as_secs());
        let tag = format!("\"{:x}-{size:x}\"", since.as_nanos());
        Validators { tag, modified: httpdate::fmt_http_date(seconds), seconds }
    }

    /// Whether a list of entity tags, over all lines of its name, has ours; `None` if there is no list. A weak one counts where it may.
    fn is_in(&self, fields: &HeaderMap, name: HeaderName, weak: bool) -> Option<bool> {
        let mut lines = fields.get_all(name).iter().filter_map(|value| value.to_str().ok()).peekable();
        lines.peek()?;
        Some(lines.flat_map(|line| line.split(',')).map(str::trim).any(|tag| {
            let tag = tag.strip_prefix("W/").filter(|_| weak).unwrap_or(tag);
            tag == "*" || tag == self.tag
        }))
    }
}

/// Judges a request for a file of `size` bytes, in the order of RFC 9110 section 13.2.2.
pub(super) fn judge(fields: &HeaderMap, get: bool, file: &Validators, size: u64) -> Verdict {
    let text = |name: HeaderName| fields.get(name).and_then(|value| value.to_str().ok());
    let date = |name: HeaderName| text(name).and_then(|date| httpdate::parse_http_date(date).ok());
    let is_met = file.is_in(fields, header::IF_MATCH, false);
    if !is_met.unwrap_or_else(|| date(header::IF_UNMODIFIED_SINCE).is_none_or(|date| file.seconds <= date)) {
        return Verdict::Failed;
    }
    let is_had = file.is_in(fields, header::IF_NONE_MATCH, true);
    if is_had.unwrap_or_else(|| date(header::IF_MODIFIED_SINCE).is_some_and(|date| file.seconds <= date)) {
        return Verdict::NotModified;
    }
    // A range is for GET alone, and for the state of the file that the client has the rest of.
    let same = text(header::IF_RANGE).is_none_or(|known| known == file.tag || known == file.modified);
    match text(header::RANGE) {
        Some(range) if get && same => part(range, size),
        _ => Verdict::Whole,
    }
}

/// The bytes that a Range field asks for. Several ranges are answered with the whole, as RFC 9110 section 14.2 allows.
fn part(range: &str, size: u64) -> Verdict {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Verdict::Whole;
    };
    // `parse` takes a sign.
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (first, end): (u64, u64) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, size.min(last.saturating_add(1))),
        (Some(first), None) if last.is_empty() => (first, size),
        (None, Some(suffix)) if first.is_empty() => {
            (if suffix == 0 { size } else { size.saturating_sub(suffix) }, size)
        }
        _ => return Verdict::Whole,
    };
    if first < end { Verdict::Part(first, end - first) } else { Verdict::Unsatisfiable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (range, verdict) in [
            ("bytes=0-0", Verdict::Part(0, 1)),
            ("bytes=2-", Verdict::Part(2, 8)),
            ("bytes=2-99", Verdict::Part(2, 8)),
            ("bytes=-3", Verdict::Part(7, 3)),
            ("bytes=-99", Verdict::Part(0, 10)),
            ("bytes=0-18446744073709551615", Verdict::Part(0, 10)),
            ("bytes=10-", Verdict::Unsatisfiable),
            ("bytes=-0", Verdict::Unsatisfiable),
            ("bytes=3-2", Verdict::Whole),
            ("bytes=0-1,3-4", Verdict::Whole),
            ("bytes=+1-2", Verdict::Whole),
            ("bytes=-", Verdict::Whole),
            ("lines=1-2", Verdict::Whole),
        ] {
            assert_eq!(part(range, 10), verdict, "{range}");
        }
        assert_eq!(part("bytes=0-", 0), Verdict::Unsatisfiable);
    }

    #[test]
    fn conditions() {
        let time = UNIX_EPOCH + Duration::new(784_111_777, 5);
        let file = Validators::new(time, 10);
        let (same, earlier) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT");
        assert_eq!(file.modified, same);
        let (tag, weak) = (file.tag.as_str(), format!("\"x\", W/{}", file.tag));
        let range = ("range", "bytes=1-2");
        for (fields, verdict) in [
            (vec![], Verdict::Whole),
            (vec![("if-none-match", tag)], Verdict::NotModified),
            (vec![("if-none-match", weak.as_str())], Verdict::NotModified),
            (vec![("if-none-match", "*")], Verdict::NotModified),
            (vec![("if-none-match", "\"x\""), ("if-none-match", tag)], Verdict::NotModified),
            // The tag counts, not the date.
            (vec![("if-none-match", "\"x\""), ("if-modified-since", same)], Verdict::Whole),
            (vec![("if-modified-since", same)], Verdict::NotModified),
            (vec![("if-modified-since", earlier)], Verdict::Whole),
            (vec![("if-modified-since", "yesterday")], Verdict::Whole),
            (vec![("if-match", tag)], Verdict::Whole),
            (vec![("if-match", weak.as_str())], Verdict::Failed),
            (vec![("if-unmodified-since", same)], Verdict::Whole),
            (vec![("if-unmodified-since", earlier)], Verdict::Failed),
            (vec![range], Verdict::Part(1, 2)),
            (vec![range, ("if-range", tag)], Verdict::Part(1, 2)),
            (vec![range, ("if-range", same)], Verdict::Part(1, 2)),
            (vec![range, ("if-range", earlier)], Verdict::Whole),
            (vec![range, ("if-range", weak.as_str())], Verdict::Whole),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &fields {
                map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            assert_eq!(judge(&map, true, &file, 10), verdict, "{fields:?}");
        }
        let map = HeaderMap::from_iter([(header::RANGE, "bytes=1-2".parse().unwrap())]);
        assert_eq!(judge(&map, false, &file, 10), Verdict::Whole);
    }
}
