//! Standard output: a reader that has gone away (`| head -1`) ends the command without a word, as it ends other commands.
//! Only the command has it; the library prints nothing.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process::exit;

/// What a shell says of a command that the closed pipe ended, so that a script sees that it didn't come to its end.
const UNREAD_STATUS: i32 = 128 + 13;

/// Prints a line.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::output::line(format_args!($($words)*))
    };
}
pub(crate) use say;

pub(crate) fn line(text: Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout(), "{text}") {
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("hivemind-sim: cannot write to standard output: {error}");
        }
        exit(UNREAD_STATUS);
    }
}
