//! The order of steps: who waits for whom, and whether anybody would wait for ever.

use super::source::Place;

/// Steps that wait for each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    /// The steps in turn, the first again at the end.
    pub(super) steps: Vec<usize>,
    /// Where the first of them refers to the second.
    pub(super) place: Place,
}

/// Finds a cycle. `edges` holds for each step what it waits for.
pub(super) fn cycle(edges: &[Vec<(usize, Place)>]) -> Option<Cycle> {
    // A step is done when all that it waits for is done; what is never done holds the cycles.
    let mut done = vec![false; edges.len()];
    loop {
        let mut moved = false;
        for (at, needs) in edges.iter().enumerate() {
            if !done[at] && needs.iter().all(|(need, _)| done.get(*need).copied().unwrap_or(true)) {
                done[at] = true;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    let stuck = |at: usize| edges[at].iter().find(|(need, _)| done.get(*need) == Some(&false));
    let mut at = done.iter().position(|done| !done)?;
    // Each stuck step waits for a stuck one, so a walk comes back to where it has been.
    let mut path = Vec::new();
    while !path.contains(&at) {
        path.push(at);
        at = stuck(at)?.0;
    }
    let mut steps = path.split_off(path.iter().position(|step| *step == at)?);
    // Begin with the step that stands first in the document.
    let first = steps.iter().enumerate().min_by_key(|(_, step)| **step).map_or(0, |(index, _)| index);
    steps.rotate_left(first);
    let place = stuck(steps[0])?.1;
    steps.push(steps[0]);
    Some(Cycle { steps, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(edges: &[&[usize]], expected: Option<&[usize]>) {
        let place = Place { line: 1, column: 1 };
        let edges: Vec<Vec<(usize, Place)>> =
            edges.iter().map(|needs| needs.iter().map(|need| (*need, place)).collect()).collect();
        assert_eq!(cycle(&edges).map(|cycle| cycle.steps).as_deref(), expected);
    }

    #[test]
    fn cycles_are_found_and_named_from_their_first_step() {
        check(&[], None);
        check(&[&[1], &[2], &[]], None);
        check(&[&[1], &[2], &[0]], Some(&[0, 1, 2, 0]));
        check(&[&[2], &[2], &[3], &[1]], Some(&[1, 2, 3, 1]));
        check(&[&[], &[0], &[1, 3], &[2]], Some(&[2, 3, 2]));
    }
}
