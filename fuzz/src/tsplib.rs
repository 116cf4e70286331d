//! Target `tsplib`: files of cities. What is refused is refused in one line that a terminal can show; what is
//! read has distances that are such.

use apps::tsp::instance::{Instance, MOST_CITIES};

pub(crate) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match Instance::parse(&text) {
        Ok(instance) => {
            assert!(!instance.name.chars().any(char::is_control), "the name");
            let rows = instance.distances.rows();
            let cities = rows.len().isqrt();
            assert!((3..=MOST_CITIES).contains(&cities) && cities * cities == rows.len());
            for one in 0..cities {
                assert_eq!(rows[one * cities + one], 0);
                for other in 0..one {
                    assert_eq!(rows[one * cities + other], rows[other * cities + one]);
                }
            }
        }
        Err((line, what)) => {
            assert!(
                line >= 1 && line <= text.lines().count().max(1),
                "line {line}"
            );
            assert!(!what.chars().any(char::is_control), "{what:?}");
            assert!(what.len() < 1000, "{} bytes of trouble", what.len());
        }
    }
}
