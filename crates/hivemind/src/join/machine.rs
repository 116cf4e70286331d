//! On which machine a drone is, so that two can tell whether their link stays on one. What follows from it is decided
//! in `hivemind-protocol` (`Encryption`).

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;

/// Which machine and network this drone says it is on, to the peer at the other end of `stream`: the boot and the
/// network namespace. Nothing where either is unknown, or where the peer is at another address than our own: clones of
/// a virtual machine may share both and be far apart.
pub(super) fn machine_towards(stream: &TcpStream) -> String {
    let (Ok(near), Ok(far)) = (stream.local_addr(), stream.peer_addr()) else {
        return String::new();
    };
    let (near, far) = (near.ip(), far.ip());
    if near == far || (near.is_loopback() && far.is_loopback()) {
        machine().unwrap_or_default()
    } else {
        String::new()
    }
}

fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = fs::metadata("/proc/self/ns/net").ok()?;
    let boot = boot.trim();
    let (device, inode) = (network.dev(), network.ino());
    (!boot.is_empty()).then(|| format!("boot {boot}, network {device}:{inode}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn both_ends_of_the_loopback_are_on_one_machine() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let machine = machine_towards(&near);
        assert!(machine.starts_with("boot "), "{machine}");
        assert_eq!(machine, machine_towards(&far));
    }
}
