//! Target `settings`: sizes and times as people write them. What is read is shown so that it is read the same.

use hivemind::settings::{LONGEST_TIME, parse_size, parse_time, show_size, show_time};

pub(crate) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match parse_size(&text) {
        Ok(bytes) => {
            let shown = show_size(bytes);
            assert_eq!(
                parse_size(&shown),
                Ok(bytes),
                "{text:?} is shown as {shown}"
            );
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match parse_time(&text) {
        Ok(time) => {
            assert!(!time.is_zero() && time <= LONGEST_TIME);
            let shown = show_time(time);
            assert_eq!(parse_time(&shown), Ok(time), "{text:?} is shown as {shown}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
