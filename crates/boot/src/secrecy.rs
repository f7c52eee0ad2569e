//! What lies in memory stays there: the bot's token and the database's password are no part of a core dump.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Forbids core dumps of this process and of those it starts. Without them the kernel also keeps other programs of the
/// same user out of this one's memory and environment. Best done first, before there is a secret.
///
/// # Errors
/// The system refuses; a sandbox may.
pub fn forbid_core_dumps() -> io::Result<()> {
    // The limit keeps the kernel from writing a file; a handler that dumps are piped to asks only for the other one.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::getrlimit;

    use super::*;

    #[test]
    fn afterwards_this_process_is_not_dumped() {
        forbid_core_dumps().unwrap();
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
        #[cfg(target_os = "linux")]
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), rustix::process::DumpableBehavior::NotDumpable);
    }
}
