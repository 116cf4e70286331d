//! Other hosts: how they are reached, asked, supplied with programs, and spoken to.
//!
//! One ssh a host carries everything. `ssh` starts it, `boot` gets this very command running at its other end as
//! an agent, `fleet` asks all hosts at once before anything starts, and then `crew::there` runs the job over the
//! same connections. The other end is `agent`.

pub(crate) mod boot;
pub(crate) mod digest;
pub(crate) mod fleet;
pub(crate) mod frame;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod ssh;
pub(crate) mod wire;
