//! Target `message`: the wire form of messages. What is read is written the same again, and reading takes
//! memory in proportion to what is there, whatever lengths it claims.

use hivemind_protocol::Message;

/// Memory that reading may take for each byte that is there: the shortest entries of a list (a diff without
/// a run, a payload without a byte) are several times larger in memory, and a list grows by doubling.
const BYTES_A_BYTE: u64 = 32;

/// And for a message at all.
const BYTES_AT_ALL: u64 = 256;

pub(crate) fn run(input: &[u8]) {
    let mut read = None;
    let taken = allocation_counter::measure(|| read = Some(Message::decode(input)));
    let bound = BYTES_AT_ALL + BYTES_A_BYTE * input.len() as u64;
    assert!(
        taken.bytes_max <= bound,
        "{} bytes of memory for a message of {}",
        taken.bytes_max,
        input.len()
    );
    if let Some(Ok(message)) = read {
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(again, input, "{message:?} has two wire forms");
    }
}
