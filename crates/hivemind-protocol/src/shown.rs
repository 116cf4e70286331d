//! What the examples in this crate's documents share, so that each shows only what it is about. Not a part of the core.

/// Hidden lines: a memory of zeros, and what a drone that is alone must know at its start, as `config`.
macro_rules! alone {
    () => {
        "# use hivemind_protocol::{Access, Core, CoreConfig, DroneId, Economies, FAN_OUT, Memory, PageBytes, PageId, PageRun, WriteDetection};
# struct Zeros;
# impl Memory for Zeros {
#     fn write_detection(&self) -> WriteDetection { WriteDetection::Traps }
#     fn set_access(&mut self, _: PageRun, _: Access) {}
#     fn read(&self, _: PageId, into: &mut PageBytes) { into.fill(0) }
#     fn write(&mut self, _: PageId, _: usize, _: &[u8]) {}
#     fn take_written(&mut self, _: &mut Vec<PageRun>) {}
# }
# let config = CoreConfig {
#     me: DroneId(0),
#     drones: 1,
#     pages: 16,
#     metadata_limit_bytes: 1 << 20,
#     fan_out: FAN_OUT,
#     economies: Economies::default(),
# };"
    };
}
