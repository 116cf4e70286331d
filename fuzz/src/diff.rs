//! Target `diff`: diffs that peers send, checked, applied, found and merged, beside a plain reference that
//! looks at each byte of a page.

use hivemind_protocol::{Diff, PAGE_SIZE, PageBytes, Run};

use crate::Bytes;

/// Claims no more runs than this, so that inputs stay small.
const RUNS_MOST: u8 = 64;

pub(crate) fn run(input: &[u8]) {
    let mut input = Bytes::new(input);
    let old: PageBytes = [input.byte(); PAGE_SIZE];
    let Some(one) = check_parts(&mut input) else {
        return;
    };
    let new = check_apply(&one, &old);
    check_between(&old, &new);
    if let Some(two) = check_parts(&mut input) {
        let last = check_apply(&two, &new);
        let merged = check_apply(&one.then(&two), &old);
        assert!(merged == last, "merged diffs do something else than both");
        check_between(&new, &last);
    }
}

/// Reads runs and bytes, and has them checked.
fn check_parts(input: &mut Bytes<'_>) -> Option<Diff> {
    let runs: Vec<Run> = (0..input.byte() % RUNS_MOST)
        .map(|_| Run {
            offset: input.short(),
            count: input.short(),
        })
        .collect();
    let claimed: usize = runs.iter().map(|run| usize::from(run.count)).sum();
    // Mostly as many bytes as the runs claim, so that the fuzzer need not find the number.
    let surplus = usize::from(input.byte() % 3);
    let count = (claimed + surplus).saturating_sub(1);
    let mut bytes = input.take(count).to_vec();
    bytes.resize(count.min(2 * PAGE_SIZE), 0x55);
    let right = is_right(&runs, bytes.len());
    let diff = Diff::from_parts(runs.clone(), bytes);
    assert_eq!(diff.is_some(), right, "{runs:?}");
    diff
}

/// Whether every run has bytes, ascends, and lies in the page.
fn is_right(runs: &[Run], bytes: usize) -> bool {
    let mut next = 0;
    let mut total = 0;
    for run in runs {
        for at in u32::from(run.offset)..u32::from(run.offset) + u32::from(run.count) {
            if at < next || at >= PAGE_SIZE as u32 {
                return false;
            }
            next = at + 1;
            total += 1;
        }
        if run.count == 0 || u32::from(run.offset) + u32::from(run.count) != next {
            return false;
        }
    }
    total == bytes
}

/// Applies the diff to a copy of the page, byte by byte beside it.
fn check_apply(diff: &Diff, page: &PageBytes) -> PageBytes {
    let (mut applied, mut expected) = (*page, *page);
    diff.apply_to(&mut applied);
    let places = diff.runs().iter().flat_map(|run| {
        let start = usize::from(run.offset);
        start..start + usize::from(run.count)
    });
    let places: Vec<usize> = places.collect();
    assert_eq!(places.len(), diff.bytes().len(), "a byte for each place");
    for (place, byte) in places.into_iter().zip(diff.bytes()) {
        expected[place] = *byte;
    }
    assert!(applied == expected, "a diff is applied wrongly");
    applied
}

/// The diff that is found holds exactly what changed.
fn check_between(old: &PageBytes, new: &PageBytes) {
    let found = Diff::between(old, new);
    let changed: Vec<usize> = (0..PAGE_SIZE).filter(|&at| old[at] != new[at]).collect();
    let mut places = Vec::new();
    for run in found.runs() {
        let start = usize::from(run.offset);
        places.extend(start..start + usize::from(run.count));
    }
    assert_eq!(places, changed, "not what changed");
    assert!(check_apply(&found, old) == *new);
    let (runs, bytes) = (found.runs().to_vec(), found.bytes().to_vec());
    assert_eq!(
        Diff::from_parts(runs, bytes),
        Some(found),
        "a peer would refuse it"
    );
}
