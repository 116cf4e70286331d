//! Target `trace`: logs that somebody else wrote, or that broke off, are read, checked, cut and merged.

use hivemind_trace::{check, check_clocks, check_promises, cut, merge, read};

pub(crate) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let checked = check(&text);
    let reading = read(&text);
    let logs = [&reading.events[..]];
    let clocks = check_clocks(&logs);
    let _ = check_promises(&logs);
    if let Ok(summary) = checked {
        assert!(
            reading.breach.is_none() && clocks.is_ok(),
            "a breach passes"
        );
        let counted: usize = summary.events.values().map(|count| *count as usize).sum();
        assert_eq!(counted, summary.entries.len());
        let merged = merge([summary.entries.clone()], |_| 0);
        assert_eq!(
            merged.len(),
            summary.entries.len(),
            "merging loses an event"
        );
        let none = cut(&merged, |_| false);
        assert!(none.is_empty(), "a window of nothing shows something");
        let all = cut(&merged, |_| true);
        assert_eq!(
            all.len(),
            merged.len(),
            "a window of all leaves something out"
        );
    }
}
