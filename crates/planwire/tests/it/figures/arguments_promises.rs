//! What can be asked of the benchmark.

use crate::figures::arguments::*;

const NAMES: Names<'_> = Names { own: &["bulk", "live"], against: &["bulk", "dispatch"] };

fn parse(line: &str) -> Result<Asked, String> {
    Arguments::parse(line.split_whitespace().map(str::to_owned), NAMES)
}

fn check(line: &str, wanted: &[&str], unwanted: &[&str]) {
    let Ok(Asked::Measure(arguments)) = parse(line) else { panic!("{line}: refused") };
    assert!(wanted.iter().all(|row| arguments.wants(row)), "{line}");
    assert!(!unwanted.iter().any(|row| arguments.wants(row)), "{line}");
}

fn check_refused(line: &str, expected: &str) {
    assert_eq!(parse(line).err().as_deref(), Some(expected), "{line}");
}

#[test]
fn no_row_means_all_rows() {
    check("--bench --quick", &["bulk", "live"], &[]);
    check("live", &["live"], &["bulk"]);
    check("dispatch bulk --against", &["dispatch", "bulk"], &["live"]);
}

#[test]
fn a_row_of_the_other_kind_is_told_where_it_is() {
    check_refused("dispatch", "'dispatch' is a row with --against alone");
    check_refused("--against live", "'live' is a row without --against alone");
    check_refused("lvie", "'lvie' is no row");
    check_refused("--fast", "'--fast' is no option");
    check_refused("--json", "--json needs a file");
}

#[test]
fn usage_names_every_row() {
    let usage = usage(NAMES);
    assert!(["bulk live", "bulk dispatch"].iter().all(|names| usage.contains(names)), "{usage}");
}
