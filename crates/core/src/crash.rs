//! Named points at which a test has the process die or stop: the crash points of docs/reliability.md.
//!
//! They exist only with the feature `crash-points`, which tests turn on and nothing else does, and never in a release
//! build: there not even their names are in the program. `PERENNIAL_CRASH_AT=renew.before_commit#2` kills the process the second time it comes by
//! that point, as `kill -9` does; `PERENNIAL_STOP_AT` suspends it there, as a machine that is frozen does, until it is sent
//! SIGCONT. `PERENNIAL_TRACE_POINTS` names a file that every point passed is written to.

/// A named point: `crash_point!("renew.before_commit")`.
#[cfg(all(feature = "crash-points", debug_assertions))]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::reached($name)
    };
}

/// A named point, which this program has none of.
#[cfg(not(all(feature = "crash-points", debug_assertions)))]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {};
}

#[cfg(all(feature = "crash-points", debug_assertions))]
pub use armed::reached;

#[cfg(all(feature = "crash-points", debug_assertions))]
mod armed {
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    struct Trap {
        name: String,
        signal: Signal,
        /// Times until it snaps.
        left: AtomicUsize,
    }

    static TRAPS: OnceLock<Vec<Trap>> = OnceLock::new();

    /// Comes by a point.
    ///
    /// # Panics
    /// When the variables say what cannot be understood, or a signal cannot be sent: then the test is wrong.
    pub fn reached(name: &str) {
        trace(name);
        for trap in TRAPS.get_or_init(traps).iter().filter(|trap| trap.name == name) {
            // It wraps around after it has snapped, and is not met again in a lifetime.
            if trap.left.fetch_sub(1, Ordering::SeqCst) == 1
                && let Err(error) = kill_process(getpid(), trap.signal)
            {
                panic!("cannot signal this process: {error}");
            }
        }
    }

    fn traps() -> Vec<Trap> {
        let read = |variable: &str, signal| {
            let at = std::env::var(variable).ok()?;
            let (name, times) = at.split_once('#').unwrap_or((&at, "1"));
            match times.parse() {
                Ok(times) => Some(Trap { name: name.to_owned(), signal, left: AtomicUsize::new(times) }),
                Err(error) => panic!("{variable}={at}: {error}"),
            }
        };
        let all = [read("PERENNIAL_CRASH_AT", Signal::KILL), read("PERENNIAL_STOP_AT", Signal::STOP)];
        all.into_iter().flatten().collect()
    }

    fn trace(name: &str) {
        let Some(file) = std::env::var_os("PERENNIAL_TRACE_POINTS") else { return };
        let line = format!("{name}\n");
        let open = std::fs::OpenOptions::new().create(true).append(true).open(&file);
        if let Err(error) = open.and_then(|mut file| file.write_all(line.as_bytes())) {
            panic!("cannot write {}: {error}", file.display());
        }
    }
}
