//! Which lines of a file a coverage export calls covered.
//!
//! The export has segments: from this line and column on, code ran this often, until the next
//! segment. A line counts if code begins or goes on in it; it is covered if any of that code ran.
//! This is llvm-cov's own rule for lines, so its HTML report shows the same.

use serde_json::Value;

/// From this place on, until the next segment.
#[derive(Clone, Copy)]
struct Segment {
    line: u32,
    count: u64,
    has_count: bool,
    begins_region: bool,
    is_gap: bool,
}

/// The lines of one file that hold code.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    /// How many lines hold code.
    pub(crate) total: u32,
    /// The lines whose code never ran, ascending.
    pub(crate) uncovered: Vec<u32>,
}

impl Lines {
    /// Reads the `segments` member of a file; lines from `end` on are left out.
    pub(crate) fn from_segments(segments: &Value, end: u32) -> Self {
        let segments: Vec<Segment> = segments.as_array().into_iter().flatten().filter_map(segment).collect();
        let mut lines = Self::default();
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            return lines;
        };
        let mut before: Option<Segment> = None;
        let mut rest = segments.as_slice();
        for line in first.line..=last.line.min(end.saturating_sub(1)) {
            let split = rest.iter().take_while(|segment| segment.line == line).count();
            let (here, later) = rest.split_at(split);
            if let Some(ran) = ran(before, here) {
                lines.total += 1;
                if !ran {
                    lines.uncovered.push(line);
                }
            }
            before = here.last().copied().or(before);
            rest = later;
        }
        lines
    }

    /// The uncovered lines as ranges: `3, 7-9`.
    pub(crate) fn uncovered_ranges(&self) -> String {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for &line in &self.uncovered {
            match ranges.last_mut() {
                Some((_, end)) if *end + 1 == line => *end = line,
                _ => ranges.push((line, line)),
            }
        }
        let shown = ranges.iter().map(|(begin, end)| match begin == end {
            true => begin.to_string(),
            false => format!("{begin}-{end}"),
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// Whether the code of a line ran; `None` for a line without code.
fn ran(before: Option<Segment>, here: &[Segment]) -> Option<bool> {
    let mut begins = here.iter().filter(|s| s.has_count && s.begins_region && !s.is_gap).peekable();
    let skipped = here.first().is_some_and(|s| !s.has_count && s.begins_region);
    let goes_on = before.filter(|segment| segment.has_count);
    if skipped || (goes_on.is_none() && begins.peek().is_none()) {
        return None;
    }
    Some(goes_on.is_some_and(|segment| segment.count > 0) || begins.any(|s| s.count > 0))
}

fn segment(value: &Value) -> Option<Segment> {
    let [line, _column, count, has_count, begins_region, is_gap] = value.as_array()?.as_slice() else {
        return None;
    };
    Some(Segment {
        line: u32::try_from(line.as_u64()?).ok()?,
        count: count.as_u64()?,
        has_count: has_count.as_bool()?,
        begins_region: begins_region.as_bool()?,
        is_gap: is_gap.as_bool()?,
    })
}

/// The line where a file's own unit tests begin; `u32::MAX` where there are none.
///
/// Test code always runs. Counted with the rest it would hide what the tests do not reach.
pub(crate) fn tests_begin(source: &str) -> u32 {
    let lines: Vec<&str> = source.lines().collect();
    let found = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{'));
    found.and_then(|index| u32::try_from(index + 1).ok()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A function on lines 2 to 6 that ran, with a branch on 3 to 5 that did not.
    fn segments() -> Value {
        json!([
            [2, 1, 7, true, true, false],
            [3, 8, 0, true, true, false],
            [5, 6, 7, true, false, false],
            [6, 2, 0, false, false, false]
        ])
    }

    #[test]
    fn line_is_covered_if_any_of_its_code_ran() {
        let lines = Lines::from_segments(&segments(), u32::MAX);
        assert_eq!(lines, Lines { total: 5, uncovered: vec![4, 5] });
        assert_eq!(lines.uncovered_ranges(), "4-5");
    }

    #[test]
    fn lines_of_unit_tests_are_left_out() {
        assert_eq!(Lines::from_segments(&segments(), 4).total, 2);
        assert_eq!(tests_begin("fn a() {}\n\n#[cfg(test)]\nmod tests {\n"), 3);
        assert_eq!(tests_begin("#[cfg(test)]\nmod tests;\nfn a() {}\n"), u32::MAX);
    }

    #[test]
    fn single_lines_and_ranges_are_shown() {
        let lines = Lines { total: 9, uncovered: vec![1, 3, 4, 5, 9] };
        assert_eq!(lines.uncovered_ranges(), "1, 3-5, 9");
    }

    #[test]
    fn file_without_code_has_no_lines() {
        assert_eq!(Lines::from_segments(&json!([]), u32::MAX), Lines::default());
    }
}
