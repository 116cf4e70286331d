//! Target `diff`: diffs that peers send, checked, applied, found and merged, beside a plain reference that
//! looks at each byte of a page.

use hivemind_protocol::{Diff, Kernels, PAGE_SIZE, PageBytes, Run};

use crate::Bytes;

/// Claims no more runs than this, so that inputs stay small.
const RUNS_MOST: u8 = 64;

pub(crate) fn run(input: &[u8]) {
    let mut input = Bytes::new(input);
    let old: PageBytes = [input.byte(); PAGE_SIZE];
    let Some(one) = check_wire_form(&mut input) else {
        return;
    };
    let new = check_apply(&one, &old);
    check_between(&old, &new);
    if let Some(two) = check_wire_form(&mut input) {
        let last = check_apply(&two, &new);
        let merged = check_apply(&one.then(PORTABLE, &two), &old);
        assert!(merged == last, "merged diffs do something else than both");
        check_between(&new, &last);
    }
}

const PORTABLE: &Kernels = &Kernels::PORTABLE;

/// Reads what a peer may have sent: runs, a mask, or anything.
fn check_wire_form(input: &mut Bytes<'_>) -> Option<Diff> {
    let (sent, right) = match input.byte() % 3 {
        0 => {
            let (sent, right) = runs(input);
            (sent, Some(right))
        }
        1 => (mask(input), None),
        _ => (input.take(PAGE_SIZE).to_vec(), None),
    };
    let read = Diff::decode(&sent);
    if let Some(right) = right {
        assert_eq!(read.is_some(), right, "{sent:?}");
    }
    let (diff, rest) = read?;
    assert!(
        [diff.encoded(), rest].concat() == sent,
        "what was read is not what was there"
    );
    assert!(!diff.bytes().is_empty(), "a diff of nothing");
    Some(diff)
}

/// The form of runs, and whether it is right: every run has bytes, ascends, touches no other and lies in the page.
fn runs(input: &mut Bytes<'_>) -> (Vec<u8>, bool) {
    let runs: Vec<Run> = (0..input.byte() % RUNS_MOST)
        .map(|_| Run {
            offset: input.short(),
            count: input.short(),
        })
        .collect();
    let claimed: usize = runs.iter().map(|run| usize::from(run.count)).sum();
    // Mostly as many bytes as the runs claim, so that the fuzzer need not find the number.
    let surplus = usize::from(input.byte() % 3);
    let count = (claimed + surplus).saturating_sub(1).min(2 * PAGE_SIZE);
    let mut sent = vec![1];
    sent.extend_from_slice(&(runs.len() as u16).to_le_bytes());
    for number in runs.iter().flat_map(|run| [run.offset, run.count]) {
        sent.extend_from_slice(&number.to_le_bytes());
    }
    let head = sent.len();
    sent.extend_from_slice(input.take(count));
    sent.resize(head + count, 0x55);
    (sent, claimed > 0 && claimed <= count && are_right(&runs))
}

fn are_right(runs: &[Run]) -> bool {
    let mut last = None;
    for run in runs {
        let (offset, count) = (u32::from(run.offset), u32::from(run.count));
        let touches = last.is_some_and(|last| offset <= last);
        if count == 0 || touches || offset + count > PAGE_SIZE as u32 {
            return false;
        }
        last = Some(offset + count);
    }
    true
}

/// The form of a mask: a map of words, marks, bytes, each as the input has it.
fn mask(input: &mut Bytes<'_>) -> Vec<u8> {
    let mut sent = vec![2];
    sent.extend_from_slice(input.take(64));
    sent.resize(65, 0);
    let words: u32 = sent[1..].iter().map(|words| words.count_ones()).sum();
    // Mostly marks that mark something.
    let marks = (0..words).map(|_| input.byte().max(1));
    sent.extend(marks);
    sent.extend_from_slice(input.take(PAGE_SIZE));
    sent
}

/// Applies the diff to a copy of the page, byte by byte beside it.
fn check_apply(diff: &Diff, page: &PageBytes) -> PageBytes {
    let (mut applied, mut expected) = (*page, *page);
    diff.apply(PORTABLE, &mut applied);
    let runs = diff.runs().into_iter();
    let places: Vec<usize> = runs
        .flat_map(|run| {
            let start = usize::from(run.offset);
            start..start + usize::from(run.count)
        })
        .collect();
    assert_eq!(places.len(), diff.bytes().len(), "a byte for each place");
    for (place, byte) in places.into_iter().zip(diff.bytes()) {
        expected[place] = *byte;
    }
    assert!(applied == expected, "a diff is applied wrongly");
    applied
}

/// The diff that is found holds exactly what changed.
fn check_between(old: &PageBytes, new: &PageBytes) {
    let Some(found) = Diff::between(PORTABLE, old, new) else {
        assert!(old == new, "a change was not found");
        return;
    };
    let changed: Vec<usize> = (0..PAGE_SIZE).filter(|&at| old[at] != new[at]).collect();
    let mut places = Vec::new();
    for run in found.runs() {
        let start = usize::from(run.offset);
        places.extend(start..start + usize::from(run.count));
    }
    assert_eq!(places, changed, "not what changed");
    assert!(check_apply(&found, old) == *new);
    let again = Diff::decode(found.encoded());
    assert_eq!(
        again,
        Some((found.clone(), &[][..])),
        "a peer would refuse it"
    );
}
