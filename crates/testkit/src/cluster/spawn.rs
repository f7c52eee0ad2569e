//! As whom, and by which thread, the server is started.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Sender};
use std::thread;

use rustix::process::{Pid, Signal, geteuid, getppid, set_parent_process_death_signal, test_kill_process};

use super::ClusterError;

/// Who the server runs as. PostgreSQL refuses root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// As this process.
    Same,
    /// As another user, since this process is root.
    Other {
        /// The user.
        uid: u32,
        /// The user's main group.
        gid: u32,
    },
}

impl Identity {
    pub(super) fn choose() -> Self {
        if !geteuid().is_root() {
            return Self::Same;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let known = ["postgres", "nobody"].iter().find_map(|name| lookup(&passwd, name));
        // 65534 is what the kernel itself calls nobody.
        known.unwrap_or(Self::Other { uid: 65534, gid: 65534 })
    }

    pub(super) fn apply(self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid); // drops root's other groups too
        }
    }
}

fn lookup(passwd: &str, name: &str) -> Option<Identity> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Identity::Other { uid, gid })
}

struct Order {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

/// A thread that starts processes which must not outlive it.
///
/// The kernel sends the signal asked for by `PR_SET_PDEATHSIG` when the *thread* that forked ends, not the process:
/// a server started from a test's thread would stop with that test.
#[derive(Debug)]
pub(super) struct Keeper {
    orders: Sender<Order>,
}

impl Keeper {
    /// Starts the thread. It ends when this value is dropped.
    pub(super) fn start() -> Result<Self, ClusterError> {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::Builder::new()
            .name("postgres-keeper".to_owned())
            .spawn(move || {
                for mut order in inbox {
                    // Nobody listens any more only when the starting thread panicked: the child then ends with this
                    // thread.
                    let _nobody_listens = order.answer.send(spawn_bound(&mut order.command));
                }
            })
            .map_err(ClusterError::system("start a thread"))?;
        Ok(Self { orders })
    }

    /// Starts a process that gets SIGQUIT when this keeper is dropped or the whole program dies, by whatever cause.
    pub(super) fn spawn(&self, command: Command) -> io::Result<Child> {
        let (answer, outcome) = mpsc::channel();
        self.orders.send(Order { command, answer }).map_err(io::Error::other)?;
        outcome.recv().map_err(io::Error::other)?
    }
}

#[allow(unsafe_code)] // `pre_exec` is unsafe by signature; what runs in it is not.
fn spawn_bound(command: &mut Command) -> io::Result<Child> {
    let parent = Pid::from_raw(i32::try_from(std::process::id()).map_err(io::Error::other)?);
    // Its own process group: Ctrl-C in a terminal is for the tests; they need the database until they have ended.
    command.process_group(0);
    let bind = move || {
        set_parent_process_death_signal(Some(Signal::QUIT))?;
        // The parent may have died before the call above: then no signal ever comes.
        if getppid() == parent { Ok(()) } else { Err(io::Error::from(io::ErrorKind::BrokenPipe)) }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes two system calls
    // (`prctl`, `getppid`), takes no lock and allocates nothing: both errors are built from plain numbers. std
    // changes the user before it calls the closure, and that order matters: changing it afterwards would clear the
    // death signal.
    unsafe { command.pre_exec(bind) };
    command.spawn()
}

/// Processes whose parent is `pid`.
pub(super) fn children_of(pid: u32) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let child: i32 = name.to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
            (parent_in(&stat)? == pid).then(|| Pid::from_raw(child))?
        })
        .collect()
}

/// The parent's id in a line of `/proc/<pid>/stat`: the second field after the name, which may itself hold brackets.
fn parent_in(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

/// Whether a process exists and is not merely waiting to be reaped by somebody else.
pub(super) fn is_alive(pid: Pid) -> bool {
    if test_kill_process(pid).is_err() {
        return false;
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some(None | Some('Z' | 'X')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "postgres-old:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(lookup(passwd, "postgres"), Some(Identity::Other { uid: 101, gid: 104 }));
        assert_eq!(lookup(passwd, "nobody"), None);
    }

    #[test]
    fn a_process_name_with_brackets_does_not_hide_the_parent() {
        assert_eq!(parent_in("12 (a) (b) S 34 12 12 0"), Some(34));
    }
}
